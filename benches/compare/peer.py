"""One measurement of a peer, in a process of its own: prints the median seconds.

peer.py train_step BATCH | inference BATCH | augment
"""

import os
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np


def median_seconds(work, warm_up, counted):
    for _ in range(warm_up):
        work()
    times = []
    for _ in range(counted):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def network():
    """The notebook's network in Keras."""
    from tensorflow import keras
    from tensorflow.keras import layers

    net = keras.Sequential([keras.Input((48, 48, 1))])
    for filters, kernel, dropout in [(64, 5, 0.4), (128, 3, 0.4), (256, 3, 0.5)]:
        for _ in range(2):
            net.add(layers.Conv2D(filters, kernel, activation="elu", padding="same", kernel_initializer="he_normal"))
            net.add(layers.BatchNormalization())
        net.add(layers.MaxPooling2D(2))
        net.add(layers.Dropout(dropout))
    net.add(layers.Flatten())
    net.add(layers.Dense(128, activation="elu", kernel_initializer="he_normal"))
    net.add(layers.BatchNormalization())
    net.add(layers.Dropout(0.6))
    net.add(layers.Dense(3, activation="softmax"))
    return net


def tensorflow_step(batch):
    import tensorflow as tf

    net = network()
    net.compile(
        loss="categorical_crossentropy",
        optimizer=tf.keras.optimizers.Adam(0.001),
        metrics=["accuracy"],
        # XLA takes twice as long on a CPU.
        jit_compile=False,
    )
    rng = np.random.default_rng(42)
    x = tf.constant(rng.random((batch, 48, 48, 1), dtype=np.float32))
    y = tf.constant(np.eye(3, dtype=np.float32)[rng.integers(0, 3, batch)])
    data = tf.data.Dataset.from_tensors((x, y)).repeat()
    # The compiled step that fit() runs, without what fit() does between steps.
    net.make_train_function()
    step = net.train_function
    iterator = iter(data)
    return median_seconds(lambda: step(iterator), 3, 10)


def tensorflow_inference(batch):
    import tensorflow as tf

    net = network()
    infer = tf.function(lambda x: net(x, training=False))
    x = tf.constant(np.random.default_rng(42).random((batch, 48, 48, 1), dtype=np.float32))
    return median_seconds(lambda: infer(x).numpy(), 3, 10)


def keras_augment():
    """Seconds an image of the notebook's generator, on one core."""
    from keras_preprocessing.image import ImageDataGenerator

    generator = ImageDataGenerator(
        rotation_range=15,
        width_shift_range=0.15,
        height_shift_range=0.15,
        shear_range=0.15,
        zoom_range=0.15,
        horizontal_flip=True,
    )
    x = np.random.default_rng(42).random((2048, 48, 48, 1), dtype=np.float32)
    batches = generator.flow(x, np.zeros(len(x)), batch_size=32)
    return median_seconds(lambda: next(batches), 5, 60) / 32


if __name__ == "__main__":
    what, *batch = sys.argv[1:]
    if what == "augment":
        seconds = keras_augment()
    elif what == "train_step":
        seconds = tensorflow_step(int(batch[0]))
    else:
        seconds = tensorflow_inference(int(batch[0]))
    print(seconds)
