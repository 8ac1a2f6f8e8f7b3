"""Writes centerface.json: what CenterFace finds in ONNX Runtime on the transforms of transformed.json.

    python make_centerface.py centerface.onnx

`faces` are found with the weights of ../weights, which have 16 bits, `exact` with those of the .onnx, which have 32. Needs
numpy, onnx, onnxruntime, pillow and safetensors.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from PIL import Image
from safetensors.numpy import load_file

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent / "weights"))

from convert import centerface_layers
from make_transformed import iou


def session(model):
    """The network for one picture of any size: the file says ten of 32×32, and counts the weights as inputs."""
    del model.graph.input[1:]
    for value in [*model.graph.input, *model.graph.output]:
        for dim in value.type.tensor_type.shape.dim:
            dim.Clear()
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def with_weights(model, tensors):
    """The network with these weights, in which the norms after transposed convolutions are folded."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    norms = {node.input[0]: node for node in graph.node if node.op_type == "BatchNormalization"}
    for name, node in centerface_layers(result):
        for part in ("weight", "bias"):
            array = tensors[f"{name}.{part}"].astype(np.float32)
            graph.initializer.append(onnx.numpy_helper.from_array(array, f"{name}.{part}"))
        node.input[:] = [node.input[0], f"{name}.weight", f"{name}.bias"]
        if norm := norms.get(node.output[0]):
            node.output[0] = norm.output[0]
            graph.node.remove(norm)
    return result


def picture(case):
    pixels = np.asarray(Image.open(HERE / "photos" / case["photo"]).convert("RGB"))
    left, top, width, height = case["part"]
    part = pixels[top : top + height, left : left + width]
    part = part[:, ::-1] if case["mirrored"] else part
    return np.minimum(part.astype(np.int32) * case["gain"] // 256, 255).astype(np.float32)


def find(session, picture, threshold=0.35):
    """Corners, score and landmarks of every face, the surest first."""
    height, width = picture.shape[:2]
    # Pillow resizes planes of floats without rounding.
    full_width, full_height = (-(-side // 32) * 32 for side in (width, height))
    planes = [Image.fromarray(np.ascontiguousarray(picture[:, :, channel])) for channel in range(3)]
    planes = [np.asarray(plane.resize((full_width, full_height), Image.Resampling.BILINEAR)) for plane in planes]
    outputs = session.run(["537", "538", "539", "540"], {"input.1": np.stack(planes)[None]})
    heat, size, offset, points = (output[0] for output in outputs)
    stretch = np.array([width / full_width, height / full_height])
    found = []
    for row, column in zip(*np.where(heat[0] >= threshold)):
        h, w = 4 * np.exp(size[:, row, column])
        x = 4 * (column + offset[1, row, column] + 0.5) - w / 2
        y = 4 * (row + offset[0, row, column] + 0.5) - h / 2
        p = points[:, row, column]
        places = [(x, y), (x + w, y + h)] + [(x + w * p[2 * j + 1], y + h * p[2 * j]) for j in range(5)]
        corners, landmarks = np.split((np.array(places) * stretch).ravel(), [4])
        found.append((float(heat[0, row, column]), corners.tolist(), landmarks.tolist()))
    kept = []
    for face in sorted(found, key=lambda face: -face[0]):
        if all(iou(face[1], other[1]) <= 0.3 for other in kept):
            kept.append(face)
    return [{"score": score, "box": box, "pts": points} for score, box, points in kept]


def main():
    # The file names weights that its graph does not use, with a warning for each.
    onnxruntime.set_default_logger_severity(3)
    model = onnx.load(sys.argv[1])
    tensors = load_file(HERE.parent / "weights" / "centerface.safetensors")
    rounded, exact = session(with_weights(model, tensors)), session(model)
    cases = json.loads((HERE / "transformed.json").read_text())
    for case in cases:
        case["faces"] = find(rounded, picture(case))
        case["exact"] = find(exact, picture(case))
    pairs = [pair for case in cases for pair in zip(case["faces"], case["exact"], strict=True)]
    print(len(pairs), "faces in", len(cases), "cases")
    print("16 bits move boxes by an IoU of", max(1 - iou(a["box"], b["box"]) for a, b in pairs))
    print("and scores by", max(abs(a["score"] - b["score"]) for a, b in pairs))
    print("and landmarks by", max(np.abs(np.subtract(a["pts"], b["pts"])).max() for a, b in pairs), "pixels")
    (HERE / "centerface.json").write_text(json.dumps(cases, indent=1) + "\n")


if __name__ == "__main__":
    main()
