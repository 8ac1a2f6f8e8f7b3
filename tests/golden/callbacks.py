"""What Keras' EarlyStopping and ReduceLROnPlateau do on random metrics: writes callbacks.json beside this file.

    pip install tensorflow-cpu==2.21.0 tf-keras==2.21.0
    pip install --no-deps --target keras-2.3.1 keras==2.3.1
    python callbacks.py keras-2.3.1

The notebook's generation is Keras 2.3.1, whose callbacks are those of its tf.keras (only the full stop after
"the end of the best epoch" came later); today's is Keras 3, which is checked to agree with tf-keras here. The
first case of each callback are the notebook's own settings and val_accuracy. Epochs count from 1. `weights` is
the epoch whose weights the network ends with. Keras 3 alone takes a NaN as best when it comes first, so its
cases begin with a number; it compares in float32, so none of its cases has a tie.
"""

import ast
import contextlib
import io
import json
import math
import os
import pathlib
import random
import sys
import types
import warnings

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import keras
import numpy as np
import tf_keras

NOTEBOOK = [float(line) for line in """
.5049 .5487 .6342 .6963 .6925 .7405 .7348 .7311 .7330 .7593 .7729 .7856 .7842 .7466 .7955 .7866 .7560 .7870 .7729
.7781 .7861 .7819 .8072 .8096 .8143 .8190 .7997 .8105 .8072 .8096 .8110 .8016 .7960 .8105 .8209 .8162 .8171 .8185
.8171 .8223 .8237 .8228 .8256 .8275 .8275 .8289 .8199 .8260 .8223 .8199 .8237 .8256 .8251 .8232 .8232 .8228 .8242
""".split()]


def keras_2_3_1(folder):
    """The two classes of keras/callbacks/callbacks.py: the module itself imports what is long gone."""
    source = (pathlib.Path(folder) / "keras/callbacks/callbacks.py").read_text()
    wanted = ("Callback", "EarlyStopping", "ReduceLROnPlateau")
    nodes = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef) and node.name in wanted]
    numpy = types.SimpleNamespace(less=np.less, greater=np.greater, Inf=np.inf)
    backend = types.SimpleNamespace(get_value=lambda box: box.value, set_value=lambda box, x: box.set(x))
    scope = {"np": numpy, "K": backend, "warnings": warnings}
    exec(compile(ast.Module(nodes, []), "callbacks.py", "exec"), scope)
    return types.SimpleNamespace(**{name: scope[name] for name in wanted[1:]})


class Box:
    """A float32 variable of Keras 2."""

    def __init__(self, value):
        self.set(value)

    def set(self, value):
        self.value = np.float32(value)


class Model:
    """A network whose weights are the number of the epoch."""

    def __init__(self, optimizer):
        self.optimizer, self.weights, self.stop_training = optimizer, 0, False

    def get_weights(self):
        return self.weights

    def set_weights(self, weights):
        self.weights = self.weights if weights is None else weights


def run(callback, optimizer, rate, monitor, metrics):
    """The learning rates after the epochs, the epoch that stopped, the weights at the end, and what was said."""
    model = Model(optimizer)
    callback.set_model(model)
    said = io.StringIO()
    rates = []
    with contextlib.redirect_stdout(said):
        callback.on_train_begin({})
        for epoch, value in enumerate(metrics):
            model.weights = epoch + 1
            callback.on_epoch_end(epoch, {monitor: value})
            rates.append(float(rate()))
            if model.stop_training:
                break
        callback.on_train_end({})
    return {
        "rates": rates,
        "stopped": len(rates) if model.stop_training else None,
        "weights": model.weights,
        "said": [line for line in said.getvalue().splitlines() if line],
    }


def random_metrics(rng, rises, first_is_a_number, digits):
    level, metrics = rng.uniform(0.3, 0.6), []
    for _ in range(rng.randint(5, 60)):
        level += rng.uniform(-0.01, 0.03) * rng.random() if rng.random() < 0.6 else 0
        metrics.append(round((level if rises else 1.5 - level) + rng.gauss(0, 0.01), digits))
    for index in range(1 if first_is_a_number else 0, len(metrics)):
        if rng.random() < 0.05:
            metrics[index] = math.nan
    return metrics


