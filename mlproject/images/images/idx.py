"""Reads idx files, the format of MNIST, plain or gzipped, a batch at a time.

The format: two zero bytes, a byte for the type (8: unsigned byte), a byte with the number of
dimensions, the size of each dimension as a big-endian 32-bit number, then the values
(http://yann.lecun.com/exdb/mnist, "THE IDX FILE FORMAT"). Touches only the files it reads.
"""

import gzip
import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import IO, NoReturn

import numpy as np

from images.batches import Batch, check_lengths, class_names, starts, with_channels
from images.declaration import Part
from shared.errors import DataError

_GZIP = b"\x1f\x8b"
_UNSIGNED_BYTE = 8
_LABEL_DIMENSIONS = 1
_IMAGES, _TEST = re.compile("images([-._]?)idx[34]"), re.compile("t10k|test")
_IMAGE_DIMENSIONS = (3, 4)
_Bytes = gzip.GzipFile | IO[bytes]


def pairs(folder: Path) -> list[tuple[Path, Path, Part]]:
    """Return the files of images in a folder, each with its labels and its part.

    They are named as those of MNIST: `train-images-idx3-ubyte`, `t10k-labels-idx1-ubyte`; with
    `.gz` or without, with a dot for a dash, and with anything before or behind.

    Raises:
        DataError: if there are none, or some are without labels, or all are test images.
    """
    # Once, where a file is there packed and unpacked.
    files = {
        path.with_name(path.name.removesuffix(".gz")): path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    found: list[tuple[Path, Path, Part]] = []
    for place, path in files.items():
        named, images = _IMAGES.subn(r"labels\1idx1", place.name)
        if not images:
            continue
        labels = files.get(place.with_name(named))
        if labels is None:
            raise _no_pairs(f"'{path.name}' has no '{named}' beside it")
        found.append((path, labels, "test" if _TEST.search(path.name) else "train"))
    if all(part == "test" for *_, part in found):
        raise _no_pairs(f"the folder {folder.name} has no training images in idx files")
    return found


def _no_pairs(found: str) -> DataError:
    return DataError(
        found,
        allowed="train-images-idx3-ubyte with train-labels-idx1-ubyte, and maybe "
        "t10k-images-idx3-ubyte with t10k-labels-idx1-ubyte; each also with .gz",
        action="name the files so, or correct -P source=...",
    )


def read_idx(
    images: Path, labels: Path, part: Part, classes: Sequence[str] = ()
) -> Iterator[Batch]:
    """Yield the images of a pair of files.

    Args:
        images: file of three dimensions (images, rows, columns) or four (and channels).
        labels: file of one dimension.
        part: that they belong to.
        classes: name of each label number; empty where the numbers are names enough.

    Raises:
        DataError: if a file is corrupt, cut short or too long, or the two do not fit together.
    """
    with _opened(labels) as file:
        sizes = _header(file, labels.name, {_LABEL_DIMENSIONS})
        names = class_names(list(_rest(file, prod(sizes), labels.name)), classes, labels.name)
    with _opened(images) as file:
        count, *shape = _header(file, images.name, set(_IMAGE_DIMENSIONS))
        check_lengths(count, len(names), f"the pair {images.name}, {labels.name}")
        for chosen in starts(count):
            labelled = names[chosen]
            block = _exactly(file, len(labelled) * prod(shape), images.name)
            pixels = np.frombuffer(block, dtype=np.uint8).reshape(len(labelled), *shape)
            yield Batch(with_channels(pixels, images.name), labelled, part)
        _check_end(file, images.name)


@contextmanager
def _opened(path: Path) -> Iterator[_Bytes]:
    """Open a file, gzipped or not; what a broken gzip raises becomes a DataError."""
    with path.open("rb") as raw:
        packed = raw.read(len(_GZIP)) == _GZIP
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            yield file
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(
            f"{path.name} is corrupt or cut short: {error}",
            allowed="a complete gzip file",
            action="get the file again",
        ) from error


def _header(file: _Bytes, name: str, dimensions: set[int]) -> tuple[int, ...]:
    zero, kind, number = struct.unpack(">HBB", _exactly(file, 4, name))
    if zero != 0 or kind != _UNSIGNED_BYTE or number not in dimensions:
        raise DataError(
            f"{name} begins with {struct.pack('>HBB', zero, kind, number).hex()}",
            allowed="an idx file of unsigned bytes: "
            + " or ".join(f"000008{allowed:02x}" for allowed in sorted(dimensions)),
            action="check that this is the right file, and that images and labels are not swapped",
        )
    return struct.unpack(f">{number}I", _exactly(file, 4 * number, name))


def _exactly(file: _Bytes, size: int, name: str) -> bytes:
    content = file.read(size)
    if len(content) < size:
        _wrong_length(name, f"ends {size - len(content):,} bytes too early")
    return content


def _rest(file: _Bytes, size: int, name: str) -> bytes:
    content = _exactly(file, size, name)
    _check_end(file, name)
    return content


def _check_end(file: _Bytes, name: str) -> None:
    if file.read(1):
        _wrong_length(name, "goes on behind its last value")


def _wrong_length(name: str, how: str) -> NoReturn:
    raise DataError(
        f"{name} {how}",
        allowed="as many bytes as its header says",
        action="get the file again; it is damaged or was cut short",
    )
