#!/usr/bin/env bash
# Checks the ONNX files of every architecture by onnx.checker and against ONNX Runtime, and keeps their md5s in
# tests/golden/onnx.json. Installs both into target/onnx; needs python3 with venv.
#
#   scripts/check_onnx.sh
set -euo pipefail
cd "$(dirname "$0")/.."
[ -x target/onnx/bin/python ] || python3 -m venv target/onnx
target/onnx/bin/pip install -q onnx==1.23.2 onnxruntime==1.32.0 numpy
PYTHON=$PWD/target/onnx/bin/python cargo test --workspace --test onnx -- --ignored --nocapture
