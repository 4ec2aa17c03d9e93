"""What a remote job starts: gets the commit's files and the inputs, then becomes the entry point.

Its text is passed to the Python of the project's image, which has MLflow and nothing of ours: it
imports the standard library of Python 3.8 and MLflow only. The variable UNDERSTUDY_STEP holds the
step; it is removed before the entry point starts.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import tarfile
import tempfile


def main() -> None:
    """Become the entry point's shell."""
    step = json.loads(os.environ.pop("UNDERSTUDY_STEP"))
    work = tempfile.mkdtemp(prefix="step-")
    folder = step["folder"] or code(step["artifact"], work)
    chosen = {name: value(one, folder, work) for name, one in step["parameters"].items()}
    line = step["command"].format(**{name: shlex.quote(v) for name, v in chosen.items()})
    print("Command: " + line, flush=True)  # noqa: T201 - the log of the container
    os.chdir(folder)
    # In place of this process: PID 1 of the container gets the TERM of a Job that is deleted.
    shell = shutil.which("bash") or "sh"
    os.execvp(shell, [shell, "-c", line])  # noqa: S606 - the values in it are quoted


def code(artifact: str, work: str) -> str:
    """Return the folder with the project, fetched from the MLflow run."""
    from mlflow.tracking import MlflowClient

    packed = MlflowClient().download_artifacts(os.environ["MLFLOW_RUN_ID"], artifact, work)
    folder = os.path.join(work, "code")  # noqa: PTH118 - as plain as the rest
    with tarfile.open(packed) as opened:
        opened.extractall(folder)  # noqa: S202 - our own archive, of our own run
    return folder


def value(parameter: dict[str, str], folder: str, work: str) -> str:
    """Return a parameter as the command takes it; what a path names is downloaded first."""
    given, kind = parameter["value"], parameter["type"]
    if kind != "path" or not given:
        return given
    if "://" not in given and not given.startswith(("runs:/", "models:/", "mlflow-artifacts:/")):
        return os.path.join(folder, given)  # noqa: PTH118
    import mlflow.artifacts

    return mlflow.artifacts.download_artifacts(given, dst_path=tempfile.mkdtemp(dir=work))


if __name__ == "__main__":
    main()
