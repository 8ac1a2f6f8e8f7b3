"""Measures the peers and this project in turn and prints medians and ratios.

Each round runs the peer in a process of its own, then the criterion benchmark of the same work; the table shows the
medians over the rounds. A ratio under 1 means that this project is faster.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))

# what is measured, the peer's arguments, the benchmark and the name criterion files it under
ROWS = [
    ("training step, batch 32", ["train_step", "32"], "train_step", "train_step/32"),
    ("inference, batch 1", ["inference", "1"], "inference", "inference/1"),
    ("inference, batch 32", ["inference", "32"], "inference", "inference/32"),
    ("inference, batch 256", ["inference", "256"], "inference", "inference/256"),
    ("augmentation, one image", ["augment"], "augment", "augment/notebook"),
]


def peer(arguments):
    command = [sys.executable, str(HERE / "peer.py"), *arguments]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(output.split()[-1])


def ours(bench, name):
    command = ["cargo", "bench", "--quiet", "--bench", bench, "--", f"^{name}$"]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
    estimates = json.loads((TARGET / "criterion" / name / "new" / "estimates.json").read_text())
    return estimates["median"]["point_estimate"] / 1e9


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="rows whose name contains this")
    arguments = parser.parse_args()
    print(f"| {'work':<24} | {'peer, ms':>9} | {'ours, ms':>9} | {'ratio':>6} | ratios of the rounds |")
    print("| --- | --- | --- | --- | --- |")
    for title, peer_arguments, bench, name in ROWS:
        if arguments.only not in title:
            continue
        pairs = [(peer(peer_arguments), ours(bench, name)) for _ in range(arguments.rounds)]
        theirs = statistics.median(p for p, _ in pairs)
        mine = statistics.median(o for _, o in pairs)
        ratios = [o / p for p, o in pairs]
        each = " ".join(f"{ratio:.3f}" for ratio in ratios)
        ratio = statistics.median(ratios)
        print(f"| {title:<24} | {theirs * 1e3:9.3f} | {mine * 1e3:9.3f} | {ratio:6.3f} | {each} |", flush=True)


if __name__ == "__main__":
    main()
