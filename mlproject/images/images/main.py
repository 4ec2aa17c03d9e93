"""Entry point `main`: download, preprocess, train and validate in one go, for a first look.

Each step has a nested MLflow run of its own, as in a pipeline; the run around them has the
training's parameters and the validation's metrics, to be compared with others. Touches these runs
and a temporary folder.
"""

import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from images import download, preprocess, train, validate
from shared import nested
from shared.commandline import Option
from shared.tracking import Step, log_new_params, main

_PREPARATION, _TRAINING = (
    tuple(option for option in step.OPTIONS if not option.logged) for step in (preprocess, train)
)
OPTIONS = (*download.OPTIONS, *_PREPARATION, *_TRAINING)


def run_all(values: Mapping[str, Any]) -> None:
    """Do all steps within the active MLflow run, as `Step.work` says."""
    import mlflow

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        downloaded = nested.run(download.STEP, _of(values, download.OPTIONS))
        raw = nested.artifacts(downloaded, "raw", folder)
        prepared = nested.run(preprocess.STEP, {"raw": raw, **_of(values, _PREPARATION)})
        data = nested.artifacts(prepared, "data", folder)
        trained = nested.run(train.STEP, {"data": data, **_of(values, _TRAINING)})
        scored = nested.run(validate.STEP, {"data": data, "model_uri": f"runs:/{trained}/model"})
    params = mlflow.get_run(trained).data.params
    log_new_params({name: v for name, v in params.items() if name != "data"})
    mlflow.log_metrics(mlflow.get_run(scored).data.metrics)


def _of(values: Mapping[str, Any], options: Iterable[Option]) -> dict[str, Any]:
    return {option.name: values[option.name] for option in options}


STEP = Step("main", OPTIONS, run_all)

if __name__ == "__main__":
    sys.exit(main(STEP))
