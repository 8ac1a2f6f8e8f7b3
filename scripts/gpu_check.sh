#!/usr/bin/env bash
# Checks and measures the CUDA backend on a machine with a GPU: parity with the CPU, the memory checker, speed beside
# PyTorch and ONNX Runtime, and the whole training on FER2013. Prints one table and writes a log.
#
#   scripts/gpu_check.sh --data FILE [--binaries DIR] [--out DIR] [--quick]
#
# DIR with the binaries is target/cuda/release/examples, where scripts/build_cuda.sh leaves them; no Rust is needed, only
# the libraries that they link to, on LD_LIBRARY_PATH. FILE is fer2013.csv, its .gz or .zst, or the three classes alone,
# a third of the size:
#
#   awk -F, 'NR == 1 || $1 == 3 || $1 == 4 || $1 == 6' fer2013.csv | zstd -19 -o happy_sad_neutral.csv.zst
#
# --quick leaves out the peers, which tune for minutes, and trains in bf16 alone. The peers run where python3 has them.
# compute-sanitizer is part of an installed CUDA toolkit; without it the check fails.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

binaries=$root/target/cuda/release/examples out=gpu_check data='' quick=
while [ $# -gt 0 ]; do
    case $1 in
    --data) data=$(realpath "$2") ;;
    --binaries) binaries=$(realpath "$2") ;;
    --out) out=$2 ;;
    --quick) quick=yes; shift; continue ;;
    *) echo "gpu_check: unknown option $1; usage: scripts/gpu_check.sh --data FILE [--binaries DIR] [--out DIR] [--quick]" >&2; exit 2 ;;
    esac
    shift 2
done
for binary in gpu_check train_dcnn; do
    [ -x "$binaries/$binary" ] || { echo "gpu_check: $binaries has no $binary; build it with scripts/build_cuda.sh" >&2; exit 2; }
done
mkdir -p "$out"
out=$(realpath "$out")
rm -f "$out"/*.jsonl
exec > >(tee "$out/log") 2>&1

failed=()
step() { printf '\n== %s (%s)\n' "$1" "$(date -u +%FT%TZ)"; }
try() { "$@" || failed+=("${*:1:4}"); }

step "the machine"
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
nproc

step "every operation and gradient beside the CPU"
try "$binaries/gpu_check" operations --out "$out/operations.jsonl"
step "every gradient of the whole network beside the CPU"
try "$binaries/gpu_check" gradients --out "$out/gradients.jsonl"
step "what Grad-CAM reads, beside the CPU"
try "$binaries/gpu_check" explanations --out "$out/explanations.jsonl"
step "twenty training steps beside the CPU, and the same again"
try "$binaries/gpu_check" steps --out "$out/steps.jsonl"

step "the memory checker on a short training"
if command -v compute-sanitizer >/dev/null; then
    # The libraries ask the driver for things that it may lack; and their own kernels are not this project's to judge.
    ours=()
    for kernel in batch_ tone_ mix_ direct_ moments_ tail_ joined_ moving_norm global_mean add_ cross_entropy gradient_norm \
        optimizer_; do
        ours+=(--kernel-name "kns=$kernel")
    done
    try compute-sanitizer --tool memcheck --report-api-errors no --error-exitcode 9 "$binaries/gpu_check" short
    for tool in racecheck synccheck; do
        try compute-sanitizer --tool "$tool" "${ours[@]}" --error-exitcode 9 "$binaries/gpu_check" short
    done
else
    echo "not run: compute-sanitizer is not installed"
    failed+=("compute-sanitizer is missing")
fi

step "training steps and inference"
try "$binaries/gpu_check" times --out "$out/ours.jsonl"

# The most memory that nvidia-smi shows while a command runs, in MiB, in $peak. Where algorithms are timed, what the
# trials took is in it.
with_memory() {
    stdbuf -oL nvidia-smi --query-gpu=memory.used --format=csv,noheader,nounits --loop-ms=200 >"$out/memory" &
    local watcher=$!
    try "$@"
    kill "$watcher" 2>/dev/null || true
    wait "$watcher" 2>/dev/null || true
    peak=$(sort -n "$out/memory" | tail -n 1)
}

# Nothing but the number of epochs may end the training: the notebook's 57.
printf '[early_stopping]\npatience = 1000\n' >"$out/settings.toml"
if [ -n "$data" ]; then
    precisions=(f32 tf32 bf16)
    [ -z "$quick" ] || precisions=(bf16)
    for precision in "${precisions[@]}"; do
        step "57 epochs of FER2013 in $precision"
        run=$out/run-$precision
        with_memory "$binaries/train_dcnn" --data "$data" --device cuda:0 --precision "$precision" --epochs 57 \
            --config "$out/settings.toml" --overwrite --out "$run" 2>"$out/progress-$precision" >"$out/training-$precision"
        tail -n 25 "$out/training-$precision"
        python3 - "$run" "$precision" "$peak" >>"$out/ours.jsonl" <<'END' || failed+=("the training in $precision")
import csv, json, pathlib, sys
run, precision, peak = pathlib.Path(sys.argv[1]), *sys.argv[2:]
record = json.loads((run / "run.json").read_text())
best = max(float(row["val_accuracy"]) for row in csv.DictReader((run / "history.csv").open()))
result = record["result"]
print(json.dumps({
    "work": "training", "batch": record["settings"]["batch_size"], "precision": precision,
    "seconds": result["seconds"], "epochs": result["epochs"], "val_accuracy": result["valid_accuracy"],
    "leak_free_val_accuracy": result["leak_free_valid_accuracy"], "best_val_accuracy": best,
    "seed": record["settings"]["train"]["seed"], "md5": record["source"]["md5"], "memory_mib": int(peak),
    "card": record["device"].partition("(")[2].rstrip(")"),
}))
END
    done
else
    echo "not run: the training, for want of --data"
    failed+=("no --data")
fi

touch "$out/peers.jsonl"
if [ -z "$quick" ] && python3 -c 'import torch' 2>/dev/null; then
    cd "$root/benches/compare"
    for precision in f32 tf32 bf16; do
        for work in "train_step --batch 32" "train_step --batch 1024" "inference --batch 4096"; do
            step "PyTorch: $work, $precision"
            # shellcheck disable=SC2086 # a work is several words
            python3 -m peers.pytorch_cuda $work --precision "$precision" | tee -a "$out/peers.jsonl" ||
                failed+=("PyTorch: $work, $precision")
        done
        python3 -c 'import onnxruntime' 2>/dev/null || continue
        step "ONNX Runtime: inference, $precision"
        python3 -m peers.onnx_runtime_cuda inference --batch 4096 --precision "$precision" |
            tee -a "$out/peers.jsonl" || failed+=("ONNX Runtime: inference, $precision")
    done
    cd - >/dev/null
fi

step "the table"
try python3 "$root/benches/compare/gpu.py" "$out/ours.jsonl" "$out/peers.jsonl"
echo
grep -h '"work": *"training"' "$out/ours.jsonl" || true
printf '\n'
if [ ${#failed[@]} -gt 0 ]; then
    printf 'FAILED: %s\n' "${failed[@]}"
    exit 1
fi
echo "gpu_check: all checks passed; log and measurements in $out"
