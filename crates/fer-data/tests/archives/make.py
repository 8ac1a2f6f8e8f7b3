"""Packs a small table as people's tools do: python3 make.py writes the archives beside this file."""

import io
import pathlib
import tarfile
import zipfile

HERE = pathlib.Path(__file__).parent
TABLE = "emotion,pixels,Usage\n" + "".join(f"{i % 7},{' '.join(str(i * 16 + k) for k in range(16))},Training\n" for i in range(8))


def zipped(name, members, compression):
    with zipfile.ZipFile(HERE / name, "w", compression) as archive:
        for member, text in members.items():
            archive.writestr(zipfile.ZipInfo(member, (2020, 1, 1, 0, 0, 0)), text, compression)


def tarred(name, members, mode):
    with tarfile.open(HERE / name, mode) as archive:
        for member, text in members.items():
            info = tarfile.TarInfo(member)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))


one = {"fer2013/README": "words", "fer2013/fer2013.csv": TABLE, "__MACOSX/fer2013/._fer2013.csv": "no table"}
zipped("deflated.zip", one, zipfile.ZIP_DEFLATED)
zipped("stored.zip", one, zipfile.ZIP_STORED)
zipped("lzma.zip", one, zipfile.ZIP_LZMA)
zipped("two.zip", {"a/train.csv": TABLE, "a/test.csv": TABLE}, zipfile.ZIP_DEFLATED)
zipped("none.zip", {"config.json": "{}"}, zipfile.ZIP_DEFLATED)
tarred("one.tar", one, "w")
tarred("one.tar.gz", one, "w:gz")
tarred("one.tar.xz", one, "w:xz")
