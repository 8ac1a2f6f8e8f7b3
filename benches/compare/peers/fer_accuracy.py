"""The `fer` package: accuracy of its networks on the PrivateTest rows of FER2013, by FER2013's labels and by FER+'s.

python -m peers.fer_accuracy --data fer2013.csv[.gz] --ferplus fer2013new.csv

The faces are taken as they are, as FER2013 cut them: no detector looks for them. What comes next is the package's own:
64x64 pixels by `cv2.resize`, grey values brought to -1 to 1. Measured are the network that it takes by default,
quantised for TensorFlow Lite, and `emotion_model.hdf5`, which `FER(use_tflite=False)` takes.

By FER2013's seven labels all rows count. By FER+: votes of 1 are taken for 0, and only rows count where one emotion
has more votes than anything else, "unknown" and "NF" included. The package's angry, disgust, fear, happy, sad, surprise
and neutral are FER+'s anger, disgust, fear, happiness, sadness, surprise and neutral; it has no contempt, so these rows,
though few, are all wrong.
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import cv2
import fer
import numpy as np
import pandas as pd
import tensorflow as tf

FERPLUS = ["anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral", "contempt"]
FILES = Path(fer.__file__).parent / "data"


def quantised(faces):
    """What FER() takes."""
    network = tf.lite.Interpreter(str(FILES / "emotion_model_quantized.tflite"))
    network.allocate_tensors()
    entry, exit = network.get_input_details()[0]["index"], network.get_output_details()[0]["index"]
    answers = []
    for face in faces:
        network.set_tensor(entry, face[None])
        network.invoke()
        answers.append(network.get_tensor(exit)[0])
    return np.array(answers)


def keras(faces):
    """What FER(use_tflite=False) takes."""
    network = tf.keras.models.load_model(FILES / "emotion_model.hdf5", compile=False)
    return network.predict(faces, batch_size=64, verbose=0)


def winners(votes):
    """The emotion, numbered as in FERPLUS, that alone has the most votes; -1 where there is none."""
    votes = votes[[*FERPLUS, "unknown", "NF"]].to_numpy()
    votes = np.where(votes == 1, 0, votes)
    most = votes.max(axis=1)
    alone = ((votes == most[:, None]).sum(axis=1) == 1) & (most > 0)
    winner = votes.argmax(axis=1)
    return np.where(alone & (winner < len(FERPLUS)), winner, -1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--ferplus", type=Path, required=True)
    options = parser.parse_args()

    rows = pd.read_csv(options.data)
    private = (rows.Usage == "PrivateTest").to_numpy()
    labels = rows.emotion[private].to_numpy()
    winner = winners(pd.read_csv(options.ferplus)[private])
    counted = winner >= 0
    images = [np.array(pixels.split(), np.uint8).reshape(48, 48) for pixels in rows.pixels[private]]
    faces = np.array([cv2.resize(image, (64, 64)) for image in images], np.float32)[..., None] / 255
    faces = (faces - 0.5) * 2

    print(f"| network of `fer` | FER2013, {len(labels)} rows | FER+, {counted.sum()} rows |\n| --- | --- | --- |")
    for name, network in [("quantised, by default", quantised), ("`emotion_model.hdf5`", keras)]:
        answers = network(faces).argmax(axis=1)
        plus = (answers == winner)[counted].mean()
        print(f"| {name} | {(answers == labels).mean():.4f} | {plus:.4f} |")
    print(f"\nOf the FER+ rows {np.sum(winner == FERPLUS.index('contempt'))} are contempt.")
