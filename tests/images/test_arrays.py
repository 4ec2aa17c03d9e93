"""Files of NumPy arrays: as Keras publishes them, and broken ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from images.arrays import read_npz
from images.batches import Batch
from shared.errors import DataError

pytestmark = pytest.mark.unit

X = np.random.default_rng(0).integers(0, 256, (20, 4, 5), dtype=np.uint8)
Y = np.arange(20) % 10
NPY = b"\x93NUMPY\x01\x00"
DIGITS = tuple("0123456789")


def read(folder: Path, content: bytes, classes: tuple[str, ...] = DIGITS) -> list[Batch]:
    """Return all batches of such a file."""
    path = folder / "set.npz"
    path.write_bytes(content)
    return list(read_npz(path, classes))


def test_both_parts(npz: Callable[..., bytes], tmp_path: Path) -> None:
    """Train comes first, then test; wider whole numbers are pixels as well."""
    train, test = read(tmp_path, npz(x_train=X.astype("int64"), y_train=Y, x_test=X, y_test=Y))
    assert (train.part, test.part) == ("train", "test")
    assert train.pixels.dtype == np.uint8
    assert (train.pixels[..., 0] == X).all()
    assert test.labels == [str(label) for label in Y]


def test_classes_of_the_users_own(npz: Callable[..., bytes], tmp_path: Path) -> None:
    """Without a test part, with texts, or with CIFAR's column of labels."""
    (named,) = read(tmp_path, npz(x_train=X, y_train=np.array(["cat", "dog"] * 10)), ())
    assert named.labels[:2] == ["cat", "dog"]
    (column,) = read(tmp_path, npz(x_train=X, y_train=Y[:, np.newaxis]), ())
    assert column.labels[9] == "9"


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x_train": X}, "has no array 'y_train', but x_train"),
        ({"x_test": X, "y_test": Y}, "has no array 'x_train' and no 'y_train'"),
        ({"x_train": X, "y_train": Y[:-1]}, "20 images and 19 labels"),
        ({"x_train": X / 255, "y_train": Y}, "values of type float64 from 0"),
        ({"x_train": X.astype(int) + 1, "y_train": Y}, "values of type int64 from 1 to 256"),
        ({"x_train": X.reshape(20, -1), "y_train": Y}, r"has the shape \(20, 20\)"),
        ({"x_train": X, "y_train": Y + 1}, "label 10 of image 9"),
        ({"x_train": X, "y_train": Y - 1}, "label -1 of image 0"),
        ({"x_train": X, "y_train": Y / 2}, "labels of type float64"),
        ({"x_train": X, "y_train": np.array(["eleven"] * 20)}, "has the class 'eleven'"),
        ({"x_train": X, "y_train": np.array([{}] * 20)}, "cannot be read: Object arrays"),
    ],
)
def test_wrong_arrays(
    npz: Callable[..., bytes], tmp_path: Path, arrays: dict[str, Any], words: str
) -> None:
    """Each is told; objects, which could run code, are never loaded."""
    with pytest.raises(DataError, match=words):
        read(tmp_path, npz(**arrays))


@pytest.mark.parametrize("content", [b"", b"no arrays", NPY, None])
def test_a_damaged_file(npz: Callable[..., bytes], tmp_path: Path, content: bytes | None) -> None:
    """Empty, something else, one array alone, or cut short."""
    if content is None:
        content = npz(x_train=X, y_train=Y)[:700]
    with pytest.raises(DataError, match=r"set\.npz cannot be read"):
        read(tmp_path, content)
