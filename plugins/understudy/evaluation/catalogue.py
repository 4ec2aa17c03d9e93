"""The metrics that can be computed from predictions: scikit-learn's, and a user's own.

Values are scikit-learn's. How they vary from holdout to holdout is computed from the means, ranks
or resamples that a definition names.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import numpy as np

from understudy.errors import nearest
from understudy.evaluation import means
from understudy.evaluation.means import Means
from understudy.evaluation.metrics import (
    TWO,
    Definition,
    Input,
    above_minus_one,
    above_zero,
    every_class,
    not_below_zero,
    nothing,
    own,
    several_classes,
    several_labels,
    two_classes,
    varied,
)
from understudy.evaluation.pairing import Rows


def find(name: str, function: str | None = None) -> Definition | None:
    """Return the metric of a name, or the user's function; None for a name that is not known.

    Raises:
        DecisionError: when the function cannot be imported.
    """
    return _KNOWN.get(name) if function is None else own(function)


def known() -> frozenset[str]:
    """Return the names of all metrics that can be computed from predictions."""
    return frozenset(_KNOWN)


def _sklearn(name: str) -> Callable[..., float]:
    """Return scikit-learn's function, without its warnings: what they are about is said here."""
    from sklearn import metrics

    function = getattr(metrics, name)

    def quiet(*arguments: Any, **options: Any) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return float(function(*arguments, **options))

    return quiet


def _numbers(name: str, made: Means | None = None, **more: Any) -> Definition:
    def score(rows: Rows) -> float:
        return float(_sklearn(name)(rows.truth, rows.guess, sample_weight=rows.weight))

    return Definition(score, Input.NUMBERS, made, **more)


def _classes(name: str, made: Means, **fixed: Any) -> Definition:
    def score(rows: Rows) -> float:
        function = _sklearn(name)
        return float(
            function(rows.true_class, rows.guessed_class, sample_weight=rows.weight, **fixed)
        )

    return Definition(score, Input.CLASSES, made)


def _averaged(per_class: str, average: str) -> Definition:
    """Return precision, recall, f1 or jaccard; a class without rows or predictions scores zero."""

    def score(rows: Rows) -> float:
        # The positive class is named and averaged alone ("macro" over one): with average="binary"
        # scikit-learn refuses rows in which a third code appears, such as that of an unknown
        # class.
        labels = [1] if average == "binary" else rows.present
        kind = "macro" if average == "binary" else average
        function = _sklearn(f"{per_class}_score")
        scored = function(
            rows.true_class,
            rows.guessed_class,
            labels=labels,
            average=kind,
            zero_division=0.0,
            sample_weight=rows.weight,
        )
        return float(scored)

    make = {"binary": means.binary, "macro": means.macro, "weighted": means.weighted}[average]
    made = make(means.PER_CLASS[per_class])
    undefined = two_classes if average == "binary" else nothing
    return Definition(score, Input.CLASSES, made, undefined=undefined)


def _with_probabilities(
    name: str, made: Means, undefined: Callable[[Rows], str] = several_labels
) -> Definition:
    def score(rows: Rows) -> float:
        # All classes of the holdout are named, since a slice or a resample may lack one, which
        # scikit-learn would take for a mistake.
        labels = range(len(rows.labels))
        # Of two classes this function takes the positive one's probability only; then its value is
        # half of that over both columns.
        if name == "brier_score_loss" and len(labels) == TWO:
            positive = rows.probabilities[:, 1]
            return float(
                _sklearn(name)(rows.true_class, positive, sample_weight=rows.weight, pos_label=1)
            )
        return float(
            _sklearn(name)(
                rows.true_class,
                rows.probabilities,
                labels=list(labels),
                sample_weight=rows.weight,
            )
        )

    return Definition(score, Input.PROBABILITIES, made, undefined=undefined)


def _area(name: str, **more: Any) -> Definition:
    """Return the area under a curve: the positive class's, or the plain mean over the classes."""

    def score(rows: Rows) -> float:
        codes = [1] if len(rows.labels) == TWO else range(len(rows.labels))
        # The plain mean, as ``ranks.areas`` takes it: value and variance are of the same area.
        areas = [
            _sklearn(name)(
                rows.true_class == code, rows.probabilities[:, code], sample_weight=rows.weight
            )
            for code in codes
        ]
        return float(np.mean(areas))

    return Definition(score, Input.PROBABILITIES, undefined=every_class, **more)


