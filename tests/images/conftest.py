"""Fixtures of the image project's tests: its environment, a store, and small image files."""

from __future__ import annotations

import gzip
import io
import struct
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from understudy.runner import projectfile
from understudy.runner.environment.store import EnvironmentStore
from understudy.runner.process.process import ProcessRunner
from understudy.runner.settings import Settings

if TYPE_CHECKING:
    from tests.fixtures.project_store import ProjectStore

ROOT = Path(__file__).resolve().parents[2]
PROJECT = ROOT / "mlproject" / "images"
CACHE = ROOT / ".state" / "cache"
"""Where the local stack has its environments, too: a second run finds this one there."""
Array = np.ndarray[Any, Any]


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return the Python of the project's environment, built as a night builds it."""
    store = EnvironmentStore(Settings(CACHE, tmp_path_factory.mktemp("scratch")), ProcessRunner())
    with store.lease(projectfile.load(PROJECT, str(PROJECT)), "uv", print) as environment:
        assert environment.bin
        yield environment.bin / "python"


@pytest.fixture(scope="module")
def store(
    project_store: Callable[[Path, str], AbstractContextManager[ProjectStore]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ProjectStore]:
    """Return a store of the module's own; everything points there while it lives."""
    with project_store(tmp_path_factory.mktemp("mlflow"), "images") as made:
        yield made


def _random_images(number: int, *shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, 256, (number, *shape), dtype=np.uint8)


def _idx(values: Array) -> bytes:
    header = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
    return header + values.astype(np.uint8).tobytes()


def _npz(**arrays: Array) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def _png(image: Array) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "png")
    return buffer.getvalue()


@pytest.fixture(scope="session")
def random_images() -> Callable[..., Array]:
    """Return what makes so many images of random bytes, by their number, shape and ``seed`` (0)."""
    return _random_images


@pytest.fixture(scope="session")
def idx() -> Callable[[Array], bytes]:
    """Return what makes an idx file of bytes."""
    return _idx


@pytest.fixture
def idx_files(tmp_path: Path) -> Callable[[Array, Array], tuple[Path, Path]]:
    """Return what writes images and labels as a gzipped pair of idx files; it returns the paths."""

    def write(images: Array, labels: Array) -> tuple[Path, Path]:
        paths = tmp_path / "images-idx3-ubyte.gz", tmp_path / "labels-idx1-ubyte.gz"
        for path, values in zip(paths, (images, labels), strict=True):
            path.write_bytes(gzip.compress(_idx(values), mtime=0))
        return paths

    return write


@pytest.fixture(scope="session")
def npz() -> Callable[..., bytes]:
    """Return what makes a file of NumPy arrays, by their names."""
    return _npz


@pytest.fixture(scope="session")
def png() -> Callable[[Array], bytes]:
    """Return what makes a PNG of an image of shape (rows, columns) or (rows, columns, 3)."""
    return _png


@pytest.fixture(scope="session")
def pictures() -> Callable[..., Path]:
    """Return what writes three pictures each into the folders `cat` and `dog` of a folder.

    It takes the folder, another number of pictures and another shape than (6, 5).
    """

    def write(folder: Path, number: int = 3, shape: tuple[int, ...] = (6, 5)) -> Path:
        for seed, name in enumerate(("cat", "dog")):
            (folder / name).mkdir(parents=True)
            for place, image in enumerate(_random_images(number, *shape, seed=seed)):
                (folder / name / f"{place:03}.png").write_bytes(_png(image))
        return folder

    return write
