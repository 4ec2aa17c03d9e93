"""Entry point `main`: download, preprocess, train and validate in one go, for a first look.

Each step has a nested MLflow run of its own, as in a pipeline. Touches these runs and a temporary
folder.
"""

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from images import download, preprocess, train, validate
from shared.commandline import Option, read_options
from shared.tracking import Step, main

OPTIONS = (
    Option("dataset", "digits", "name of the data set"),
    Option("as_of", "", "ISO 8601 date or time, UTC; '' for everything there is"),
    *(option for option in train.OPTIONS if option.name in {"epochs", "learning_rate"}),
)


def run_all(values: Mapping[str, Any]) -> None:
    """Do all steps within the active MLflow run.

    Args:
        values: the parameters, as `OPTIONS` names them.

    Raises:
        StepError: see `errors`.
    """
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        source = {"dataset": values["dataset"], "as_of": values["as_of"]}
        raw = _artifacts(_run(download.STEP, source), "raw", folder)
        data = _artifacts(_run(preprocess.STEP, {"raw": raw}), "data", folder)
        chosen = {name: str(values[name]) for name in ("epochs", "learning_rate")}
        trained = _run(train.STEP, {"data": data, **chosen})
        _run(validate.STEP, {"data": data, "model_uri": f"runs:/{trained}/model"})


def _run(step: Step, given: Mapping[str, str]) -> str:
    """Do one step in a nested run and return the run's id."""
    import mlflow

    values = read_options(step.name, step.options, [f"--{k}={v}" for k, v in given.items()])
    with mlflow.start_run(run_name=step.name, nested=True) as run:
        step.work(values)
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
