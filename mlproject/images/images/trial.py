"""One trial of a search: a network is trained, and judged by the validation images at each epoch.

Imports Keras and TensorFlow; touches only the files it reads.
"""

from collections.abc import Mapping
from typing import Any

import keras

from images.facts import VALIDATION_FILE
from images.judges import UNSEEN_FILE, Judges
from images.stream import batches_of
from images.training import fitted, named, untrained
from shared.objective import Report

CURVES = "epochs/"
"""Of what a trial had after each epoch; without it, of its best one."""


def score(
    judges: Judges, values: Mapping[str, Any], metric: str, report: Report
) -> dict[str, float]:
    """Return the figures of the best epoch, whose weights `train` would keep.

    Args:
        judges: the validation images, and where the others are.
        values: the parameters, as `train.OPTIONS` names them.
        metric: what leads, with its prefix.
        report: told after each epoch.

    Raises:
        Exception: whatever training raises, and what `report` does.
    """
    keras.utils.clear_session()  # what the trial before has left in memory
    network = untrained(judges.facts, values)
    judged = _Judged(judges, values, metric, report)
    history = fitted(network, judges.facts, judges.folder, values, [judged])
    best = judged.epochs[history.best - 1]
    return {**best, "best_epoch": float(history.best), "epochs_run": float(len(judged.epochs))}


def unseen(judges: Judges, values: Mapping[str, Any], metric: str) -> dict[str, float]:
    """Return the figures of the images that no trial saw, for a network trained as a trial's.

    Args:
        judges: as for `score`.
        values: ditto.
        metric: ditto.

    Raises:
        TrainingError: if it diverges.
    """
    keras.utils.clear_session()
    network = untrained(judges.facts, values)
    fitted(network, judges.facts, judges.folder, values, [])
    images = batches_of(judges.folder / UNSEEN_FILE, judges.facts, values["batch_size"])
    return judges.unseen_figures(network.predict(images, verbose=0), metric)


class _Judged(keras.callbacks.Callback):
    """Judges each epoch, and reports it.

    Attributes:
        epochs: the figures after each.
    """

    def __init__(
        self, judges: Judges, values: Mapping[str, Any], metric: str, report: Report
    ) -> None:
        super().__init__()
        self.epochs: list[dict[str, float]] = []
        self._judges, self._metric, self._report = judges, metric, report
        self._last = values["epochs"]
        path = judges.folder / VALIDATION_FILE
        self._images = batches_of(path, judges.facts, values["batch_size"])

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Judge the epoch; the study may end the training here."""
        answers = self.model.predict(self._images, verbose=0)
        self.epochs.append(self._judges.figures(answers))
        trained = {name: v for name, v in named(logs).items() if name.startswith("train_")}
        figures = {**trained, **self.epochs[-1]}
        curves = {f"{CURVES}{name}": value for name, value in figures.items()}
        number = epoch + 1
        self._report(number, figures[self._metric], curves, last=number == self._last)
