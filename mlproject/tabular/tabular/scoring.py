"""Scores a fitted pipeline of `models` on rows whose target is known. Touches nothing."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tabular.facts import Facts
from tabular.fitting import diverged

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


def as_inputs(rows: pd.DataFrame, facts: Facts) -> pd.DataFrame:
    """Return the features as the model's inputs: numbers as float64, text as text."""
    numbers = [name for name in facts.features if facts.columns[name].kind == "number"]
    return rows[list(facts.features)].astype(dict.fromkeys(numbers, "float64"))


def scores(pipeline: "Pipeline", rows: pd.DataFrame, facts: Facts) -> dict[str, float]:
    """Return a fitted pipeline's metrics on some rows, by their plain names.

    Args:
        pipeline: what `models.build` returned, fitted.
        rows: features and target, numbered from 0.
        facts: which columns are which.

    Raises:
        DataError: if a metric cannot be computed.
        TrainingError: if a prediction is not finite.
    """
    from tabular import metrics
    from tabular.predictions import class_names

    features = as_inputs(rows, facts)
    if facts.task == "regression":
        guess = np.asarray(pipeline.predict(features), dtype="float64")
        _check_finite(guess)
        return metrics.regression(rows[facts.target], pd.Series(guess))
    names = class_names(pd.Series(pipeline.classes_))
    shares = pd.DataFrame(pipeline.predict_proba(features), columns=list(names))
    _check_finite(shares.to_numpy())
    guessed = class_names(pd.Series(pipeline.predict(features)))
    return metrics.classification(class_names(rows[facts.target]), guessed, shares)


def _check_finite(guess: "np.ndarray[Any, Any]") -> None:
    """Check single precision, in which boosting computes: beyond it its sums stand still."""
    with np.errstate(over="ignore"):
        single = guess.astype("float32").reshape(len(guess), -1)
    bad = int((~np.isfinite(single)).any(axis=1).sum())
    if bad:
        raise diverged(f"{bad:,} of {len(guess):,} rows get no finite prediction")
