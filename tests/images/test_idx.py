"""idx files: read whole in batches; every way of being broken is told."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made import idx, idx_files, random_images

from images.batches import IMAGES, Batch
from images.errors import DataError
from images.idx import read_idx

pytestmark = pytest.mark.unit

DIGITS = tuple("0123456789")
LABELS = np.arange(30) % 10


def read(images: Path, labels: Path) -> list[Batch]:
    """Return all batches."""
    return list(read_idx(images, labels, "train", DIGITS))


def test_images_and_labels_arrive_in_batches(tmp_path: Path) -> None:
    """Grey images get a channel; more images than a batch holds make several."""
    images = random_images(IMAGES + 3, 4, 5)
    labels = np.arange(len(images)) % 10
    first, second = read(*idx_files(tmp_path, images, labels))
    assert (first.pixels == images[:IMAGES, :, :, np.newaxis]).all()
    assert second.pixels.shape == (3, 4, 5, 1)
    assert second.labels == [str(label) for label in labels[IMAGES:]]
    assert second.part == "train"


def test_colour_and_files_that_are_not_packed(tmp_path: Path) -> None:
    """Four dimensions are colour; gzip is recognised by content, not by name."""
    images = random_images(30, 4, 5, 3)
    paths = tmp_path / "images", tmp_path / "labels"
    paths[0].write_bytes(idx(images))
    paths[1].write_bytes(idx(LABELS))
    (batch,) = read(*paths)
    assert (batch.pixels == images).all()


IMAGE_BYTES = idx(random_images(30, 4, 5))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(end=st.integers(0, len(IMAGE_BYTES) - 1), packed=st.booleans())
def test_a_file_that_was_cut_short_anywhere(tmp_path: Path, end: int, packed: bool) -> None:  # noqa: FBT001
    """Before or after packing, whatever is missing."""
    images, labels = tmp_path / "images", tmp_path / "labels"
    labels.write_bytes(idx(LABELS))
    if packed:
        whole = gzip.compress(IMAGE_BYTES, mtime=0)
        images.write_bytes(whole[: 2 + end * (len(whole) - 2) // len(IMAGE_BYTES)])
    else:
        images.write_bytes(IMAGE_BYTES[:end])
    with pytest.raises(DataError, match=r"images (ends|is corrupt)"):
        read(images, labels)


@pytest.mark.parametrize(
    ("images", "labels", "words"),
    [
        (IMAGE_BYTES, idx(LABELS[:29]), "30 images and 29 labels"),
        (IMAGE_BYTES + b"x", idx(LABELS), "images goes on behind its last value"),
        (IMAGE_BYTES, idx(LABELS) + b"x", "labels goes on behind its last value"),
        (idx(LABELS), idx(LABELS), "images begins with 00000801"),
        (IMAGE_BYTES, IMAGE_BYTES, "labels begins with 00000803"),
        (b"<html></html>", idx(LABELS), "images begins with 3c68746d"),
        (IMAGE_BYTES, idx(LABELS + 1), "label 10 of image 9 in labels is none of 10 classes"),
        (idx(random_images(30, 4, 5, 2)), idx(LABELS), "have 2 channels"),
        (idx(random_images(0, 4, 5)), idx(LABELS[:0]), "0 images and 0 labels"),
        (gzip.compress(IMAGE_BYTES)[:-9] + b"123456789", idx(LABELS), "images is corrupt"),
    ],
)
def test_a_wrong_file(tmp_path: Path, images: bytes, labels: bytes, words: str) -> None:
    """Each is told in words that name the file."""
    (tmp_path / "images").write_bytes(images)
    (tmp_path / "labels").write_bytes(labels)
    with pytest.raises(DataError, match=words) as raised:
        read(tmp_path / "images", tmp_path / "labels")
    assert "Allowed: " in str(raised.value)


def test_a_damaged_byte_in_a_packed_file(tmp_path: Path) -> None:
    """The checksum of gzip finds what the length does not."""
    images, labels = idx_files(tmp_path, random_images(30, 4, 5), LABELS)
    content: Any = bytearray(images.read_bytes())
    content[len(content) // 2] ^= 1
    images.write_bytes(content)
    with pytest.raises(DataError, match="is corrupt"):
        read(images, labels)
