#!/usr/bin/env bash
# rustdoc that writes JSON, which a stable compiler keeps for itself unless it is told otherwise.
RUSTC_BOOTSTRAP=1 exec rustdoc "$@" -Zunstable-options --output-format json
