"""Entry point `validate`: scores any MLflow model on the holdout rows.

Logs metrics under their plain names, the model's size and speed, and `predictions.parquet`.
Touches the MLflow run and a temporary folder.
"""

import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from shared.commandline import DATA, Option
from shared.errors import DataError, ParameterError, nearest, short
from shared.predictions import PROBABILITY, probabilities_of
from shared.space import room_for
from shared.tracking import Step, log_new_params, main, requirements_by_name, say
from tabular import metrics
from tabular.facts import Facts, write_rows
from tabular.lists import split_list
from tabular.predictions import Scorer, inputs, predict
from tabular.preprocess import HOLDOUT_FILE, read_part
from tabular.scoring import one_value

TIMED_CALLS = 20
_OUR_COLUMNS = ("row_id", "target", "prediction", "weight", "time")
_OWN_PARAMETERS = ("data", "model_uri", "slices", "tags", "autolog", "refit")

OPTIONS = (
    DATA,
    Option(
        "model_uri",
        "",
        "the model, such as runs:/<run id>/model or models:/<name>@champion",
        required=True,
    ),
    Option("slices", "", "columns for results per group, by commas; '' as the data set says"),
)


def validate(values: Mapping[str, Any]) -> None:
    """Do the step within the active MLflow run.

    Args:
        values: the parameters, as `OPTIONS` names them.

    Raises:
        StepError: see `errors`.
    """
    import mlflow

    from tabular.identity import content_sha256
    from tabular.inputs import log_metrics, log_rows

    folder = Path(values["data"])
    facts = Facts.read(folder)
    holdout = read_part(folder, HOLDOUT_FILE)
    slices = _slices(values["slices"], facts, holdout)
    model = _load(values["model_uri"])
    predictions = predict(model, holdout, facts)
    scores = _scores(predictions, facts)
    sha256 = content_sha256(holdout)
    mlflow.set_tags({"data.sha256": facts.sha256, "data.holdout.sha256": sha256})
    measured = {**scores, **_costs(model, inputs(model, holdout, facts))}
    model_id = _described(model)
    log_metrics(measured, log_rows(holdout, facts, "holdout", sha256), model_id)
    _log_predictions(predictions.join(_beside(holdout, slices, facts)))


def _described(model: Scorer) -> str | None:
    """Give the run the model's own parameters, to be compared by; return the model's id, if any."""
    import mlflow

    model_id: str | None = getattr(model, "model_id", None)
    known = mlflow.get_logged_model(model_id).params or {} if model_id else {}
    log_new_params({name: known[name] for name in known if name not in _OWN_PARAMETERS})
    return model_id


def _slices(text: str, facts: Facts, holdout: pd.DataFrame) -> list[str]:
    """Return the slice columns.

    Raises:
        ParameterError: if one is not in the rows, or has a name that the predictions use.
    """
    names = split_list(text) or list(facts.slices)
    ours = [name for name in names if _is_ours(name) and name in holdout]
    if ours:
        raise ParameterError(
            f"slices has '{ours[0]}', which means something else in predictions.parquet",
            allowed=f"columns with other names than {', '.join(_OUR_COLUMNS)}, {PROBABILITY}...",
            action="rename the column in the file, or leave it out of -P slices=...",
        )
    free = [name for name in map(str, holdout.columns) if not _is_ours(name)]
    unknown = [name for name in names if name not in free]
    if unknown:
        raise ParameterError(
            f"there is no column '{unknown[0]}' to slice by{nearest(unknown[0], free)}",
            allowed=", ".join(free)[:1000],
            action="correct -P slices=...",
        )
    return list(dict.fromkeys(names))


def _is_ours(name: str) -> bool:
    """Whether a column of this name in the predictions means something to whoever judges them."""
    return name in _OUR_COLUMNS or name.startswith(PROBABILITY)


def _beside(holdout: pd.DataFrame, slices: list[str], facts: Facts) -> pd.DataFrame:
    """Return what goes with the predictions: columns to slice by, and when a row was as `time`.

    Rows of one day are no independent evidence; whoever compares models needs the time to know.
    """
    columns = holdout[slices]
    return columns.assign(time=holdout[facts.time]) if facts.time else columns


def _load(model_uri: str) -> Scorer:
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        with requirements_by_name():
            model: Scorer = mlflow.pyfunc.load_model(model_uri)
    except (MlflowException, OSError, ValueError, ImportError) as error:
        if str(error).startswith("API request to"):
            raise
        raise DataError(
            f"the model {model_uri} could not be loaded: {short(str(error), 500)}",
            allowed="the URI of a model that exists and loads with the installed packages",
            action="check the URI; an old model may need a version of the project that fits it",
        ) from error
    return model


def _scores(predictions: pd.DataFrame, facts: Facts) -> dict[str, float]:
    target, guess = predictions["target"], predictions["prediction"]
    if facts.task == "regression":
        values, wanted = metrics.regression(target, guess), metrics.REGRESSION
    else:
        shares = probabilities_of(predictions)
        values, wanted = metrics.classification(target, guess, shares), metrics.CLASSIFICATION
    if same := one_value(target, guess):
        say(f"{same}; their targets differ")
    lacking = metrics.missing(values, wanted)
    if lacking:
        say(f"not defined on these rows, so not logged: {', '.join(lacking)}")
    shown = ", ".join(f"{name} {values[name]:.4g}" for name in wanted[:3] if name in values)
    say(f"{facts.dataset}: {len(predictions):,} holdout rows, {shown}")
    return values


def _costs(model: Scorer, rows: pd.DataFrame) -> dict[str, float]:
    """Return the model's size in bytes and the time of one-row predictions in milliseconds."""
    seconds = []
    for number in range(TIMED_CALLS):
        row = rows.iloc[[number % len(rows)]]
        start = time.perf_counter()
        model.predict(row)
        seconds.append(time.perf_counter() - start)
    median, slow = np.quantile(seconds, [0.5, 0.95])
    costs = {"latency_p50_ms": 1e3 * float(median), "latency_p95_ms": 1e3 * float(slow)}
    size = getattr(model.metadata, "model_size_bytes", None)
    return costs if size is None else {**costs, "model_bytes": float(size)}


def _log_predictions(predictions: pd.DataFrame) -> None:
    import mlflow

    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "predictions.parquet"
        with room_for(path.parent, int(predictions.memory_usage(deep=True).sum())):
            write_rows(predictions, path)
        mlflow.log_artifact(str(path))


STEP = Step("validate", OPTIONS, validate)

if __name__ == "__main__":
    sys.exit(main(STEP))
