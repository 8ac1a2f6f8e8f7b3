#!/usr/bin/env bash
# Fuzzes every reader of other people's files, with AddressSanitizer, overflow checks and debug assertions.
#
#   scripts/fuzz.sh [SECONDS [TARGET...]]     30 seconds a target by default, all of fuzz/fuzz_targets
#
# The inputs begin with fuzz/seeds, the golden files and the recipes, and are drawn from seed 1. What a run finds is kept in
# fuzz/grown, where the next goes on; an input that breaks something lies in fuzz/artifacts. Needs a nightly compiler and
# cargo-fuzz: `rustup toolchain install nightly && cargo install cargo-fuzz`. Leaks are not looked for: after an error the threads
# that read a table end by themselves a moment later, which looks like one.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-30}
targets=("${@:2}")
if [ ${#targets[@]} = 0 ]; then
    mapfile -t targets < <(basename -s .rs fuzz/fuzz_targets/*.rs)
fi

export ASAN_OPTIONS=detect_leaks=0
failed=0
TIMEFORMAT='%U s of the processor, %S of the system'
for target in "${targets[@]}"; do
    inputs=("fuzz/grown/$target")
    [ -d "fuzz/seeds/$target" ] && inputs+=("fuzz/seeds/$target")
    case $target in
        keras) inputs+=(tests/golden/keras_h5 tests/golden/keras_models) ;;
        keras_json) inputs+=(tests/golden/keras_models) ;;
        settings) inputs+=(recipes) ;;
    esac
    mkdir -p "fuzz/grown/$target"
    echo "== $target, $seconds s"
    log=$(mktemp)
    status=0
    spent=$({ time cargo +nightly fuzz run "$target" "${inputs[@]}" -- -seed=1 "-max_total_time=$seconds" \
        -rss_limit_mb=1024 -timeout=10 -print_final_stats=1 2> "$log"; } 2>&1) || status=$?
    if [ $status = 0 ]; then
        grep -E "^stat::(number_of_executed_units|new_units_added|peak_rss_mb)|^Done" "$log"
        echo "$spent"
    else
        tail -n 60 "$log"
        failed=1
    fi
    rm -f "$log"
done
exit $failed
