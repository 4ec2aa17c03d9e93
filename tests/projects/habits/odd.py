"""Habits of scripts that were written to be started by hand; the first word says which."""

import os
import sys

import mlflow
from mlflow import MlflowClient


def log() -> None:
    """Log to the run that is active, or begins."""
    mlflow.log_metric("rmse", 0.5)


def experiment(name: str) -> None:
    """Choose an experiment first."""
    mlflow.set_experiment(name)
    with mlflow.start_run():
        log()


def server_and_experiment(uri: str) -> None:
    """Choose both, as most tutorials do."""
    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment("mine")
    with mlflow.start_run():
        log()


def twice(first: str, second: str) -> None:
    """Log a parameter in two spellings, one after the other."""
    with mlflow.start_run():
        mlflow.log_param("rate", first)
        mlflow.log_param("rate", None if second == "None" else second)


def again(rate: str) -> None:
    """Log the step's own parameter, as this program spells it."""
    with mlflow.start_run():
        mlflow.log_param("rate", float(rate))
        log()


def runs() -> None:
    """Begin one run after the other."""
    for _ in range(3):
        with mlflow.start_run():
            log()


def left(code: str) -> None:
    """End without a word within a run of a run of its own."""
    mlflow.start_run()
    mlflow.start_run(nested=True)
    mlflow.start_run(nested=True)
    log()
    os._exit(int(code))


def elsewhere() -> None:
    """Log to a run of its own by a client."""
    client = MlflowClient()
    run = client.create_run(os.environ["MLFLOW_EXPERIMENT_ID"])
    client.log_metric(run.info.run_id, "rmse", 0.5)


if __name__ == "__main__":
    habits = (experiment, server_and_experiment, twice, again, runs, left, elsewhere)
    {habit.__name__: habit for habit in habits}[sys.argv[1]](*sys.argv[2:])
