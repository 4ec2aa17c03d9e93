"""The validation images, by which a search judges: their classes, and the figures that they give.

They are those that `preprocess` set aside; the holdout is never looked at. Touches only their file.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from images.facts import TRAIN_FILE, VALIDATION_FILE, Facts
from images.identity import Content, fingerprints
from images.predictions import as_shares
from images.tables import ROW_ID, count, read
from shared import metrics
from shared.errors import DataError

PREFIX = "val_"


@dataclass(frozen=True)
class Judges:
    """The validation images.

    Attributes:
        folder: what `preprocess` logged as `data`.
        facts: of the images.
        targets: class of each validation image, in their order.
        sha256: digest of the training and the validation images, hexadecimal.
    """

    folder: Path
    facts: Facts
    targets: pd.Series
    sha256: str

    def figures(self, probabilities: "np.ndarray[Any, Any]") -> dict[str, float]:
        """Return the metrics of a network's answers, with their prefix.

        Args:
            probabilities: of shape (images, classes), the classes in the order of the facts.
        """
        shares = pd.DataFrame(as_shares(probabilities), columns=list(self.facts.classes))
        found = metrics.classification(self.targets, shares.idxmax(axis="columns"), shares)
        return {f"{PREFIX}{name}": value for name, value in found.items()}


def read_judges(folder: Path, facts: Facts) -> Judges:
    """Return the validation images of a folder.

    Raises:
        DataError: if there are none.
    """
    if not count(folder / VALIDATION_FILE):
        raise DataError(
            f"the input folder of {facts.dataset} has no validation images",
            allowed="at least one, by which a search judges",
            action="pass -P validation_fraction=0.1 to preprocess",
        )
    content, targets = Content(), list[str]()
    for name in (TRAIN_FILE, VALIDATION_FILE):
        for some in read(folder / name, facts.shape, ROW_ID):
            content.add(fingerprints(some.pixels), some.labels, some.marks)
            targets += some.labels if name == VALIDATION_FILE else []
    return Judges(folder, facts, pd.Series(targets), content.hexdigest())


def metric_of(name: str, judges: Judges) -> tuple[str, str]:
    """Return the metric that a study is led by, and its direction.

    Args:
        name: parameter `metric`, a plain name or one with the prefix; '' for the accuracy.
        judges: what has to define it.

    Raises:
        ParameterError: for a metric that there is not.
        DataError: for one that these images do not define.
    """
    metric, direction = metrics.leading(name, metrics.CLASSIFICATION, PREFIX)
    classes = len(judges.facts.classes)
    defined = judges.figures(np.full((len(judges.targets), classes), 1 / classes))
    if not math.isfinite(defined.get(metric, math.nan)):
        raise DataError(
            f"the {len(judges.targets)} validation images do not define "
            f"{metric.removeprefix(PREFIX)}, "
            f"for they have {judges.targets.nunique()} of {classes} classes",
            allowed=", ".join(name.removeprefix(PREFIX) for name in defined),
            action="choose another metric, or pass a larger validation_fraction to preprocess",
        )
    return metric, direction
