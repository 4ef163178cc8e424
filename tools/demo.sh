#!/bin/sh
# SPDX-License-Identifier: MIT
# What `make run` shows: a digit classifier in C trains while it logs through the service, and its
# run is then drawn in the terminal.
set -eu
cd "$(dirname "$0")/.."
build=$(cd "$1" && pwd)
mkdir -p demo-run
cd demo-run
echo "training a digit classifier (examples/digits), logging offline through tare service..."
TARE_SERVICE_BIN=$build/tare "$build/examples/digits" ../examples/digits/data/digits.csv
echo
"$build/tare" show latest
