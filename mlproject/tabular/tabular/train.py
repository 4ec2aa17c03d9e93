"""Entry point `train`: fits a model on the training rows and logs it with its metrics.

The logged model takes raw rows. Its numeric inputs are float64, also those that hold whole
numbers, so that a request with a missing value is answered instead of refused. Touches the MLflow
run and the temporary folder that MLflow uses.
"""

import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from shared.commandline import DATA, Option
from shared.errors import DataError, ParameterError
from shared.named_answers import CLASSES, log_model, schema
from shared.tracking import Step, log_new_params, main, requirements_by_name, say
from tabular import models
from tabular.adjusting import told
from tabular.curves import log_curves
from tabular.facts import Facts
from tabular.fitting import Curves, Part, fit
from tabular.inputs import log_metrics, log_rows, typical
from tabular.predictions import class_names
from tabular.preprocess import HOLDOUT_FILE, TRAIN_FILE, check_classes, read_part
from tabular.scoring import as_inputs, as_target, scores
from tabular.split import MIN_TRAINING_ROWS, set_aside
from tabular.tags import own_tags

if TYPE_CHECKING:
    from mlflow.data.pandas_dataset import PandasDataset
    from mlflow.models import ModelSignature
    from sklearn.pipeline import Pipeline

EXAMPLE_ROWS = 3
LARGEST_TARGET = 1e38
TWO_CLASSES = 2  # of more, nobody could say whose probability rises
NO, YES = "no", "yes"

OPTIONS = (
    DATA,
    Option("model", "random_forest", "kind of model"),
    *models.OPTIONS,
    Option("validation_fraction", 0.0, "share of the rows scored, not fitted", minimum=0, below=1),
    Option(
        "early_stopping_rounds",
        0,
        "xgboost stops after so many rounds without a better validation error; 0 for never",
        minimum=0,
    ),
    Option("tags", "", "tags of your own for the run: name=value, with commas"),
    Option("autolog", NO, "also log what MLflow's autologging does", choices=(NO, YES)),
    Option("refit", NO, "train on all rows, the holdout's included", choices=(NO, YES)),
)


def train(values: Mapping[str, Any]) -> None:
    """Do the step within the active MLflow run.

    Args:
        values: the parameters, as `OPTIONS` names them.

    Raises:
        StepError: see `errors`.
    """
    import mlflow

    from tabular.levels import settled

    mlflow.set_tags(own_tags(values["tags"]))
    folder = Path(values["data"])
    facts = Facts.read(folder)
    used = models.choose(values["model"], facts.task, values)
    rows = read_part(folder, TRAIN_FILE)
    if values["refit"] == YES:
        holdout = read_part(folder, HOLDOUT_FILE)
        rows = pd.concat([rows, holdout], ignore_index=True)
        # By it whoever asked for a refit knows that it is one.
        mlflow.set_tag("data.holdout.trained", str(len(holdout)))
    check_rows(rows, facts, used)
    _describe_run(values, used, facts)
    parts, tables = _parts(rows, facts, values["validation_fraction"])
    pipeline = models.build(values["model"], facts, used, parts["train"])
    for line in told(parts["train"], facts):
        say(line)
    with _autologged(values["autolog"]):
        curves = _fit(pipeline, parts, facts, values["early_stopping_rounds"])
    scored = {name: scores(pipeline, part, facts) for name, part in parts.items()}
    _say_scores(scored, parts, facts)
    log_curves(curves)
    settled(pipeline.named_steps["prepare"])
    model_id = _log_model(pipeline, as_inputs(parts["train"], facts), values["model"])
    for name, table in tables.items():
        named = {f"{name}_{metric}": value for metric, value in scored[name].items()}
        log_metrics(named, table, model_id)


def check_rows(rows: pd.DataFrame, facts: Facts, used: Mapping[str, Any]) -> None:
    """Check what parameters and rows only show together.

    Args:
        rows: what `preprocess` left for training.
        facts: of the data.
        used: the model's parameters, as `models.choose` returned them.

    Raises:
        DataError: for too few rows, rows without a target, a single class, or numbers too large.
        ParameterError: if a parameter does not fit the target.
    """
    target = rows[facts.target]
    if len(rows) < MIN_TRAINING_ROWS:
        raise DataError(
            f"there are {len(rows)} training rows",
            allowed=f"at least {MIN_TRAINING_ROWS}",
            action="bring more rows",
        )
    if target.isna().any():
        raise DataError(
            f"{int(target.isna().sum())} training rows have no target",
            allowed="a target in every row",
            action="run preprocess, which rejects such rows",
        )
    if facts.task == "classification":
        _check_classes(target, used)
    else:
        _check_numbers(target, used)


def _check_classes(target: pd.Series, used: Mapping[str, Any]) -> None:
    check_classes(target, "training")
    if used.get("monotone") and target.nunique() > TWO_CLASSES:
        raise ParameterError(
            f"monotone is given and there are {target.nunique()} classes",
            allowed="a regression or two classes",
            action="leave monotone out",
        )


