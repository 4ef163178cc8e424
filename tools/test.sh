#!/bin/bash
# SPDX-License-Identifier: MIT
# All tests: what `make test` runs. A part alone: tools/test.sh unit | asan | clang | tsan | e2e | fuzz
#
#   unit   C tests, as built for use (gcc)
#   asan   C tests under AddressSanitizer and UndefinedBehaviorSanitizer (gcc), and
#          the service and the server built so for the end-to-end tests that attack them
#   clang  the whole build with clang: warnings are errors there too
#   tsan   the tests of what has threads (the client library, the workers) under ThreadSanitizer
#   e2e    pytest with the unmodified wandb package
#   fuzz   the fuzz targets on their corpora: tools/fuzz.sh with FUZZ_SECONDS=60
#
# The closing line is "N passed, N failed".
set -uo pipefail
cd "$(dirname "$0")/.."
parts=${*:-unit asan clang tsan e2e fuzz}
passed=0 failed=0
tools/setup.sh || exit 1

section() { printf '\n== %s\n' "$*"; }

configure() { # DIR OPTIONS...
    local dir=$1
    shift
    [ -f "$dir/build.ninja" ] || meson setup "$dir" "$@" >/dev/null || exit 1
    # the tests are built on demand only: name them beside all else
    local targets="all"
    case $dir in build-fuzz) ;; *) targets="all meson-test-prereq" ;; esac
    ninja -C "$dir" --quiet $targets || { failed=$((failed + 1)); return 1; }
}

count_meson() { # DIR
    local log=$1/meson-logs/testlog.json
    local ok bad
    ok=$(grep -c '"result": "OK"' "$log" || true)
    bad=$(grep '"result": "' "$log" | grep -vc '"result": "OK"' || true)
    passed=$((passed + ok)) failed=$((failed + bad))
    echo "$1: $ok passed, $bad failed"
}

part_unit() {
    configure build || return
    meson test -C build --no-rebuild --print-errorlogs -q
    count_meson build
}

part_asan() {
    configure build-asan -Db_sanitize=address,undefined -Dbuildtype=debugoptimized -Db_lundef=false || return
    UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
        meson test -C build-asan --no-rebuild --print-errorlogs -q --timeout-multiplier 5
    count_meson build-asan
}

part_clang() {
    CC=clang configure build-clang || return
    passed=$((passed + 1))
    echo "build-clang: builds"
}

part_tsan() {
    configure build-tsan -Db_sanitize=thread -Db_lundef=false || return
    meson test -C build-tsan --no-rebuild --print-errorlogs -q --suite threads --timeout-multiplier 5
    count_meson build-tsan
}

part_e2e() {
    configure build || return
    tools/venv.sh .venv tests/requirements.txt || exit 1
    tools/venv.sh .venv-0.28 tests/requirements-0.28.txt || exit 1
    local out
    out=$(mktemp)
    .venv/bin/python -m pytest tests/e2e tests/parity -q --timeout=300 -n 3 --dist loadfile \
        -p no:cacheprovider 2>&1 | tee "$out"
    local last
    last=$(grep -E '(passed|failed|error)' "$out" | tail -1)
    passed=$((passed + $(grep -oE '[0-9]+ passed' <<<"$last" | grep -oE '[0-9]+' || echo 0)))
    failed=$((failed + $(grep -oE '[0-9]+ (failed|error)' <<<"$last" | grep -oE '[0-9]+' | awk "{ n += \$1 } END { print n + 0 }")))
    grep -qE '[0-9]+ passed' <<<"$last" || failed=$((failed + 1))
    rm -f "$out"
}

part_fuzz() {
    CC=clang configure build-fuzz -Dfuzz=true -Dtests=false -Db_lundef=false \
        -Db_sanitize=address,undefined || return
    FUZZ_SECONDS=${FUZZ_SECONDS:-60} tools/fuzz.sh build-fuzz
    local rc=$?
    if [ $rc = 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
}

for part in $parts; do
    section "$part"
    "part_$part"
done

printf '\n%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
