"""Does one step within another's run, as entry point `main` does. Touches nested MLflow runs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shared.commandline import read_options
from shared.errors import StepError
from shared.tracking import ERROR_TAG, LONGEST_TAG, Step


def run(step: Step, given: Mapping[str, Any]) -> str:
    """Do one step in a nested run and return the run's id.

    Raises:
        StepError: what the step raises; its run has the message.
    """
    import mlflow

    values = read_options(step.name, step.options, [f"--{k}={v}" for k, v in given.items()])
    with mlflow.start_run(run_name=step.name, nested=True) as active:
        try:
            step.work(values)
        except StepError as error:
            mlflow.set_tag(ERROR_TAG, str(error)[:LONGEST_TAG])
            raise
    return str(active.info.run_id)


def artifacts(run_id: str, name: str, folder: Path) -> str:
    """Return the path of a copy, below `folder`, of what a run logged under a name."""
    import mlflow

    return str(
        mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=name, dst_path=str(folder))
    )
