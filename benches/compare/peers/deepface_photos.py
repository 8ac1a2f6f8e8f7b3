"""deepface: expressions of the faces in a photo, in every photo of a folder, or in every frame of a video.

python -m peers.deepface_photos PATH

`DeepFace.analyze` with its defaults, OpenCV's cascades and eyes made level, for the emotion alone; a picture without a
face is no error. DEEPFACE_BACKEND_ENGINE says what runs the network, else TensorFlow does where it is installed;
DEEPFACE_HOME has its weights (peers/deepface_weights.py makes some). A line a picture is printed.
"""

import sys

from deepface import DeepFace

from peers.pictures import print_faces


def look(picture):
    """The faces, without the whole picture that deepface takes for one where it finds none."""
    faces = DeepFace.analyze(picture, actions=["emotion"], enforce_detection=False, silent=True)
    return [face for face in faces if face["face_confidence"] > 0]


if __name__ == "__main__":
    print_faces(sys.argv[1], look)
