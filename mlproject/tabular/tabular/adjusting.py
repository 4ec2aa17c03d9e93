"""What the training rows decide about a model, beside its parameters. Reads what memory is free."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from shared.errors import DataError
from tabular.facts import Facts
from tabular.memory import free_memory
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
    return _width_of_texts(rows, columns) * len(rows) > MOST_CELLS


def _width_of_texts(rows: pd.DataFrame, columns: Columns) -> int:
    return sum(min(rows[name].nunique(), MOST_CATEGORIES) for name in columns.texts)


def check_memory(
    rows: pd.DataFrame, columns: Columns, *, coded: bool, free: int | None = None
) -> None:
    """Check that the array that a model is fitted on can be made at all.

    A fit takes more than that; how much more depends on the model. What certainly does not fit is
    refused here, in words: the kernel would end the process without one.

    Args:
        rows: those to fit.
        columns: the features.
        coded: whether texts become codes, else a column per category.
        free: bytes of memory that may be used; None: what the machine, or its container, has.

    Raises:
        DataError: if not.
    """
    width = len(columns.numbers)
    if coded:
        width += len(columns.texts)
    elif not are_sparse(rows, columns):
        width += _width_of_texts(rows, columns)
    # Twice: the parts for numbers and texts, and the array in which they are joined.
    needed, there = 2 * 8 * width * len(rows), free_memory() if free is None else free
    if needed > there:
        raise DataError(
            f"{len(rows):,} training rows in {width:,} columns of numbers need at least"
            f" {needed / 1e9:.1f} GB of memory, and {there / 1e9:.1f} GB are free",
            allowed="what fits into the memory of this machine",
            action="leave columns out (-P leave_out=...), train on a shorter window of rows, take a"
            " machine with more memory, or train on a cluster with a program of your own",
        )


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
