"""keras-preprocessing: seconds that the notebook's generator takes for one augmented image, on one core.

python -m peers.keras_generator
"""

from importlib.metadata import version

import numpy as np
from keras_preprocessing.image import ImageDataGenerator
from peers.timing import median_seconds, report

BATCH = 32

if __name__ == "__main__":
    generator = ImageDataGenerator(
        rotation_range=15,
        width_shift_range=0.15,
        height_shift_range=0.15,
        shear_range=0.15,
        zoom_range=0.15,
        horizontal_flip=True,
    )
    x = np.random.default_rng(42).random((2048, 48, 48, 1), dtype=np.float32)
    batches = generator.flow(x, np.zeros(len(x)), batch_size=BATCH)
    assert next(batches)[0].shape == (BATCH, 48, 48, 1)
    name = f"keras-preprocessing {version('keras-preprocessing')}"
    report(name, median_seconds(lambda: next(batches)) / BATCH, images=1)
