"""Images in Parquet: what is read is what was written, in order or well shuffled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from images import tables
from images.batches import Pixels
from images.tables import ROW_ID, Images, Shape, count, read, read_shuffled, writing
from shared.errors import DataError

pytestmark = pytest.mark.unit

SHAPE: Shape = (4, 5, 3)
NUMBER = 100


@pytest.fixture
def path(
    random_images: Callable[..., Pixels], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Return a file of 100 images in row groups of ten, written seven at a time."""
    monkeypatch.setattr(tables, "_GROUP", 10 * (4 * 5 * 3 + 10))
    monkeypatch.setattr(tables, "_GROUPS_TOGETHER", 3)
    pixels = random_images(NUMBER, *SHAPE)
    with writing(tmp_path / "images.parquet", SHAPE, ROW_ID) as writer:
        for first in range(0, NUMBER, 7):
            some = range(first, min(first + 7, NUMBER))
            labels = [f"class {number % 3}" for number in some]
            writer.write(Images(pixels[first : first + 7], labels, list(map(str, some))))
    return tmp_path / "images.parquet"


def test_read_in_order(random_images: Callable[..., Pixels], path: Path) -> None:
    """All images with label and row id, in batches of the wanted size."""
    batches = list(read(path, SHAPE, ROW_ID, 30))
    assert {len(batch.labels) for batch in batches[:-1]} == {30}
    assert (np.concatenate([b.pixels for b in batches]) == random_images(NUMBER, *SHAPE)).all()
    assert [mark for b in batches for mark in b.marks] == [str(n) for n in range(NUMBER)]
    assert batches[0].labels[:2] == ["class 0", "class 1"]
    assert count(path) == NUMBER


def order(random_images: Callable[..., Pixels], path: Path, seed: int) -> list[str]:
    """Return the row ids as they come shuffled; each with its own pixels."""
    pixels = random_images(NUMBER, *SHAPE)
    marks: list[str] = []
    for some in read_shuffled(path, SHAPE, ROW_ID, np.random.default_rng(seed)):
        assert len(some.labels) < NUMBER
        assert (some.pixels == pixels[[int(mark) for mark in some.marks]]).all()
        assert some.labels == [f"class {int(mark) % 3}" for mark in some.marks]
        marks += some.marks
    return marks


def test_read_shuffled(random_images: Callable[..., Pixels], path: Path) -> None:
    """Each image once; the order depends on the seed alone; no more than a window in memory."""
    first = order(random_images, path, 1)
    assert sorted(first, key=int) == [str(number) for number in range(NUMBER)]
    assert first == order(random_images, path, 1)
    assert first != order(random_images, path, 2)
    assert np.corrcoef([int(mark) for mark in first], range(NUMBER))[0, 1] < 0.6


def test_images_of_another_shape(random_images: Callable[..., Pixels], tmp_path: Path) -> None:
    """Are refused when they are written, and when they are read."""
    some = Images(random_images(2, 4, 4, 3), ["a", "b"], ["0", "1"])
    path = tmp_path / "images.parquet"
    with (
        pytest.raises(DataError, match=r"shape \(4, 4, 3\), the first \(4, 5, 3\)"),
        writing(path, SHAPE, ROW_ID) as writer,
    ):
        writer.write(some)
    with writing(path, (4, 4, 3), ROW_ID) as writer:
        writer.write(some)
    with pytest.raises(DataError, match=r"pixels of type fixed_size_binary\[48\]"):
        next(read(path, SHAPE, ROW_ID))


def test_a_file_of_something_else(tmp_path: Path) -> None:
    """Not there, no Parquet, other columns: the folder of the step before is asked for."""
    path = tmp_path / "images.parquet"
    with pytest.raises(DataError, match=r"'images\.parquet' in the input folder is not there"):
        count(path)
    path.write_bytes(b"no Parquet")
    with pytest.raises(DataError, match="cannot be read"):
        count(path)
    pq.write_table(pa.table({"a": [1]}), path)
    with pytest.raises(DataError, match="has the columns a"):
        next(read(path, SHAPE, ROW_ID))
