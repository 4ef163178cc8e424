#!/bin/sh
# SPDX-License-Identifier: MIT
# static_library.sh IN.a OUT.a: one object in an archive, in which only what tare.h declares is a
# global symbol, so that a program linked with it can have names of its own like ours.
set -eu
in=$1 out=$2
object=$out.o
ld -r --whole-archive "$in" -o "$object"
objcopy --localize-hidden "$object"
rm -f "$out"
ar rcs "$out" "$object"
rm -f "$object"
