"""From the rows of a holdout to the few numbers that a page's pictures are drawn from.

Ten million rows become some kilobytes: histograms, quantiles, calibration bins. The summary lies
beside the record as ``decision/summary.json``, so that the page can be drawn again without the
rows. It decides nothing. Runs in the gate's own process.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from understudy.evaluation.class_summary import of_classes
from understudy.evaluation.holdout import Classes, Floats, Numbers

SCHEMA: Final = "understudy/summary/1"
QUANTILES: Final = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
"""Which quantiles of the absolute error are kept; 1 is the largest error."""
_ERROR_BINS: Final = 41
"""Odd, so that no error at all has a bin of its own in the middle."""
_ERROR_REACH: Final = 0.995
"""The histogram of errors reaches to this quantile of both models' absolute errors."""
_RESIDUAL_BINS: Final = 10
_BOTH: Final = 2


def empty(rows: int) -> dict[str, Any]:
    """Return the summary of so many rows of which nothing can be shown."""
    return {"schema": SCHEMA, "rows": rows}


def summarise(holdout: Numbers | Classes) -> dict[str, Any]:
    """Return the summary as JSON values, all of them finite; without rows it is an empty one."""
    if not len(holdout.target):
        return empty(holdout.left_out)
    body = _of_numbers(holdout) if isinstance(holdout, Numbers) else of_classes(holdout)
    return {**empty(len(holdout.target)), "left_out": holdout.left_out, **body}


def _of_numbers(holdout: Numbers) -> dict[str, Any]:
    errors = {who: said - holdout.target for who, said in holdout.predictions.items()}
    reach = max(float(np.quantile(np.abs(error), _ERROR_REACH)) for error in errors.values())
    edges = np.linspace(-reach or -1.0, reach or 1.0, _ERROR_BINS + 1)
    return {
        "task": "regression",
        "errors": {
            "edges": edges.tolist(),
            "models": {who: _error(error, edges) for who, error in errors.items()},
        },
        "residuals": {
            who: _residuals(holdout.predictions[who], error) for who, error in errors.items()
        },
        "nearer": _nearer(*map(np.abs, errors.values())) if len(errors) == _BOTH else None,
    }


def _error(error: Floats, edges: Floats) -> dict[str, Any]:
    """Return one model's errors, prediction less target: their histogram and quantiles."""
    size = np.abs(error)
    squared = float(np.dot(error, error)) / len(error)
    return {
        "counts": np.histogram(error, edges)[0].tolist(),
        "below": int(np.count_nonzero(error < edges[0])),
        "above": int(np.count_nonzero(error > edges[-1])),
        "mean": float(error.mean()),
        "mean_absolute": float(size.mean()),
        "root_mean_square": squared**0.5,
        "quantiles": dict(zip(map(str, QUANTILES), _quantiles(size), strict=True)),
    }


def _quantiles(values: Floats) -> list[float]:
    found: Floats = np.quantile(values, QUANTILES, overwrite_input=True)
    return [float(value) for value in found]


def _residuals(prediction: Floats, error: Floats) -> list[dict[str, float]]:
    """Return the errors by what was predicted, in parts with as many rows each.

    Errors are looked at by prediction and not by target: of a good model's predictions the mean
    error is zero whatever it predicts, while its errors by target lean towards the mean.
    """
    borders = np.unique(np.quantile(prediction, np.linspace(0, 1, _RESIDUAL_BINS + 1)))
    part = np.searchsorted(borders[1:-1], prediction, side="right")
    parts = []
    for index in range(max(len(borders) - 1, 1)):
        chosen = part == index
        inside = error[chosen]
        if len(inside):
            low, high = np.quantile(inside, (0.1, 0.9))
            parts.append(
                {
                    "rows": len(inside),
                    "prediction": float(prediction[chosen].mean()),
                    "mean": float(inside.mean()),
                    "low": float(low),
                    "high": float(high),
                }
            )
    return parts


def _nearer(challenger: Floats, champion: Floats) -> dict[str, int]:
    """Return on how many rows which model was nearer to the target."""
    return {
        "challenger": int(np.count_nonzero(challenger < champion)),
        "equal": int(np.count_nonzero(challenger == champion)),
        "champion": int(np.count_nonzero(champion < challenger)),
    }
