"""Streams images from Parquet into TensorFlow, so that a set need not fit into memory.

Imports TensorFlow; touches only the files it reads.
"""

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from images.batches import Pixels
from images.facts import Facts
from images.tables import ROW_ID, read, read_shuffled
from images.tables import count as count_images

_AHEAD = 2  # batches that are made ready while another is computed
Pair = tuple[Pixels, np.ndarray[Any, np.dtype[np.int32]]]


def batches_of(path: Path, facts: Facts, size: int, seed: int | None = None) -> tf.data.Dataset:
    """Return batches of images and class numbers, anew for each epoch.

    Args:
        path: the Parquet file.
        facts: shape and classes.
        size: images of a batch.
        seed: with one, every epoch has an order of its own, the same in every process; None keeps
            the order of the file.
    """
    epochs, numbers = count(), {name: number for number, name in enumerate(facts.classes)}

    def pairs() -> Iterator[Pair]:
        if seed is None:
            windows = read(path, facts.shape, ROW_ID)
        else:
            order = np.random.default_rng([seed, next(epochs)])
            windows = read_shuffled(path, facts.shape, ROW_ID, order)
        for some in windows:
            labels = np.array([numbers[label] for label in some.labels], dtype=np.int32)
            yield some.pixels.reshape(-1, *facts.image_shape), labels

    signature = (
        tf.TensorSpec((None, *facts.image_shape), tf.uint8),
        tf.TensorSpec((None,), tf.int32),
    )
    windows = tf.data.Dataset.from_generator(pairs, output_signature=signature)
    number = -(-count_images(path) // size)
    counted = tf.data.experimental.assert_cardinality(number)
    return windows.rebatch(size).apply(counted).prefetch(_AHEAD)
