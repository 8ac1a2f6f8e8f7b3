"""Writes transformed.json: what YuNet-s finds in ONNX Runtime on random transforms of the photos.

    python make_transformed.py yunet_s.onnx

Each case is a part of a photo, mirrored or not, darker or brighter, in whole numbers, so that both sides see the same pixels:
value·gain // 256, at most 255. Needs numpy, pillow and onnxruntime. yunet_s.onnx is the network of ../weights.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

HERE = Path(__file__).parent
STRIDES = [8, 16, 32]
CASES = 60


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def iou(a, b):
    shared = [max(0, min(a[i + 2], b[i + 2]) - max(a[i], b[i])) for i in (0, 1)]
    area = lambda box: (box[2] - box[0]) * (box[3] - box[1])
    return shared[0] * shared[1] / (area(a) + area(b) - shared[0] * shared[1])


def find(session, picture, threshold=0.7):
    """Corners, score and landmarks of every face, the surest first."""
    height, width = picture.shape[:2]
    x = np.zeros((1, 3, -(-height // 32) * 32, -(-width // 32) * 32), np.float32)
    x[0, :, :height, :width] = picture[:, :, ::-1].transpose(2, 0, 1)
    names = [output.name for output in session.get_outputs()]
    outputs = dict(zip(names, session.run(None, {"x": x})))
    found = []
    for stride in STRIDES:
        cls, box, obj, kps = (outputs[f"{name}_{stride}"][0] for name in ("cls", "bbox", "obj", "kps"))
        scores = np.sqrt(sigmoid(cls[0]) * sigmoid(obj[0]))
        for row, column in zip(*np.where(scores >= threshold)):
            b, k = box[:, row, column], kps[:, row, column]
            cx, cy = (column + b[0]) * stride, (row + b[1]) * stride
            w, h = np.exp(b[2:]) * stride
            points = [(k[i] + (column if i % 2 == 0 else row)) * stride for i in range(10)]
            corners = [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]
            found.append((float(scores[row, column]), [float(v) for v in corners], [float(v) for v in points]))
    kept = []
    for face in sorted(found, key=lambda face: -face[0]):
        if all(iou(face[1], other[1]) <= 0.45 for other in kept):
            kept.append(face)
    return [{"score": score, "box": box, "pts": points} for score, box, points in kept]


def main():
    session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
    random = np.random.default_rng(1)
    cases = []
    for case in range(CASES):
        photo = ["astronaut.png", "camera.png", "astronaut.png", "coffee.png", "chelsea.png"][case % 5]
        pixels = np.asarray(Image.open(HERE / "photos" / photo).convert("RGB"))
        height, width = pixels.shape[:2]
        left, top = (int(random.integers(0, side // 4)) for side in (width, height))
        part = [int(random.integers(side // 2, side - start + 1)) for side, start in ((width, left), (height, top))]
        mirrored, gain = bool(random.integers(2)), int(random.integers(64, 400))
        picture = pixels[top : top + part[1], left : left + part[0]]
        picture = picture[:, ::-1] if mirrored else picture
        picture = np.minimum(picture.astype(np.int32) * gain // 256, 255).astype(np.uint8)
        faces = find(session, picture)
        cases.append(dict(photo=photo, part=[left, top, *part], mirrored=mirrored, gain=gain, faces=faces))
    print(sum(len(case["faces"]) for case in cases), "faces in", len(cases), "cases")
    (HERE / "transformed.json").write_text(json.dumps(cases, indent=1) + "\n")


if __name__ == "__main__":
    main()
