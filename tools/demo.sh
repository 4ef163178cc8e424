#!/bin/sh
# SPDX-License-Identifier: MIT
# What `make run` shows: a digit classifier in C trains while it logs through the service into a
# server of its own, from which its run is then read back and drawn in the terminal.
set -eu
cd "$(dirname "$0")/.."
build=$(cd "$1" && pwd)
mkdir -p demo-run
cd demo-run
export TARE_SERVER_DIR=$PWD/server
unset WANDB_BASE_URL WANDB_API_KEY WANDB_MODE
trap 'kill "$(cat server/lock)"' EXIT # the demonstration leaves nothing running
echo "training a digit classifier (examples/digits) that logs through tare service to tare server..."
"$build/tare" run --server -- "$build/examples/digits" ../examples/digits/data/digits.csv 2>said
cat said
run=$(sed -n 's/^tare run: \(http.*\/runs\/.*\)$/\1/p' said | tail -1)
rm said
echo
WANDB_API_KEY=$(cat server/admin.key) "$build/tare" show "$run"
