"""Twenty steps of training small DCNNs in Keras: writes training.json and training.safetensors beside this file.

    pip install tensorflow-cpu==2.21.0 tf-keras==2.21.0 safetensors==0.8.0
    python training.py

The network is the notebook's with narrow widths and without dropout; the notebook's generation is tf-keras with
its legacy optimisers, today's is Keras 3. Every case starts from the same weights and sees the same batches, the
formulas `images` and `labels`; the last batch of an epoch is smaller, twice of ONE image. The JSON holds the loss
of each step and, with the weights at the end, the loss and the probabilities of the first batch in inference. The
tensors are `initial/NAME` and `CASE/NAME`, named and shaped as this project does.
"""

import json
import os
import pathlib

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import keras
import numpy as np
import tf_keras
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).parent
BATCHES = [8, 8, 8, 8, 1, 8, 8, 8, 8, 3] * 2
NETWORKS = {
    "three_blocks": {"height": 16, "width": 18, "classes": 3, "dense_units": 8,
                     "blocks": [[4, 5], [6, 3], [8, 3]]},
    "two_blocks": {"height": 12, "width": 12, "classes": 7, "dense_units": 6, "blocks": [[4, 3], [5, 5]]},
}
CASES = [
    ("notebook_adam", "three_blocks", "adam", "notebook", 0.0, lambda: tf_keras.optimizers.legacy.Adam(0.001)),
    ("notebook_nadam", "three_blocks", "nadam", "notebook", 0.0, lambda: tf_keras.optimizers.legacy.Nadam(0.001)),
    ("keras3_adam", "three_blocks", "adam", "keras3", 0.0, lambda: keras.optimizers.Adam(0.001)),
    ("keras3_nadam", "three_blocks", "nadam", "keras3", 0.0, lambda: keras.optimizers.Nadam(0.001)),
    ("smoothed", "two_blocks", "adam", "notebook", 0.1, lambda: tf_keras.optimizers.legacy.Adam(0.001)),
]


def labels(step, batch, classes):
    i = np.arange(batch)
    return (i * i + i // 2 + step) % classes


def images(step, batch, height, width, classes):
    """Noise over stripes whose direction is the label's; multiples of 2^-17 in 0..1."""
    i = np.arange(batch * height * width, dtype=np.int64)
    noise = ((31 * i * i + 17 * (step + 1) * i + 7 * step) % 65537).reshape(batch, height, width)
    _, r, c = np.indices(noise.shape)
    stripes = (r * (labels(step, batch, classes) + 1)[:, None, None] + c) % 4
    return ((noise + 16384 * stripes) / 131072).astype(np.float32)[..., None]


def dcnn(k, height, width, classes, dense_units, blocks):
    layers, n = k.layers, 0
    net = k.Sequential([k.Input((height, width, 1))])
    elu = {"activation": "elu", "kernel_initializer": "he_normal"}
    for filters, kernel in blocks:
        for _ in range(2):
            n += 1
            net.add(layers.Conv2D(filters, kernel, padding="same", **elu, name=f"conv2d_{n}"))
            net.add(layers.BatchNormalization(name=f"batchnorm_{n}"))
        net.add(layers.MaxPooling2D(2))
    net.add(layers.Flatten())
    net.add(layers.Dense(dense_units, **elu, name="dense_1"))
    net.add(layers.BatchNormalization(name=f"batchnorm_{n + 1}"))
    net.add(layers.Dense(classes, activation="softmax", name="out_layer"))
    return net


def tensors(net, height, width, blocks, **_):
    """The weights as this project names and shapes them."""
    features = (height >> len(blocks), width >> len(blocks), blocks[-1][0])
    found = {}
    for layer in net.layers:
        values = layer.get_weights()
        if len(values) == 4:
            names = ["weight", "bias", "running_mean", "running_var"]
        else:
            names = ["weight", "bias"]
        for name, value in zip(names, values):
            if value.ndim == 4:
                value = value.transpose(3, 2, 0, 1)
            elif layer.name == "dense_1" and value.ndim == 2:
                value = value.reshape(*features, -1).transpose(3, 2, 0, 1).reshape(value.shape[1], -1)
            elif value.ndim == 2:
                value = value.T
            found[f"{layer.name}.{name}"] = np.ascontiguousarray(value)
    return found


def centre(net, config):
    """Sets the biases of dense_1 so that its units are on both sides of 0 in the first batch. Where all are above,
    ELU is linear, batch normalisation takes the bias away, its gradient is nothing but rounding, and Adam makes
    whole steps of it."""
    before = net.get_weights()
    x = images(0, BATCHES[0], config["height"], config["width"], config["classes"])
    for layer in net.layers:
        if layer.name == "dense_1":
            break
        x = layer(x, training=True)
    net.set_weights(before)
    kernel, _ = layer.get_weights()
    layer.set_weights([kernel, -(np.asarray(x) @ kernel).mean(axis=0)])


saved, cases, initial = {}, [], {}
for network, config in NETWORKS.items():
    keras.utils.set_random_seed(1)
    net = dcnn(keras, **config)
    # Biases that are not zero, as in a network that has been trained before.
    rng = np.random.RandomState(2)
    for layer in net.layers:
        layer.set_weights([v + (v.ndim == 1) * rng.uniform(0, 0.2, v.shape) for v in layer.get_weights()])
    centre(net, config)
    initial[network] = net.get_weights()
    saved |= {f"initial/{network}/{name}": value for name, value in tensors(net, **config).items()}

for name, network, algorithm, generation, smoothing, optimizer in CASES:
    config = NETWORKS[network]
    k = keras if generation == "keras3" else tf_keras
    net = dcnn(k, **config)
    net.set_weights(initial[network])
    net.compile(optimizer(), k.losses.CategoricalCrossentropy(label_smoothing=smoothing))
    size = (config["height"], config["width"], config["classes"])

    def batch(step):
        one_hot = np.eye(config["classes"], dtype=np.float32)[labels(step, BATCHES[step], config["classes"])]
        return images(step, BATCHES[step], *size), one_hot

    losses = []
    for step in range(len(BATCHES)):
        net.reset_metrics()
        losses.append(float(net.train_on_batch(*batch(step))))
    net.reset_metrics()
    cases.append({
        "name": name, "network": network, "algorithm": algorithm, "generation": generation,
        "label_smoothing": smoothing, "losses": losses, "eval_loss": float(net.test_on_batch(*batch(0))),
        "probabilities": net.predict(batch(0)[0], verbose=0).astype(float).tolist(),
    })
    saved |= {f"{name}/{key}": value for key, value in tensors(net, **config).items()}

networks = {
    name: {**config, "blocks": [{"filters": f, "kernel": s, "dropout": 0.0} for f, s in config["blocks"]],
           "channels": 1, "dense_dropout": 0.0}
    for name, config in NETWORKS.items()
}
lines = ",\n".join(json.dumps(case) for case in cases)
(HERE / "training.json").write_text(
    f'{{"batches": {json.dumps(BATCHES)},\n"networks": {json.dumps(networks)},\n"cases": [\n{lines}\n]}}\n'
)
save_file(saved, HERE / "training.safetensors")
(HERE / "training.safetensors").chmod(0o644)