def main():
    old = keras_2_3_1(sys.argv[1])
    rng = random.Random(20)
    cases = []

    def add(callback, generation, settings, metrics, rate=0.001):
        monitor, verbose = settings["monitor"], {"verbose": 1}
        if generation == "notebook":
            optimizer = types.SimpleNamespace(lr=Box(rate))
            made = getattr(old, callback)(**settings, **verbose)
            expected = run(made, optimizer, lambda: optimizer.lr.value, monitor, metrics)
        else:
            optimizer = keras.optimizers.Adam(rate)
            made = getattr(keras.callbacks, callback)(**settings, **verbose)
            expected = run(made, optimizer, lambda: optimizer.learning_rate.numpy(), monitor, metrics)
            between = types.SimpleNamespace(lr=tf_keras.backend.variable(rate))
            made = getattr(tf_keras.callbacks, callback)(**settings, **verbose)
            check = run(made, between, lambda: between.lr.numpy(), monitor, metrics)
            # NumPy 2 multiplies in float32 there, so the last bits of a learning rate may differ.
            np.testing.assert_allclose(check["rates"], expected["rates"], rtol=1e-4)
            assert (check["stopped"], check["weights"]) == (expected["stopped"], expected["weights"]), settings
        expected["said"] = expected["said"] if generation == "notebook" else None
        if callback == "EarlyStopping":
            del expected["rates"], expected["said"]
        else:
            del expected["stopped"], expected["weights"]
            changes = [[i + 1, r] for i, (p, r) in enumerate(zip([None] + expected["rates"], expected["rates"])) if p != r]
            expected["rates"] = changes
        numbers = [None if math.isnan(value) else value for value in metrics]
        cases.append({"callback": callback, "generation": generation, "settings": settings, "rate": rate,
                      "metrics": numbers, "expected": expected})

    notebook = {"monitor": "val_accuracy", "min_delta": 5e-5, "patience": 11, "restore_best_weights": True}
    add("EarlyStopping", "notebook", notebook, NOTEBOOK)
    notebook = {"monitor": "val_accuracy", "factor": 0.5, "patience": 7, "min_lr": 1e-7}
    add("ReduceLROnPlateau", "notebook", notebook, NOTEBOOK)
    for generation in ("notebook", "keras3"):
        today = generation == "keras3"
        for _ in range(50):
            rises = rng.random() < 0.5
            # In Keras 3 a delta between the metrics' digits keeps ties out; the notebook's are to have some.
            deltas = [0, 0.0004, 0.0107] if today else [0, 0.01, 0.003]
            digits = 3 if today else 2
            base = {"monitor": "val_accuracy" if rises else "val_loss"}
            if today or rng.random() < 0.3:
                base["mode"] = "max" if rises else "min"
            settings = {**base, "min_delta": rng.choice(deltas), "patience": rng.choice([0, 1, 2, 3, 5, 11]),
                        "baseline": rng.choice([None, None, 0.5, 0.7, 0.95]),
                        "restore_best_weights": rng.random() < 0.8}
            add("EarlyStopping", generation, settings, random_metrics(rng, rises, today, digits))
            settings = {**base, "min_delta": rng.choice(deltas), "patience": rng.choice([0, 1, 2, 3, 7]),
                        "factor": rng.choice([0, 0.1, 0.3, 0.5, 0.97]), "cooldown": rng.choice([0, 0, 1, 4]),
                        # Keras 2.3.1 goes on reducing to what float32 cannot hold.
                        "min_lr": rng.choice([0, 1e-4, 1e-7] if today else [0, 2**-12, 2**-24])}
            add("ReduceLROnPlateau", generation, settings, random_metrics(rng, rises, today, digits),
                rng.choice([0.001, 0.01, 0.05]))
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text("[\n" + ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases) + "\n]\n")


main()
