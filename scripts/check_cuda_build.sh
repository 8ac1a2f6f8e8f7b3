#!/usr/bin/env bash
# Compiles, links and lints everything with the CUDA backend, and reports what the project's kernels need of a GPU.
# Nothing is run, so no GPU is needed.
#
#   scripts/check_cuda_build.sh
#
# Everything is in the release profile: candle's kernels take minutes, and each profile compiles its own.
set -euo pipefail
shopt -s nullglob
cd "$(dirname "${BASH_SOURCE[0]}")/.."
start=$SECONDS
features=(--features cuda,cudnn)

step() {
    step=$1
    echo "check_cuda_build: $step"
}
fail() {
    echo "check_cuda_build: failed: $*" >&2
    exit 1
}
trap 'fail "$step (see above)"' ERR

step "the examples build"
scripts/build_cuda.sh
. target/cuda-toolkit/env

step "train_dcnn links to the CUDA libraries"
binary=$CARGO_TARGET_DIR/release/examples/train_dcnn
libraries=$(LD_LIBRARY_PATH=$CUDA_HOME/lib64:$CUDA_HOME/lib64/stubs ldd "$binary" | sed 's/ (0x.*//')
grep -E 'libcu|not found' <<<"$libraries"
grep -q 'libcuda\.so\.1' <<<"$libraries" || fail "$binary is not linked to libcuda.so.1; was it built with the feature?"
! grep -q 'not found' <<<"$libraries" || fail "$binary needs a library that $CUDA_HOME lacks"

step "the project's kernels compile without spills"
report=$(mktemp -d)
trap 'rm -r "$report"' EXIT
touch "$report/ptxas"
kernels=crates/fer-nn/kernels
for source in "$kernels"/*.cu; do
    # A file that another one includes is compiled with it.
    ! grep -qF "#include \"${source##*/}\"" "$kernels"/*.cu || continue
    "$CUDA_HOME/bin/nvcc" -std=c++17 -arch="sm_$CUDA_COMPUTE_CAP" -Xptxas -v -cubin -o "$report/module" "$source" \
        2>"$report/messages" || fail "$source does not compile:" "$(cat "$report/messages")"
    cat "$report/messages" >>"$report/ptxas"
done
# ptxas names a kernel, then the bytes that it and the functions it calls spill, then its registers. What is resident is of the
# 2,048 threads of a multiprocessor, in blocks of 256, by its 65,536 registers, given in eights, and its 228 KB of shared memory, of
# which a block takes 1 KB besides.
awk -v row='%-40s %9s %11s %12s %9s\n' '
    function least(a, b) { return a < b ? a : b }
    BEGIN { printf row, "kernel", "registers", "spill bytes", "shared bytes", "resident" }
    /Compiling entry function/ { split($0, quoted, "\047"); kernel = quoted[2]; spills = 0 }
    /spill stores/ { spills += $5 + $9; all += $5 + $9 }
    /Used [0-9]+ registers/ {
        shared = match($0, /[0-9]+ bytes smem/) ? substr($0, RSTART, RLENGTH) + 0 : 0
        blocks = least(8, int(65536 / (256 * 8 * int(($5 + 7) / 8))))
        blocks = least(blocks, int(228 * 1024 / (shared + 1024)))
        printf row, kernel, $5, spills, shared, 100 * blocks / 8 "%"
    }
    END { exit all > 0 }' "$report/ptxas" || fail "a kernel spills registers to memory; give it fewer values to hold"

step "clippy"
cargo clippy --release --workspace --all-targets "${features[@]}" -- -D warnings
step "the documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --release --workspace --no-deps "${features[@]}"
step "the tests compile"
cargo test --release --workspace --no-run "${features[@]}"

count=$(grep -c 'entry function' "$report/ptxas" || true)
echo "check_cuda_build: passed in $((SECONDS - start)) s: build, links, $count kernels without spills, clippy, docs, tests"
