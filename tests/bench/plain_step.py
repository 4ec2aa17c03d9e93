"""One step as a plain script: `python plain_step.py STEP --name=value ...` in the project's folder.

It fetches its inputs itself, in the same process, because that is the cheapest way that there is:
`mlflow artifacts download` would import MLflow once more for each input. Writes one MLflow run and
a temporary folder, and prints the run's id last.
"""

import importlib
import sys
import tempfile

INPUTS = ("raw", "data")


def fetched(argument: str, folder: str) -> str:
    """Return the argument with a local path where it named an artifact folder of a run."""
    from mlflow.artifacts import download_artifacts

    name, _, value = argument.removeprefix("--").partition("=")
    if name not in INPUTS:
        return argument
    return f"--{name}={download_artifacts(artifact_uri=value, dst_path=folder)}"


def main(step: str, *arguments: str) -> tuple[int, str]:
    """Run a step on local copies of its inputs; return its exit status and its run's id."""
    sys.path.insert(0, "")
    module, tracking = map(importlib.import_module, (f"tabular.{step}", "shared.tracking"))
    with tempfile.TemporaryDirectory() as folder:
        status: int = tracking.main(module.STEP, [fetched(one, folder) for one in arguments])
    import mlflow

    run = mlflow.last_active_run()
    return status, run.info.run_id if run else ""


if __name__ == "__main__":
    exit_status, made = main(*sys.argv[1:])
    sys.stdout.write(f"{made}\n")
    sys.exit(exit_status)
