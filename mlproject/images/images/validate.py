"""Entry point `validate`: scores any MLflow model on the holdout images.

Logs metrics under their plain names, those of each class, the model's size and speed,
`predictions.parquet` and pictures. Touches the MLflow run and a temporary folder.
"""

import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from images.facts import HOLDOUT_FILE, Facts
from images.identity import Content, fingerprints
from images.metrics import named_per_class, per_class
from images.predictions import Scorer, known_classes, predict, whole
from images.tables import ROW_ID, read
from shared import metrics
from shared.commandline import DATA, Option
from shared.errors import DataError, short
from shared.predictions import asked, probabilities_of
from shared.space import room_for
from shared.tracking import Step, main, say

TIMED_CALLS = 20

OPTIONS = (
    DATA,
    Option(
        "model_uri",
        "",
        "the model, such as runs:/<run id>/model or models:/<name>@champion",
        required=True,
    ),
)


def validate(values: Mapping[str, Any]) -> None:
    """Do the step within the active MLflow run, as `Step.work` says."""
    import mlflow

    folder = Path(values["data"])
    facts = Facts.read(folder)
    holdout = folder / HOLDOUT_FILE
    tags = {"data.sha256": facts.sha256, "data.holdout.sha256": _digest(holdout, facts)}
    model = _load(values["model_uri"])
    predictions = predict(model, holdout, facts)
    classes = list(dict.fromkeys((*facts.classes, *known_classes(model, facts))))
    by_class = per_class(predictions["target"], predictions["prediction"], classes)
    scores = _scores(predictions, facts)
    mlflow.set_tags(tags)
    costs = _costs(model, holdout, facts)
    mlflow.log_metrics({**scores, **named_per_class(by_class), **costs})
    _log_files(predictions, by_class, holdout, facts)


def _digest(holdout: Path, facts: Facts) -> str:
    content = Content()
    for some in read(holdout, facts.shape, ROW_ID):
        content.add(fingerprints(some.pixels), some.labels, some.marks)
    return content.hexdigest()


def _load(model_uri: str) -> Scorer:
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        model: Scorer = mlflow.pyfunc.load_model(model_uri)
    except (MlflowException, OSError, ValueError, ImportError) as error:
        if str(error).startswith("API request to"):
            raise
        raise DataError(
            f"the model {model_uri} could not be loaded: {short(str(error), 500)}",
            allowed="the URI of a model that exists and loads with the installed packages",
            action="check the URI; an old model may need a version of the project that fits it",
        ) from error
    if keras := sys.modules.get("keras"):  # which would draw a bar for every batch
        keras.config.disable_interactive_logging()
    return model


def _scores(predictions: pd.DataFrame, facts: Facts) -> dict[str, float]:
    target, guess = predictions["target"], predictions["prediction"]
    shares = probabilities_of(predictions)
    values = metrics.classification(target, guess, shares)
    lacking = metrics.missing(values, metrics.CLASSIFICATION)
    if lacking:
        say(f"not defined on these images, so not logged: {', '.join(lacking)}")
    if shares is not None and (unknown := sorted(set(target) - set(shares))):
        say(f"classes that the model does not know: {', '.join(unknown)}")
    shown = ", ".join(f"{n} {values[n]:.4g}" for n in ("accuracy", "log_loss") if n in values)
    say(f"{facts.dataset}: {len(predictions):,} holdout images, {shown}")
    return values


def _costs(model: Scorer, holdout: Path, facts: Facts) -> dict[str, float]:
    """Return the model's size in bytes and the time of one-image predictions in milliseconds."""
    some = next(read(holdout, facts.shape, ROW_ID, TIMED_CALLS))
    images = some.pixels.reshape(-1, 1, *facts.image_shape)
    asked(model.predict, images[0], whole(images[0]))  # the first call builds the graph
    seconds = []
    for number in range(TIMED_CALLS):
        start = time.perf_counter()
        model.predict(images[number % len(images)])
        seconds.append(time.perf_counter() - start)
    median, slow = np.quantile(seconds, [0.5, 0.95])
    costs = {"latency_p50_ms": 1e3 * float(median), "latency_p95_ms": 1e3 * float(slow)}
    size = getattr(model.metadata, "model_size_bytes", None)
    return costs if size is None else {**costs, "model_bytes": float(size)}


def _log_files(
    predictions: pd.DataFrame, by_class: pd.DataFrame, holdout: Path, facts: Facts
) -> None:
    import mlflow

    from images.mistakes import draw_all

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        with room_for(folder, int(predictions.memory_usage(deep=True).sum())):
            predictions.to_parquet(folder / "predictions.parquet", index=False)
            by_class.to_csv(folder / "per_class.csv", index=False)
        mlflow.log_artifacts(place)
    with tempfile.TemporaryDirectory() as place:
        draw_all(predictions, holdout, facts, Path(place))
        mlflow.log_artifacts(place, "pictures")


STEP = Step("validate", OPTIONS, validate)

if __name__ == "__main__":
    sys.exit(main(STEP))
