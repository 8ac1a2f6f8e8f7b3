"""Compares ONNX files with what the project's own classifier says: onnx_runtime.py FOLDER, of tests/onnx.rs."""

import collections
import json
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime


def as_written(path, images):
    """The answers of a file whose operators are computed one by one, none of them in integers."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(["probabilities"], {"images": images})[0]


def integer_operators(path):
    """What ONNX Runtime makes of a file in 8 bits: its operators, by how often they stand there."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(path.with_suffix(".optimised"))
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return collections.Counter(node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node)


worst = {False: 0.0, True: 0.0}
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.onnx")):
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    case = json.loads(path.with_suffix(".json").read_text())
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(metadata["labels"]) == case["labels"], metadata
    channels, height, width = case["input"]
    images = np.array(case["pixels"], np.uint8).reshape(-1, channels, height, width)
    if case["preprocessing"]:
        images = images[:, 0] if channels == 1 else images.transpose(0, 2, 3, 1)
    else:
        images = images.astype(np.float32) * np.float32(case["scale"])
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    expected = np.array(case["probabilities"], np.float32)
    for batch in (1, len(images)):
        (found,) = session.run(["probabilities"], {"images": np.ascontiguousarray(images[:batch])})
        assert found.shape == expected[:batch].shape, found.shape
        difference = float(np.abs(found - expected[:batch]).max())
        in_8_bits = case["in_8_bits"]
        worst[in_8_bits] = max(worst[in_8_bits], difference)
        assert difference < (0.01 if in_8_bits else 1e-5), f"{path.stem}, {batch} images: {difference}"
    spread = float(expected.std(axis=0).max())
    assert spread > 0.005, f"{path.stem}: every image has the same answer"
    if in_8_bits:
        before, after = collections.Counter(node.op_type for node in model.graph.node), integer_operators(path)
        literal = float(np.abs(as_written(path, np.ascontiguousarray(images)) - expected).max())
        assert literal < 1e-5, f"{path.stem}, operator by operator: {literal}"
        assert after["QLinearConv"] == before["Conv"] > 0 and after["QGemm"] == before["Gemm"], after
    print(f"{path.stem:24} {len(model.graph.node):3} operators, largest difference {difference:.1e}, spread of the answers {spread:.3f}")
print(f"onnx {onnx.__version__}, ONNX Runtime {onnxruntime.__version__}: all within {worst[False]:.1e}, in 8 bits within {worst[True]:.1e}")
