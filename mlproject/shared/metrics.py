"""The metrics of a classifier, by scikit-learn, under their plain names.

A metric that the rows do not define (a class without rows) is left out and named, never replaced by
a number: whoever compares models sees that it is missing. Formulas: scikit-learn's user guide,
section "Metrics and scoring". Touches nothing.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from shared.errors import DataError, ParameterError, nearest

TWO_CLASSES = 2  # scikit-learn wants the second class alone then
CLASSIFICATION: tuple[str, ...] = (
    *("accuracy", "balanced_accuracy", "f1_macro", "precision_macro", "recall_macro"),
    *("log_loss", "roc_auc", "mcc"),
)

_JACKKNIFE = 10
_HIGHER_IS_BETTER = {*CLASSIFICATION, "r2"} - {"log_loss"}


def leading(name: str, known: Sequence[str], prefix: str) -> tuple[str, str]:
    """Return the metric that a study is led by, with its prefix, and its direction.

    Args:
        name: parameter `metric`, plain or with the prefix; '' for the first that is known.
        known: the metrics that there are.
        prefix: of those that a search logs.

    Raises:
        ParameterError: for a metric that is not known.
    """
    plain = name.removeprefix(prefix) or known[0]
    if plain not in known:
        raise ParameterError(
            f"metric '{name}' is unknown{nearest(plain, known)}",
            allowed=", ".join(known),
            action="pass one of these as -P metric=...",
        )
    return f"{prefix}{plain}", "maximize" if plain in _HIGHER_IS_BETTER else "minimize"


def classification(
    target: pd.Series, prediction: pd.Series, probabilities: pd.DataFrame | None
) -> dict[str, float]:
    """Return the metrics of `CLASSIFICATION`.

    Args:
        target: true class names as text, row by row.
        prediction: guessed class names.
        probabilities: one column per class, named by the class, rows summing to one; None if the
            model gives none (log_loss and roc_auc are then left out).

    Raises:
        DataError: if a probability is missing or not finite.
    """
    from sklearn import metrics

    labels = sorted(target.unique())
    macro = {"labels": labels, "average": "macro", "zero_division": 0.0}
    with warnings.catch_warnings():
        # A class that was predicted and has no rows, or rows of one class, are no reason for it.
        warnings.filterwarnings("ignore", message="y_pred contains classes not in y_true")
        warnings.filterwarnings("ignore", message="A single label was found")
        values = {
            "accuracy": metrics.accuracy_score(target, prediction),
            "balanced_accuracy": metrics.balanced_accuracy_score(target, prediction),
            "f1_macro": metrics.f1_score(target, prediction, **macro),
            "precision_macro": metrics.precision_score(target, prediction, **macro),
            "recall_macro": metrics.recall_score(target, prediction, **macro),
            "mcc": metrics.matthews_corrcoef(target, prediction),
        }
    if probabilities is not None:
        check_finite(probabilities.to_numpy(dtype="float64"))
        values |= _by_probability(target, probabilities, labels)
    return finite(values)


def _by_probability(
    target: pd.Series, probabilities: pd.DataFrame, labels: Sequence[str]
) -> dict[str, float]:
    from sklearn import metrics

    classes = sorted({*probabilities.columns, *labels})
    # A class that the model does not know has probability zero: a large but finite log loss.
    full = probabilities.reindex(columns=classes, fill_value=0.0).to_numpy(dtype="float64")
    values = {"log_loss": metrics.log_loss(target, full, labels=classes)}
    if len(classes) == len(labels) == TWO_CLASSES:
        values["roc_auc"] = metrics.roc_auc_score(target == classes[1], full[:, 1])
    elif list(labels) == classes:
        values["roc_auc"] = metrics.roc_auc_score(
            target, full, labels=classes, multi_class="ovr", average="macro"
        )
    return values


def standard_error(
    judged: Callable[["np.ndarray[Any, Any]"], Mapping[str, float]],
    groups: Sequence[str],
    name: str,
) -> float | None:
    """Return the standard error of a metric; None where a part of the rows does not define it.

    By the jackknife that deletes a group at a time (Efron and Stein, "The jackknife estimate of
    variance", Annals of Statistics 9, 1981): a tenth of the rows, those that are alike together.

    Args:
        judged: returns the metrics of some of the rows, by their positions.
        groups: what rows that are alike have in common, row by row.
        name: of the metric.
    """
    codes = pd.factorize(pd.Series(groups))[0]
    count = min(_JACKKNIFE, codes.max() + 1)
    found = [judged(np.flatnonzero(codes % count != part)) for part in range(count)]
    if count < 2 or any(name not in metrics for metrics in found):  # noqa: PLR2004 - a variance of one
        return None
    values = np.array([metrics[name] for metrics in found])
    return float(np.sqrt((count - 1) * values.var()))


def missing(values: Mapping[str, Any], wanted: Sequence[str]) -> list[str]:
    """Return the wanted metrics that these rows did not define."""
    return [name for name in wanted if name not in values]


def check_finite(values: "np.ndarray[Any, Any]") -> None:
    """Check what a model predicted.

    Raises:
        DataError: if a number is missing or infinite.
    """
    bad = int((~np.isfinite(values)).sum())
    if bad:
        raise DataError(
            f"the model gave {bad} predictions of {values.size} that are missing or infinite",
            allowed="finite numbers only",
            action="look at the model and at extreme values in the rows",
        )


def finite(values: Mapping[str, Any]) -> dict[str, float]:
    """Return metrics as plain numbers.

    Raises:
        DataError: if one is not finite.
    """
    bad = {name: value for name, value in values.items() if not np.isfinite(value)}
    if bad:
        raise DataError(
            f"metrics are not finite: {bad}",
            allowed="finite numbers only",
            action="look for extreme values in target and predictions",
        )
    return {name: float(value) for name, value in values.items()}
