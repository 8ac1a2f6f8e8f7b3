"""What 25 steps of Keras' Adam and Nadam make of given gradients: writes optimizers.json beside this file.

    pip install tensorflow-cpu==2.21.0 tf-keras==2.21.0
    python optimizers.py

The notebook's generation is tf-keras' `optimizers.legacy`, today's is Keras 3. The gradients of the three
variables are ordinary ones (one component is 0 at first), tiny ones, where epsilon matters, and large ones. The
learning rate is halved before step 16, as ReduceLROnPlateau would.
"""

import json
import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import numpy as np
import tensorflow as tf
import keras
import tf_keras

STEPS = 25
SHAPES = [[3], [2, 3], [1, 2, 2, 2]]
rng = np.random.RandomState(7)
SCALES = [1.0, 1e-6, 30.0]

start = [rng.uniform(-1, 1, shape).astype("float32") for shape in SHAPES]
gradients = [[(rng.normal(0, scale, shape)).astype("float32") for shape, scale in zip(SHAPES, SCALES)]
             for _ in range(STEPS)]
for step in gradients[:5]:
    step[0][1] = 0.0

legacy = tf_keras.optimizers.legacy
SETTINGS = {"learning_rate": 0.01, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}
OTHER = {"learning_rate": 0.05, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3}
CASES = [
    (algorithm, generation, settings, make)
    for settings in (SETTINGS, OTHER)
    for algorithm, generation, make in (
        ("adam", "notebook", legacy.Adam),
        ("adam", "keras3", keras.optimizers.Adam),
        ("nadam", "notebook", legacy.Nadam),
        ("nadam", "keras3", keras.optimizers.Nadam),
    )
]


def run(generation, settings, make):
    optimizer = make(**settings)
    variable = keras.Variable if generation == "keras3" else tf.Variable
    variables = [variable(value) for value in start]
    steps = []
    for number, step in enumerate(gradients):
        if number == 15:
            optimizer.learning_rate = settings["learning_rate"] / 2
        optimizer.apply_gradients([(tf.constant(g), v) for g, v in zip(step, variables)])
        steps.append([np.asarray(v).ravel().tolist() for v in variables])
    return steps


golden = {
    "shapes": SHAPES,
    "start": [value.ravel().tolist() for value in start],
    "gradients": [[g.ravel().tolist() for g in step] for step in gradients],
    "halved_before_step": 16,
    "cases": [
        {"algorithm": algorithm, "generation": generation, "settings": settings, "steps": run(generation, settings, make)}
        for algorithm, generation, settings, make in CASES
    ],
}


def short(value):
    """float32 values as their shortest decimals."""
    if isinstance(value, float):
        return float(np.format_float_scientific(np.float32(value), unique=True))
    if isinstance(value, list):
        return [short(item) for item in value]
    return value


for key in ("start", "gradients"):
    golden[key] = short(golden[key])
for case in golden["cases"]:
    case["steps"] = short(case["steps"])
path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "optimizers.json")
with open(path, "w") as file:
    json.dump(golden, file, separators=(",", ":"))
    file.write("\n")
