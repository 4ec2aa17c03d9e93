"""Runs other entry points of its project, in one of the ways that people do; a word says which."""

import os
import sys

import mlflow


def run(entry_point: str, parameters: dict[str, str], **options: str) -> str:
    """Run one in the environment that this program has."""
    options = {"env_manager": "local", **options}
    return mlflow.projects.run(".", entry_point, parameters=parameters, **options).run_id


def within() -> None:
    """Run them within a run, as MLflow's example does."""
    with mlflow.start_run():
        loaded = run("load", {"word": "well"})
        mlflow.log_param("trained", run("train", {"source": loaded}))


def bare() -> None:
    """Run them without a run of its own."""
    run("train", {"source": run("load", {"word": "well"})})


def fails() -> None:
    """Run one that fails."""
    run("load", {"word": "fails"})


def stays() -> None:
    """Run one that does not end, without a run of its own."""
    run("load", {"word": "stays"})


def killed() -> None:
    """Say who this is, and run one that does not end."""
    sys.stdout.write(f"{os.getpid()}\n")
    sys.stdout.flush()
    stays()


def elsewhere() -> None:
    """Run one that does not end, in an experiment of its own."""
    run("load", {"word": "stays"}, experiment_name="nested elsewhere")


def own() -> None:
    """Let MLflow choose what makes the environment."""
    mlflow.run(".", "load", parameters={"word": "well"})


if __name__ == "__main__":
    habits = (within, bare, fails, stays, killed, elsewhere, own)
    {one.__name__: one for one in habits}[sys.argv[1]]()
