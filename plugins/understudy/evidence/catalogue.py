"""The metrics that can be computed from predictions: scikit-learn's, and a user's own.

Values are scikit-learn's. How they vary from holdout to holdout is computed from the means, ranks
or resamples that a definition names.
"""

from __future__ import annotations

import importlib
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

import numpy as np
import pandas as pd

from understudy.errors import DecisionError, listed, nearest
from understudy.evidence import means
from understudy.evidence.means import Means
from understudy.evidence.pairing import Rows

Score = Callable[[Rows], float]
TWO: Final = 2
_SHOWN: Final = 300  # characters of somebody's message that a note repeats


class Input(Enum):
    """What of the predictions a metric reads."""

    NUMBERS = "numbers"
    CLASSES = "classes"
    PROBABILITIES = "probabilities"
    FRAME = "frame"


@dataclass(frozen=True, slots=True)
class Definition:
    """One metric.

    Attributes:
        score: Its value on some rows.
        reads: What it reads.
        means: How it is made of means; None where it is not.
        ranked: Whether it is an area under the ROC curve.
        regular: Whether resampling says how it varies; it does not for an extreme value.
        undefined: Says why some rows do not define it, whatever was predicted; empty where they do.
    """

    score: Score
    reads: Input
    means: Means | None = None
    ranked: bool = False
    regular: bool = True
    undefined: Callable[[Rows], str] = lambda _: ""

    def lacking(self, rows: Rows) -> str:
        """Say why the metric cannot be computed from such columns; empty where it can."""
        source = rows.source
        if self.reads is Input.NUMBERS and np.isnan(rows.truth).any():
            return "the target is no number"
        if self.reads is Input.NUMBERS and source.prediction is None:
            return "there is no column 'prediction'"
        if self.reads is Input.PROBABILITIES and not source.probabilities:
            return "there are no probabilities"
        if self.reads is Input.CLASSES and not rows.labels:
            return "the target has too many different values to be classes"
        return self.undefined(rows)

    def bad(self, rows: Rows) -> str:
        """Say what is wrong with what the model predicted; empty for nothing."""
        if self.reads is Input.FRAME:
            return ""
        if self.reads is Input.NUMBERS:
            return rows.bad_numbers()
        return rows.bad_classes() if self.reads is Input.CLASSES else rows.bad_probabilities()


class UndefinedError(ValueError):
    """A user's metric has no value on some rows."""


def measured(definition: Definition, rows: Rows) -> tuple[float | None, str]:
    """Return a model's value and, where it is none or not finite, why.

    None stands for rows or columns that do not define the metric, NaN for predictions that have
    no valid value of it: the one is nobody's fault, the other the model's.
    """
    if why := definition.lacking(rows):
        return None, why
    if why := definition.bad(rows):
        return math.nan, why
    try:
        value = definition.score(rows)
    except UndefinedError as error:
        return None, str(error)
    except ValueError as error:
        return math.nan, str(error).partition("\n")[0][:_SHOWN]
    return value, "" if math.isfinite(value) else "it is not finite"


def find(name: str, function: str | None = None) -> Definition | None:
    """Return the metric of a name, or the user's function; None for a name that is not known.

    Raises:
        DecisionError: when the function cannot be imported.
    """
    return _KNOWN.get(name) if function is None else _own(function)


def known() -> frozenset[str]:
    """Return the names of all metrics that can be computed from predictions."""
    return frozenset(_KNOWN)


def _own(place: str) -> Definition:
    function = _imported(place)

    def score(rows: Rows) -> float:
        try:
            return float(function(rows.frame()))
        except Exception as error:  # a user's function may raise anything
            found = f"{place} raised {type(error).__name__}: {error}"
            raise UndefinedError(found.partition("\n")[0][:_SHOWN]) from error

    return Definition(score, Input.FRAME)


def _imported(place: str) -> Callable[[pd.DataFrame], Any]:
    module, _, name = place.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise DecisionError(
            f"The metric's function {place!r} cannot be imported: {error}",
            allowed="'module:function', importable by the Python that judges",
            action="put the module where that Python finds it, or correct the name",
        ) from error
    if not callable(found):
        raise DecisionError(
            f"The metric's function {place!r} is a {type(found).__name__}",
            allowed="a function that takes a pandas.DataFrame and returns a number",
            action="name a function",
        )
    return found  # type: ignore[no-any-return]


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
    undefined = _not_two if average == "binary" else _nothing
    return Definition(score, Input.CLASSES, made, undefined=undefined)


def _nothing(rows: Rows) -> str:
    del rows
    return ""


def _not_two(rows: Rows) -> str:
    if len(rows.labels) == TWO:
        return ""
    return f"it is for two classes and there are {len(rows.labels)}: average over them instead"


def _one_class(rows: Rows) -> str:
    return "" if len(rows.present) > 1 else "the rows have one class only"


