"""pandas and NumPy: seconds from fer2013.csv to u8 images, by the notebook's lines.

python -m peers.pandas_csv FILE

All rows are kept, and the type is u8 where the notebook has float32: what is compared is the reading.
"""

import sys
import time

import numpy as np
import pandas as pd
from peers.timing import report

if __name__ == "__main__":
    start = time.perf_counter()
    df = pd.read_csv(sys.argv[1])
    img_array = df.pixels.apply(lambda x: np.array(x.split(' ')).reshape(48, 48, 1).astype('uint8'))
    img_array = np.stack(img_array, axis=0)
    seconds = time.perf_counter() - start
    assert img_array.shape == (len(df), 48, 48, 1) and img_array.dtype == np.uint8
    report(f"pandas {pd.__version__}, NumPy {np.__version__}", seconds, images=len(df))
