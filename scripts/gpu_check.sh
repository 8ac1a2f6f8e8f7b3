#!/usr/bin/env bash
# Checks and measures the CUDA backend on a machine with a GPU: parity with the CPU, the memory checker, speed beside
# PyTorch and ONNX Runtime, and the whole training on FER2013. Prints one table and writes a log.
#
#   scripts/gpu_check.sh --data FILE [--binaries DIR] [--out DIR] [--minutes N] [--only STAGES] [--all]
#
# DIR with the binaries is target/cuda/release/examples, where scripts/build_cuda.sh leaves them; no Rust is needed, only
# the libraries that they link to, on LD_LIBRARY_PATH. FILE is fer2013.csv, its .gz or .zst, or the three classes alone:
#
#   awk -F, 'NR == 1 || $1 == 3 || $1 == 4 || $1 == 6' fer2013.csv | zstd -19 -o happy_sad_neutral.csv.zst
#
# It ends within N minutes, 8 unless told otherwise: what there was no time for is named and counts as failed. Stopped early
# (Ctrl-C, SIGTERM) it prints the table of what was measured. STAGES are some of parity, speed, training, peers and memory,
# with commas between them; what the others left in the same --out is in the table too.
# The peers run where python3 has them, PyTorch in its compiled form.
# --all trains and measures in every precision, and the peers in each of their forms, which tune for minutes: give it 90.
# compute-sanitizer is part of an installed CUDA toolkit; without it the check fails.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
usage="usage: scripts/gpu_check.sh --data FILE [--binaries DIR] [--out DIR] [--minutes N] [--only STAGES] [--all]"

binaries=$root/target/cuda/release/examples out=gpu_check data='' minutes=8 all=
stages="parity speed training peers memory"
wanted=$stages
while [ $# -gt 0 ]; do
    case $1 in
    --data) data=$(realpath "$2") ;;
    --binaries) binaries=$(realpath "$2") ;;
    --out) out=$2 ;;
    --minutes) minutes=$2 ;;
    --only) wanted=${2//,/ } ;;
    --all) all=yes; shift; continue ;;
    *) echo "gpu_check: unknown option $1; $usage" >&2; exit 2 ;;
    esac
    shift 2
done
[[ $minutes =~ ^[1-9][0-9]*$ ]] || { echo "gpu_check: --minutes $minutes is no whole number; $usage" >&2; exit 2; }
for stage in $wanted; do
    [[ " $stages " == *" $stage "* ]] || { echo "gpu_check: no stage $stage; there are $stages" >&2; exit 2; }
done
for binary in gpu_check train_dcnn; do
    [ -x "$binaries/$binary" ] || { echo "gpu_check: $binaries has no $binary; build it with scripts/build_cuda.sh" >&2; exit 2; }
    "$binaries/$binary" --help >/dev/null || { echo "gpu_check: $binary does not start; LD_LIBRARY_PATH lacks a library?" >&2; exit 2; }
done
mkdir -p "$out"
out=$(realpath "$out")
# Ctrl-C reaches tee too, which still has the table to write.
exec > >(tee -ia "$out/log") 2>&1
tee=$!

