"""idx files: read whole in batches; every way of being broken is told."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from images.batches import IMAGES, Batch
from images.idx import pairs, read_idx
from shared.errors import DataError

pytestmark = pytest.mark.unit

Array = np.ndarray[Any, Any]
DIGITS = tuple("0123456789")
LABELS = np.arange(30) % 10


def read(images: Path, labels: Path) -> list[Batch]:
    """Return all batches."""
    return list(read_idx(images, labels, "train", DIGITS))


def test_images_and_labels_arrive_in_batches(
    random_images: Callable[..., Array],
    idx_files: Callable[[Array, Array], tuple[Path, Path]],
) -> None:
    """Grey images get a channel; more images than a batch holds make several."""
    images = random_images(IMAGES + 3, 4, 5)
    labels = np.arange(len(images)) % 10
    first, second = read(*idx_files(images, labels))
    assert (first.pixels == images[:IMAGES, :, :, np.newaxis]).all()
    assert second.pixels.shape == (3, 4, 5, 1)
    assert second.labels == [str(label) for label in labels[IMAGES:]]
    assert second.part == "train"


def test_colour_and_files_that_are_not_packed(
    random_images: Callable[..., Array], idx: Callable[[Array], bytes], tmp_path: Path
) -> None:
    """Four dimensions are colour; gzip is recognised by content, not by name."""
    images = random_images(30, 4, 5, 3)
    paths = tmp_path / "images", tmp_path / "labels"
    paths[0].write_bytes(idx(images))
    paths[1].write_bytes(idx(LABELS))
    (batch,) = read(*paths)
    assert (batch.pixels == images).all()


TRAIN = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        ((*TRAIN, "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte"), ["test", "train"]),
        (("train-images.idx3-ubyte", "train-labels.idx1-ubyte", "notes.txt"), ["train"]),
        (("a/emnist-train-images-idx3-ubyte.gz", "a/emnist-train-labels-idx1-ubyte"), ["train"]),
        ((*TRAIN, *(f"{name}.gz" for name in TRAIN)), ["train"]),
    ],
)
def test_pairs_of_ones_own(tmp_path: Path, names: tuple[str, ...], parts: list[str]) -> None:
    """By the names that people have them under; once, where they are there packed, too."""
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = pairs(tmp_path)
    assert sorted(part for *_, part in found) == parts
    assert all("images" in i.name and "labels" in one.name for i, one, _ in found)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("images.bin",), "has no training images in idx files. Allowed: train-images-idx3-ubyte"),
        (("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"), "has no training images"),
        (TRAIN[:1], "'train-images-idx3-ubyte' has no 'train-labels-idx1-ubyte' beside it"),
    ],
)
def test_a_folder_without_pairs(tmp_path: Path, names: tuple[str, ...], words: str) -> None:
    """It says how they are to be named."""
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(DataError, match=re.escape(words)):
        pairs(tmp_path)


PIXELS = np.random.default_rng(0).integers(0, 256, (30, 4, 5), dtype=np.uint8)
LENGTH = 16 + PIXELS.size
"""Bytes of an idx file of ``PIXELS``: a header, and a byte per pixel."""


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(end=st.integers(0, LENGTH - 1), packed=st.booleans())
def test_a_file_that_was_cut_short_anywhere(
    idx: Callable[[Array], bytes],
    tmp_path: Path,
    end: int,
    packed: bool,  # noqa: FBT001
) -> None:
    """Before or after packing, whatever is missing."""
    images, labels = tmp_path / "images", tmp_path / "labels"
    labels.write_bytes(idx(LABELS))
    content = idx(PIXELS)
    assert len(content) == LENGTH
    if packed:
        whole = gzip.compress(content, mtime=0)
        images.write_bytes(whole[: 2 + end * (len(whole) - 2) // LENGTH])
    else:
        images.write_bytes(content[:end])
    with pytest.raises(DataError, match=r"images (ends|is corrupt)"):
        read(images, labels)


@pytest.fixture
def refused(tmp_path: Path) -> Callable[[bytes, bytes, str], None]:
    """Return what checks that two files are refused in words that name the file."""

    def check(images: bytes, labels: bytes, words: str) -> None:
        (tmp_path / "images").write_bytes(images)
        (tmp_path / "labels").write_bytes(labels)
        with pytest.raises(DataError, match=words) as raised:
            read(tmp_path / "images", tmp_path / "labels")
        assert "Allowed: " in str(raised.value)

    return check


@pytest.mark.parametrize(
    ("images", "labels", "words"),
    [
        (PIXELS, LABELS[:29], "30 images and 29 labels"),
        (LABELS, LABELS, "images begins with 00000801"),
        (PIXELS, PIXELS, "labels begins with 00000803"),
        (PIXELS, LABELS + 1, "label 10 of image 9 in labels is none of 10 classes"),
        (np.stack([PIXELS, PIXELS], axis=-1), LABELS, "have 2 channels"),
        (PIXELS[:0], LABELS[:0], "0 images and 0 labels"),
    ],
)
def test_wrong_values(
    idx: Callable[[Array], bytes],
    refused: Callable[[bytes, bytes, str], None],
    images: Array,
    labels: Array,
    words: str,
) -> None:
    """Whole files that do not belong together, or are of something else."""
    refused(idx(images), idx(labels), words)


@pytest.mark.parametrize(
    ("images", "labels", "words"),
    [
        (lambda whole: whole + b"x", bytes, "images goes on behind its last value"),
        (bytes, lambda whole: whole + b"x", "labels goes on behind its last value"),
        (lambda _: b"<html></html>", bytes, "images begins with 3c68746d"),
        (lambda whole: gzip.compress(whole)[:-9] + b"123456789", bytes, "images is corrupt"),
    ],
)
def test_a_wrong_file(
    idx: Callable[[Array], bytes],
    refused: Callable[[bytes, bytes, str], None],
    images: Callable[[bytes], bytes],
    labels: Callable[[bytes], bytes],
    words: str,
) -> None:
    """Files that were whole, and what became of one of them."""
    refused(images(idx(PIXELS)), labels(idx(LABELS)), words)


def test_a_damaged_byte_in_a_packed_file(
    idx_files: Callable[[Array, Array], tuple[Path, Path]],
) -> None:
    """The checksum of gzip finds what the length does not."""
    images, labels = idx_files(PIXELS, LABELS)
    content: Any = bytearray(images.read_bytes())
    content[len(content) // 2] ^= 1
    images.write_bytes(content)
    with pytest.raises(DataError, match="is corrupt"):
        read(images, labels)
