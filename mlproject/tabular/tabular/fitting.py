"""Fits a pipeline of `models`; one of XGBoost says its error after each round. Touches nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from shared.errors import ParameterError, TrainingError

if TYPE_CHECKING:
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.pipeline import Pipeline
    from xgboost import XGBModel

Curves = Mapping[str, Sequence[float]]
"""Name of a metric to its value after each round of boosting, the first round first."""
_OUR_NAMES = {"rmse": "rmse", "logloss": "log_loss", "mlogloss": "log_loss"}
"""XGBoost's name of an error to ours; mlogloss is the one of more than two classes."""


@dataclass(frozen=True)
class Part:
    """Rows to fit or to score.

    Attributes:
        features: one column per feature, raw.
        target: what to predict, row by row.
    """

    features: pd.DataFrame
    target: pd.Series


def fit(pipeline: "Pipeline", training: Part, validation: Part | None, patience: int) -> Curves:
    """Fit the pipeline in place and return its learning curves, if its model has any.

    Args:
        pipeline: what `models.build` returned.
        training: the rows to fit.
        validation: rows that are not fitted, for a curve of their own; None for none.
        patience: with XGBoost, stop when the last error on `validation` has not fallen for so
            many rounds, and predict with the best one; 0 for never.

    Raises:
        ParameterError: if there are no rounds, or no rows, by which to stop early.
        TrainingError: if the error of a round is not finite.
    """
    booster = _booster(pipeline)
    _check_patience(booster, validation, patience)
    if booster is None:
        pipeline.fit(training.features, training.target)
        return {}
    booster.set_params(early_stopping_rounds=patience or None)
    unit = _fit_rounds(pipeline, booster, training, validation)
    names = dict(zip(("validation_0", "validation_1"), ("train", "validation"), strict=True))
    curves = {
        f"{names[part]}_{_OUR_NAMES[name]}": [unit * value for value in values]
        for part, by_name in booster.evals_result().items()
        for name, values in by_name.items()
    }
    for name, values in curves.items():
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise diverged(f"{name} is {values[bad[0]]} after round {bad[0] + 1}")
    return curves


def _booster(pipeline: "Pipeline") -> "XGBModel | None":
    """Return the unfitted model of XGBoost in a pipeline, None where there is another."""
    model = pipeline.named_steps["model"]
    if hasattr(model, "regressor"):
        inner = model.regressor
    else:
        inner = model.estimators[0][1] if hasattr(model, "estimators") else model
    return inner if type(inner).__module__.startswith("xgboost.") else None


def _check_patience(booster: object, validation: Part | None, patience: int) -> None:
    if not patience:
        return
    if booster is None:
        found, action = "the model has no rounds to stop early", "leave early_stopping_rounds out"
    elif validation is None:
        found, action = "there are no rows to stop early by", "pass -P validation_fraction=0.2"
    else:
        return
    raise ParameterError(
        f"early_stopping_rounds is {patience} and {found}",
        allowed="model xgboost with a validation_fraction above 0",
        action=action,
    )


def _fit_rounds(
    pipeline: "Pipeline", booster: "XGBModel", training: Part, validation: Part | None
) -> float:
    """Fit step by step, so that XGBoost sees the validation rows as prepared by the fitted step.

    Returns:
        What 1 is in the target's unit, where XGBoost is given another one.
    """
    from sklearn.frozen import FrozenEstimator
    from sklearn.preprocessing import LabelEncoder

    prepare, model = pipeline.named_steps["prepare"], pipeline.named_steps["model"]
    parts = [(prepare.fit_transform(training.features), training.target)]
    if validation is not None:
        parts.append((prepare.transform(validation.features), validation.target))
    if model is booster:
        booster.fit(*parts[0], eval_set=parts, verbose=False)
        return 1.0
    if hasattr(model, "regressor"):
        return _fit_in_deviations(model, booster, parts)
    names = LabelEncoder().fit(training.target)
    known = [(rows[y.isin(names.classes_)], y[y.isin(names.classes_)]) for rows, y in parts]
    coded = [(rows, names.transform(y)) for rows, y in known]
    booster.fit(*coded[0], eval_set=coded, verbose=False)
    model.set_params(xgboost=FrozenEstimator(booster)).fit(*parts[0])
    return 1.0


def _fit_in_deviations(
    model: "TransformedTargetRegressor",
    booster: "XGBModel",
    parts: "Sequence[tuple[np.ndarray, pd.Series]]",  # type: ignore[type-arg]
) -> float:
    """Fit a model of `adjusting.in_deviations`; return the standard deviation."""
    from sklearn.frozen import FrozenEstimator

    scale = model.transformer.fit(parts[0][1].to_numpy(dtype="float64").reshape(-1, 1))
    scaled = [
        (rows, scale.transform(target.to_numpy(dtype="float64").reshape(-1, 1)).ravel())
        for rows, target in parts
    ]
    booster.fit(*scaled[0], eval_set=scaled, verbose=False)
    model.set_params(regressor=FrozenEstimator(booster)).fit(*parts[0])
    return float(scale.named_steps["deviations"].scale_[0])


def diverged(found: str) -> TrainingError:
    """Return the error of a training that did not end in numbers."""
    return TrainingError(
        f"the training diverged: {found}",
        allowed="finite numbers",
        action="lower learning_rate, or look for extreme values in the rows",
    )
