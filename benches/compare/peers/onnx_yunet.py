"""ONNX Runtime: seconds of YuNet-s on a picture of 640×480, on one thread.

python -m peers.onnx_yunet

The network as an ONNX graph with the weights of crates/fer-detect, all graph optimisations on. Only the network is timed, on
numbers in memory; ours finds the faces in a picture.
"""

import json
import struct
from pathlib import Path

import numpy as np
import onnxruntime
from onnx import checker, helper, numpy_helper
from peers.timing import median_seconds, report

WEIGHTS = Path(__file__).resolve().parents[3] / "crates/fer-detect/weights/yunet_s.safetensors"


class Graph:
    """Nodes with the weights of a safetensors file."""

    def __init__(self, path):
        content = path.read_bytes()
        (length,) = struct.unpack("<Q", content[:8])
        tensors = json.loads(content[8 : 8 + length])
        tensors.pop("__metadata__", None)
        values = content[8 + length :]
        self.nodes, self.weights = [], []
        for name, tensor in tensors.items():
            begin, end = tensor["data_offsets"]
            numbers = np.frombuffer(values[begin:end], np.float32).reshape(tensor["shape"])
            self.weights.append(numpy_helper.from_array(numbers, name))
        self.shapes = {name: tensor["shape"] for name, tensor in tensors.items()}

    def add(self, operator, *inputs, **attributes):
        output = f"{operator}{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def conv(self, x, name, **attributes):
        return self.add("Conv", x, f"{name}.weight", f"{name}.bias", **attributes)

    def block(self, x, name, activated=True):
        x = self.conv(x, f"{name}.pointwise")
        channels = self.shapes[f"{name}.depthwise.weight"][0]
        x = self.conv(x, f"{name}.depthwise", group=channels, pads=[1] * 4)
        return self.add("Relu", x) if activated else x

    def stage(self, x, number, halves=True):
        if halves:
            x = self.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
        x = self.block(x, f"backbone.{number}.first")
        return self.block(x, f"backbone.{number}.second")


def network():
    """The serialised model and its number of parameters."""
    graph = Graph(WEIGHTS)
    x = graph.add("Relu", graph.conv("images", "backbone.stem", strides=[2, 2], pads=[1] * 4))
    x = graph.stage(graph.block(x, "backbone.0"), 1)
    levels = [graph.stage(x, 2, halves=False)]
    for number in (3, 4, 5):
        levels.append(graph.stage(levels[-1], number))
    levels = levels[1:]
    graph.weights.append(numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "twice"))
    for level in (2, 1, 0):
        if level < 2:
            modes = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
            above = graph.add("Resize", levels[level + 1], "", "twice", **modes)
            levels[level] = graph.add("Add", levels[level], above)
        levels[level] = graph.block(levels[level], f"neck.{level}")
    heads = ["class", "box", "object", "points"]
    names = [graph.block(x, f"head.{i}.{head}", False) for i, x in enumerate(levels) for head in heads]
    images = helper.make_tensor_value_info("images", 1, [1, 3, "height", "width"])
    outputs = [helper.make_tensor_value_info(name, 1, [None] * 4) for name in names]
    network = helper.make_graph(graph.nodes, "yunet", [images], outputs, graph.weights)
    model = helper.make_model(network, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model, full_check=True)
    return model.SerializeToString(), sum(int(np.prod(shape)) for shape in graph.shapes.values())


if __name__ == "__main__":
    model, parameters = network()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    x = 255 * np.random.default_rng(42).random((1, 3, 480, 640), dtype=np.float32)
    assert session.run(None, {"images": x})[0].shape == (1, 1, 60, 80)
    seconds = median_seconds(lambda: session.run(None, {"images": x}))
    report(f"ONNX Runtime {onnxruntime.__version__}", seconds, images=1, parameters=parameters)
