"""Scores a fitted pipeline of `models` on rows whose target is known. Touches nothing."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tabular.facts import Facts
from tabular.fitting import diverged

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

SAME = 1e-9
"""Relative difference of two predictions that are one but for rounding, in single precision too."""


def as_inputs(rows: pd.DataFrame, facts: Facts) -> pd.DataFrame:
    """Return the features as the model's inputs: numbers as float64, text as text."""
    numbers = [name for name in facts.features if facts.columns[name].kind == "number"]
    return rows[list(facts.features)].astype(dict.fromkeys(numbers, "float64"))


def as_target(rows: pd.DataFrame, facts: Facts) -> pd.Series:
    """Return what is to be predicted as scikit-learn takes it.

    Whole numbers and texts are classes to it; any other values become texts: 0.5, True.
    """
    from tabular.predictions import class_names

    target = rows[facts.target]
    if facts.task == "regression" or pd.api.types.is_integer_dtype(target):
        return target
    if pd.api.types.is_float_dtype(target) and (target % 1 == 0).all():
        return target
    return class_names(target)


def one_value(target: pd.Series, guess: pd.Series) -> str:
    """Say that one value is predicted for all rows though their targets differ; '' where not so."""
    if len(guess) < 2 or target.nunique() < 2:  # noqa: PLR2004 - one is no other
        return ""
    if not pd.api.types.is_numeric_dtype(guess):
        same, what = bool((guess == guess.iloc[0]).all()), f"class, {guess.iloc[0]!r}"
    else:
        low, high = float(guess.min()), float(guess.max())
        same = high / 2 - low / 2 <= SAME * max(abs(low), abs(high)) / 2
        if pd.api.types.is_numeric_dtype(target):  # far from zero all numbers are alike
            same &= high / 2 - low / 2 <= SAME * float(target.max() / 2 - target.min() / 2)
        what = f"number, {low:.6g}"
    return f"the model predicts one {what}, for all {len(guess):,} rows" if same else ""


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
