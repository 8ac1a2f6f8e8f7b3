"""What a person would write around a package that looks at one picture at a time."""

from pathlib import Path

import cv2


def pictures(path):
    """The pictures of a folder or the frames of a video, one after the other, or the one photo."""
    path = Path(path)
    if path.suffix == ".mp4":
        video = cv2.VideoCapture(str(path))
        while (read := video.read())[0]:
            yield read[1]
    else:
        for photo in sorted(path.iterdir()) if path.is_dir() else [path]:
            yield cv2.imread(str(photo))


def print_faces(path, look):
    """Prints what `look` gives for each picture."""
    for picture in pictures(path):
        print(look(picture))
