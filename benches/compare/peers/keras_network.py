"""The notebook's network in Keras."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf
from tensorflow.keras import layers


def network():
    """The network, compiled as the notebook compiles it: Adam, cross-entropy, accuracy."""
    net = tf.keras.Sequential([tf.keras.Input((48, 48, 1))])
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
    net.compile(
        loss="categorical_crossentropy",
        optimizer=tf.keras.optimizers.Adam(0.001),
        metrics=["accuracy"],
        # XLA takes twice as long on a CPU.
        jit_compile=False,
    )
    return net
