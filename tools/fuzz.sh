#!/bin/bash
# SPDX-License-Identifier: MIT
# fuzz.sh BUILD_DIR [TARGET...]: run fuzz targets on a copy of their corpus (tests/fuzz/corpus/NAME), two at a
# time: for FUZZ_SECONDS each those that read what any program may send or a disk may hold, the others half as
# long. FUZZ_SEED (1) makes a run repeatable; 0 is a new seed each time.
# Exit 1 if one of them finds something; the input stays in BUILD_DIR/findings.
set -uo pipefail
cd "$(dirname "$0")/.."
dir=$1
shift
seconds=${FUZZ_SECONDS:-60} seed=${FUZZ_SEED:-1}
longest="fuzz_frame fuzz_journal fuzz_record fuzz_handler"
targets=("$@")
if [ ${#targets[@]} = 0 ]; then
    mapfile -t targets < <(printf '%s\n' $longest
        find "$dir/tests/fuzz" -maxdepth 1 -name 'fuzz_*' -type f -perm -u+x -printf '%f\n' | sort | grep -vxE "${longest// /|}")
fi
[ ${#targets[@]} -gt 0 ] || { echo "fuzz: no targets in $dir" >&2; exit 1; }
mkdir -p "$dir/findings"

one() { # TARGET
    local name=${1#fuzz_} work seconds=$seconds
    [[ " $longest " == *" $1 "* ]] || seconds=$(((seconds + 1) / 2))
    work=$(mktemp -d)
    local corpus=tests/fuzz/corpus/$name dict=tests/fuzz/$name.dict
    local log=$dir/findings/$name.log
    local args=(-max_total_time="$seconds" -seed="$seed" -timeout=20 -rss_limit_mb=2048 -print_final_stats=1
        -artifact_prefix="$dir/findings/$name-")
    [ -f "$dict" ] && args+=(-dict="$dict")
    [ -d "$corpus" ] || { echo "fuzz: $name has no corpus" >&2; return 1; }
    if UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 "$dir/tests/fuzz/$1" "${args[@]}" "$work" "$corpus" >"$log" 2>&1; then
        echo "$1: no finding, $(grep -oE 'number_of_executed_units: [0-9]+' "$log" | grep -oE '[0-9]+') inputs in $seconds s"
    else
        echo "$1: FINDING"
        tail -40 "$log"
        rm -rf "$work"
        return 1
    fi
    rm -rf "$work"
}

bad=0
for ((i = 0; i < ${#targets[@]}; i += 2)); do
    one "${targets[i]}" &
    first=$! second=
    if [ $((i + 1)) -lt ${#targets[@]} ]; then
        one "${targets[i + 1]}" &
        second=$!
    fi
    wait $first || bad=1
    [ -z "$second" ] || wait $second || bad=1
done
exit $bad
