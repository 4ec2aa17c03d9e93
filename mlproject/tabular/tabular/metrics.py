"""The metrics of both tasks, by scikit-learn; those of classes are in `shared.metrics`.

A metric that the rows do not define (a target of zero, a constant target) is left out, as there.
Touches nothing.
"""

import numpy as np
import pandas as pd

from shared.metrics import CLASSIFICATION, check_finite, classification, finite, missing

__all__ = ["CLASSIFICATION", "REGRESSION", "classification", "missing", "regression"]

REGRESSION: tuple[str, ...] = (
    *("rmse", "mse", "mae", "median_absolute_error", "r2", "max_error", "mape"),
)


def regression(target: pd.Series, prediction: pd.Series) -> dict[str, float]:
    """Return the metrics of `REGRESSION`; mape is a share (0.1 is ten per cent).

    Args:
        target: true numbers in their unit, row by row.
        prediction: guessed numbers in the same unit.

    Raises:
        DataError: if a prediction is missing or not finite.
    """
    from sklearn import metrics

    truth, guess = target.to_numpy(dtype="float64"), prediction.to_numpy(dtype="float64")
    check_finite(guess)
    mse = float(metrics.mean_squared_error(truth, guess))
    values = {
        "rmse": mse**0.5,
        "mse": mse,
        "mae": metrics.mean_absolute_error(truth, guess),
        "median_absolute_error": metrics.median_absolute_error(truth, guess),
        "max_error": metrics.max_error(truth, guess),
    }
    if np.ptp(truth) > 0:
        values["r2"] = metrics.r2_score(truth, guess)
    if (truth != 0).all():
        values["mape"] = metrics.mean_absolute_percentage_error(truth, guess)
    return finite(values)
