"""This project's side: criterion's medians, and whole processes of the examples, all release builds."""

import json
import math
import os
import re
import signal
import statistics
import struct
import subprocess
import time
import zlib
from pathlib import Path

from measurement import PARAMETERS, Measurement, run

ROOT = Path(__file__).resolve().parent.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
EXAMPLES = TARGET / "release" / "examples"

# train_dcnn's own faces, with the notebook's network in place of the narrow one that it trains on them.
NOTEBOOK_NETWORK_ON_DRAWN_FACES = """
drawn_faces = 200
[model]
dense_units = 128
dense_dropout = 0.6
blocks = [
    { filters = 64, kernel = 5, dropout = 0.4 },
    { filters = 128, kernel = 3, dropout = 0.4 },
    { filters = 256, kernel = 3, dropout = 0.5 },
]
"""


def criterion(bench, name, label="ours", target=TARGET, root=ROOT, **environment):
    """The median seconds of the benchmark `name` in benches/`bench`.rs of the checkout `root`."""
    results = target / "criterion" / name / "new"
    (results / "estimates.json").unlink(missing_ok=True)
    command = ["cargo", "bench", "--quiet", "--bench", bench, "--", "--noplot", f"^{name}$"]
    run(command, cwd=root, env={**os.environ, "CARGO_TARGET_DIR": str(target), **environment})
    estimates = json.loads((results / "estimates.json").read_text())
    throughput = json.loads((results / "benchmark.json").read_text())["throughput"]
    return Measurement(label, estimates["median"]["point_estimate"] / 1e9, work={"images": throughput["Elements"]})


def vgg(work, batch):
    """What benches/vgg.rs reports."""
    command = ["cargo", "bench", "--quiet", "--bench", "vgg", "--", work, batch]
    finished = run(command, cwd=ROOT, env={**os.environ, "CARGO_TARGET_DIR": str(TARGET)})
    return Measurement(**json.loads(finished.output.splitlines()[-1]))


def before(checkout, bench, name):
    """The same benchmark in another checkout of this project."""
    return criterion(bench, name, f"ours at {version(checkout)}", checkout / "target", checkout)


def native(bench, name):
    """The same benchmark compiled for this very processor."""
    flags = {"RUSTFLAGS": "-C target-cpu=native"}
    return criterion(bench, name, "target-cpu=native", TARGET / "native", **flags)


def training_memory(data, folder, steps, seconds=15):
    """The peak memory of `train_dcnn` on the file `data`, interrupted after at least `steps` steps."""

    def interrupt(child, errors):
        # The first step has been made when the epoch is announced.
        while child.poll() is None and "Epoch 1/" not in Path(errors).read_text():
            time.sleep(0.1)
        time.sleep(seconds)
        child.send_signal(signal.SIGINT)

    command = [EXAMPLES / "train_dcnn", "--data", data, "--epochs", "1", "--overwrite", "--out", folder / "training"]
    # 130: interrupted, and everything saved.
    finished = run(command, ends_with=130, while_running=interrupt)
    made = int(re.search(r"after (\d+) steps", finished.errors)[1])
    if made < steps:
        return training_memory(data, folder, steps, 2 * seconds)
    work = {
        "steps": int(re.search(r"Train for (\d+) steps", finished.output)[1]),
        "parameters": int(re.search(r"Total params: ([\d,]+)", finished.output)[1].replace(",", "")),
    }
    return Measurement("ours", finished.peak, "bytes", work)


def split_seconds(data, folder):
    """The seconds of the whole process of `split_dataset` on the file `data`."""
    return Measurement("ours", split(data, folder).seconds)


def split_memory(data, folder):
    """The peak memory of the same."""
    return Measurement("ours", split(data, folder).peak, "bytes")


def split(data, folder):
    return run([EXAMPLES / "split_dataset", "--data", data, "--out", folder / "split.csv"])


def model(folder):
    """A model of the notebook's network in `folder`, trained for a moment on drawn faces, and its path."""
    saved = folder / "model"
    if saved.exists():
        return saved
    (folder / "notebook.toml").write_text(NOTEBOOK_NETWORK_ON_DRAWN_FACES)
    run([EXAMPLES / "train_dcnn", "--config", folder / "notebook.toml", "--epochs", "1", "--out", saved])
    weights = (saved / "model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", weights[:8])
    tensors = json.loads(weights[8 : 8 + length])
    parameters = sum(math.prod(tensor["shape"]) for name, tensor in tensors.items() if name != "__metadata__")
    if parameters != PARAMETERS:
        raise SystemExit(f"error: the model has {parameters} parameters, not {PARAMETERS}")
    return saved


def face(path, side=48):
    """Writes a grey PNG, an oval on a gradient, and gives its path."""
    middle = side / 2
    rows = bytearray()
    for y in range(side):
        rows.append(0)  # no filter
        for x in range(side):
            inside = ((x - middle) / 0.35) ** 2 + ((y - middle) / 0.45) ** 2 < side**2
            rows.append(180 if inside else x + y)

    def chunk(kind, content):
        checked = kind + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(bytes(rows))), chunk(b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


def prediction(folder, times=31):
    """The median seconds of the whole process of `predict`."""
    command = [EXAMPLES / "predict", "--model", model(folder), face(folder / "face.png")]
    runs = [run(command) for _ in range(times)]
    if "probabilities" not in json.loads(runs[0].output):
        raise SystemExit(f"error: predict said {runs[0].output}")
    return Measurement("ours", statistics.median(finished.seconds for finished in runs))


def version(root=ROOT):
    """The commit of the checkout, marked where files differ from it."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    return subprocess.run(command, cwd=root, capture_output=True, text=True).stdout.strip() or "an unknown commit"


def compiler():
    return subprocess.run(["rustc", "--version"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
