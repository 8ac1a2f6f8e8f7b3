"""Prints this project's numbers on a GPU beside the peers' as a table, from two files of JSON lines.

    python gpu.py OURS PEERS

OURS has what this repository's `gpu_check` and first_step.py print, PEERS what peers/*_cuda.py print. Of ours the last
line of a work counts, of the peers' the fastest on the same card. A ratio is ours by the peer's time, so less is better,
also where images a second are shown; "at most" and "aim for" are bounds of it, or of our seconds where they have a unit.
"""

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path

from measurement import show

HEAD = ["work", "peer (form)", "its median", "ours", "ratio", "at most", "aim for", "verdict"]

# 57 epochs of 10 s, as it printed them.
NOTEBOOK = {"name": "the notebook", "seconds": 570}


NAMES = {
    "train_step": "training step",
    "training": "training, 57 epochs",
    "recipe_epoch": "FER+ recipe, an epoch",
    "first_start": "start to first step, nothing kept",
    "start": "start to first step",
}


@dataclass(frozen=True)
class Row:
    work: str
    # None: whatever ours is of.
    batch: int | None
    precision: str | None
    at_most: float | None = None
    aim: float | None = None
    # Whether the bounds are of our seconds.
    absolute: bool = False

    def is_of(self, line):
        """Whether the line says how long this took."""
        asked = {"work": self.work, "batch": self.batch, "precision": self.precision}
        return "seconds" in line and all(value in (None, line.get(key)) for key, value in asked.items())

    def __str__(self):
        name = NAMES.get(self.work, self.work)
        return ", ".join([name, *([f"batch {self.batch}"] if self.batch else []), *filter(None, [self.precision])])


ROWS = [
    Row("train_step", 32, "bf16", 0.75, 0.55),
    Row("train_step", 32, "tf32", 0.80, 0.60),
    Row("train_step", 1024, "bf16", 0.85, 0.65),
    Row("inference", 4096, "bf16", 0.70, 0.50),
    Row("training", None, None, 40, 25, absolute=True),
    Row("recipe_epoch", 128, "bf16", 0.80, 0.55),
    Row("first_start", None, None, 10, 3, absolute=True),
    Row("start", None, None, 10, 3, absolute=True),
]


def table(ours, peers):
    """The rows with bounds, then what else was measured."""
    rows = []
    for row in ROWS:
        of = [replace(row, batch=line.get("batch"), precision=line.get("precision")) for line in ours if row.is_of(line)]
        rows += dict.fromkeys(of or [row])
    rest = [Row(*(line.get(key) for key in ("work", "batch", "precision"))) for line in ours + peers if "work" in line]
    known = {(row.work, row.batch, row.precision) for row in rows}
    rows += [row for row in dict.fromkeys(rest) if (row.work, row.batch, row.precision) not in known]
    return [cells(row, ours, peers) for row in rows]


def cells(row, ours, peers):
    mine = next((line for line in reversed(ours) if row.is_of(line)), None)
    others = [NOTEBOOK] if row.work == "training" else [line for line in peers if row.is_of(line)]
    # A time on another card says nothing.
    same = [line for line in others if mine is None or line is NOTEBOOK or line.get("card") == mine.get("card")]
    other = min(same, key=lambda line: line["seconds"], default=None)
    bounds = [bound(row, row.at_most), bound(row, row.aim)]
    if other is not None:
        name = other["name"] + (f" ({other['form']})" if "form" in other else "")
    elif row.work in ("first_start", "start"):
        name = "none"
    else:
        name = f"not measured on {mine.get('card')}" if others else "not measured"
    ratio = mine["seconds"] / other["seconds"] if mine and other else None
    shown = "" if ratio is None else f"{ratio:.3f}"
    measured = (mine and mine["seconds"]) if row.absolute else ratio
    median = "" if name == "none" else value(row, other)
    return [row, name, median, value(row, mine), shown, *bounds, verdict(row, measured)]


def bound(row, of):
    if of is None:
        return ""
    return f"{of} s" if row.absolute else f"{of:.3g}"


def value(row, line):
    if line is None:
        return "not measured"
    return f"{row.batch / line['seconds']:,.0f} images/s" if row.work == "inference" else show(line["seconds"], "s")


def verdict(row, measured):
    if measured is None:
        return "not measured"
    if row.at_most is None:
        return ""
    return "as aimed for" if measured <= row.aim else "within" if measured <= row.at_most else "missed"


def read(path):
    """The JSON objects among the lines of a file."""
    return [json.loads(line) for line in path.read_text().splitlines() if line.startswith("{") and line.endswith("}")]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ours", type=Path)
    parser.add_argument("peers", type=Path)
    options = parser.parse_args()
    ours, peers = read(options.ours), read(options.peers)
    print(", ".join(dict.fromkeys(line["card"] for line in ours + peers if "card" in line)) + "\n")
    for line in [HEAD, ["---"] * len(HEAD), *table(ours, peers)]:
        print("|", " | ".join(map(str, line)), "|")