_AUC: Final = _area("roc_auc_score", ranked=True)
_ACCURACY: Final = _classes("accuracy_score", means.ACCURACY)
_KNOWN: Final[dict[str, Definition]] = {
    "mae": _numbers("mean_absolute_error", means.MAE),
    "mse": _numbers("mean_squared_error", means.MSE),
    "rmse": _numbers("root_mean_squared_error", means.RMSE),
    "msle": _numbers("mean_squared_log_error", means.MSLE, undefined=above_minus_one),
    "rmsle": _numbers("root_mean_squared_log_error", means.RMSLE, undefined=above_minus_one),
    "mape": _numbers("mean_absolute_percentage_error", means.MAPE),
    "mean_pinball_loss": _numbers("mean_pinball_loss", means.PINBALL),
    "mean_poisson_deviance": _numbers(
        "mean_poisson_deviance", means.POISSON, undefined=not_below_zero
    ),
    "mean_gamma_deviance": _numbers("mean_gamma_deviance", means.GAMMA, undefined=above_zero),
    "r2": _numbers("r2_score", means.R2, undefined=varied),
    "explained_variance": _numbers(
        "explained_variance_score", means.EXPLAINED_VARIANCE, undefined=varied
    ),
    "d2_absolute_error_score": _numbers("d2_absolute_error_score", undefined=varied),
    "median_absolute_error": _numbers("median_absolute_error"),
    # Without weights, which its function does not take: an extreme has none.
    "max_error": Definition(
        lambda rows: _sklearn("max_error")(rows.truth, rows.guess), Input.NUMBERS, regular=False
    ),
    "accuracy": _ACCURACY,
    "zero_one_loss": _classes("zero_one_loss", means.ZERO_ONE),
    "hamming_loss": _classes("hamming_loss", means.ZERO_ONE),
    "balanced_accuracy": _classes("balanced_accuracy_score", means.BALANCED_ACCURACY),
    "mcc": _classes("matthews_corrcoef", means.MCC),
    "cohen_kappa_score": replace(
        _classes("cohen_kappa_score", means.KAPPA), undefined=several_classes
    ),
    "log_loss": _with_probabilities("log_loss", means.LOG_LOSS),
    "brier_score_loss": _with_probabilities("brier_score_loss", means.BRIER),
    "d2_log_loss_score": _with_probabilities(
        "d2_log_loss_score", means.LOG_LOSS_SKILL, several_classes
    ),
    "roc_auc": _AUC,
    "roc_auc_ovr": _AUC,
    "average_precision": _area("average_precision_score"),
    **{
        f"{one}{'' if average == 'binary' else '_' + average}": _averaged(one, average)
        for one in means.PER_CLASS
        for average in ("binary", "macro", "weighted")
    },
    # Where a row has one class, these three count the same thing.
    **{f"{one}_micro": _ACCURACY for one in ("precision", "recall", "f1")},
}
_ALIASES: Final = {
    "mean_absolute_error": "mae",
    "mean_squared_error": "mse",
    "root_mean_squared_error": "rmse",
    "mean_squared_log_error": "msle",
    "root_mean_squared_log_error": "rmsle",
    "mean_absolute_percentage_error": "mape",
    "r2_score": "r2",
    "explained_variance_score": "explained_variance",
    "accuracy_score": "accuracy",
    "balanced_accuracy_score": "balanced_accuracy",
    "matthews_corrcoef": "mcc",
    "brier_score": "brier_score_loss",
    "roc_auc_score": "roc_auc",
    "average_precision_score": "average_precision",
    "f1_score": "f1",
    "precision_score": "precision",
    "recall_score": "recall",
    "jaccard_score": "jaccard",
}
_KNOWN.update({alias: _KNOWN[name] for alias, name in _ALIASES.items()})


def unknown(name: str) -> str:
    """Say that a metric cannot be computed from predictions, and what is near it."""
    return f"{name} is no metric that predictions give{nearest(name, _KNOWN)}"
