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

from shared.commandline import Option, read_options
from shared.errors import StepError
from shared.tracking import ERROR_TAG, LONGEST_TAG, Step, log_new_params, main
from tabular import download, preprocess, train, validate
from tabular.tags import own_tags

_TRAINING = tuple(option for option in train.OPTIONS if option.name != "data")
OPTIONS = (*download.OPTIONS, *_TRAINING)


def run_all(values: Mapping[str, Any]) -> None:
    """Do all steps within the active MLflow run.

    Args:
        values: the parameters, as `OPTIONS` names them.

    Raises:
        StepError: see `errors`.
    """
    import mlflow

    mlflow.set_tags(own_tags(values["tags"]))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        raw = _artifacts(_run(download.STEP, _of(values, download.OPTIONS)), "raw", folder)
        data = _artifacts(_run(preprocess.STEP, {"raw": raw}), "data", folder)
        trained = _run(train.STEP, {"data": data, **_of(values, _TRAINING)})
        scored = _run(validate.STEP, {"data": data, "model_uri": f"runs:/{trained}/model"})
    log_new_params({name: v for name, v in _params(trained).items() if name != "data"})
    mlflow.log_metrics(mlflow.get_run(scored).data.metrics)


def _of(values: Mapping[str, Any], options: Iterable[Option]) -> dict[str, Any]:
    return {option.name: values[option.name] for option in options}


def _params(run_id: str) -> dict[str, str]:
    import mlflow

    params: dict[str, str] = mlflow.get_run(run_id).data.params
    return params


def _run(step: Step, given: Mapping[str, Any]) -> str:
    """Do one step in a nested run and return the run's id."""
    import mlflow

    values = read_options(step.name, step.options, [f"--{k}={v}" for k, v in given.items()])
    with mlflow.start_run(run_name=step.name, nested=True) as run:
        try:
            step.work(values)
        except StepError as error:
            mlflow.set_tag(ERROR_TAG, str(error)[:LONGEST_TAG])
            raise
    run_id: str = run.info.run_id
    return run_id


def _artifacts(run_id: str, name: str, folder: Path) -> str:
    import mlflow

    path: str = mlflow.artifacts.download_artifacts(
        run_id=run_id, artifact_path=name, dst_path=str(folder)
    )
    return path


STEP = Step("main", OPTIONS, run_all)

if __name__ == "__main__":
    sys.exit(main(STEP))
