#!/usr/bin/env bash
# Builds and runs the programs of examples/outside, a package with a workspace of its own that depends on the crates as any
# other would.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../examples/outside"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-../../target}
photo=../../crates/fer-detect/tests/photos/astronaut.png
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cargo build
run() {
    echo "== $*"
    "$CARGO_TARGET_DIR/debug/$1" "${@:2}"
}
run answers "$photo" "$photo" missing.png
run stripes
run vgg
run variants "$photo" "$folder/variants"
[ "$(ls "$folder/variants" | wc -l)" = 9 ]
run pets
run curves "$folder/curves"
[ -s "$folder/curves.svg" ]
run embedded "$photo"
