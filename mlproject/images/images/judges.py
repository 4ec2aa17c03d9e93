"""The validation images, by which a search judges: their classes, and the figures that they give.

They are those that `preprocess` set aside; the holdout is never looked at. Equal images are in one
part, so that no image judges a network that was fitted on it. Touches only the images' files and
the folder that it is given.
"""

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from images.facts import TRAIN_FILE, VALIDATION_FILE, Facts
from images.identity import ROW_BYTES, Content, fingerprints, positions
from images.predictions import as_shares
from images.split import MIN_CLASSES, MIN_HOLDOUT, MIN_TRAINING
from images.tables import ROW_ID, count, read, writing
from shared import metrics
from shared.errors import DataError
from shared.objective import ERROR, UNSEEN
from shared.space import room_for

PREFIX = "val_"
UNSEEN_FILE = "unseen.parquet"
"""Images that no trial of a search sees, beside those that trials see."""


@dataclass(frozen=True)
class Judges:
    """The validation images.

    Attributes:
        folder: what `preprocess` logged as `data`; after `without_unseen`, what trials see of it.
        facts: of the images.
        targets: class of each validation image, in their order.
        sha256: digest of the training and the validation images, hexadecimal.
        repeated: how many of these have the pixels of another one.
        unseen: class of each image in `UNSEEN_FILE`; empty where there is no such file.
        whose: what equal ones of these have in common.
    """

    folder: Path
    facts: Facts
    targets: pd.Series
    sha256: str
    repeated: int = 0
    unseen: pd.Series = field(default_factory=pd.Series)
    whose: Sequence[str] = ()

    def figures(self, probabilities: "np.ndarray[Any, Any]") -> dict[str, float]:
        """Return the metrics of a network's answers to the validation images, with their prefix.

        Args:
            probabilities: of shape (images, classes), the classes in the order of the facts.
        """
        found = self._metrics(self.targets, probabilities)
        return {f"{PREFIX}{name}": value for name, value in found.items()}

    def unseen_figures(
        self, probabilities: "np.ndarray[Any, Any]", metric: str
    ) -> dict[str, float]:
        """Return those of its answers to the images that no trial saw, as `Objective.unseen`.

        Args:
            probabilities: as for `figures`.
            metric: what leads, with its prefix.
        """

        def judged(chosen: "np.ndarray[Any, Any]") -> Mapping[str, float]:
            targets = self.unseen.iloc[chosen].reset_index(drop=True)
            return self._metrics(targets, probabilities[chosen])

        plain = metric.removeprefix(PREFIX)
        error = metrics.standard_error(judged, self.whose, plain)
        known = {} if error is None else {f"{plain}{ERROR}": error}
        whole = judged(np.arange(len(self.unseen)))
        told = {"rows": float(len(self.unseen)), **whole, **known}
        return {f"{UNSEEN}{name}": value for name, value in told.items()}

    def _metrics(
        self, targets: pd.Series, probabilities: "np.ndarray[Any, Any]"
    ) -> Mapping[str, float]:
        shares = pd.DataFrame(as_shares(probabilities), columns=list(self.facts.classes))
        return metrics.classification(targets, shares.idxmax(axis="columns"), shares)


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
    content, targets, images, different = Content(), list[str](), 0, set[bytes]()
    for name in (TRAIN_FILE, VALIDATION_FILE):
        for some in read(folder / name, facts.shape, ROW_ID):
            prints = fingerprints(some.pixels)
            content.add(prints, some.labels, some.marks)
            targets += some.labels if name == VALIDATION_FILE else []
            different.update(each[ROW_BYTES] for each in prints)
            images += len(prints)
    repeated = images - len(different)
    return Judges(folder, facts, pd.Series(targets), content.hexdigest(), repeated)


def without_unseen(judges: Judges, fraction: float, place: Path) -> Judges:
    """Keep a share of the training images from all trials.

    Args:
        judges: as `read_judges` returned them.
        fraction: the share, from 0 to below 1, by the images' identity.
        place: an empty folder, which has what trials see and what they do not for as long as the
            judges are used.

    Returns:
        The judges, with that folder; the same ones where one of the parts would be too small.
    """
    facts, labels, whose = judges.facts, dict[str, list[str]](), list[str]()
    names = (TRAIN_FILE, UNSEEN_FILE)
    with ExitStack() as stack, room_for(place, (judges.folder / TRAIN_FILE).stat().st_size):
        writers = [stack.enter_context(writing(place / n, facts.shape, ROW_ID)) for n in names]
        for some in read(judges.folder / TRAIN_FILE, facts.shape, ROW_ID):
            kept = positions(fingerprints(some.pixels), ROW_BYTES) < fraction
            whose += [some.marks[n].partition("-")[0] for n in np.flatnonzero(kept)]
            for name, writer, chosen in zip(names, writers, (~kept, kept), strict=True):
                part = some.chosen(np.flatnonzero(chosen))
                labels.setdefault(name, []).extend(part.labels)
                if part.labels:
                    writer.write(part)
    seen, unseen = (labels.get(name, []) for name in names)
    if len(seen) < MIN_TRAINING or len(unseen) < MIN_HOLDOUT or len(set(seen)) < MIN_CLASSES:
        return judges
    (place / VALIDATION_FILE).symlink_to((judges.folder / VALIDATION_FILE).resolve())
    return replace(judges, folder=place, unseen=pd.Series(unseen), whose=whose)


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
