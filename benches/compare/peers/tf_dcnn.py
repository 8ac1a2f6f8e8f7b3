"""TensorFlow: seconds of a training step or of inference.

python -m peers.tf_dcnn train_step|inference BATCH
"""

import sys

from measurement import CORES
from peers.keras_network import network, tf
from peers.timing import median_seconds, report

import numpy as np
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2


def train_step(net, batch):
    """The compiled step that `fit` runs (forward, backward, Adam, loss and accuracy), without what `fit` does
    between steps, on a batch that is ready."""
    rng = np.random.default_rng(42)
    x = tf.constant(rng.random((batch, 48, 48, 1), dtype=np.float32))
    y = tf.constant(np.eye(3, dtype=np.float32)[rng.integers(0, 3, batch)])
    iterator = iter(tf.data.Dataset.from_tensors((x, y)).repeat())
    net.make_train_function()
    return median_seconds(lambda: net.train_function(iterator))


def inference(net, batch):
    """The faster of a `tf.function` and of the same with its weights frozen into constants. Both are faster than
    `net.predict`, and than XLA."""
    x = tf.constant(np.random.default_rng(42).random((batch, 48, 48, 1), dtype=np.float32))
    function = tf.function(lambda x: net(x, training=False))
    frozen = convert_variables_to_constants_v2(function.get_concrete_function(tf.TensorSpec(x.shape)))
    assert function(x).shape == (batch, 3)
    return min(median_seconds(lambda: function(x).numpy()), median_seconds(lambda: frozen(x)[0].numpy()))


if __name__ == "__main__":
    work, batch = sys.argv[1], int(sys.argv[2])
    tf.config.threading.set_intra_op_parallelism_threads(CORES)
    net = network()
    seconds = {"train_step": train_step, "inference": inference}[work](net, batch)
    threads = tf.config.threading.get_intra_op_parallelism_threads()
    report(f"TensorFlow {tf.__version__}", seconds, images=batch, parameters=net.count_params(), threads=threads)
