#!/usr/bin/env bash
# The tests of the crates that have unsafe code, and of what calls it most, under AddressSanitizer. Needs a nightly compiler
# (`rustup toolchain install nightly`); with a C++ compiler the CUDA kernels run on the emulated card too.
#
#   scripts/check_memory.sh
set -euo pipefail
cd "$(dirname "$0")/.."
# The emulated card is loaded while the tests run, and leaks by intention what it keeps to the end.
export RUSTFLAGS="-Zsanitizer=address" ASAN_OPTIONS="detect_leaks=0"
cargo +nightly test --target x86_64-unknown-linux-gnu --target-dir target/memory --lib --tests \
    -p fer-augment -p fer-detect -p fer-nn
