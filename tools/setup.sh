#!/bin/sh
# SPDX-License-Identifier: MIT
# Installs the Debian packages of packages.txt that are missing, and says which.
set -eu
here=$(cd "$(dirname "$0")" && pwd)

present() { # CHECK
    case $1 in
    pkg:*) command -v pkg-config >/dev/null 2>&1 && pkg-config --exists "${1#pkg:}" ;;
    clang:*) command -v clang >/dev/null 2>&1 && [ -e "$(clang -print-resource-dir)/${1#clang:}" ] ;;
    py:*) python3 -c "import ${1#py:}" >/dev/null 2>&1 ;;
    /*) [ -e "$1" ] ;;
    *) command -v "$1" >/dev/null 2>&1 ;;
    esac
}

missing=
while read -r package check _; do
    case $package in '' | '#'*) continue ;; esac
    present "$check" || missing="$missing $package"
done <"$here/packages.txt"
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
    echo "setup: these Debian packages are missing, and there is no apt-get to install them:$missing" >&2
    exit 1
fi
as_root=
[ "$(id -u)" = 0 ] || as_root=sudo
echo "setup: installing$missing"
log=$(mktemp)
if ! { $as_root apt-get update && $as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1; then
    tail -20 "$log" >&2
    rm -f "$log"
    echo "setup: could not install; run: apt-get install$missing" >&2
    exit 1
fi
rm -f "$log"
