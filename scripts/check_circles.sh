#!/usr/bin/env bash
# Prints the circles among the modules of each crate, and the files over 300 lines; fails when there is a circle.
#
#   scripts/check_circles.sh [CRATE …]     crates by their folder (`crates/fer-nn`); all of the workspace without any
#
# Needs Python 3 and nothing else. scripts/circles.py says what counts.
set -euo pipefail
scripts=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$scripts/.."
[ $# -gt 0 ] || set -- . crates/*
exec python3 "$scripts/circles.py" "$@"
