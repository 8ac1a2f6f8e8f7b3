#!/usr/bin/env bash
# Ends a training at random moments, by SIGKILL, SIGTERM and two Ctrl-C, on 1 to 3 threads, and on a disk that is full, and
# goes on with it each time: what comes of it must be, bit by bit, what comes of a training that nobody disturbed.
#
#   scripts/check_kills.sh [KILLS]     200 by default, some half an hour on two cores
#
# The full disk needs the right to mount a tmpfs; without it that part says that it was skipped.
set -euo pipefail
cd "$(dirname "$0")/.."
kills=${1:-200}
cargo build --release --example train_dcnn
train=$PWD/target/release/examples/train_dcnn
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
arguments=(--epochs 3 --seed 7 --device cpu)

same() { # whether a run's files are those of the undisturbed run
    local name
    for name in model.safetensors model.toml predictions.csv split.csv classification_report.txt; do
        cmp "$folder/whole/$name" "$1/$name" || return 1
    done
    # All but the seconds.
    cmp <(cut -d, -f1-6 "$folder/whole/history.csv") <(cut -d, -f1-6 "$1/history.csv")
    # Nothing is left behind.
    [ -z "$(find "$1" -name '*.partial')" ]
}

begin_or_resume() { # trains in $1 on $2 threads: goes on where a run is, else begins
    if [ -e "$1/checkpoint/state.safetensors" ]; then
        "$train" --resume --threads "$2" --out "$1"
    else
        "$train" "${arguments[@]}" --threads "$2" --overwrite --out "$1"
    fi
}

started=$(date +%s%N)
"$train" "${arguments[@]}" --out "$folder/whole" > /dev/null 2>&1
whole_ms=$((($(date +%s%N) - started) / 1000000))
echo "undisturbed: $whole_ms ms"

run=$folder/run
finished=0
killed=0
while [ "$killed" -lt "$kills" ]; do
    begin_or_resume "$run" $((RANDOM % 3 + 1)) > "$folder/log" 2>&1 &
    shell=$!
    # From its start to its end: training, validation, checkpoints and report alike.
    sleep "$(awk -v part=$((RANDOM % 1000)) -v ms="$whole_ms" 'BEGIN { print part / 1000 * ms / 1000 }')"
    child=$(pgrep -P "$shell" || true)
    if [ -n "$child" ]; then
        case $((RANDOM % 4)) in
            0) kill -TERM "$child" ;;
            1) kill -INT "$child"; sleep 0.02; kill -INT "$child" || true ;;
            *) kill -KILL "$child" ;;
        esac 2> /dev/null || true
        killed=$((killed + 1))
    fi
    status=0
    wait "$shell" 2> /dev/null || status=$?
    case $status in
        0)
            same "$run" || { echo "after $killed: the run is another"; exit 1; }
            finished=$((finished + 1))
            rm -r "$run"
            ;;
        130 | 137 | 143) ;;
        *)
            echo "after $killed: status $status"
            cat "$folder/log"
            exit 1
            ;;
    esac
done
if [ -e "$run" ]; then
    begin_or_resume "$run" 2 > "$folder/log" 2>&1
    same "$run"
    finished=$((finished + 1))
fi
echo "$killed ends, $finished runs that finished with the same bits"

disk=$folder/disk
mkdir "$disk"
if ! mount -t tmpfs -o size=64k tmpfs "$disk" 2> /dev/null; then
    echo "skipped: no right to mount a small disk"
    exit 0
fi
trap 'umount "$disk"; rm -rf "$folder"' EXIT
full=0
finished=
for kilobytes in 100 300 500 800 1000 1200 1500 2000 2500; do
    mount -o "remount,size=${kilobytes}k" "$disk"
    if begin_or_resume "$disk/run" 2 > "$folder/log" 2>&1; then
        finished=1
        break
    fi
    grep -q "No space left on device" "$folder/log" || { cat "$folder/log"; exit 1; }
    [ -z "$(find "$disk" -name '*.partial')" ] || { echo "a part of a file is left on the full disk"; exit 1; }
    full=$((full + 1))
done
mount -o remount,size=64m "$disk"
[ -n "$finished" ] || begin_or_resume "$disk/run" 2 > "$folder/log" 2>&1
same "$disk/run"
echo "$full times a full disk, then the same bits"
