#!/usr/bin/env bash
# Builds the examples with the CUDA backend, on a machine with or without a GPU.
#
#   scripts/build_cuda.sh [cargo build's arguments]
#
# CUDA_COMPUTE_CAP is the GPU's compute capability, 90 (H100, H200) unless set. Binaries go to target/cuda, so that
# they and the default, CPU-only build do not replace each other. scripts/cuda_toolkit.sh says which toolkit is used.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/cuda_toolkit.sh
. target/cuda-toolkit/env
cargo build --release --examples --features cuda,cudnn "$@"

libraries=$CUDA_HOME/lib64
echo "Built for compute capability $CUDA_COMPUTE_CAP: $CARGO_TARGET_DIR/release/examples"
echo "To run, on a machine with an NVIDIA driver and these libraries: export LD_LIBRARY_PATH=$libraries"
