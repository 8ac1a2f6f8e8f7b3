"""Measures `fer` and the packages that people install in its place in turn, and prints a table of medians and ratios.

    benches/compare/photos [--fer PROGRAM] [--make-video SCRIPT] [--rounds 3] [--only TEXT] [--photos 100]
        [--frames 300] [--data fer2013.csv[.gz] --ferplus fer2013new.csv]

Every number is of a whole process, from its start to its end, with its defaults and all cores: one photo; a folder of
photos, the same one at sizes from 0.6 to 1.6 of its own, as JPEG; a video of 640x480. "Start-up left out" is the
difference between all photos or frames and a fifth of them, by the number between. In each round every work is done by
each peer in turn and then by ours. A ratio is ours by the other's in time or memory, less is better, for frames a
second too. "Processor time" is that of all threads together; other programs on the machine change it less than they
change the rest. Peak memory is that of one process, the largest: beside ours FFmpeg runs, which the peers have in
OpenCV.

With --data and --ferplus the accuracy of the `fer` package's networks is measured at the end, by peers/fer_accuracy.py.
peers/fer_photos.py and peers/deepface_photos.py say what each peer does.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import cv2
import ours
from compare import line, machine
from measurement import Finished, run, show

HERE = Path(__file__).resolve().parent
PHOTOS = ours.ROOT / "crates/fer-detect/tests/photos"
HEAD = ["work", "beside", "its median", "ours", "ratio", "ratios of the rounds"]

NOTES = """
- The `fer` package runs as it comes: OpenCV's cascade and its network quantised for TensorFlow Lite. `mtcnn=True` is
  left out: it loads facenet-pytorch 2.5.3, and beside TensorFlow 2.21 with PyTorch 2.15 from PyPI the process then ends
  in "LLVM ERROR: inconsistency in registered CommandLine options".
- deepface would download the weights of its emotion network. Here they are random, in the layers that its own code builds
  (peers/deepface_weights.py): the time is that of the real ones, the answers mean nothing. It runs on ONNX Runtime as
  `pip install deepface` leaves it, and on TensorFlow where that is installed.
