"""Entry point `train`: fits a model on the training rows and logs it with its metrics.

The logged model takes raw rows. Its numeric inputs are float64, also those that hold whole
numbers, so that a request with a missing value is answered instead of refused. Touches the MLflow
run and the temporary folder that MLflow uses.
"""

import sys
import warnings
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from tabular import models
from tabular.commandline import Option
from tabular.errors import DataError
from tabular.facts import Facts
from tabular.preprocess import TRAIN_FILE, check_classes, read_part
from tabular.split import MIN_TRAINING_ROWS, ROW_ID
from tabular.tracking import Step, log_new_params, main, say

if TYPE_CHECKING:
    from mlflow.models import ModelSignature
    from sklearn.pipeline import Pipeline

EXAMPLE_ROWS = 3
REQUIREMENTS = ("mlflow-skinny", "cloudpickle", "numpy", "pandas", "scikit-learn", "scipy", "skops")
"""Distributions that loading and serving the model need, logged in the installed versions."""

OPTIONS = (
    Option(
        "data", "", "the artifact folder that preprocess logged, runs:/<run id>/data", required=True
    ),
    Option("model", "random_forest", "kind of model"),
    *models.OPTIONS,
)


def train(values: Mapping[str, Any]) -> None:
    """Do the step within the active MLflow run.

    Args:
        values: the parameters, as `OPTIONS` names them.

    Raises:
        TabularError: see `errors`.
    """
    import mlflow

    folder = Path(values["data"])
    facts = Facts.read(folder)
    used = models.choose(values["model"], facts.task, values)
    rows = read_part(folder, TRAIN_FILE)
    check_rows(rows, facts)
    log_new_params(
        {
            "model": values["model"],
            **used,
            "dataset": facts.dataset,
            "task": facts.task,
            "target": facts.target,
        }
    )
    mlflow.set_tag("data.sha256", facts.sha256)
    log_input(rows, facts, "training")
    features, target = rows[list(facts.features)], rows[facts.target]
    features = as_inputs(features, facts)
    pipeline = models.build(values["model"], facts, used).fit(features, target)
    mlflow.log_metrics(_metrics(pipeline, features, rows, facts))
    _log_model(pipeline, features)


def as_inputs(features: pd.DataFrame, facts: Facts) -> pd.DataFrame:
    """Return the features as the model's inputs: numbers as float64, text as text."""
    numbers = [name for name in facts.features if facts.columns[name].kind == "number"]
    return features.astype(dict.fromkeys(numbers, "float64"))


def check_rows(rows: pd.DataFrame, facts: Facts) -> None:
    """Check that rows can train a model.

    Raises:
        DataError: for too few rows, rows without a target, or a single class.
    """
    if len(rows) < MIN_TRAINING_ROWS:
        raise DataError(
            f"there are {len(rows)} training rows",
            allowed=f"at least {MIN_TRAINING_ROWS}",
            action="bring more rows",
        )
    if rows[facts.target].isna().any():
        raise DataError(
            f"{int(rows[facts.target].isna().sum())} training rows have no target",
            allowed="a target in every row",
            action="run preprocess, which rejects such rows",
        )
    if facts.task == "classification":
        check_classes(rows[facts.target], "training")


def _metrics(
    pipeline: "Pipeline", features: pd.DataFrame, rows: pd.DataFrame, facts: Facts
) -> dict[str, float]:
    values = scores(pipeline, features, rows[facts.target], facts)
    main_metric = "rmse" if facts.task == "regression" else "accuracy"
    say(f"{facts.dataset}: {len(rows):,} rows, train_{main_metric} {values[main_metric]:.4g}")
    return {f"train_{name}": value for name, value in values.items()}


def scores(
    pipeline: "Pipeline", features: pd.DataFrame, target: pd.Series, facts: Facts
) -> dict[str, float]:
    """Return a fitted pipeline's metrics on some rows, by their plain names.

    Args:
        pipeline: what `models.build` returned, fitted.
        features: what it takes, see `as_inputs`.
        target: true values of the same rows.
        facts: of the data.

    Raises:
        DataError: if a prediction or metric is missing or not finite.
    """
    from tabular import metrics
    from tabular.predictions import class_names

    guess = pd.Series(pipeline.predict(features))
    if facts.task == "regression":
        return metrics.regression(target, guess)
    names = class_names(pd.Series(pipeline.classes_))
    shares = pd.DataFrame(pipeline.predict_proba(features), columns=list(names))
    truth = class_names(target).reset_index(drop=True)
    return metrics.classification(truth, class_names(guess), shares)


def log_input(rows: pd.DataFrame, facts: Facts, context: str) -> None:
    """Log the rows as the run's input; the digest covers all of them, unlike MLflow's own."""
    import mlflow
    from mlflow.data.code_dataset_source import CodeDatasetSource
    from mlflow.data.pandas_dataset import from_pandas

    from tabular.identity import content_sha256

    table = from_pandas(
        rows.drop(columns=[ROW_ID]).astype(_floats(rows)),
        # A plain string would be looked up among all kinds of sources, with a warning.
        source=CodeDatasetSource({"data.source": facts.source, "data.sha256": facts.sha256}),
        targets=facts.target,
        name=facts.dataset,
        digest=content_sha256(rows)[:36],
    )
    mlflow.log_input(table, context=context)


def _floats(rows: pd.DataFrame) -> dict[str, str]:
    """Return whole-number columns with the type that also holds a missing value."""
    return dict.fromkeys(rows.select_dtypes("integer").columns, "float64")


def _signature(pipeline: "Pipeline", features: pd.DataFrame) -> "ModelSignature":
    from mlflow.models import infer_signature

    with warnings.catch_warnings():
        # The hint is about whole numbers that may be missing; a predicted class never is.
        warnings.filterwarnings("ignore", message="Hint: Inferred schema contains integer")
        return infer_signature(features, pipeline.predict(features.head(EXAMPLE_ROWS)))


def _log_model(pipeline: "Pipeline", features: pd.DataFrame) -> None:
    import mlflow

    mlflow.sklearn.log_model(
        pipeline,
        name="model",
        signature=_signature(pipeline, features),
        input_example=features.head(EXAMPLE_ROWS),
        # Given, because inferring them takes 19 seconds and finds what happens to be installed.
        pip_requirements=[f"{name}=={version(name)}" for name in REQUIREMENTS],
        serialization_format="skops",
        skops_trusted_types=models.TRUSTED_TYPES,
    )


STEP = Step("train", OPTIONS, train)

if __name__ == "__main__":
    sys.exit(main(STEP))