def _not_every_class(rows: Rows) -> str:
    lacking = [name for i, name in enumerate(rows.labels) if i not in set(rows.present.tolist())]
    return f"the rows lack the classes {listed(lacking[:5])}" if lacking else _one_class(rows)


def _constant(rows: Rows) -> str:
    return "" if np.ptp(rows.truth) > 0 else "the target is the same in all rows"


def _not_positive(rows: Rows) -> str:
    return "" if (rows.truth > 0).all() else "a target is not above zero"


def _negative(rows: Rows) -> str:
    return "" if (rows.truth >= 0).all() else "a target is below zero"


def _below_minus_one(rows: Rows) -> str:
    return "" if (rows.truth > -1).all() else "a target is not above -1"


def _with_probabilities(name: str, made: Means) -> Definition:
    def score(rows: Rows) -> float:
        labels = range(len(rows.labels))
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

    return Definition(score, Input.PROBABILITIES, made, undefined=_single_label)


def _single_label(rows: Rows) -> str:
    return "" if len(rows.labels) > 1 else "the holdout knows one class only"


def _roc_auc(rows: Rows) -> float:
    if len(rows.labels) == TWO:
        positive = rows.probabilities[:, 1]
        return float(
            _sklearn("roc_auc_score")(rows.true_class, positive, sample_weight=rows.weight)
        )
    return _roc_auc_over_classes(rows)


def _roc_auc_over_classes(rows: Rows) -> float:
    """Return the plain mean of each class's area against the rest."""
    areas = [
        _sklearn("roc_auc_score")(
            rows.true_class == code, rows.probabilities[:, code], sample_weight=rows.weight
        )
        for code in range(len(rows.labels))
    ]
    return float(np.mean(areas))


def _average_precision(rows: Rows) -> float:
    codes = [1] if len(rows.labels) == TWO else range(len(rows.labels))
    areas = [
        _sklearn("average_precision_score")(
            rows.true_class == code, rows.probabilities[:, code], sample_weight=rows.weight
        )
        for code in codes
    ]
    return float(np.mean(areas))


def _largest_error(rows: Rows) -> float:
    return float(_sklearn("max_error")(rows.truth, rows.guess))


def _log_loss_skill(rows: Rows) -> float:
    return float(
        _sklearn("d2_log_loss_score")(
            rows.true_class,
            rows.probabilities,
            labels=list(range(len(rows.labels))),
            sample_weight=rows.weight,
        )
    )


_AUC: Final = Definition(_roc_auc, Input.PROBABILITIES, ranked=True, undefined=_not_every_class)
_ACCURACY: Final = _classes("accuracy_score", means.ACCURACY)
_KNOWN: Final[dict[str, Definition]] = {
    "mae": _numbers("mean_absolute_error", means.MAE),
    "mse": _numbers("mean_squared_error", means.MSE),
    "rmse": _numbers("root_mean_squared_error", means.RMSE),
    "msle": _numbers("mean_squared_log_error", means.MSLE, undefined=_below_minus_one),
    "rmsle": _numbers("root_mean_squared_log_error", means.RMSLE, undefined=_below_minus_one),
    "mape": _numbers("mean_absolute_percentage_error", means.MAPE),
    "mean_pinball_loss": _numbers("mean_pinball_loss", means.PINBALL),
    "mean_poisson_deviance": _numbers("mean_poisson_deviance", means.POISSON, undefined=_negative),
    "mean_gamma_deviance": _numbers("mean_gamma_deviance", means.GAMMA, undefined=_not_positive),
    "r2": _numbers("r2_score", means.R2, undefined=_constant),
    "explained_variance": _numbers(
        "explained_variance_score", means.EXPLAINED_VARIANCE, undefined=_constant
    ),
    "d2_absolute_error_score": _numbers("d2_absolute_error_score", undefined=_constant),
    "median_absolute_error": _numbers("median_absolute_error"),
    "max_error": Definition(_largest_error, Input.NUMBERS, regular=False),
    "accuracy": _ACCURACY,
    "zero_one_loss": _classes("zero_one_loss", means.ZERO_ONE),
    "hamming_loss": _classes("hamming_loss", means.ZERO_ONE),
    "balanced_accuracy": _classes("balanced_accuracy_score", means.BALANCED_ACCURACY),
    "mcc": _classes("matthews_corrcoef", means.MCC),
    "cohen_kappa_score": Definition(
        _classes("cohen_kappa_score", means.KAPPA).score,
        Input.CLASSES,
        means.KAPPA,
        undefined=_one_class,
    ),
    "log_loss": _with_probabilities("log_loss", means.LOG_LOSS),
    "brier_score_loss": _with_probabilities("brier_score_loss", means.BRIER),
    "d2_log_loss_score": Definition(
        _log_loss_skill, Input.PROBABILITIES, means.LOG_LOSS_SKILL, undefined=_one_class
    ),
    "roc_auc": _AUC,
    "roc_auc_ovr": _AUC,
    "average_precision": Definition(
        _average_precision, Input.PROBABILITIES, undefined=_not_every_class
    ),
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
