"""Small networks as Keras 2 and Keras 3 save them, of the layers that other people's models have, and what they say of ten
images: writes keras_models.json and keras_models/*.

    pip install tensorflow-cpu==2.21.0 tf-keras==2.21.0
    python keras_models.py

Weights are random. The images are the formula `images`.
"""

import json
import os
import pathlib

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import tf_keras

HERE = pathlib.Path(__file__).parent


def images(height, width, channels):
    n, r, c, k = np.indices((10, height, width, channels))
    return ((37 * r + 11 * c * c + r * c * (n + 1) + 53 * n + 91 * k) % 256).astype(np.float32)


def randomised(net, seed):
    rng = np.random.RandomState(seed)
    for layer in net.layers:
        values = []
        for weight, old in zip(layer.weights, layer.get_weights()):
            name = weight.name
            if "variance" in name:
                values.append(rng.uniform(0.5, 2, old.shape))
            elif old.ndim == 1 or "alpha" in name:
                values.append(old + rng.normal(0, 0.3, old.shape))
            else:
                values.append(rng.normal(0, np.sqrt(2 / np.prod(old.shape[:-1])), old.shape))
        if values:
            layer.set_weights(values)
    return net


def xception(k, side=32, separable=(8, 12)):
    """oarriaga's mini-Xception, narrow."""
    l = k.layers
    x = image = k.Input((side, side, 1))
    for _ in range(2):
        x = l.Conv2D(4, 3, use_bias=False)(x)
        x = l.BatchNormalization()(x)
        x = l.Activation("relu")(x)
    for filters in separable:
        residual = l.BatchNormalization()(l.Conv2D(filters, 1, strides=2, padding="same", use_bias=False)(x))
        x = l.SeparableConv2D(filters, 3, padding="same", use_bias=False)(x)
        x = l.BatchNormalization()(x)
        x = l.Activation("relu")(x)
        x = l.SeparableConv2D(filters, 3, padding="same", use_bias=False)(x)
        x = l.BatchNormalization()(x)
        x = l.MaxPooling2D(3, strides=2, padding="same")(x)
        x = l.add([x, residual])
    x = l.Conv2D(7, 3, padding="same")(x)
    x = l.GlobalAveragePooling2D()(x)
    return k.Model(image, l.Activation("softmax", name="predictions")(x))


def plain(k, extra=True):
    """Activations as layers, norms without scale or centre, layers of training alone, a norm over what is flattened."""
    l = k.layers
    layers = [k.Input((20, 17, 1)), l.Conv2D(5, 3, padding="same", use_bias=False), l.BatchNormalization(scale=False), l.ReLU()]
    if extra:
        layers += [l.RandomFlip("horizontal"), l.SpatialDropout2D(0.2)]
    layers += [
        l.AveragePooling2D(3, strides=2, padding="same"),
        l.Conv2D(6, 3),
        l.BatchNormalization(center=False, momentum=0.9, epsilon=1e-4),
        l.LeakyReLU(),
        l.GaussianNoise(0.1),
        l.PReLU(shared_axes=[1, 2]),
        l.MaxPooling2D(2),
        l.Flatten(),
        l.BatchNormalization(),
        l.Dropout(0.3),
        l.Dense(9, activation="swish"),
        l.Dense(4),
        l.Softmax(),
    ]
    return k.Sequential(layers)


def colour(k):
    """Three channels, rescaling, zero padding as ResNet50 has it, depthwise with a multiplier, groups, a sum of three."""
    l = k.layers
    image = k.Input((24, 24, 3))
    x = l.Rescaling(1 / 127.5, offset=-1)(image)
    x = l.ZeroPadding2D(((1, 0), (0, 2)))(x)
    x = l.Conv2D(6, 3, strides=2, activation="elu")(x)
    a = l.DepthwiseConv2D(3, depth_multiplier=2, padding="same", activation="sigmoid")(x)
    b = l.Conv2D(12, 3, padding="same", groups=3, activation="relu")(x)
    c = l.SeparableConv2D(12, 5, padding="same", depth_multiplier=2, activation="silu" if k is keras else "swish")(x)
    x = l.Add()([a, b, c])
    x = l.UpSampling2D(2)(l.MaxPooling2D(2)(x))
    x = l.Flatten()(x)
    return k.Model(image, l.Dense(5, activation="softmax", use_bias=False)(x))


def branches(k):
    """Sums of three and of two with Keras' names for them, a PReLU over what is flattened."""
    l = k.layers
    image = k.Input((12, 10, 1))
    x = l.Conv2D(3, 3, padding="same")(image)
    a = l.Conv2D(3, 3, padding="same", activation="relu")(x)
    b = l.SeparableConv2D(3, 3, padding="same", name="both")(x)
    c = l.Conv2D(3, 1, name="both_depthwise")(b)
    x = l.Add(name="add")([x, a, c])
    x = l.Add(name="add_1")([x, b])
    x = l.PReLU()(l.Flatten()(x))
    return k.Model(image, l.Dense(4, activation="softmax")(x))


def main():
    folder = HERE / "keras_models"
    folder.mkdir(exist_ok=True)
    golden = {}

    def record(net, shape, *names, saves):
        pixels = images(*shape)
        scaled = pixels if any("escaling" in type(l).__name__ for l in net.layers) else pixels / np.float32(255)
        answers = [[float(f"{p:.8g}") for p in row] for row in net.predict(scaled, verbose=0)]
        for name, save in zip(names, saves):
            save(str(folder / name))
            golden[name] = {"height": shape[0], "width": shape[1], "channels": shape[2], "probabilities": answers}

    for k, of in ((tf_keras, "keras2"), (keras, "keras3")):
        k.backend.clear_session()
        net = randomised(xception(k), 1)
        record(net, (32, 32, 1), f"{of}_xception.h5", f"{of}_xception.keras", saves=[net.save, net.save])
        weights = f"{of}_xception.weights.h5"
        record(net, (32, 32, 1), weights, saves=[net.save_weights])
        (folder / f"{of}_xception.json").write_text(net.to_json())
        k.backend.clear_session()
        net = randomised(plain(k), 2)
        record(net, (20, 17, 1), f"{of}_plain.h5", f"{of}_plain.keras", saves=[net.save, net.save])
        k.backend.clear_session()
        net = randomised(colour(k), 3)
        record(net, (24, 24, 3), f"{of}_colour.h5", f"{of}_colour.keras", saves=[net.save, net.save])
        k.backend.clear_session()
        net = randomised(branches(k), 4)
        record(net, (12, 10, 1), f"{of}_branches.keras", saves=[net.save])
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in golden.items())
    (HERE / "keras_models.json").write_text(f"{{\n{lines}\n}}\n")


if __name__ == "__main__":
    main()
