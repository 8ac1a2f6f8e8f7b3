#!/usr/bin/env bash
# Licences, sources and known vulnerabilities of everything the project depends on, by deny.toml. Needs cargo-deny
# (`cargo install cargo-deny`); the vulnerabilities also need the RustSec database, which it fetches.
#
#   scripts/check_dependencies.sh
set -euo pipefail
cd "$(dirname "$0")/.."
cargo deny --locked check bans licenses sources

log=$(mktemp)
trap 'rm -f "$log"' EXIT
if cargo deny --locked check advisories 2> "$log"; then
    exit
elif grep -q "failed to fetch advisory database" "$log"; then
    echo "skipped: the RustSec database cannot be reached, so vulnerabilities were not looked up"
else
    cat "$log"
    exit 1
fi
