"""Small DCNNs as Keras 2 and Keras 3 save them, and what they say of ten images: writes keras_h5.json and
keras_h5/*.h5.

    pip install tensorflow-cpu==2.21.0 tf-keras==2.21.0
    python keras_h5.py

The network is the notebook's with narrow widths; every weight is random, moving statistics too. The images
are the formula `images`. With a file as argument it writes nothing: `python keras_h5.py FILE.h5 HEIGHT WIDTH`
loads that model in both Kerases, its weights alone too, and prints the probabilities as JSON.
"""

import json
import os
import pathlib
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import h5py
import keras
import numpy as np
import tf_keras

HERE = pathlib.Path(__file__).parent
NOTEBOOK = {"height": 48, "width": 48, "classes": 3, "blocks": [[4, 5, 0.4], [6, 3, 0.4], [8, 3, 0.5]]}
OTHER = {"height": 33, "width": 20, "classes": 7, "blocks": [[5, 3, 0.25], [6, 7, 0.125]]}


def dcnn(k, height, width, classes, blocks, named):
    """`named`: with the notebook's layer names; otherwise Keras makes them up."""
    layers, n = k.layers, 0
    name = (lambda text: {"name": text}) if named else (lambda _: {})
    k.backend.clear_session()
    net = k.Sequential([k.Input((height, width, 1))], name="DCNN")
    for b, (filters, kernel, rate) in enumerate(blocks, 1):
        for _ in range(2):
            n += 1
            conv = {"activation": "elu", "padding": "same", "kernel_initializer": "he_normal"}
            net.add(layers.Conv2D(filters, (kernel, kernel), **conv, **name(f"conv2d_{n}")))
            net.add(layers.BatchNormalization(**name(f"batchnorm_{n}")))
        net.add(layers.MaxPooling2D(pool_size=(2, 2), **name(f"maxpool2d_{b}")))
        net.add(layers.Dropout(rate, **name(f"dropout_{b}")))
    net.add(layers.Flatten(**name("flatten")))
    net.add(layers.Dense(8, activation="elu", kernel_initializer="he_normal", **name("dense_1")))
    net.add(layers.BatchNormalization(**name(f"batchnorm_{n + 1}")))
    net.add(layers.Dropout(0.6, **name(f"dropout_{len(blocks) + 1}")))
    net.add(layers.Dense(classes, activation="softmax", **name("out_layer")))
    net.compile("sgd", "categorical_crossentropy")
    rng = np.random.RandomState(len(blocks))
    for layer in net.layers:
        values = []
        for old in layer.get_weights():
            spread = np.sqrt(1 / np.prod(old.shape[:-1])) if old.ndim > 1 else 0.2
            offset = old + rng.uniform(0, 0.5, old.shape) if old.ndim == 1 else 0
            values.append(offset + rng.normal(0, spread, old.shape))
        if len(values) == 4:
            values[3] = rng.uniform(0.5, 2, values[3].shape)
        layer.set_weights(values)
    # Logits of mean 0 and deviation 1, so that every probability counts.
    features = k.Model(net.inputs, net.layers[-2].output).predict(images(height, width), verbose=0)
    kernel, _ = net.layers[-1].get_weights()
    kernel /= (features @ kernel).std(axis=0)
    net.layers[-1].set_weights([kernel, -(features @ kernel).mean(axis=0)])
    return net


def images(height, width):
    n, r, c = np.indices((10, height, width))
    pixels = (37 * r + 11 * c * c + r * c * (n + 1) + 53 * n) % 256
    return (pixels.astype(np.float32) / np.float32(255))[..., None]


def probabilities(net, shape):
    return [[float(f"{p:.8g}") for p in row] for row in net.predict(images(*shape), verbose=0)]


def fixed_and_chunked(source, target):
    """The same weights in today's HDF5 format, their names as fixed-length strings in several attributes, and
    the layers' names in alphabetical order."""
    with h5py.File(source) as old, h5py.File(target, "w", libver="latest") as new:
        names = sorted(old.attrs["layer_names"])
        for part, chunk in enumerate(np.array_split(np.array(names, dtype="S"), 4)):
            new.attrs[f"layer_names{part}"] = chunk
        for name in names:
            old.copy(name, new)
            weights = np.array(old[name].attrs["weight_names"], dtype="S")
            new[name].attrs["weight_names"] = weights if weights.size else np.zeros(0)


def main():
    folder = HERE / "keras_h5"
    folder.mkdir(exist_ok=True)
    files = {}

    def record(name, config, net, **also):
        shape = (config["height"], config["width"])
        files[name] = {**config, **also, "probabilities": probabilities(net, shape)}

    net = dcnn(tf_keras, **NOTEBOOK, named=True)
    for name, save in {
        "keras2_model.h5": net.save,
        "keras2_weights.h5": net.save_weights,
        "keras2.weights.h5": net.save_weights,
    }.items():
        save(folder / name)
        record(name, NOTEBOOK, net, generation=2)
    fixed_and_chunked(folder / "keras2_weights.h5", folder / "keras2_fixed.h5")
    record("keras2_fixed.h5", NOTEBOOK, net, generation=2)
    net = dcnn(tf_keras, **OTHER, named=False)
    net.save(folder / "keras2_other.h5")
    record("keras2_other.h5", OTHER, net, generation=2)

    net = dcnn(keras, **NOTEBOOK, named=True)
    net.save(folder / "keras3_model.h5")
    record("keras3_model.h5", NOTEBOOK, net, generation=3)
    net.save_weights(folder / "keras3.weights.h5")
    record("keras3.weights.h5", NOTEBOOK, net, generation=2)  # the file does not say
    net = dcnn(keras, **OTHER, named=False)
    net.save(folder / "keras3_other.h5")
    record("keras3_other.h5", OTHER, net, generation=3)
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in files.items())
    (HERE / "keras_h5.json").write_text(f"{{\n{lines}\n}}\n")


def check(path, height, width):
    answers = []
    for k in (tf_keras, keras):
        net = k.models.load_model(path)
        answers.append(probabilities(net, (height, width)))
        for layer in net.layers:
            layer.set_weights([np.zeros_like(value) for value in layer.get_weights()])
        net.load_weights(path)
        answers.append(probabilities(net, (height, width)))
    print(json.dumps(answers))


if __name__ == "__main__":
    check(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])) if sys.argv[1:] else main()
