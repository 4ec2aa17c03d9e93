"""Asks a model for its predictions, and names their columns. Touches nothing."""

from collections.abc import Callable
from typing import Any

import pandas as pd

from shared.errors import DataError, short
from shared.named_answers import PROBABILITY


def probabilities_of(predictions: pd.DataFrame) -> pd.DataFrame | None:
    """Return the probability columns, named by their class; None if there are none."""
    names = [name for name in predictions.columns if str(name).startswith(PROBABILITY)]
    if not names:
        return None
    return predictions[names].rename(columns=lambda name: str(name).removeprefix(PROBABILITY))


def asked(
    predict: Callable[[Any], object],
    data: Any,  # noqa: ANN401
    what: str,
    action: str = "check that model and data set belong together",
) -> object:
    """Call the model; whatever it raises is about these data and this model.

    Args:
        predict: the model's function.
        data: what it is asked about.
        what: the same in words, for the message.
        action: what to do where it fails.

    Raises:
        DataError: with what it said.
    """
    try:
        return predict(data)
    except Exception as error:
        raise DataError(
            f"the model failed on {what}: {type(error).__name__}: {short(_words(error), 500)}",
            allowed="a model that takes raw data as download delivers them",
            action=action,
        ) from error


def _words(error: Exception) -> str:
    """Return what a model says without the data themselves, which MLflow puts before its reason."""
    said = str(error)
    return said.rpartition(" Error: ")[2] if said.startswith("Failed to enforce schema") else said
