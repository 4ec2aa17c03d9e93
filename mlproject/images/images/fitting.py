"""Trains the network that a step's parameters describe, on the images that `preprocess` left.

`train` and every trial of `search` train in this one way, so that the best trial's parameters give
`train` the very network that was judged. Imports Keras and TensorFlow; touches only the files it
reads.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from images.facts import TRAIN_FILE, VALIDATION_FILE, Facts
from images.network import Architecture, build
from images.stream import batches_of
from images.tables import count
from images.training import History, Plan, fit, prepare


def untrained(facts: Facts, values: Mapping[str, Any]) -> keras.Model:
    """Return the network, with weights by the seed.

    Args:
        facts: of the images.
        values: the parameters, as `train.OPTIONS` names them.
    """
    prepare(values["random_state"])
    return build(facts, Architecture(values["filters"], values["dropout"]))


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
        folder: what `preprocess` logged as `data`.
        values: the parameters, as `train.OPTIONS` names them.
        further: callbacks that see only epochs whose losses are finite.

    Raises:
        TrainingError: if it diverges.
    """
    size, seed = values["batch_size"], values["random_state"]
    watching = folder / VALIDATION_FILE
    plan = Plan(values["learning_rate"], values["schedule"], values["epochs"], values["patience"])
    return fit(
        network,
        batches_of(folder / TRAIN_FILE, facts, size, seed),
        batches_of(watching, facts, size) if count(watching) else None,
        plan,
        further,
    )
