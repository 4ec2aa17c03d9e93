"""Splits images into training, validation and holdout, so that no champion saw a holdout image.

By hash: an image's part depends on its pixels alone, for ever. By test: what the publisher set
aside is held out. The validation images, which stop the training in time, are a share of the
training ones, by another part of the same hash. Touches nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from images.identity import HOLDOUT, VALIDATION, positions
from shared.errors import DataError

MIN_TRAINING, MIN_VALIDATION, MIN_HOLDOUT, MIN_CLASSES = 20, 1, 10, 2
TRAIN_PART, VALIDATION_PART, HOLDOUT_PART = range(3)
NAMES = ("training", "validation", "holdout")


@dataclass(frozen=True)
class Split:
    """How to split.

    Attributes:
        policy: "test" or "hash".
        holdout: share of the images held out by hash, between 0 and 1.
        validation: share of the others that watches the training, 0 to below 1.
    """

    policy: Literal["test", "hash"]
    holdout: float = 0.2
    validation: float = 0.1

    def parts(
        self, prints: Sequence[bytes], marks: Sequence[str]
    ) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Return the part of each image: `TRAIN_PART`, `VALIDATION_PART` or `HOLDOUT_PART`.

        Args:
            prints: fingerprints of the images.
            marks: the publisher's part of each.
        """
        if self.policy == "test":
            held = np.array([mark == "test" for mark in marks], dtype=bool)
        else:
            held = positions(prints, HOLDOUT) < self.holdout
        watching = positions(prints, VALIDATION) < self.validation
        return np.where(held, HOLDOUT_PART, np.where(watching, VALIDATION_PART, TRAIN_PART))


def check(counts: Sequence[dict[str, int]], split: Split) -> None:
    """Check that each part has enough images and two classes.

    Args:
        counts: images by class, of each part in the order of `NAMES`.
        split: how they were split.

    Raises:
        DataError: if one has not.
    """
    least = (MIN_TRAINING, MIN_VALIDATION if split.validation else 0, MIN_HOLDOUT)
    for name, count, needed in zip(NAMES, counts, least, strict=True):
        total = sum(count.values())
        if total < needed:
            raise DataError(
                f"the split by {split.policy} leaves {total} {name} images",
                allowed=f"at least {needed} {name} images",
                action="bring more images, or change holdout, holdout_fraction or "
                "validation_fraction",
            )
    for name in ("training", "holdout"):
        count = counts[NAMES.index(name)]
        if len(count) < MIN_CLASSES:
            raise DataError(
                f"the {name} images have one class only, {next(iter(count))!r}",
                allowed=f"at least {MIN_CLASSES} classes",
                action="bring images of other classes",
            )
