#!/usr/bin/env bash
# Checks the ONNX files of every architecture, in 32 and in 8 bits, by onnx.checker and against ONNX Runtime, and keeps their
# md5s in tests/golden/onnx.json. Installs both into target/onnx; needs python3 with venv. With FER2013 and its FER+ votes the
# program's own model is written in 8 bits too, and the accuracy that it says must be what ONNX Runtime has on the same rows.
#
#   scripts/check_onnx.sh [fer2013.csv.gz fer2013new.csv]
set -euo pipefail
cd "$(dirname "$0")/.."
[ -x target/onnx/bin/python ] || python3 -m venv target/onnx
target/onnx/bin/pip install -q onnx==1.23.2 onnxruntime==1.32.0 numpy
PYTHON=$PWD/target/onnx/bin/python cargo test --workspace --test onnx -- --ignored --nocapture
if [ $# = 2 ]; then
    file=$(mktemp -d)
    trap 'rm -r "$file"' EXIT
    cargo run -q --release -p fer-cli -- export --preprocessing --onnx "$file/whole.onnx" --fold-norms
    cargo run -q --release -p fer-cli -- export --preprocessing --onnx "$file/int8.onnx" --quantize "$1" --ferplus "$2"
    target/onnx/bin/python tests/onnx_accuracy.py "$1" "$2" "$file/int8.onnx" "$file/whole.onnx"
fi
