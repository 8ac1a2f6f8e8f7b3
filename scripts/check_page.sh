#!/usr/bin/env bash
# The page of `fer serve` in Chromium, with a camera that shows a film. Leaves pictures of it in FOLDER, to be looked at.
# Installs Chromium where it is missing and the package manager is apt.
#
#   scripts/check_page.sh [FOLDER]     target/page by default
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:-target/page}
mkdir -p "$folder"
FER_SCREENSHOTS=$(realpath "$folder")
export FER_SCREENSHOTS
if ! command -v chromium chromium-browser google-chrome > /dev/null && [ -z "${CHROMIUM:-}" ]; then
    apt-get -q update
    apt-get -q install -y --no-install-recommends chromium
fi
cargo test --workspace --test browser -- --nocapture
