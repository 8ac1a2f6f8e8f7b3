"""TensorFlow: seconds of a training step or of inference of the `vgg` chain, in the fastest of its forms.

python -m peers.tf_vgg train_step|inference BATCH

Its only layout on a CPU is channels_last. The name reported says which form it was.
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from functools import partial

import numpy as np
import tensorflow as tf
from measurement import CORES
from tensorflow.keras import layers
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from peers.timing import fastest, report

CLASSES = 8


def network(xla=False):
    """The chain, compiled with its recipe's optimiser; gives logits."""
    # Half of the decay's square has the decay times the weight as its gradient: coupled decay, of weights alone.
    weights = {"kernel_initializer": "he_normal", "kernel_regularizer": tf.keras.regularizers.L2(5e-4 / 2)}
    net = tf.keras.Sequential([tf.keras.Input((48, 48, 1))])
    for filters, dropout in [(64, 0.1), (128, 0.1), (256, 0.2), (512, 0.3)]:
        for _ in range(2):
            net.add(layers.Conv2D(filters, 3, activation="elu", padding="same", **weights))
            net.add(layers.BatchNormalization(momentum=0.9, epsilon=1e-5))
        net.add(layers.MaxPooling2D(2))
        net.add(layers.Dropout(dropout))
    net.add(layers.GlobalAveragePooling2D())
    net.add(layers.Dropout(0.4))
    net.add(layers.Dense(CLASSES, **weights))
    net.compile(
        loss=tf.keras.losses.CategoricalCrossentropy(from_logits=True),
        optimizer=tf.keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True),
        jit_compile=xla,
    )
    return net


def train_step(batch):
    """The compiled step that `fit` runs (forward, backward, SGD and loss) on a batch that is ready, by form."""
    rng = np.random.default_rng(42)
    x = tf.constant(rng.random((batch, 48, 48, 1), dtype=np.float32))
    y = tf.constant(rng.dirichlet(np.ones(CLASSES), batch).astype(np.float32))

    def step(xla):
        net = network(xla)
        iterator = iter(tf.data.Dataset.from_tensors((x, y)).repeat())
        net.make_train_function()
        return lambda: net.train_function(iterator)

    return {"plain": partial(step, False), "XLA": partial(step, True)}


def inference(batch):
    """Probabilities of a batch that is ready, by form."""
    x = tf.constant(np.random.default_rng(42).random((batch, 48, 48, 1), dtype=np.float32))

    def infer(frozen=False, xla=False):
        net = network()
        function = tf.function(lambda x: tf.nn.softmax(net(x, training=False)), jit_compile=xla)
        if frozen:
            constant = convert_variables_to_constants_v2(function.get_concrete_function(tf.TensorSpec(x.shape)))
            return lambda: constant(x)[0].numpy()
        return lambda: function(x).numpy()

    return {"plain": infer, "weights frozen": partial(infer, frozen=True), "XLA": partial(infer, xla=True)}


if __name__ == "__main__":
    work, batch = sys.argv[1], int(sys.argv[2])
    tf.config.threading.set_intra_op_parallelism_threads(CORES)
    form, seconds = fastest({"train_step": train_step, "inference": inference}[work](batch))
    threads = tf.config.threading.get_intra_op_parallelism_threads()
    name = f"TensorFlow {tf.__version__}, {form}"
    report(name, seconds, images=batch, parameters=network().count_params(), threads=threads)
