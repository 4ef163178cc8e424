#!/bin/sh
# SPDX-License-Identifier: MIT
# venv.sh DIR REQUIREMENTS: a Python virtual environment of this project, made anew only when the
# requirements change.
set -eu
dir=$1 req=$2
stamp=$dir/.requirements
cmp -s "$req" "$stamp" 2>/dev/null && exit 0
echo "setup: making $dir from $req"
rm -rf "$dir"
python3 -m venv "$dir"
"$dir/bin/pip" install -q --disable-pip-version-check -r "$req"
cp "$req" "$stamp"
