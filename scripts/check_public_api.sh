#!/usr/bin/env bash
# Shows what differs in the crates' public face from tests/public_api/listing, and fails if anything does: a change of what
# other programs use is to be seen, and meant. `--write` keeps it as it is now.
#
#   scripts/check_public_api.sh [--write]
set -euo pipefail
cd "$(dirname "$0")/.."
RUSTDOC=$PWD/scripts/rustdoc_json.sh cargo doc --workspace --no-deps --exclude fer-cli
cargo run -q --locked --target-dir target/public_api --manifest-path tests/public_api/Cargo.toml -- target/doc "$@" ||
    { echo "The public face is another: scripts/check_public_api.sh --write, and a word of it in the commit"; exit 1; }
