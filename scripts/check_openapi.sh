#!/usr/bin/env bash
# Asks `fer serve` all that its OpenAPI description allows, and much that it does not, and compares the answers with the
# description, by schemathesis, which it installs into target/openapi. Needs python3 with venv.
#
#   scripts/check_openapi.sh [EXAMPLES]     requests of each kind at most, 100 by default
set -euo pipefail
cd "$(dirname "$0")/.."
[ -x target/openapi/bin/schemathesis ] || python3 -m venv target/openapi
target/openapi/bin/pip install -q schemathesis==4.32.5
cargo build --workspace --all-targets
address=127.0.0.1:7879
token=0123456789abcdef0123456789abcdef
FER_TOKEN=$token target/debug/fer serve --listen $address --max-bytes 1000000 &
server=$!
trap 'kill $server' EXIT
until curl -sf http://$address/health > /dev/null; do sleep 0.1; done
# A schema cannot say which bytes are a picture, so others are within it and refused all the same: positive_data_acceptance is
# left out.
# The stream is no request with an answer; tests/live.rs of fer-serve looks at it.
target/openapi/bin/schemathesis run http://$address/openapi.json --url http://$address --header "Authorization: Bearer $token" \
    --checks all --exclude-checks positive_data_acceptance --max-examples "${1:-100}" --exclude-path /v1/live --seed 1
