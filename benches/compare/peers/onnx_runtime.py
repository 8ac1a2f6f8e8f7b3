"""ONNX Runtime: seconds of inference.

python -m peers.onnx_runtime BATCH

The notebook's network as an ONNX graph with random weights (as fast as trained ones), all graph optimisations on.
"""

import sys

import numpy as np
import onnxruntime
from measurement import CORES
from onnx import checker, helper, numpy_helper
from peers.timing import median_seconds, report


class Graph:
    """Nodes one behind the other, with weights of one type."""

    def __init__(self, dtype):
        self.nodes, self.weights, self.last, self.dtype = [], [], "images", dtype
        self.rng = np.random.default_rng(42)

    def weight(self, shape, mean=0.0):
        name = f"weight{len(self.weights)}"
        values = mean + 0.02 * self.rng.standard_normal(shape)
        self.weights.append(numpy_helper.from_array(values.astype(self.dtype), name))
        return name

    def add(self, operator, *weights, **attributes):
        output = f"{operator}{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, [self.last, *weights], [output], **attributes))
        self.last = output

    def elu_and_batch_norm(self, channels):
        self.add("Elu")
        gamma, beta, mean, variance = (self.weight(channels, mean) for mean in [1, 0, 0, 1])
        self.add("BatchNormalization", gamma, beta, mean, variance, epsilon=1e-3)


def network(dtype=np.float32):
    """The serialised model and its number of parameters."""
    graph, channels = Graph(dtype), 1
    for filters, kernel in [(64, 5), (128, 3), (256, 3)]:
        for _ in range(2):
            weights = graph.weight((filters, channels, kernel, kernel)), graph.weight(filters)
            graph.add("Conv", *weights, pads=[kernel // 2] * 4)
            graph.elu_and_batch_norm(filters)
            channels = filters
        graph.add("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    graph.add("Flatten")
    graph.add("Gemm", graph.weight((9216, 128)), graph.weight(128))
    graph.elu_and_batch_norm(128)
    graph.add("Gemm", graph.weight((128, 3)), graph.weight(3))
    graph.add("Softmax", axis=1)
    numbers = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    images = helper.make_tensor_value_info("images", numbers, ["batch", 1, 48, 48])
    output = helper.make_tensor_value_info(graph.last, numbers, ["batch", 3])
    network = helper.make_graph(graph.nodes, "dcnn", [images], [output], graph.weights)
    model = helper.make_model(network, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model, full_check=True)
    return model.SerializeToString(), sum(int(np.prod(weight.dims)) for weight in graph.weights)


if __name__ == "__main__":
    batch = int(sys.argv[1])
    model, parameters = network()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = CORES
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(42).random((batch, 1, 48, 48), dtype=np.float32)
    assert session.run(None, {"images": x})[0].shape == (batch, 3)
    seconds = median_seconds(lambda: session.run(None, {"images": x}))
    name = f"ONNX Runtime {onnxruntime.__version__}"
    report(name, seconds, images=batch, parameters=parameters, threads=options.intra_op_num_threads)
