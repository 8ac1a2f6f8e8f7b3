"""What Keras' layers make of given inputs, forward and backward: writes layers.json beside this file.

    pip install tensorflow-cpu==2.21.0 tf-keras==2.21.0
    python layers.py

The notebook's generation is tf-keras, today's is Keras 3; where they differ (batch normalisation) both are
written, elsewhere the script asserts that they agree. Gradients are those of sum(dy·y). The inputs are the
formula `drawn`, multiples of 1/128 in -1..1, so that only results are written. Shapes and values are in this
project's order: (batch, channels, height, width), weights (out, in, height, width) and (out, in).
"""

import json
import os
import pathlib

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import keras
import numpy as np
import tensorflow as tf
import tf_keras

GENERATIONS = {"notebook": tf_keras, "keras3": keras}


def drawn(shape, seed):
    i = np.arange(int(np.prod(shape)), dtype=np.int64)
    return (((31 * i * i + 17 * (seed + 1) * i + 7 * seed) % 257 - 128) / 128).astype(np.float32).reshape(shape)


def keras_order(array):
    """(batch, channels, height, width) to (batch, height, width, channels)."""
    return array.transpose(0, 2, 3, 1) if array.ndim == 4 else array


def values(array):
    """In this project's order."""
    array = np.asarray(array)
    array = array.transpose(0, 3, 1, 2) if array.ndim == 4 else array
    return [float(f"{v:.9g}") for v in array.ravel()]


def weights(array):
    array = np.asarray(array)
    axes = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[array.ndim]
    return [float(f"{v:.9g}") for v in array.transpose(axes).ravel()]


def run(layer, x, parameters, **call):
    """The output, and the gradients of the input and of the trainable parameters."""
    if not layer.built:
        layer.build(x.shape)
    layer.set_weights(parameters)
    with tf.GradientTape() as tape:
        inputs = tf.convert_to_tensor(x)
        tape.watch(inputs)
        y = layer(inputs, **call)
        loss = tf.reduce_sum(y * keras_order(drawn(project_shape(y), 3)))
    trained = [v.value if isinstance(layer, keras.Layer) else v for v in layer.trainable_variables]
    dx, *gradients = tape.gradient(loss, [inputs, *trained])
    return y, dx, gradients


def project_shape(y):
    shape = tuple(y.shape)
    return (shape[0], shape[3], shape[1], shape[2]) if len(shape) == 4 else shape


def agree(results):
    (y, dx, gradients), (y3, dx3, gradients3) = results
    for old, new in zip([y, dx, *gradients], [y3, dx3, *gradients3]):
        np.testing.assert_allclose(old, new, rtol=1e-5, atol=1e-5)
    return results[0]


def conv2d(x, filters, kernel, strides, padding, activation):
    parameters = [drawn((filters, x[1], *kernel), 1).transpose(2, 3, 1, 0), drawn((filters,), 2)]
    make = lambda k: k.layers.Conv2D(filters, kernel, strides=strides, padding=padding, activation=activation)
    inputs = keras_order(drawn(x, 0))
    y, dx, (dw, db) = agree([run(make(k), inputs, parameters) for k in GENERATIONS.values()])
    return {"x": x, "filters": filters, "kernel": kernel, "stride": strides, "padding": padding,
            "activation": activation, "y_shape": project_shape(y), "y": values(y), "dx": values(dx),
            "dw": weights(dw), "db": weights(db)}


def dense(x, units, activation):
    parameters = [drawn((units, x[1]), 1).T, drawn((units,), 2)]
    make = lambda k: k.layers.Dense(units, activation=activation)
    y, dx, (dw, db) = agree([run(make(k), drawn(x, 0), parameters) for k in GENERATIONS.values()])
    return {"x": x, "units": units, "activation": activation, "y": values(y), "dx": values(dx),
            "dw": weights(dw), "db": weights(db)}


def max_pool2d(x, size, stride, levels):
    inputs = keras_order(np.floor(drawn(x, 0) * levels)).astype(np.float32)
    make = lambda k: k.layers.MaxPooling2D(size, strides=stride, padding="valid")
    y, dx, _ = agree([run(make(k), inputs, []) for k in GENERATIONS.values()])
    return {"x": x, "size": size, "stride": stride, "levels": levels, "y_shape": project_shape(y),
            "y": values(y), "dx": values(dx)}


