"""What a Databricks job run starts: builds the project's environment, then runs the entry point.

Its text becomes a file of the workspace that the driver's Python runs; it imports the standard
library of Python 3.8 and MLflow, which the runtime has, and nothing of ours. The arguments name the
MLflow run, whose artifacts hold the project and, in step.json, what to run.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tarfile
import tempfile

ENDED = "The entry point ended with exit code"
WRONG_PYTHON = 64


def main(run_id: str, experiment_id: str, tracking_uri: str) -> int:
    """Run the step of an MLflow run; return its exit code."""
    os.environ["MLFLOW_TRACKING_URI"] = tracking_uri
    os.environ["MLFLOW_RUN_ID"] = run_id
    os.environ["MLFLOW_EXPERIMENT_ID"] = experiment_id
    os.environ["MLFLOW_RUN_CONTEXT"] = json.dumps({"mlflow.parentRunId": run_id})
    import mlflow.artifacts

    work = tempfile.mkdtemp(prefix="step-")
    packed = mlflow.artifacts.download_artifacts(f"runs:/{run_id}/code", dst_path=work)
    with open(os.path.join(packed, "step.json"), encoding="utf-8") as file:  # noqa: PTH118, PTH123
        step = json.load(file)
    folder = os.path.join(work, "project")  # noqa: PTH118 - as plain as the rest
    with tarfile.open(os.path.join(packed, "project.tar.gz")) as opened:  # noqa: PTH118
        opened.extractall(folder)  # noqa: S202 - our own archive, of our own run
    if wrong := other_python(step["python"]):
        say(wrong)
        return WRONG_PYTHON
    binaries = environment(step["requirements"], folder, work)
    chosen = {name: value(one, folder, work) for name, one in step["parameters"].items()}
    line = step["command"].format(**{name: shlex.quote(v) for name, v in chosen.items()})
    say("Command: " + line)
    return run(["bash", "-c", line], folder, binaries)


def say(line: str) -> None:
    """Write a line into the log of the run."""
    print(line, flush=True)  # noqa: T201


def run(command: list[str], folder: str, binaries: str) -> int:
    """Run a command, its output passed on as it comes: the driver shows what Python writes."""
    variables = {**os.environ, "PYTHONUNBUFFERED": "1"}
    if binaries:
        variables["PATH"] = binaries + os.pathsep + os.environ["PATH"]
        # The runtime's own packages must not come before those of the environment.
        variables.pop("PYTHONPATH", None)
    child = subprocess.Popen(
        command, cwd=folder, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    for line in child.stdout or ():
        say(line.decode("utf-8", "replace").rstrip("\n"))
    return child.wait()


def other_python(wanted: str) -> str:
    """Return what is wrong with the runtime's Python, '' for nothing."""
    here = ".".join(map(str, sys.version_info[:3]))
    if not wanted or here == wanted or here.startswith(wanted + "."):
        return ""
    return (
        f"The project wants Python {wanted}, and the cluster has {here}. Allowed: a runtime with "
        "that Python. Next: choose another spark_version in new_cluster, or correct python_env.yaml"
    )


def environment(stages: list[list[str]], folder: str, work: str) -> str:
    """Build the project's environment; return the folder of its programs, '' for none."""
    if not stages:
        return ""
    place = os.path.join(work, "environment")  # noqa: PTH118
    maker = "virtualenv" if installed("virtualenv") else "venv"
    check([sys.executable, "-m", maker, place], folder)
    python = os.path.join(place, "bin", "python")  # noqa: PTH118
    for number, lines in enumerate(stages):
        # In the project's own folder: pip looks for the files that a line names beside the list.
        name = f".requirements-{number}.txt"
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:  # noqa: PTH118, PTH123
            file.write("\n".join(lines) + "\n")
        check([python, "-m", "pip", "install", "--quiet", "-r", name], folder)
    return os.path.dirname(python)  # noqa: PTH120


def installed(module: str) -> bool:
    """Return whether the driver's Python has a module."""
    import importlib.util

    return importlib.util.find_spec(module) is not None


def check(command: list[str], folder: str) -> None:
    """Run a command that must succeed."""
    say(" ".join(command))
    if code := run(command, folder, ""):
        message = f"{command[0]} ended with exit code {code}; see the lines above"
        raise RuntimeError(message)


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
    ended = main(*sys.argv[1:])
    say(f"{ENDED} {ended}")
    if ended:
        sys.exit(ended)
