"""Measures the peers and this project in turn, and prints a table of medians and ratios.

    benches/compare/run [--data fer2013.csv[.gz]] [--torch] [--native] [--before DIR] [--rounds 3]
        [--only TEXT]

Each round runs what stands beside ours, every peer in a process of its own, and then ours: f32, and all cores unless
a row says otherwise. A ratio is ours by the other's, so less is better; "at most" and "aim for" are bounds of it.
Where several peers are bounded, the fastest counts. Where both sides say of what work a number is (images,
parameters, threads, steps), it has to be the same.

rows.py has the rows; peers/ one file a peer, which says what it does; ours.py this project's side.
"""

import argparse
import gzip
import os
import platform
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

import ours
from measurement import CORES, check_same_work, median
from rows import data_rows, face_rows, native_rows, network_rows, own_rows, vgg_rows

HEAD = ["work", "beside", "its median", "ours", "ratio", "ratios of the rounds", "at most", "aim for"]


def measure(row, rounds):
    """Prints a line of the table for everything that stands beside ours in the row."""
    taken = []
    for _ in range(rounds):
        taken.append(([beside.measure() for beside in row.beside], row.ours()))
        check_same_work([*taken[-1][0], taken[-1][1]], row.parameters)
    mine = median([mine for _, mine in taken])
    for index, beside in enumerate(row.beside):
        other = median([others[index] for others, _ in taken])
        ratios = [mine.value / others[index].value for others, mine in taken]
        each = " ".join(f"{ratio:.3f}" for ratio in ratios)
        bounds = ["" if bound is None else f"{bound:.3g}" for bound in (beside.at_most, beside.aim)]
        line(row.work, other.name, other, mine, f"{statistics.median(ratios):.3f}", each, *bounds)


def line(*cells):
    print("|", " | ".join(map(str, cells)), "|", flush=True)


def machine():
    """The processor, its cores and its memory."""
    name = platform.processor() or platform.machine()
    if (info := Path("/proc/cpuinfo")).exists():
        facts = dict(fact.split("\t", 1) for fact in info.read_text().splitlines() if "\t" in fact)
        facts = {key.strip(): value.strip("\t: ") for key, value in facts.items()}
        parts = [facts.get("model name", name)]
        parts += [f"{key} {facts[key]}" for key in ("cpu family", "model") if key in facts]
        parts += [flag for flag in ("avx512f", "avx2") if flag in facts.get("flags", "").split()][:1]
        name = ", ".join(parts)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{name}, {CORES} cores, {memory:.0f} GiB"


def plain(data, folder):
    """The file itself, or what is in it where it is compressed."""
    if data.suffix != ".gz":
        return data.resolve()
    unpacked = folder / data.stem
    with gzip.open(data) as packed, open(unpacked, "wb") as file:
        shutil.copyfileobj(packed, file)
    return unpacked


def arguments():
    usage = __doc__.splitlines()[0]
    parser = argparse.ArgumentParser(prog="benches/compare/run", description=usage)
    data = os.environ.get("FER2013_CSV")
    parser.add_argument("--data", type=Path, default=data, help="fer2013.csv or its .gz, or in FER2013_CSV")
    parser.add_argument("--torch", action="store_true", help="PyTorch as well; on Linux its wheel is large")
    parser.add_argument("--native", action="store_true", help="a build for this very processor as well")
    before = "a checkout of an older commit, measured beside this one"
    parser.add_argument("--before", type=Path, metavar="DIR", help=before)
    parser.add_argument("--rounds", type=int, default=3, help="of each row [3]")
    parser.add_argument("--only", default="", metavar="TEXT", help="rows whose name contains this")
    return parser.parse_args()


def main():
    options = arguments()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        rows = network_rows(options.torch, options.before) + vgg_rows(options.torch) + face_rows()
        if options.data:
            rows += data_rows(plain(options.data, folder), folder)
        rows += own_rows(folder)
        if options.native:
            rows += native_rows()

        print(f"{machine()}; {ours.version()}, {ours.compiler()}")
        print(" ".join(["benches/compare/run", *sys.argv[1:]]))
        print()
        line(*HEAD)
        line(*["---"] * len(HEAD))
        for row in rows:
            if options.only in row.work:
                measure(row, options.rounds)
    if not options.data:
        print("\nNot measured, for want of --data: the memory of training, and reading fer2013.csv.")


if __name__ == "__main__":
    main()
