#!/usr/bin/env bash
# Installs what is needed beside Go, from Debian's or Ubuntu's packages. Says nothing when all of it is there.
#
#   install.sh           for the tests: a browser, Node.js for the real Socket.IO clients, ffmpeg for the clip a native participant
#                        plays, a C compiler for the race detector, PostgreSQL for servers that the tests start, and the codecs
#   install.sh codecs    for the programs: a C compiler and the libraries with which the relay mixes. It never fails: what is missing
#                        in the end is said, and the programs are built without them
set -euo pipefail
cd "$(dirname "$0")"

# command:packages that bring it
commands="chromium:chromium node:nodejs npm:npm ffmpeg:ffmpeg gcc:gcc,libc6-dev"
codecs="build-essential pkg-config libvpx-dev libopus-dev libyuv-dev libopenh264-dev libaom-dev libdav1d-dev"

goal=${1:-tests}
missing=()
if [ "$goal" = tests ]; then
  what="The tests need"
  for entry in $commands; do
    if ! command -v "${entry%%:*}" >/dev/null 2>&1; then
      IFS=, read -ra packages <<<"${entry#*:}"
      missing+=("${packages[@]}")
    fi
  done
else
  what="Mixing needs"
fi
# Debian keeps PostgreSQL's server out of the path.
postgres=""
if [ "$goal" = tests ] && ! command -v initdb >/dev/null 2>&1 && ! ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then
  postgres=postgresql
  missing+=(postgresql)
fi
if [ "$(./codecs.sh)" = 0 ]; then
  read -ra packages <<<"$codecs"
  missing+=("${packages[@]}")
fi
[ ${#missing[@]} -gt 0 ] || exit 0

# give_up says why nothing is installed.
give_up() {
  echo "$what: ${missing[*]}. $1" >&2
  [ "$goal" = tests ] && exit 1
  echo "Building without: the relay mixes neither video nor Opus, everything else works." >&2
  exit 0
}

command -v apt-get >/dev/null 2>&1 || give_up "This system has no apt-get: install them with its own package manager and try again."
sudo=""
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null 2>&1 || give_up "Install them as root (apt-get install ${missing[*]}), or install sudo, and try again."
  sudo="sudo"
  # Without a terminal nobody could type a password.
  if ! sudo -n true 2>/dev/null && ! { : </dev/tty; } 2>/dev/null; then
    give_up "Install them with sudo apt-get install ${missing[*]} and try again."
  fi
fi
echo "Installing ${missing[*]} …"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
wait="-o DPkg::Lock::Timeout=120" # another installation may be under way
apt_install() { $sudo env DEBIAN_FRONTEND=noninteractive apt-get install $wait -y --no-install-recommends "$@"; }

# without_cluster runs a command during which the PostgreSQL packages make no database of the system's own, which would be served from
# then on: the tests make and start theirs.
without_cluster() {
  local settings=/etc/postgresql-common/createcluster.d/portico-deps.conf status=0
  apt_install postgresql-common || return
  $sudo mkdir -p "${settings%/*}"
  echo "create_main_cluster = false" | $sudo tee "$settings" >/dev/null
  "$@" || status=$?
  $sudo rm -f "$settings"
  return $status
}

if ! { $sudo apt-get update && ${postgres:+without_cluster} apt_install "${missing[@]}"; } >"$log" 2>&1; then
  tail -n 20 "$log" >&2
  give_up "Installing them failed; the lines above say why."
fi