- OpenCV is version 4: the wheels of version 5 lack the cascades that both packages look for."""


@dataclass
class Side:
    """The commands to which a photo or a folder, or a video, is added, and what else is in their environment."""

    name: str
    photos: list
    video: list
    environment: dict = field(default_factory=dict)


@dataclass
class Row:
    """What is read off the processes of one side in one round, by the name of their work."""

    work: str
    # The works that it needs.
    needs: list[str]
    value: Callable[[dict[str, Finished]], float]
    show: Callable[[float], str]


def sides(program, folder):
    """The peers and then ours."""

    def peer(name, module, **environment):
        command = [sys.executable, "-m", f"peers.{module}"]
        return Side(name, command, command, {"TF_CPP_MIN_LOG_LEVEL": "3", **environment})

    def deepface(engine, name):
        environment = {"DEEPFACE_HOME": str(folder), "DEEPFACE_BACKEND_ENGINE": engine}
        return peer(f"deepface {version('deepface')}, {name}", "deepface_photos", **environment)

    return [
        peer(f"`fer` {version('fer')}", "fer_photos"),
        deepface("onnx", "ONNX Runtime"),
        deepface("tensorflow", "TensorFlow"),
        Side("ours", [program, "predict", "--json"], [program, "video", "--overwrite", "--csv", folder / "faces.csv"]),
    ]


def measure(side, path):
    """The process in which the side looks at a photo, a folder or a video."""
    command = side.video if path.suffix == ".mp4" else side.photos
    return run([*command, path], cwd=HERE, env={**os.environ, **side.environment})


def scaled_photos(folder, count):
    """Writes `count` copies of the photo in turn at sizes from 0.6 to 1.6, and gives their folder."""
    folder.mkdir()
    photo = cv2.imread(str(PHOTOS / "astronaut.png"))
    for index in range(count):
        scale = 0.6 + 0.1 * (index % 11)
        copy = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(folder / f"{index:04}.jpg"), copy)
    return folder


def first_frames(video, count, out):
    """The first `count` frames of the video."""
    command = ["ffmpeg", "-v", "error", "-i", video, "-frames:v", str(count), "-pix_fmt", "yuv420p", out]
    subprocess.run(command, check=True)
    return out


def rows(photos, frames):
    """What the table says, of so many photos and frames."""
    few, part = photos // 5, frames // 5

    def a_photo(runs):
        return (runs["photos"].seconds - runs["few photos"].seconds) / (photos - few)

    def a_frame(runs):
        return (runs["video"].seconds - runs["short video"].seconds) / (frames - part)

    def time(seconds):
        return show(seconds, "s")

    def memory(size):
        return show(size, "bytes")

    def rate(seconds):
        return f"{1 / seconds:.1f} a second"

    folder, film = f"{photos} photos", f"{frames} frames"
    return [
        Row("one photo, whole process", ["photo"], lambda runs: runs["photo"].seconds, time),
        Row("one photo, processor time", ["photo"], lambda runs: runs["photo"].processor, time),
        Row("one photo, peak memory", ["photo"], lambda runs: runs["photo"].peak, memory),
        Row(f"a photo of {folder}, whole process", ["photos"], lambda runs: runs["photos"].seconds / photos, time),
        Row(f"a photo of {folder}, start-up left out", ["photos", "few photos"], a_photo, time),
        Row(f"{folder}, peak memory", ["photos"], lambda runs: runs["photos"].peak, memory),
        Row(f"video of {film}, whole process", ["video"], lambda runs: runs["video"].seconds / frames, rate),
        Row(f"video of {film}, start-up left out", ["video", "short video"], a_frame, rate),
        Row(f"video of {film}, processor time a frame", ["video"], lambda runs: runs["video"].processor / frames, time),
        Row(f"video of {film}, peak memory", ["video"], lambda runs: runs["video"].peak, memory),
    ]


def print_row(row, names, rounds):
    """A line of the table for every peer."""
    *others, mine = zip(*[[row.value(runs) for runs in everyone] for everyone in rounds])
    for name, other in zip(names, others):
        ratios = [ours / theirs for ours, theirs in zip(mine, other)]
        medians = [row.show(statistics.median(side)) for side in (other, mine)]
        line(row.work, name, *medians, f"{statistics.median(ratios):.3f}", " ".join(f"{ratio:.3f}" for ratio in ratios))


def arguments():
    parser = argparse.ArgumentParser(prog="benches/compare/photos", description=__doc__.splitlines()[0])
    parser.add_argument("--fer", type=Path, default=ours.TARGET / "release" / "fer", help="the program, already built")
    make_video = ours.ROOT / "crates/fer-cli/tests/make_video.sh"
    parser.add_argument("--make-video", type=Path, default=make_video, metavar="SCRIPT", help="makes the video")
    parser.add_argument("--rounds", type=int, default=3, help="of everything [3]")
    parser.add_argument("--only", default="", metavar="TEXT", help="rows whose name contains this")
    parser.add_argument("--photos", type=int, default=100, help="in the folder [100]")
    parser.add_argument("--frames", type=int, default=300, help="of the video, at most 300 [300]")
    parser.add_argument("--data", type=Path, help="fer2013.csv or its .gz, for the accuracy")
    parser.add_argument("--ferplus", type=Path, help="fer2013new.csv, for the accuracy")
    return parser.parse_args()


def works(options, needed, folder):
    """The path of what each work that is needed looks at."""
    paths = {"photo": PHOTOS / "astronaut.png"}
    for name, count in [("photos", options.photos), ("few photos", options.photos // 5)]:
        if name in needed:
            paths[name] = scaled_photos(folder / name.replace(" ", "-"), count)
    if "video" in needed:
        whole = folder / "whole.mp4"
        subprocess.run(["bash", options.make_video.resolve(), PHOTOS, whole], check=True)
        paths["video"] = first_frames(whole, options.frames, folder / "video.mp4")
        paths["short video"] = first_frames(whole, options.frames // 5, folder / "short.mp4")
    return {name: path for name, path in paths.items() if name in needed}


def main():
    options = arguments()
    table = [row for row in rows(options.photos, options.frames) if options.only in row.work]
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        everyone = sides(options.fer.resolve(), folder)
        run([sys.executable, "-m", "peers.deepface_weights", folder], cwd=HERE)
        paths = works(options, {need for row in table for need in row.needs}, folder)

        print(f"{machine()}; {ours.version()}, {ours.compiler()}")
        packages = ["tensorflow-cpu", "onnxruntime", "opencv-contrib-python-headless", "numpy"]
        print(", ".join(f"{package} {version(package)}" for package in packages))
        print(" ".join(["benches/compare/photos", *sys.argv[1:]]))
        print()
        rounds = []
        for number in range(options.rounds):
            runs = [{} for _ in everyone]
            for work, path in paths.items():
                for side, finished in zip(everyone, runs):
                    finished[work] = measure(side, path)
                    print(f"round {number + 1}, {work}, {side.name}: {finished[work].seconds:.2f} s", file=sys.stderr)
            rounds.append(runs)

        line(*HEAD)
        line(*["---"] * len(HEAD))
        for row in table:
            print_row(row, [side.name for side in everyone[:-1]], rounds)
        print(NOTES)
        if options.data and options.ferplus:
            files = ["--data", options.data.resolve(), "--ferplus", options.ferplus.resolve()]
            print()
            print(run([sys.executable, "-m", "peers.fer_accuracy", *files], cwd=HERE).output)


if __name__ == "__main__":
    main()
