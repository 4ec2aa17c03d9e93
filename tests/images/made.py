"""Makes small image files of every format that the project reads."""

from __future__ import annotations

import gzip
import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Array = np.ndarray[Any, Any]


def random_images(number: int, *shape: int, seed: int = 0) -> Array:
    """Return that many images of random pixels."""
    return np.random.default_rng(seed).integers(0, 256, (number, *shape), dtype=np.uint8)


def idx(values: Array) -> bytes:
    """Return an idx file of bytes."""
    header = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
    return header + values.astype(np.uint8).tobytes()


def idx_files(folder: Path, images: Array, labels: Array) -> tuple[Path, Path]:
    """Write a gzipped pair of idx files; return their paths."""
    paths = folder / "images-idx3-ubyte.gz", folder / "labels-idx1-ubyte.gz"
    for path, values in zip(paths, (images, labels), strict=True):
        path.write_bytes(gzip.compress(idx(values), mtime=0))
    return paths


def npz(**arrays: Array) -> bytes:
    """Return a file of NumPy arrays."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def png(image: Array) -> bytes:
    """Return a picture of shape (rows, columns) or (rows, columns, 3) as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "png")
    return buffer.getvalue()


def pictures(folder: Path, number: int = 3, shape: tuple[int, ...] = (6, 5)) -> Path:
    """Write that many pictures into each of the folders `cat` and `dog`; return the folder."""
    for seed, name in enumerate(("cat", "dog")):
        (folder / name).mkdir(parents=True)
        for place, image in enumerate(random_images(number, *shape, seed=seed)):
            (folder / name / f"{place:03}.png").write_bytes(png(image))
    return folder
