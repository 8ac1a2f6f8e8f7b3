"""The accuracy of a file in 8 bits by ONNX Runtime, beside what the file says of itself, and its speed beside that of a file in
32 bits: onnx_accuracy.py FER2013 FERPLUS INT8 FLOAT32, of scripts/check_onnx.sh."""

import csv
import gzip
import json
import statistics
import sys
import time

import numpy as np
import onnxruntime

FERPLUS = ["neutral", "happy", "surprise", "sad", "anger", "disgust", "fear", "contempt"]
data, ferplus, *files = sys.argv[1:]


def session(file):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def answers(session, images):
    batches = [images[i : i + 64] for i in range(0, len(images), 64)]
    return np.concatenate([session.run(["probabilities"], {"images": batch})[0] for batch in batches])


with (gzip.open(data, "rt") if data.endswith(".gz") else open(data)) as table:
    rows = [row for row in csv.DictReader(table) if row["Usage"] != "Training"]
usages = np.array([row["Usage"] for row in rows])
images = np.stack([np.array(row["pixels"].split(), np.uint8).reshape(48, 48) for row in rows])
with open(ferplus) as table:
    votes = np.array([[int(n) for n in row[2:12]] for row in list(csv.reader(table))[1:]])[-len(rows) :]
votes[votes == 1] = 0
most = votes.max(axis=1)
winner = np.where(((votes == most[:, None]).sum(axis=1) == 1) & (most > 0), votes.argmax(axis=1), -1)
winner[winner >= len(FERPLUS)] = -1

sessions = [session(file) for file in files]
metadata = sessions[0].get_modelmeta().custom_metadata_map
labels = json.loads(metadata["labels"])
truth = np.array([labels.index(name) for name in FERPLUS])[winner]
for usage in ("PublicTest", "PrivateTest"):
    chosen = (usages == usage) & (winner >= 0)
    said = json.loads(metadata[f"accuracy_{usage}"])
    found = [float((answers(s, images[chosen]).argmax(axis=1) == truth[chosen]).mean()) for s in sessions]
    print(f"{usage}: {said['faces']} faces; said {said['int8']:.4f} and {said['float32']:.4f}, found {found[0]:.4f} and {found[1]:.4f}")
    assert said["faces"] == chosen.sum()
    assert max(abs(said["int8"] - found[0]), abs(said["float32"] - found[1])) <= 0.001
for count in (1, 32):
    times = [[], []]
    for _ in range(15):
        for of, session in zip(times, sessions):
            start = time.perf_counter()
            session.run(["probabilities"], {"images": images[:count]})
            of.append(time.perf_counter() - start)
    ratios = sorted(in_8 / in_32 for in_8, in_32 in zip(*times))
    print(f"{count} faces at once, one thread: 8 bits take {statistics.median(ratios):.2f} of the time of 32 ({ratios[3]:.2f} to {ratios[11]:.2f})")
