"""Writes blazeface.json: what TensorFlow Lite makes of parts of the photos with BlazeFace.

    python make_blazeface.py face_detection_short_range.tflite

A part is six whole numbers: pixel (x, y) of the 128×128 is that of the photo at ((a·x + b·y + c) >> 16, (d·x + e·y + f) >> 16),
black outside, so that both sides see the same pixels at any size and turn. Of each part: all scores before the logistic
function, the values of the surest anchors, and the eyes of the surest face in pixels of the part, none without a face. Needs
numpy, pillow and tensorflow.
"""

import json
import math
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from make_transformed import iou, sigmoid

HERE = Path(__file__).parent
SIDE, ANCHORS = 128, 12

# The photo, the middle of the part, its side, all in the photo's pixels, and its turn in degrees.
PARTS = [
    ("astronaut.png", (224, 120), 280, 0),
    ("astronaut.png", (240, 140), 180, 0),
    ("astronaut.png", (256, 256), 512, 0),
    ("astronaut.png", (224, 120), 300, 25),
    ("astronaut.png", (224, 120), 240, -40),
    ("camera.png", (228, 156), 200, 0),
    ("camera.png", (220, 150), 150, 15),
    ("coffee.png", (300, 200), 400, 0),
]


def part(photo, middle, side, degrees):
    """The six numbers and the pixels."""
    step = side / SIDE * 65536
    cos, sin = math.cos(math.radians(degrees)) * step, math.sin(math.radians(degrees)) * step
    rows = [(cos, -sin, middle[0]), (sin, cos, middle[1])]
    numbers = []
    for a, b, center in rows:
        a, b = round(a), round(b)
        numbers += [a, b, round(center * 65536) - (a + b) * SIDE // 2]
    y, x = np.mgrid[:SIDE, :SIDE]
    a, b, c, d, e, f = numbers
    column, row = (a * x + b * y + c) >> 16, (d * x + e * y + f) >> 16
    pixels = np.asarray(Image.open(HERE / "photos" / photo).convert("RGB"))
    inside = (row >= 0) & (row < pixels.shape[0]) & (column >= 0) & (column < pixels.shape[1])
    picture = np.zeros((SIDE, SIDE, 3), np.uint8)
    picture[inside] = pixels[row[inside], column[inside]]
    return numbers, picture


def run(graph, picture):
    """All scores, (896), and values, (896, 16)."""
    graph.set_tensor(graph.get_input_details()[0]["index"], (picture / np.float32(127.5) - 1).astype(np.float32)[None])
    graph.invoke()
    outputs = {tuple(detail["shape"]): graph.get_tensor(detail["index"])[0] for detail in graph.get_output_details()}
    return outputs[1, 896, 1][:, 0], outputs[1, 896, 16]


def eyes(scores, values):
    """The surest box and those that it overlaps by more than 0.3, averaged by score."""
    places = [(x, y) for n, each in [(16, 2), (8, 6)] for y in range(n) for x in range(n) for _ in range(each)]
    sizes = [n for n, each in [(16, 2), (8, 6)] for _ in range(n * n * each)]
    anchors = (np.array(places) + 0.5) / np.array(sizes)[:, None] * SIDE
    found = [i for i in np.argsort(-scores, kind="stable") if sigmoid(scores[i]) > 0.5]
    if not found:
        return None
    centers = values[:, :2] + anchors
    boxes = np.hstack([centers - values[:, 2:4] / 2, centers + values[:, 2:4] / 2]).astype(np.float64)
    group = [i for i in found if i == found[0] or iou(boxes[found[0]], boxes[i]) > 0.3]
    points = [values[i, 4:8].reshape(2, 2) + anchors[i] for i in group]
    return np.average(points, axis=0, weights=sigmoid(scores[group].astype(np.float64))).tolist()


def main():
    graph = tf.lite.Interpreter(sys.argv[1])
    graph.allocate_tensors()
    cases = []
    for photo, *where in PARTS:
        numbers, picture = part(photo, *where)
        scores, values = run(graph, picture)
        best = {int(i): values[i] for i in np.argsort(-scores)[:ANCHORS]}
        case = dict(photo=photo, part=numbers, eyes=eyes(scores, values), scores=scores, anchors=best)
        print(photo, where, "best score", sigmoid(scores.max()), "eyes", case["eyes"])
        cases.append(json.dumps(case, default=lambda array: [float(f"{value:.7g}") for value in array]))
    (HERE / "blazeface.json").write_text("[\n" + ",\n".join(cases) + "\n]\n")


if __name__ == "__main__":
    main()
