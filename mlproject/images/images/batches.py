"""What every reader of images yields: a few hundred of them at a time. Touches nothing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from images.declaration import Part
from shared.errors import DataError

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
IMAGES = 512
"""Images of one batch; 28 x 28 grey ones are 400 kB."""
GREY, COLOUR = 1, 3
IMAGE_DIMENSIONS = 3  # rows, columns, channels


@dataclass(frozen=True)
class Batch:
    """Some images of one part of a data set.

    Attributes:
        pixels: uint8 of shape (images, rows, columns, channels).
        labels: class name of each image.
        part: the publisher's part that they belong to.
    """

    pixels: Pixels
    labels: list[str]
    part: Part


@dataclass(frozen=True)
class Malformed:
    """Something that could not become an image.

    Attributes:
        name: of the file, relative to the folder or archive.
        reason: what is wrong with it.
    """

    name: str
    reason: str


def starts(images: int) -> Iterator[slice]:
    """Return which images each batch has."""
    return (slice(first, first + IMAGES) for first in range(0, images, IMAGES))


def with_channels(pixels: Pixels, name: str) -> Pixels:
    """Return images of shape (images, rows, columns, channels).

    Args:
        pixels: the same, or grey ones without their last dimension.
        name: of the file, for messages.

    Raises:
        DataError: if these are no images, or have other channels than one or three.
    """
    if pixels.ndim == IMAGE_DIMENSIONS:
        pixels = pixels[..., np.newaxis]
    if pixels.ndim != IMAGE_DIMENSIONS + 1 or 0 in pixels.shape[1:]:
        raise DataError(
            f"{name} has the shape {pixels.shape}",
            allowed="(images, rows, columns) or (images, rows, columns, channels)",
            action="check that this file holds the images",
        )
    if pixels.shape[-1] not in {GREY, COLOUR}:
        raise DataError(
            f"the images in {name} have {pixels.shape[-1]} channels",
            allowed=f"{GREY} (grey) or {COLOUR} (red, green, blue)",
            action="convert the images",
        )
    return pixels


def class_names(numbers: Sequence[int], classes: Sequence[str], name: str) -> list[str]:
    """Return the class name of each label number; without declared classes, the number itself.

    Raises:
        DataError: if a number has no class.
    """
    if not classes:
        return [str(number) for number in numbers]
    for position, number in enumerate(numbers):
        if not 0 <= number < len(classes):
            raise DataError(
                f"label {number} of image {position} in {name} is none of {len(classes)} classes",
                allowed=f"0 to {len(classes) - 1}",
                action="check that labels and data set belong together",
            )
    return [classes[number] for number in numbers]


def check_lengths(images: int, labels: int, name: str) -> None:
    """Check that each image has its label.

    Raises:
        DataError: if there are more of one than of the other, or none.
    """
    if images != labels or not images:
        raise DataError(
            f"{name} has {images:,} images and {labels:,} labels",
            allowed="as many labels as images, at least one",
            action="check that the files belong together and are complete",
        )
