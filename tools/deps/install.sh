#!/usr/bin/env bash
# Installs what the tests need beside Go, from Debian's or Ubuntu's packages: a browser, Node.js for the real Socket.IO clients,
# ffmpeg for the clip a native participant plays, a C compiler for the race detector. Says nothing when all of it is there.
set -euo pipefail

# command:packages that bring it
wanted="chromium:chromium node:nodejs npm:npm ffmpeg:ffmpeg gcc:gcc,libc6-dev"

missing=()
for entry in $wanted; do
  if ! command -v "${entry%%:*}" >/dev/null 2>&1; then
    IFS=, read -ra packages <<<"${entry#*:}"
    missing+=("${packages[@]}")
  fi
done
[ ${#missing[@]} -gt 0 ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
  echo "The tests need: ${missing[*]}. This system has no apt-get: install them with its own package manager and try again." >&2
  exit 1
fi
sudo=""
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null 2>&1 || { echo "The tests need: ${missing[*]}. Install them as root (apt-get install ${missing[*]}) or install sudo." >&2; exit 1; }
  sudo="sudo"
fi
echo "Installing ${missing[*]} …"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { $sudo apt-get update && $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
  tail -n 20 "$log" >&2
  echo "Installing ${missing[*]} failed; the lines above say why." >&2
  exit 1
fi
