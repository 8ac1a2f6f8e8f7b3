#!/usr/bin/env bash
# nvcc without candle's kernels for quantised tensors and mixtures of experts, which this project never calls and
# which take most of candle-kernels' build. scripts/cuda_toolkit.sh puts it into NVCC, where that build script looks
# first; with CANDLE_QUANTIZED=1 in the environment it names nvcc itself.
#
# The sources named here are compiled as empty files, so nothing goes wrong quietly: a program that called one of
# their functions would not link (undefined symbol launch_… or moe_…), and a kernel of quantized.cu would be reported
# by CUDA as not found.
set -euo pipefail
nvcc=${CUDA_HOME:?is not set; source the env file that scripts/cuda_toolkit.sh writes}/bin/nvcc
source=${!#}
others=("${@:1:$#-1}")

case "${CARGO_PKG_NAME:-}: $source" in
"candle-kernels: src/moe/"*.cu | "candle-kernels: src/mmq_gguf/"*.cu | "candle-kernels: src/mmvq_gguf.cu")
    "$nvcc" "${others[@]}" -x c++ /dev/null # to an object
    ;;
"candle-kernels: src/quantized.cu")
    empty=$(mktemp -d)
    trap 'rm -r "$empty"' EXIT
    touch "$empty/quantized.cu"
    "$nvcc" "${others[@]}" "$empty/quantized.cu" # to PTX, named after the source
    ;;
*) exec "$nvcc" "$@" ;;
esac
