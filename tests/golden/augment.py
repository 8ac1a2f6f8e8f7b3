"""What Keras' ImageDataGenerator draws and makes, in both generations: writes augment.json beside this file.

    pip install tensorflow-cpu==2.21.0 keras-preprocessing==1.1.2 scipy==1.17.1 pillow==13.0.0
    python augment.py

The notebook's generation is keras-preprocessing 1.1.2, today's is Keras 3's
`keras.src.legacy.preprocessing.image`. Each case holds a configuration (the fields that are not the
identity's), a seed, the images' shape (channels, height, width) and, for each image in turn of one
`np.random.seed(seed)`, the parameters drawn (those that are not the identity's) and the image made. The images
are the formula `drawn`.
"""

import json
import pathlib
import random
import warnings

import numpy as np
from keras.src.legacy.preprocessing.image import ImageDataGenerator as Keras3
from keras_preprocessing.image import ImageDataGenerator as Notebook

warnings.filterwarnings("ignore")
GENERATIONS = {"notebook": Notebook, "keras3": Keras3}
NOTEBOOK = {
    "rotation_range": 15.0,
    "width_shift_range": 0.15,
    "height_shift_range": 0.15,
    "shear_range": 0.15,
    "zoom_range": [0.85, 1.15],
    "horizontal_flip": True,
}
IDENTITY = {("zx", 1), ("zy", 1), *((key, 0) for key in ["theta", "tx", "ty", "shear"])}


def drawn(shape, item):
    """Image `item`, (channels, height, width), multiples of 1/255 in 0..1."""
    c, r, k = np.indices(shape)
    return ((97 * c + 37 * r + 11 * k * k + r * k + 53 * item) % 256).astype(np.float32) / np.float32(255)


def case(generation, config, shape, seed, images, outputs=True):
    arguments = {key: tuple(value) if isinstance(value, list) else value for key, value in config.items()}
    generator = GENERATIONS[generation](data_format="channels_last", dtype="float32", **arguments)
    inputs = [drawn(shape, item).transpose(1, 2, 0) for item in range(images)]
    generator.fit(np.stack(inputs))
    np.random.seed(seed)
    transforms, made = [], []
    for image in inputs:
        parameters = generator.get_random_transform(image.shape)
        if outputs:
            result = generator.standardize(generator.apply_transform(image.copy(), parameters))
            assert result.dtype == np.float32
            made.append([float(f"{value:.7g}") for value in result.transpose(2, 0, 1).ravel()])
        parameters = {
            key: bool(value) if key.startswith("flip") else float(value)
            for key, value in parameters.items()
            if value is not None and (key, value) not in IDENTITY
        }
        transforms.append(parameters)
    return {
        "config": {"generation": generation, **config},
        "shape": shape,
        "seed": seed,
        "transforms": transforms,
        "outputs": made,
    }


def geometry(rng):
    """Random ranges, wide enough that many pixels come from outside the image."""
    zoom = round(rng.uniform(0.05, 0.6), 3)
    return {
        "rotation_range": round(rng.uniform(5, 180), 2),
        "width_shift_range": round(rng.choice([rng.uniform(0.05, 0.9), rng.uniform(1, 20)]), 3),
        "height_shift_range": round(rng.choice([rng.uniform(0.05, 0.9), rng.uniform(1, 20)]), 3),
        "shear_range": round(rng.uniform(0.1, 40), 3),
        "zoom_range": [1 - zoom, 1 + zoom],
        "horizontal_flip": rng.random() < 0.5,
        "vertical_flip": rng.random() < 0.5,
    }


def main():
    rng = random.Random(20)
    cases = []
    for generation in GENERATIONS:
        add = lambda *arguments, **named: cases.append(case(generation, *arguments, **named))
        # The notebook's own settings at the notebook's size, and the draws alone for many images.
        add(NOTEBOOK, (1, 48, 48), 42, 1)
        add(NOTEBOOK, (1, 48, 40), 7, 20, outputs=False)
        for mode in ["nearest", "constant", "reflect", "wrap"]:
            fill = {"fill_mode": mode, "cval": 0.25}
            for shape in [(1, 7, 6), (1, 5, 9), (2, 4, 4)]:
                add({**geometry(rng), **fill}, shape, rng.randrange(2**32), 4)
            # Each parameter alone: places that are whole numbers along one axis.
            for name, value in geometry(rng).items():
                if not name.endswith("flip"):
                    add({name: value, **fill}, (1, 5, 4), rng.randrange(2**32), 2)
            add({"rotation_range": 50.0, "width_shift_range": 3.0, **fill}, (1, 1, 7), 5, 3)
            add({"rotation_range": 50.0, "height_shift_range": 3.0, **fill}, (1, 7, 1), 5, 3)
        for channels in [1, 3, 4]:
            shape = (channels, 5, 4)
            add({"channel_shift_range": 0.3}, shape, 11, 2)
            add({"brightness_range": [0.2, 1.9]}, shape, 12, 3)
            add({"brightness_range": [0.0, 1.0], "channel_shift_range": 0.2}, shape, 13, 2)
            add({"brightness_range": [1.0, 1.0]}, shape, 14, 1)
            add({"brightness_range": [0.0, 0.0]}, shape, 14, 1)
            add({**geometry(rng), "channel_shift_range": 0.3, "rescale": 0.5}, shape, 15, 2)
            for flag in ["samplewise_center", "samplewise_std_normalization"]:
                add({flag: True, "rescale": 3.0}, shape, 16, 2)
                add({flag: True, **NOTEBOOK}, shape, 17, 2)
            for flag in ["featurewise_center", "featurewise_std_normalization"]:
                add({flag: True, "rescale": 0.1}, shape, 18, 2)
                add({flag: True, "samplewise_center": True, **NOTEBOOK}, shape, 19, 2)
        add({"horizontal_flip": True, "vertical_flip": True}, (1, 5, 4), 20, 8)
        add({}, (1, 5, 4), 21, 2)
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text("[\n" + ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases) + "\n]\n")
    print(f"{path.name}: {len(cases)} cases, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
