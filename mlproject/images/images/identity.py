"""Gives every image a fingerprint that depends on nothing but its pixels.

Split, replay and row ids are all read from this one SHA-256, each from bytes of its own, so they
are independent of each other and the same on every night and machine. The label is no part of it:
a corrected label moves no image, and equal images stay together. Touches nothing.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from images.batches import Pixels

SALT = b"understudy/images/1\x00"
"""Changing it would move images between training and holdout: never do."""

Positions = np.ndarray[Any, np.dtype[np.float64]]
ROW_BYTES = slice(0, 8)
HOLDOUT = slice(8, 16)
ARRIVAL = slice(16, 24)
VALIDATION = slice(24, 32)


def fingerprints(pixels: Pixels) -> list[bytes]:
    """Return one 32-byte SHA-256 per image over its shape and its pixels."""
    start = hashlib.sha256(SALT + repr(pixels.shape[1:]).encode())
    prints = []
    for image in np.ascontiguousarray(pixels):
        digest = start.copy()
        digest.update(image.data)
        prints.append(digest.digest())
    return prints


def positions(prints: Sequence[bytes], part: slice) -> Positions:
    """Return where each image falls in [0, 1).

    Args:
        prints: the fingerprints.
        part: `HOLDOUT`, `ARRIVAL`, `VALIDATION` or `ROW_BYTES`: which of the independent positions.
    """
    # 53 bits: what a float64 holds exactly, so that no position rounds up to 1.0.
    whole = np.array([int.from_bytes(each[part], "big") >> 11 for each in prints], dtype="float64")
    return np.asarray(whole * 2.0**-53)


class RowIds:
    """Numbers images: 16 hexadecimal digits and the number of the occurrence from 0."""

    def __init__(self) -> None:
        self._seen: Counter[bytes] = Counter()

    def of(self, prints: Sequence[bytes]) -> list[str]:
        """Return a row id for each of these images, which come after those asked for before."""
        ids = []
        for each in prints:
            stem = each[ROW_BYTES]
            ids.append(f"{stem.hex()}-{self._seen[stem]}")
            self._seen[stem] += 1
        return ids


class Content:
    """The SHA-256 of images with their labels, in their order.

    It covers what the images are, not the file format: the same images written by another version
    of Parquet have the same digest.
    """

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, prints: Sequence[bytes], labels: Sequence[str], marks: Sequence[str]) -> None:
        """Add images: fingerprint, label, and part or row id of each."""
        for each, label, mark in zip(prints, labels, marks, strict=True):
            text = f"{label}\x00{mark}\x00".encode()
            self._digest.update(each + len(text).to_bytes(4, "big") + text)

    def hexdigest(self) -> str:
        """Return the digest of what was added so far."""
        return self._digest.hexdigest()