def batch_norm(generation, shape, batches, offset):
    """Some steps of training, then one evaluation; batch n holds `batches[n]` items."""
    channels = shape[0]
    layer = GENERATIONS[generation].layers.BatchNormalization()
    parameters = [drawn((channels,), 1), drawn((channels,), 2), np.zeros(channels), np.ones(channels)]
    steps = []
    for seed, batch in enumerate([*batches, batches[0]]):
        x = keras_order(drawn((batch, *shape), 10 + seed) + np.float32(offset))
        training = seed < len(batches)
        y, dx, (d_gamma, d_beta) = run(layer, x, parameters, training=training)
        parameters = layer.get_weights()
        steps.append({"batch": batch, "training": training, "y": values(y), "dx": values(dx),
                      "d_gamma": weights(d_gamma), "d_beta": weights(d_beta),
                      "moving_mean": weights(parameters[2]), "moving_variance": weights(parameters[3])})
    return {"generation": generation, "shape": shape, "offset": offset, "steps": steps}


def dropout(rate):
    scales = set()
    for k in GENERATIONS.values():
        y = np.asarray(k.layers.Dropout(rate, seed=1)(tf.ones((1000,)), training=True))
        scales |= {float(f"{v:.9g}") for v in np.unique(y) if v}
    return {"rate": rate, "scales": sorted(scales)}


def cross_entropy(samples, classes, label_smoothing, class_weights, scale):
    values_of = (drawn((samples, classes), 4) * scale).astype(np.float32)
    labels = [(i * i + 1) % classes for i in range(samples)]
    factors = None if class_weights is None else [class_weights[label] for label in labels]
    results = []
    for k in GENERATIONS.values():
        loss_of = k.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=label_smoothing)
        with tf.GradientTape() as tape:
            x = tf.convert_to_tensor(values_of)
            tape.watch(x)
            loss = loss_of(tf.one_hot(labels, classes), x, sample_weight=factors)
        results.append((loss, tape.gradient(loss, x), []))
    loss, gradient, _ = agree(results)
    return {"samples": samples, "classes": classes, "scale": scale, "labels": labels,
            "label_smoothing": label_smoothing, "class_weights": class_weights, "loss": float(loss),
            "gradient": values(gradient)}


golden = {
    "conv2d": [
        conv2d((2, 3, 7, 6), 4, (3, 3), 1, "same", "elu"),
        conv2d((2, 2, 9, 8), 3, (5, 5), 1, "same", "elu"),
        conv2d((1, 2, 8, 7), 3, (3, 3), 2, "same", "linear"),
        conv2d((2, 1, 8, 9), 2, (5, 5), 2, "same", "elu"),
        conv2d((1, 2, 7, 8), 3, (2, 4), 3, "same", "relu"),
        conv2d((2, 2, 6, 7), 3, (3, 3), 1, "valid", "elu"),
        conv2d((1, 2, 9, 8), 2, (5, 5), 2, "valid", "linear"),
        conv2d((1, 1, 1, 5), 2, (3, 3), 1, "same", "elu"),
        conv2d((1, 8, 10, 9), 8, (3, 3), 1, "same", "elu"),
        conv2d((1, 8, 9, 10), 6, (5, 5), 1, "same", "elu"),
    ],
    "dense": [dense((5, 7), 4, "elu"), dense((1, 9), 3, "linear"), dense((3, 4), 6, "relu")],
    "max_pool2d": [
        max_pool2d((2, 2, 6, 8), 2, 2, 100),
        max_pool2d((2, 2, 7, 5), 2, 2, 2),
        max_pool2d((2, 2, 7, 7), 3, 2, 100),
        max_pool2d((2, 2, 7, 9), 3, 2, 2),
        max_pool2d((1, 2, 6, 6), 3, 1, 1),
    ],
    "batch_norm": [
        batch_norm(generation, shape, batches, offset)
        for generation in GENERATIONS
        for shape, batches, offset in [
            ((3, 3, 4), [4, 1, 3], 0.0),
            ((2, 1, 1), [3, 1, 2], 0.5),
            ((4,), [5, 1, 2, 1], 2.0),
        ]
    ],
    "dropout": [dropout(rate) for rate in (0.25, 0.4, 0.5, 0.6)],
    "cross_entropy": [
        cross_entropy(6, 3, 0.0, None, 4.0),
        cross_entropy(6, 3, 0.1, None, 4.0),
        cross_entropy(5, 7, 0.2, [0.5, 1.0, 2.0, 0.0, 1.5, 1.0, 3.0], 2.0),
        cross_entropy(4, 3, 0.1, None, 200.0),
        cross_entropy(1, 3, 0.0, None, 1.0),
    ],
}
lines = (f'"{kind}": [\n' + ",\n".join(json.dumps(case) for case in cases) + "\n]" for kind, cases in golden.items())
pathlib.Path(__file__).with_name("layers.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
