"""deepface's emotion network with random weights, as fast as its own, which it would load from the network.

python -m peers.deepface_weights HOME

Writes for TensorFlow what deepface's own function builds, and for ONNX Runtime the same layers as a graph, to where
deepface looks for its weights when DEEPFACE_HOME is HOME.
"""

import os
import sys
from pathlib import Path
from unittest import mock

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# As deepface sets it before it loads TensorFlow.
os.environ["TF_USE_LEGACY_KERAS"] = "1"

from deepface.commons import weight_utils
from deepface.models.demography.tf import Emotion
from onnx import TensorProto, checker, helper

from peers.onnx_runtime import Graph


def keras_network():
    """What deepface's function builds, left as it was initialised."""
    with (
        mock.patch.object(weight_utils, "download_weights_if_necessary"),
        mock.patch.object(weight_utils, "load_model_weights", lambda model, weight_file: model),
    ):
        return Emotion.load_model()


def onnx_network(keras):
    """The layers of the Keras network in the notation of ONNX; pictures come with their channel last, as deepface sends
    them."""
    graph = Graph("float32")
    graph.add("Transpose", perm=[0, 3, 1, 2])
    for layer in keras.layers:
        kind = type(layer).__name__
        if kind == "Conv2D":
            rows, columns, channels, filters = layer.kernel.shape
            graph.add("Conv", graph.weight((filters, channels, rows, columns)), graph.weight(filters))
        elif kind == "Dense":
            graph.add("Gemm", graph.weight(tuple(layer.kernel.shape)), graph.weight(layer.units))
        elif kind in ("MaxPooling2D", "AveragePooling2D"):
            pool = kind.removesuffix("ing2D")
            graph.add(pool, kernel_shape=layer.pool_size, strides=layer.strides)
        elif kind == "Flatten":
            graph.add("Flatten")
        elif kind != "Dropout":
            raise SystemExit(f"error: deepface's network has a layer {kind}")
        activation = getattr(layer, "activation", None)
        if activation is not None:
            graph.add({"relu": "Relu", "softmax": "Softmax"}[activation.__name__])
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 48, 48, 1])
    output = helper.make_tensor_value_info(graph.last, TensorProto.FLOAT, ["batch", 7])
    network = helper.make_graph(graph.nodes, "emotion", [images], [output], graph.weights)
    model = helper.make_model(network, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model, full_check=True)
    return model


if __name__ == "__main__":
    folder = Path(sys.argv[1]) / ".deepface" / "weights"
    folder.mkdir(parents=True, exist_ok=True)
    keras = keras_network()
    keras.save_weights(folder / Path(Emotion.WEIGHTS_URL[0]).name)
    (folder / "facial_expression_model_weights.onnx").write_bytes(onnx_network(keras).SerializeToString())
