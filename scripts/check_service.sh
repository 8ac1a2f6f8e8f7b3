#!/usr/bin/env bash
# Load on `fer serve` by a picture, sent as JPEG: what one request costs beside the library, a hundred clients, twice what the
# service can do, and memory over MINUTES of load. Wants a machine that does nothing else.
#
#   scripts/check_service.sh [MINUTES [PICTURE]]     10 minutes and an example photo by default
set -euo pipefail
cd "$(dirname "$0")/.."
minutes=${1:-10}
picture=${2:-crates/fer-detect/tests/photos/astronaut.png}
cargo build --release -p fer-cli -p fer-serve --bin fer --example load
address=127.0.0.1:7879
target/release/fer serve --listen $address &
server=$!
said=$(mktemp)
trap 'kill $server; rm "$said"' EXIT
load() { target/release/examples/load $address "$picture" --jpeg "$@"; }
memory() { echo "resident memory: $(awk '/VmRSS/ { print $2 / 1000 }' /proc/$server/status) MB"; }
until curl -sf http://$address/health > /dev/null; do sleep 0.1; done

echo "== one request at a time, in turn with the library"
load --alone --seconds 20
memory
echo "== 100 clients, one request at a time each"
load --clients 100 --seconds 20 | tee "$said"
capacity=$(awk '/status 200/ { gsub(",", ""); print $4 }' "$said")
memory
echo "== twice as many requests a second as it answered"
load --clients 400 --rate "$(awk "BEGIN { print 2 * $capacity }")" --seconds 20
memory
echo "== memory over $minutes minutes of 100 clients"
for _ in $(seq "$minutes"); do
    load --clients 100 --seconds 60
    memory
done
