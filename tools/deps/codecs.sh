#!/usr/bin/env bash
# Prints 1 when programs can be built with the codecs' libraries, else 0: a C compiler and the headers of all of them. As a value of
# CGO_ENABLED it says how the relay is built.
set -uo pipefail

cc=${CC:-cc}
if command -v "$cc" >/dev/null 2>&1 && command -v pkg-config >/dev/null 2>&1 &&
  pkg-config --exists vpx opus openh264 aom dav1d 2>/dev/null &&
  echo '#include <libyuv.h>' | "$cc" -E - >/dev/null 2>&1; then # libyuv has no file for pkg-config
  echo 1
else
  echo 0
fi
