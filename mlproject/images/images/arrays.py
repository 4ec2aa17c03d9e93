"""Reads files of NumPy arrays as Keras publishes its data sets. Touches only the file it reads.

Arrays are read whole, one part after the other; objects in them, which could run code, are refused.
"""

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from images.batches import Batch, Pixels, check_lengths, class_names, starts, with_channels
from images.declaration import Part
from shared.errors import DataError

PARTS: tuple[Part, ...] = ("train", "test")
_BRIGHTEST = 255
_BROKEN = (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError)


def read_npz(path: Path, classes: Sequence[str]) -> Iterator[Batch]:
    """Yield the images of x_train (labels y_train) and, where they are there, of x_test (y_test).

    Args:
        path: the file.
        classes: name of each label number; empty where the numbers are names enough.

    Raises:
        DataError: if the file is corrupt or its arrays are no images with labels.
    """
    for part in PARTS:
        found = _arrays(path, part)
        if found is None:
            continue
        images, labels = found
        pixels = with_channels(_bytes(images, f"x_{part} in {path.name}"), path.name)
        check_lengths(len(pixels), len(labels), f"the part '{part}' of {path.name}")
        names = _names(labels, classes, f"y_{part} in {path.name}")
        for chosen in starts(len(pixels)):
            yield Batch(pixels[chosen], names[chosen], part)


def _arrays(path: Path, part: Part) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]] | None:
    """Return images and labels of a part; None for a file without test images."""
    try:
        # Opened here, because NumPy leaves a file that is no archive open, and takes other forms.
        with zipfile.ZipFile(path), path.open("rb") as file, np.load(file) as content:
            names = [f"x_{part}", f"y_{part}"]
            missing = [name for name in names if name not in content.files]
            if missing == names and part == "test":
                return None
            if not missing:
                return content[names[0]], content[names[1]]
            there = ", ".join(content.files) or "nothing"
    except _BROKEN as error:
        raise DataError(
            f"{path.name} cannot be read: {error}",
            allowed="a complete .npz file of plain arrays, made by numpy.savez",
            action="get or make the file again",
        ) from error
    raise DataError(
        f"{path.name} has no array {' and no '.join(map(repr, missing))}, but {there}",
        allowed="x_train and y_train, and with them x_test and y_test",
        action="name the arrays so",
    )


def _bytes(images: np.ndarray[Any, Any], name: str) -> Pixels:
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind not in "iu" or images.min() < 0 or images.max() > _BRIGHTEST:
        span = f" from {images.min()} to {images.max()}" if images.size else ""
        raise DataError(
            f"{name} has values of type {images.dtype}{span}",
            allowed="whole numbers from 0 to 255, raw pixels that nobody has scaled",
            action="store the images as uint8",
        )
    return images.astype(np.uint8)


def _names(labels: np.ndarray[Any, Any], classes: Sequence[str], name: str) -> list[str]:
    flat = labels.reshape(-1)  # CIFAR's labels have a second dimension of one
    if flat.dtype.kind == "U":
        return _known(flat.tolist(), classes, name)
    if flat.dtype.kind not in "iu":
        raise DataError(
            f"{name} has labels of type {flat.dtype}",
            allowed="whole numbers from 0, or texts",
            action="store the labels so",
        )
    return class_names(flat.tolist(), classes, name)


def _known(labels: list[str], classes: Sequence[str], name: str) -> list[str]:
    unknown = sorted(set(labels) - set(classes)) if classes else []
    if unknown:
        raise DataError(
            f"{name} has the class '{unknown[0]}'",
            allowed=", ".join(classes),
            action="check that labels and data set belong together",
        )
    return labels
