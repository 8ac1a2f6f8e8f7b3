"""Splits of scikit-learn, for tests/split.rs.

scikit-learn==1.9.1, numpy as it requires. Prints the JSON:

    FER2013_CSV=fer2013.csv.gz python tests/golden/split.py > tests/golden/split.json
"""

import functools
import gzip
import json
import os

import numpy as np
import sklearn
from sklearn.model_selection import train_test_split

assert sklearn.__version__ == "1.9.1", sklearn.__version__


def split(labels, test_size, seed, stratify):
    """The training and validation rows, in their order."""
    labels = np.asarray(labels)
    classes, encoded = np.unique(labels, return_inverse=True)
    y = np.eye(len(classes))[encoded] if stratify == "one-hot" else encoded
    return train_test_split(
        np.arange(len(labels)), shuffle=True, stratify=y, test_size=test_size, random_state=seed
    )


def case(labels, test_size, seed, stratify):
    train, valid = split(labels, test_size, seed, stratify)
    return {
        "labels": "".join(map(str, labels)),
        "test_size": test_size,
        "seed": seed,
        "stratify": stratify,
        "train": train.tolist(),
        "valid": valid.tolist(),
    }


def cases():
    rng = np.random.RandomState(0)
    for n in (12, 30, 57, 100, 211):
        for classes in (1, 2, 3, 5, 7):
            if n < 8 * classes:
                continue
            shares = rng.dirichlet(np.ones(classes) * 2)
            labels = rng.choice(rng.permutation(7)[:classes], n, p=shares)
            # Two of each, so that every class can be divided.
            present = np.unique(labels)
            labels[: 2 * len(present)] = np.repeat(present, 2)
            for stratify in ("one-hot", "label"):
                test_size = float(rng.choice([0.1, 0.2, 0.25, 1 / 3, 0.5]))
                if np.ceil(test_size * n) < len(present):
                    test_size = 0.5
                yield case(labels.tolist(), test_size, int(rng.randint(2**31)), stratify)
    # Equal remainders everywhere: each tie is broken by the generator.
    for seed in (0, 42, 2**32 - 1):
        for stratify in ("one-hot", "label"):
            yield case([0, 1, 2, 3, 4, 5, 6] * 5, 0.3, seed, stratify)


def fer2013(path):
    """The notebook's split of the real data: sizes, first rows, and a checksum of all rows in order."""
    text = (gzip.open if path.endswith(".gz") else open)(path, "rt")
    labels = [int(line.split(",", 1)[0]) for line in list(text)[1:]]
    rows = np.flatnonzero(np.isin(labels, [3, 4, 6]))
    labels = np.asarray(labels)[rows]
    for stratify in ("one-hot", "label"):
        sides = [rows[side] for side in split(labels, 0.1, 42, stratify)]
        sums = [functools.reduce(lambda sum, row: (31 * sum + int(row)) % 2**32, side, 0) for side in sides]
        yield {
            "stratify": stratify,
            "sizes": [len(side) for side in sides],
            "first": [side[:4].tolist() for side in sides],
            "sum": sums,
        }


print("{")
print('"cases": [\n' + ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases()) + "\n],")
real = list(fer2013(os.environ["FER2013_CSV"]))
print('"fer2013": [\n' + ",\n".join(json.dumps(split, separators=(",", ":")) for split in real) + "\n]")
print("}")
