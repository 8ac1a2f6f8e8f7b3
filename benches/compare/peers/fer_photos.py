"""The `fer` package: expressions of the faces in a photo, in every photo of a folder, or in every frame of a video.

python -m peers.fer_photos PATH

`FER().detect_emotions` with its defaults: OpenCV's cascade, and the package's network quantised for TensorFlow Lite. A
line a picture is printed.
"""

import sys

from fer.fer import FER

from peers.pictures import print_faces

if __name__ == "__main__":
    print_faces(sys.argv[1], FER().detect_emotions)