# The table takes a moment.
deadline=$((SECONDS + 60 * minutes - 5))
failed=()
step() { printf '\n== %s (%s)\n' "$1" "$(date -u +%FT%TZ)"; }
# Runs a command for so many seconds at most, and no longer than there is time; its name is kept where it fails.
try() {
    local seconds=$1 left=$((deadline - SECONDS))
    shift
    [ -z "$all" ] || seconds=$((20 * seconds))
    if [ $left -le 0 ]; then
        echo "not run: $minutes minutes are over"
        failed+=("no time: ${*:1:4}")
        return
    fi
    # In the background, for a trap waits for a command in the foreground.
    timeout -k 2 $((seconds < left ? seconds : left)) "$@" &
    running=$!
    wait $running || failed+=("${*:1:4} (status $?)")
}
finish() {
    trap - EXIT INT TERM
    kill "${running:-}" "${watcher:-}" 2>/dev/null || true
    step "the table"
    # Of each stage what it left, in this run or an earlier one.
    cat "$out"/{speed,training}-*.jsonl >"$out/ours.jsonl" 2>/dev/null || true
    cat "$out"/peers-*.jsonl >"$out/peers.jsonl" 2>/dev/null || true
    python3 "$root/benches/compare/gpu.py" "$out/ours.jsonl" "$out/peers.jsonl" || failed+=("the table")
    echo
    grep -h '"work": *"training"' "$out/ours.jsonl" || true
    echo
    local code=0
    if [ ${#failed[@]} -gt 0 ]; then
        printf 'FAILED: %s\n' "${failed[@]}"
        code=1
    else
        echo "gpu_check: passed in $SECONDS s: $wanted; log and measurements in $out"
    fi
    # The last lines are tee's to print; what a peer left running may keep it open.
    exec >&- 2>&-
    timeout 3 tail --pid="$tee" -f /dev/null || true
    exit $code
}
trap finish EXIT
trap 'failed+=("stopped early"); exit 1' INT TERM

parity() {
    step "every operation and gradient beside the CPU"
    try 90 "$binaries/gpu_check" operations --out "$out/parity-operations.jsonl"
    step "every gradient of the whole network beside the CPU"
    try 90 "$binaries/gpu_check" gradients --out "$out/parity-gradients.jsonl"
    step "what Grad-CAM reads, beside the CPU"
    try 20 "$binaries/gpu_check" explanations --out "$out/parity-explanations.jsonl"
    step "twenty training steps beside the CPU, and the same again"
    try 40 "$binaries/gpu_check" steps --out "$out/parity-steps.jsonl"
}

speed() {
    step "training steps, inference, and an epoch of the FER+ recipe"
    try 120 "$binaries/gpu_check" times --out "$out/speed-times.jsonl"
    try 40 "$binaries/gpu_check" recipe --recipe "$root/recipes/ferplus.toml" --out "$out/speed-recipe.jsonl"
}

# The most memory that nvidia-smi shows while a command runs, in MiB, in $peak. Where algorithms are timed, what the
# trials took is in it.
with_memory() {
    : >"$out/memory"
    stdbuf -oL nvidia-smi --query-gpu=memory.used --format=csv,noheader,nounits --loop-ms=200 >"$out/memory" &
    watcher=$!
    try "$@"
    kill "$watcher" 2>/dev/null || true
    wait "$watcher" 2>/dev/null || true
    peak=$(sort -n "$out/memory" | tail -n 1)
}
# Trains for 57 epochs; what it says goes to files.
train() {
    "$binaries/train_dcnn" --data "$data" --device cuda:0 --precision "$1" --epochs 57 --config "$out/settings.toml" \
        --overwrite --out "$out/run-$1" 2>"$out/progress-$1" >"$out/training-$1"
}
export -f train
export binaries data out

training() {
    if [ -z "$data" ]; then
        echo "not run: the training, for want of --data"
        failed+=("no --data")
        return
    fi
    # Nothing but the number of epochs may end the training: the notebook's 57.
    printf '[early_stopping]\npatience = 1000\n' >"$out/settings.toml"
    step "from the start to the first step"
    try 60 python3 "$root/benches/compare/first_step.py" "$out/training-start.jsonl" "$binaries/train_dcnn" --data "$data" \
        --device cuda:0 --precision bf16 --overwrite --out "$out/start"
    local precisions=(bf16)
    [ -z "$all" ] || precisions=(f32 tf32 bf16)
    for precision in "${precisions[@]}"; do
        step "57 epochs of FER2013 in $precision"
        rm -rf "$out/run-$precision"
        with_memory 120 bash -c "train $precision"
        [ -e "$out/run-$precision/run.json" ] || { tail -n 20 "$out/progress-$precision" || true; continue; }
        tail -n 25 "$out/training-$precision"
        python3 - "$out/run-$precision" "$precision" "$peak" >"$out/training-$precision.jsonl" <<'END' || failed+=("the training in $precision")
import csv, json, pathlib, sys
run, precision, peak = pathlib.Path(sys.argv[1]), *sys.argv[2:]
record = json.loads((run / "run.json").read_text())
result = record["result"] or sys.exit("the training did not end")
best = max(float(row["val_accuracy"]) for row in csv.DictReader((run / "history.csv").open()))
print(json.dumps({
    "work": "training", "batch": record["settings"]["batch_size"], "precision": precision,
    "seconds": result["seconds"], "epochs": result["epochs"], "val_accuracy": result["valid_accuracy"],
    "leak_free_val_accuracy": result["leak_free_valid_accuracy"], "best_val_accuracy": best,
    "seed": record["settings"]["train"]["seed"], "md5": record["source"]["md5"], "memory_mib": int(peak),
    "card": record["device"].partition("(")[2].rstrip(")"),
}))
END
    done
}

# A peer's work, and the forms in which it runs unless all are asked for: at most 95 seconds each.
peer() {
    local forms=$1 module=$2 limit=95
    shift 2
    local lines=$out/peers-$module-${1}-${3}-${5}.jsonl
    step "$module: $*"
    [ -z "$all" ] || forms='' limit=240
    try 200 python3 -m "peers.$module" "$@" --forms "$forms" --seconds $limit >"$lines"
    tail -n 1 "$lines" | cut -c 1-400
}
peers() {
    if ! python3 -c 'import torch' 2>/dev/null; then
        echo "not run: the peers, for python3 has no PyTorch"
        return
    fi
    cd "$root/benches/compare"
    peer "compiled, one graph" pytorch_cuda train_step --batch 32 --precision bf16
    peer "compiled" pytorch_recipe_cuda recipe_epoch --batch 128 --precision bf16
    peer "compiled, one graph" pytorch_cuda train_step --batch 32 --precision tf32
    peer "compiled, one graph" pytorch_cuda train_step --batch 1024 --precision bf16
    peer "compiled" pytorch_cuda inference --batch 4096 --precision bf16
    if [ -n "$all" ]; then
        peer "" pytorch_cuda train_step --batch 32 --precision f32
        for precision in f32 tf32; do
            peer "" pytorch_cuda train_step --batch 1024 --precision $precision
            peer "" pytorch_cuda inference --batch 4096 --precision $precision
        done
        if python3 -c 'import onnxruntime' 2>/dev/null; then
            for precision in f32 tf32 bf16; do
                peer "" onnx_runtime_cuda inference --batch 4096 --precision $precision
            done
        fi
    fi
    cd - >/dev/null
}

memory() {
    step "the memory checker on a short training"
    if ! command -v compute-sanitizer >/dev/null; then
        echo "not run: compute-sanitizer is not installed"
        failed+=("compute-sanitizer is missing")
        return
    fi
    # The libraries ask the driver for things that it may lack; and their own kernels are not this project's to judge.
    local ours=()
    for kernel in activation_ add_ batch_ cross_entropy direct_ global_mean gradient_norm joined_ max_pool mean_pool mix_ moments_ \
        moving_norm optimizer_ tail_ to_channels_last to_planar tone_ total_ vectors_; do
        ours+=(--kernel-name "kns=$kernel")
    done
    try 60 compute-sanitizer --tool memcheck --report-api-errors no --error-exitcode 9 "$binaries/gpu_check" short
    for tool in racecheck synccheck; do
        try 60 compute-sanitizer --tool "$tool" "${ours[@]}" --error-exitcode 9 "$binaries/gpu_check" short
    done
}

step "the machine"
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
nproc
for stage in $wanted; do
    # What it left earlier is not of this run.
    rm -f "$out/$stage"-*.jsonl
    $stage
done
