"""TensorFlow's whole training process: the notebook's lines from fer2013.csv to `fit`, for a few steps.

python -m peers.keras_training FILE STEPS

Its peak memory is what compare.py reads. Validation, plots and callbacks are left out.
"""

import sys

from peers.keras_network import network, tf
from peers.timing import report

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import LabelEncoder
from tensorflow.keras.preprocessing.image import ImageDataGenerator
from tensorflow.keras.utils import to_categorical

INTERESTED_LABELS = [3, 4, 6]

if __name__ == "__main__":
    df = pd.read_csv(sys.argv[1])
    df = df[df.emotion.isin(INTERESTED_LABELS)]
    img_array = df.pixels.apply(lambda x: np.array(x.split(' ')).reshape(48, 48, 1).astype('float32'))
    img_array = np.stack(img_array, axis=0)
    le = LabelEncoder()
    img_labels = le.fit_transform(df.emotion)
    img_labels = to_categorical(img_labels)
    X_train, X_valid, y_train, y_valid = train_test_split(
        img_array, img_labels, shuffle=True, stratify=img_labels, test_size=0.1, random_state=42
    )
    del df
    del img_array
    del img_labels
    X_train = X_train / 255.
    X_valid = X_valid / 255.
    net = network()
    train_datagen = ImageDataGenerator(
        rotation_range=15,
        width_shift_range=0.15,
        height_shift_range=0.15,
        shear_range=0.15,
        zoom_range=0.15,
        horizontal_flip=True,
    )
    train_datagen.fit(X_train)
    flow = train_datagen.flow(X_train, y_train, batch_size=32)
    net.fit(flow, steps_per_epoch=int(sys.argv[2]), epochs=1, verbose=0)
    report(f"TensorFlow {tf.__version__}", None, steps=len(flow), parameters=net.count_params())
