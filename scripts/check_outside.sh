#!/usr/bin/env bash
# Builds and runs examples/outside, a package with a workspace of its own: a layer, a loss, a metric and a schedule of one's
# own, trained by fer-train.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../examples/outside"
CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-../../target} cargo run
