"""The metrics of a classifier, by scikit-learn, under their plain names.

A metric that the images do not define (a class without images) is left out and named, never
replaced by a number: whoever compares models sees that it is missing. Formulas: scikit-learn's
user guide, section "Metrics and scoring". Touches nothing.
"""

import re
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

TWO_CLASSES = 2  # scikit-learn wants the second class alone then
METRICS: tuple[str, ...] = (
    "accuracy",
    "balanced_accuracy",
    "f1_macro",
    "precision_macro",
    "recall_macro",
    "log_loss",
    "roc_auc",
    "mcc",
)
PER_CLASS = ("precision", "recall", "f1")


def classification(
    target: pd.Series, prediction: pd.Series, probabilities: pd.DataFrame | None
) -> dict[str, float]:
    """Return the metrics of `METRICS`.

    Args:
        target: true class names, image by image.
        prediction: guessed class names.
        probabilities: one column per class, named by the class, rows summing to one; None if the
            model gives none (log_loss and roc_auc are then left out).
    """
    from sklearn import metrics

    labels = sorted(target.unique())
    macro = {"labels": labels, "average": "macro", "zero_division": 0.0}
    with warnings.catch_warnings():
        # A class that was predicted and has no images is no reason for a warning here.
        warnings.filterwarnings("ignore", message="y_pred contains classes not in y_true")
        balanced = metrics.balanced_accuracy_score(target, prediction)
    values = {
        "accuracy": metrics.accuracy_score(target, prediction),
        "balanced_accuracy": balanced,
        "f1_macro": metrics.f1_score(target, prediction, **macro),
        "precision_macro": metrics.precision_score(target, prediction, **macro),
        "recall_macro": metrics.recall_score(target, prediction, **macro),
        "mcc": metrics.matthews_corrcoef(target, prediction),
    }
    if probabilities is not None:
        values |= _by_probability(target, probabilities, labels)
    return {name: float(value) for name, value in values.items()}


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


def per_class(target: pd.Series, prediction: pd.Series, classes: Sequence[str]) -> pd.DataFrame:
    """Return precision, recall, f1 and the number of images of each class.

    A value whose denominator is zero is missing (NaN): a class without images has no recall.
    """
    from sklearn import metrics

    values = metrics.precision_recall_fscore_support(
        target, prediction, labels=list(classes), zero_division=np.nan
    )
    rows = zip(classes, *values, strict=True)
    return pd.DataFrame(list(rows), columns=["class", *PER_CLASS, "images"])


def named_per_class(table: pd.DataFrame) -> dict[str, float]:
    """Return the values of `per_class` that are defined, as metrics such as `recall_7`."""
    keys = metric_keys(list(table["class"]))
    return {
        f"{metric}_{key}": float(value)
        for metric in PER_CLASS
        for key, value in zip(keys, table[metric], strict=True)
        if np.isfinite(value)
    }


def metric_keys(classes: Sequence[str]) -> list[str]:
    """Return each class's name as MLflow takes it in the name of a metric, no two of them equal."""
    plain = [re.sub(r"[^\w.-]+", "_", name, flags=re.ASCII) for name in classes]
    twice = {key for key, number in Counter(plain).items() if number > 1}
    return [f"{key}_{n}" if key in twice else key for n, key in enumerate(plain)]


def missing(values: Mapping[str, Any]) -> list[str]:
    """Return the metrics that these images did not define."""
    return [name for name in METRICS if name not in values]
