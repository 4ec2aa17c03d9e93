"""Trains the network: learning rate, early stopping, curves, and an end when it diverges.

`train` and every trial of `search` train in this one way, so that the same parameters and the same
images give the very network that was judged. By default `train` has more images than a trial: those
that the search kept from all trials, too. Imports Keras and TensorFlow. Touches the active MLflow
run, where `Curves` is one of the callbacks.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from images.facts import TRAIN_FILE, VALIDATION_FILE, Facts
from images.network import build
from images.stream import batches_of
from images.tables import count
from shared.errors import TrainingError
from shared.tracking import say

CURVES = {
    "loss": "train_loss",
    "accuracy": "train_accuracy",
    "val_loss": "validation_loss",
    "val_accuracy": "validation_accuracy",
}
"""Keras's name of a figure to ours; one value for each epoch, from 1."""


@dataclass
class History:
    """What came out.

    Attributes:
        curves: the values of each figure, by our names, epoch by epoch.
        best: the epoch, from 1, whose weights the network has now.
    """

    curves: dict[str, list[float]] = field(default_factory=dict)
    best: int = 0

    def metrics(self) -> dict[str, float]:
        """Return how far the training came, and the figures of the best epoch."""
        figures = {f"best_{name}": values[self.best - 1] for name, values in self.curves.items()}
        epochs = len(self.curves["train_loss"])
        return {**figures, "epochs_run": float(epochs), "best_epoch": float(self.best)}


def untrained(facts: Facts, values: Mapping[str, Any]) -> keras.Model:
    """Return the network; the same seed gives the same one on the same machine, in any process.

    With another number of cores, or of threads, sums are added up in another order: the weights of
    a trained network then differ in their last bits.

    Args:
        facts: of the images.
        values: the parameters, as `train.OPTIONS` names them.
    """
    keras.config.disable_interactive_logging()  # no bars in a log
    keras.utils.set_random_seed(values["random_state"])
    tf.config.experimental.enable_op_determinism()
    return build(facts, values["filters"], values["dropout"])


def fitted(
    network: keras.Model,
    facts: Facts,
    folder: Path,
    values: Mapping[str, Any],
    further: Sequence[keras.callbacks.Callback],
) -> History:
    """Train the network; afterwards it has the weights of its best epoch.

    Args:
        network: as `untrained` returned it.
        facts: of the images.
        folder: what `preprocess` logged as `data`. Its validation images choose the best epoch;
            without any it is the last.
        values: the parameters, as `train.OPTIONS` names them.
        further: callbacks that see only epochs whose losses are finite.

    Raises:
        TrainingError: if it diverges, that is, a loss is not a finite number.
    """
    size, epochs, watching = values["batch_size"], values["epochs"], folder / VALIDATION_FILE
    train = batches_of(folder / TRAIN_FILE, facts, size, values["random_state"])
    network.compile(
        keras.optimizers.Adam(_rate(values, epochs * int(train.cardinality()))),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    history, validation = History(), None
    callbacks: list[keras.callbacks.Callback] = [_Watch(history), *further]
    if count(watching):
        validation = batches_of(watching, facts, size)
        patience = values["patience"] or epochs
        best = keras.callbacks.EarlyStopping(
            "val_loss", patience=patience, mode="min", restore_best_weights=True
        )
        callbacks.append(best)
    network.fit(
        train,
        validation_data=validation,
        epochs=epochs,
        callbacks=callbacks,
        verbose=0,
        shuffle=False,  # the stream has an order of its own
    )
    losses = history.curves.get("validation_loss")
    history.best = losses.index(min(losses)) + 1 if losses else len(history.curves["train_loss"])
    return history


def _rate(values: Mapping[str, Any], steps: int) -> Any:  # noqa: ANN401 - a number or a schedule
    """Return a constant rate, or one that falls to 0 over all steps.

    The latter is the cosine of Loshchilov and Hutter 2017, without restarts.
    """
    if values["schedule"] == "constant":
        return values["learning_rate"]
    return keras.optimizers.schedules.CosineDecay(values["learning_rate"], steps)


def named(logs: Mapping[str, float] | None) -> dict[str, float]:
    """Return Keras's figures of an epoch by our names."""
    return {CURVES[name]: float(v) for name, v in (logs or {}).items() if name in CURVES}


class Curves(keras.callbacks.Callback):
    """Logs each epoch's figures in the active MLflow run, and says them."""

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Log what this epoch came to."""
        import mlflow

        figures = named(logs)
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        mlflow.log_metrics({**figures, "learning_rate": rate}, step=epoch + 1)
        shown = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
        say(f"epoch {epoch + 1}: {shown}")


class _Watch(keras.callbacks.Callback):
    """Keeps the curves, and ends a training that diverges."""

    def __init__(self, history: History) -> None:
        super().__init__()
        self._history = history

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        """Look at the loss so far."""
        self._check(logs or {}, f"batch {batch + 1} of epoch {self._epoch}")

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Keep what this epoch came to."""
        self._check(logs or {}, f"epoch {epoch + 1}")
        for name, value in named(logs).items():
            self._history.curves.setdefault(name, []).append(value)

    @property
    def _epoch(self) -> int:
        return len(self._history.curves.get("train_loss", [])) + 1

    @staticmethod
    def _check(logs: Mapping[str, float], when: str) -> None:
        bad = [name for name in ("loss", "val_loss") if not math.isfinite(logs.get(name, 0.0))]
        if bad:
            raise TrainingError(
                f"the training diverged: {CURVES[bad[0]]} is {float(logs[bad[0]])} in {when}",
                allowed="a finite loss",
                action="pass a smaller -P learning_rate=..., or look for images unlike the others",
            )
