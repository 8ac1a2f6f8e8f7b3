"""What is measured beside what, and the bounds of each ratio."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import ours
from measurement import PARAMETERS, VGG_PARAMETERS, YUNET_PARAMETERS, Measurement, run

# Training steps of the processes whose memory is measured.
STEPS = 20


@dataclass
class Beside:
    """What ours is measured beside: a peer, a limit, or ours in another way."""

    measure: Callable[[], Measurement]
    at_most: float | None = None
    aim: float | None = None


@dataclass
class Row:
    work: str
    ours: Callable[[], Measurement]
    beside: list[Beside]
    # Of the network that it is about.
    parameters: int = PARAMETERS


def network_rows(torch, before):
    """Training and inference of the notebook's network, on images in memory."""
    inference = [(32, 0.32, 0.28, None, None), (256, 0.32, 0.28, None, None), (1, 0.60, 0.40, 0.60, 0.40)]
    step = [Beside(partial(peer, "tf_dcnn", "train_step", 32), 0.34, 0.27)]
    rows = [Row("training step, batch 32", partial(ours.criterion, "train_step", "train_step/32"), step)]
    if torch:
        step.append(Beside(partial(peer, "torch_dcnn", "train_step", 32)))
    step += older(before, "train_step", "train_step/32")
    for batch, at_most, aim, onnx_at_most, onnx_aim in inference:
        beside = [
            Beside(partial(peer, "tf_dcnn", "inference", batch), at_most, aim),
            Beside(partial(peer, "onnx_runtime", batch), onnx_at_most, onnx_aim),
        ]
        if torch:
            beside.append(Beside(partial(peer, "torch_dcnn", "inference", batch)))
        beside += older(before, "inference", f"inference/{batch}")
        classify = partial(ours.criterion, "inference", f"inference/{batch}")
        rows.append(Row(f"inference, batch {batch}", classify, beside))
    return rows


def vgg_rows(torch):
    """Training and inference of the `vgg` chain, on images in memory."""
    rows = []
    modules = ["tf_vgg", "torch_vgg"] if torch else ["tf_vgg"]
    works = [("training step", "train_step", 128, 0.40), ("inference", "inference", 256, None)]
    for name, work, batch, at_most in works:
        beside = [Beside(partial(peer, module, work, batch), at_most) for module in modules]
        rows.append(Row(f"{name}, vgg, batch {batch}", partial(ours.vgg, work, batch), beside, VGG_PARAMETERS))
    return rows


def face_rows():
    """Faces in a picture, in memory."""
    faces = partial(ours.criterion, "detect", "detect/faces")
    emotions = partial(ours.criterion, "detect", "detect/emotions on two threads")
    yunet = partial(peer, "onnx_yunet")
    return [
        Row("faces in 640×480, one thread", faces, [Beside(yunet, 0.95, 0.60)], YUNET_PARAMETERS),
        # The detector alone, on one thread: the whole way may take three times as long.
        Row("three faces and their emotions, two threads", emotions, [Beside(yunet, 3)], YUNET_PARAMETERS),
    ]


def data_rows(data, folder):
    """From the real file."""
    half = folder / "half.csv"
    with open(data, "rb") as whole, open(half, "wb") as part:
        count = sum(1 for _ in whole)
        whole.seek(0)
        part.writelines(islice(whole, count // 2))
    read = partial(ours.criterion, "load", "read/FER2013_CSV", FER2013_CSV=str(data))
    return [
        Row(
            "peak memory of training, batch 32",
            partial(ours.training_memory, data, folder, STEPS),
            [Beside(partial(keras_memory, data), 0.60, 0.35)],
        ),
        Row("fer2013.csv to u8 images", read, [Beside(partial(peer, "pandas_csv", data), 0.05, 0.02)]),
        Row(
            "`split_dataset`, twice the images: time",
            partial(ours.split_seconds, data, folder),
            [Beside(partial(twice, ours.split_seconds, half, folder), 1.05)],
        ),
        Row(
            "`split_dataset`, twice the images: memory",
            partial(ours.split_memory, data, folder),
            [Beside(partial(twice, ours.split_memory, half, folder), 1.05)],
        ),
    ]


def own_rows(folder):
    """Small things, and what this project is measured by alone."""
    step = partial(ours.criterion, "train_step", "train_step/32")
    one_thread = partial(step, "ours, one thread", RAYON_NUM_THREADS="1")
    epoch = partial(ours.criterion, "epoch", "epoch/loader")
    ready = partial(ours.criterion, "epoch", "epoch/tensors", "ours, batches ready")
    augment = partial(ours.criterion, "augment", "augment/notebook")
    return [
        Row("augmentation of an image, one core", augment, [Beside(partial(peer, "keras_generator"), 1 / 30, 1 / 100)]),
        Row(
            "`predict` on one image, whole process",
            partial(ours.prediction, folder),
            [Beside(partial(Measurement, "a limit", 0.150), 1, 0.4)],
        ),
        Row("training step, two threads", partial(step, RAYON_NUM_THREADS="2"), [Beside(one_thread, 1 / 1.7)]),
        Row("four steps of an epoch, with its loading", epoch, [Beside(ready, 1.03)]),
    ]


def native_rows():
    """The plain build beside one for this very processor."""
    return [
        Row(f"{work}, plain build", partial(ours.criterion, *name), [Beside(partial(ours.native, *name), 1.05)])
        for work, name in [
            ("training step, batch 32", ("train_step", "train_step/32")),
            ("inference, batch 32", ("inference", "inference/32")),
        ]
    ]


def older(checkout, *name):
    """The same benchmark in the older checkout, where there is one."""
    return [Beside(partial(ours.before, checkout.resolve(), *name), 1)] if checkout else []


def peer(module, *arguments):
    """What the peer reports."""
    return peer_and_memory(module, *arguments)[0]


def keras_memory(data):
    """The peak memory of the notebook's lines in TensorFlow."""
    report, memory = peer_and_memory("keras_training", data, STEPS)
    return Measurement(report.name, memory, "bytes", report.work)


def peer_and_memory(module, *arguments):
    here = Path(__file__).resolve().parent
    finished = run([sys.executable, "-m", f"peers.{module}", *arguments], cwd=here)
    return Measurement(**json.loads(finished.output.splitlines()[-1])), finished.peak


def twice(measure, *arguments):
    """Two times what half of the work takes."""
    half = measure(*arguments)
    return Measurement("ours, two times half", 2 * half.value, half.unit)
