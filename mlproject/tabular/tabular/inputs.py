"""Rows as MLflow datasets: which rows a run took, and of which rows and which model a metric is.

Touches the MLflow run.
"""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from shared.tracking import log_input
from tabular.facts import Facts
from tabular.split import ROW_ID

if TYPE_CHECKING:
    from mlflow.data.pandas_dataset import PandasDataset

FEW_ROWS = 3


def log_rows(rows: pd.DataFrame, facts: Facts, context: str, sha256: str = "") -> "PandasDataset":
    """Log rows as the run's input and return them as MLflow knows them.

    Args:
        rows: with `row_id` and the target. The digest covers all of them, unlike MLflow's own.
        facts: what is known about them.
        context: what the run does with them: "training", "validation" or "holdout".
        sha256: their digest, see `identity.content_sha256`, where it is known.
    """
    from mlflow.data.code_dataset_source import CodeDatasetSource
    from mlflow.data.pandas_dataset import from_pandas

    from tabular.identity import content_sha256

    # Whole numbers get the type that also holds a missing value.
    floats = dict.fromkeys(rows.select_dtypes("integer").columns, "float64")
    table = from_pandas(
        rows.drop(columns=[ROW_ID]).astype(floats),
        # A plain string would be looked up among all kinds of sources, with a warning.
        source=CodeDatasetSource({"data.source": facts.source, "data.sha256": facts.sha256}),
        targets=facts.target,
        name=facts.dataset,
        digest=(sha256 or content_sha256(rows))[:36],
    )
    # MLflow would look at every value of every text.
    table.schema = from_pandas(typical(table.df), source=table.source).schema
    log_input(table, context)
    return table


def typical(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a few rows in which each column has what it has in all: a value, and a missing one.

    Types and what may be missing can be told by them, as each column is of one type.
    """
    places = set(range(min(FEW_ROWS, len(rows))))
    for name in rows.columns:
        missing = rows[name].isna().to_numpy()
        if missing.any():
            places |= {int(missing.argmax()), int(missing.argmin())}
    return rows.iloc[sorted(places)]


def log_metrics(values: Mapping[str, float], table: "PandasDataset", model_id: str | None) -> None:
    """Log metrics of the active run, linked to rows and a model, which MLflow compares by them.

    Args:
        values: name to value.
        table: the rows they are of, as `log_rows` returned them.
        model_id: the model they are of; None where MLflow keeps none.
    """
    import mlflow
    from mlflow.entities import Metric

    run = mlflow.active_run() or mlflow.start_run()
    about: dict[str, Any] = {
        "timestamp": int(time.time() * 1000),
        "step": 0,
        "model_id": model_id,
        "dataset_name": table.name,
        "dataset_digest": table.digest,
        "run_id": run.info.run_id,
    }
    # Not mlflow.log_metrics: that would log the rows once more for each of them, and the model of a
    # training as one that it took.
    points = [Metric(name, value, **about) for name, value in values.items()]
    mlflow.MlflowClient().log_batch(run.info.run_id, metrics=points)