def _check_numbers(target: pd.Series, used: Mapping[str, Any]) -> None:
    if (largest := float(target.abs().max())) >= LARGEST_TARGET:
        raise DataError(
            f"target '{target.name}' reaches {largest:.3g}",
            allowed=f"numbers below {LARGEST_TARGET:g}, as boosting computes in single precision",
            action="leave such rows out, or give the target in a larger unit",
        )
    if used.get("criterion") == "poisson" and (target.min() < 0 or target.sum() <= 0):
        raise ParameterError(
            f"criterion is 'poisson' and the smallest target is {target.min():g}",
            allowed="targets of at least 0, one of them above",
            action="pass -P criterion=squared_error",
        )


def _describe_run(values: Mapping[str, Any], used: Mapping[str, Any], facts: Facts) -> None:
    """Log what is known before the fit, so that a failed run says what failed."""
    import mlflow

    log_new_params(
        {
            "model": values["model"],
            **used,
            "validation_fraction": values["validation_fraction"],
            "early_stopping_rounds": values["early_stopping_rounds"],
            "dataset": facts.dataset,
            "task": facts.task,
            "target": facts.target,
        }
    )
    mlflow.set_tag("data.sha256", facts.sha256)


def _parts(
    rows: pd.DataFrame, facts: Facts, fraction: float
) -> "tuple[dict[str, pd.DataFrame], dict[str, PandasDataset]]":
    """Return the rows to fit (`train`) and to score (`validation`), and both as logged inputs."""
    if not fraction:
        return {"train": rows}, {"train": log_rows(rows, facts, "training")}
    aside = set_aside(rows, facts.time, fraction)
    parts = {
        "train": rows[~aside].reset_index(drop=True),
        "validation": rows[aside].reset_index(drop=True),
    }
    if facts.task == "classification":
        check_classes(parts["train"][facts.target], "fitted")
    contexts = {"train": "training", "validation": "validation"}
    return parts, {name: log_rows(part, facts, contexts[name]) for name, part in parts.items()}


@contextmanager
def _autologged(wanted: str) -> Iterator[None]:
    """Within this block MLflow logs by itself, where it is wanted; the model we log ourselves."""
    if wanted == NO:
        yield
        return
    import mlflow

    mlflow.sklearn.autolog(log_models=False, log_datasets=False, silent=True)
    try:
        yield
    finally:
        mlflow.sklearn.autolog(disable=True)


def _fit(
    pipeline: "Pipeline", parts: Mapping[str, pd.DataFrame], facts: Facts, patience: int
) -> Curves:
    made = {
        name: Part(as_inputs(part, facts), as_target(part, facts)) for name, part in parts.items()
    }
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is an error below
        return fit(pipeline, made["train"], made.get("validation"), patience)


def _say_scores(
    scored: Mapping[str, Mapping[str, float]], parts: Mapping[str, pd.DataFrame], facts: Facts
) -> None:
    metric = "rmse" if facts.task == "regression" else "accuracy"
    for name, values in scored.items():
        say(f"{facts.dataset}: {len(parts[name]):,} rows, {name}_{metric} {values[metric]:.4g}")


def _signature(pipeline: "Pipeline", features: pd.DataFrame) -> "ModelSignature":
    from mlflow.models import infer_signature

    with warnings.catch_warnings():
        # The hint is about whole numbers that may be missing; a predicted class never is.
        warnings.filterwarnings("ignore", message="Hint: Inferred schema contains integer")
        return infer_signature(typical(features), pipeline.predict(features.head(EXAMPLE_ROWS)))


def _example(features: pd.DataFrame) -> pd.DataFrame:
    """Return rows to show what the model takes; None for what is missing, as NaN is no JSON."""
    rows = features.head(EXAMPLE_ROWS)
    return rows.astype("object").where(rows.notna(), None)


def _log_model(pipeline: "Pipeline", features: pd.DataFrame, kind: str) -> str:
    """Log the model; return the id under which MLflow keeps it."""
    import mlflow

    signature = _signature(pipeline, features)
    details: dict[str, Any] = {
        "signature": signature,
        "input_example": _example(features),
        # Given, because inferring them takes 19 seconds and finds what happens to be installed.
        "pip_requirements": models.requirements(kind),
        "serialization_format": "skops",
        "skops_trusted_types": models.trusted_types(kind),
    }
    with requirements_by_name():
        if hasattr(pipeline, "classes_"):
            classes = list(class_names(pd.Series(pipeline.classes_)))
            signature.outputs = schema(classes)
            logged = log_model(mlflow.sklearn, pipeline, {CLASSES: classes}, **details)
        else:
            logged = mlflow.sklearn.log_model(pipeline, name="model", **details)
    model_id: str = logged.model_id
    return model_id


STEP = Step("train", OPTIONS, train)

if __name__ == "__main__":
    sys.exit(main(STEP))
