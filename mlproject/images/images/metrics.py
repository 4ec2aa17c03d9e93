"""The metrics of each class alone, by scikit-learn. Touches nothing."""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd

PER_CLASS = ("precision", "recall", "f1")


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
