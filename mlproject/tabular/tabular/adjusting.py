"""What the training rows decide about a model, beside its parameters. Touches nothing."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from tabular.facts import Facts
from tabular.preparation import MOST_CATEGORIES, Columns

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator
    from sklearn.compose import TransformedTargetRegressor

MOST_CELLS = 50_000_000
"""Numbers (400 MB) in the columns that texts become above which only those that are not zero are
kept. Linear models gain by it; trees take twice the time."""
SMALLEST_SPREAD, LARGEST_SPREAD, FARTHEST = 1e-2, 1e9, 1e4
"""Standard deviations of a target that models learn as it is, and how many of them it may lie from
zero. XGBoost ignores gains below 1e-6 and computes in single precision; trees take a variance below
2e-16 for none, and lose one to rounding far from zero."""


def are_sparse(rows: pd.DataFrame, columns: Columns) -> bool:
    """Return whether the columns that texts become are too many to be stored whole."""
    width = sum(min(rows[name].nunique(), MOST_CATEGORIES) for name in columns.texts)
    return width * len(rows) > MOST_CELLS


def told(rows: pd.DataFrame, facts: Facts) -> Iterator[str]:
    """Yield which texts are not all told apart, for the log."""
    for name in Columns.of(facts).texts:
        levels = rows[name].nunique()
        if levels > MOST_CATEGORIES:
            yield (
                f"text column '{name}' has {levels:,} different values in {len(rows):,} rows: the "
                f"{MOST_CATEGORIES - 1} most frequent are told apart, the others count as one"
            )


def is_extreme(target: pd.Series) -> bool:
    """Return whether numbers are too small, too large or too far from zero to be learnt as such."""
    values = target.to_numpy(dtype="float64")
    with np.errstate(over="ignore", invalid="ignore"):
        mean, spread = float(values.mean()), float(values.std())
    if not np.isfinite([mean, spread]).all() or spread == 0:
        return False
    return not (SMALLEST_SPREAD <= spread <= LARGEST_SPREAD and abs(mean) <= FARTHEST * spread)


def in_deviations(model: "BaseEstimator", *, centred: bool) -> "TransformedTargetRegressor":
    """Return a model that learns a target in standard deviations and predicts it in its own unit.

    Args:
        model: an unfitted regressor.
        centred: whether the mean is taken away first.
    """
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler
    from sklearn.utils.validation import check_array

    # What is predicted in single precision becomes double before the mean is added.
    double = FunctionTransformer(inverse_func=check_array, inv_kw_args={"dtype": "float64"})
    steps = [("deviations", StandardScaler(with_mean=centred)), ("double", double)]
    return TransformedTargetRegressor(model, transformer=Pipeline(steps), check_inverse=False)
