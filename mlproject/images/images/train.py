"""Entry point `train`: trains a network on the training images, logs and exports it.

The logged model takes raw images as `download` delivers them: normalisation is inside. Touches the
MLflow run and a temporary folder.
"""

import sys
import tempfile
from collections.abc import Mapping
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from images.facts import TRAIN_FILE, Facts
from images.tables import ROW_ID, count, read
from shared import tracking
from shared.commandline import DATA, Option
from shared.errors import DataError
from shared.named_answers import BRIGHTEST, CLASSES, SHAPE, log_model, schema
from shared.space import room_for
from shared.tracking import Step, log_new_params, main, say

if TYPE_CHECKING:
    import keras

    from images.training import History

EXAMPLES = 2
REQUIREMENTS = ("mlflow-skinny", "keras", "numpy", "pandas")
"""Distributions that loading and serving the model need, beside TensorFlow's."""

OPTIONS = (
    DATA,
    Option("learning_rate", 0.002, "of Adam, at the start", above=0, maximum=10),
    Option(
        "schedule",
        "cosine",
        "how the learning rate goes on: falls to 0 or stays",
        choices=("cosine", "constant"),
    ),
    Option("epochs", 5, "how often each image is seen, at most", minimum=1, maximum=10_000),
    Option("batch_size", 64, "images of one step", minimum=1, maximum=65_536),
    Option("filters", 16, "width: filters of the first convolution", minimum=1, maximum=1024),
    Option("dropout", 0.3, "share of features that a step leaves out", minimum=0, below=1),
    Option("patience", 3, "epochs without gain before the end; 0 for all epochs", minimum=0),
    Option("random_state", 42, "seed of everything random", minimum=0, maximum=2**32 - 1),
)


def train(values: Mapping[str, Any]) -> None:
    """Do the step within the active MLflow run, as `Step.work` says."""
    import mlflow

    from images.pictures import learning_curves

    folder = Path(values["data"])
    facts = Facts.read(folder)
    check_fitted(facts, folder)
    log_new_params(
        {
            **{name: value for name, value in values.items() if name != "data"},
            "dataset": facts.dataset,
            "classes": len(facts.classes),
            "form": facts.form,
        }
    )
    mlflow.set_tag("data.sha256", facts.sha256)
    log_input(facts, "training")
    with tempfile.TemporaryDirectory() as place, room_for(Path(place), 0):
        network, history = _trained(facts, folder, values, Path(place))
        mlflow.log_metrics(history.metrics())
        epochs = len(history.curves["train_loss"])
        say(f"{facts.dataset}: {history.best} of {epochs} epochs is best")
        drawn = learning_curves(history.curves, history.best, Path(place))
        mlflow.log_artifact(str(drawn), "pictures")
        _log_export(network, facts, Path(place))
        _log_model(network, facts, folder)


def check_fitted(facts: Facts, folder: Path) -> None:
    """Check that `preprocess` left training images, and what normalises them.

    Raises:
        DataError: if not.
    """
    if not facts.mean or not count(folder / TRAIN_FILE):
        raise DataError(
            f"the input folder of {facts.dataset} has no training images with mean and deviation",
            allowed="the artifact folder that preprocess logged",
            action="pass -P data=runs:/<preprocess run>/data",
        )


def _trained(
    facts: Facts, folder: Path, values: Mapping[str, Any], place: Path
) -> "tuple[keras.Model, History]":
    """Return the trained network, and how it came about; what its epochs leave is logged."""
    import mlflow

    from images.epoch_files import EVENTS, Checkpoints, EventFiles
    from images.network import without_optimizer
    from images.training import Curves, fitted, untrained

    network = untrained(facts, values)
    say(f"{facts.dataset}: {network.count_params():,} weights")
    layers: list[str] = []
    network.summary(print_fn=layers.append)
    mlflow.log_text("\n".join(layers), "model_summary.txt")
    callbacks = [Curves(), EventFiles(place / EVENTS), Checkpoints(place)]
    history = fitted(network, facts, folder, values, callbacks)
    mlflow.log_artifacts(str(place / EVENTS), EVENTS)
    return without_optimizer(network), history


def log_input(facts: Facts, context: str) -> None:
    """Log the images as the run's input, by their digest.

    Args:
        facts: of the images.
        context: what the run does with them, such as "training".
    """
    from mlflow.data.code_dataset_source import CodeDatasetSource
    from mlflow.data.meta_dataset import MetaDataset

    source = CodeDatasetSource({"data.source": facts.source, "data.sha256": facts.sha256})
    known = MetaDataset(source, name=facts.dataset, digest=facts.sha256[:36])
    tracking.log_input(known, context)


def _log_export(network: "keras.Model", facts: Facts, folder: Path) -> None:
    """Log the SavedModel below `saved_model/`, by the second in which the run began.

    A later training then has the greater number, which is what TensorFlow Serving looks for.
    """
    import mlflow

    from images.export import export

    run = mlflow.active_run() or mlflow.start_run()
    number = str(run.info.start_time // 1000)
    export(network, facts, folder / number)
    mlflow.log_artifacts(str(folder / number), f"saved_model/{number}")


def _log_model(network: "keras.Model", facts: Facts, folder: Path) -> None:
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    some = next(read(folder / TRAIN_FILE, facts.shape, ROW_ID, EXAMPLES))
    # Of any shape and type: MLflow would cut fractions off to bytes, and refuse a flat image.
    images = TensorSpec(np.dtype("object"), (-1,), name=None)
    log_model(
        mlflow.tensorflow,
        network,
        metadata={
            CLASSES: list(facts.classes),
            SHAPE: list(facts.image_shape),
            BRIGHTEST: facts.brightest,
        },
        signature=ModelSignature(inputs=Schema([images]), outputs=schema(facts.classes)),
        input_example=some.pixels.reshape(-1, *facts.image_shape),
        # Given, because inferring them takes a minute and finds what happens to be installed.
        pip_requirements=requirements(),
    )


def requirements() -> list[str]:
    """Return what loading and serving the model need, in the installed versions.

    TensorFlow is one of several distributions (`tensorflow`, `tensorflow-cpu`, ...), of which the
    installed one is named.

    Raises:
        ModuleNotFoundError: where there is none.
    """
    builds = packages_distributions().get("tensorflow")
    if not builds:
        raise ModuleNotFoundError("No module named 'tensorflow'", name="tensorflow")
    names = (*REQUIREMENTS, builds[0].replace("_", "-"))
    return [f"{name}=={version(name)}" for name in names]


STEP = Step("train", OPTIONS, train)

if __name__ == "__main__":
    sys.exit(main(STEP))
