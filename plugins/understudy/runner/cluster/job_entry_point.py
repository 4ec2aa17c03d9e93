"""What a job starts: gets the commit's files and the inputs, then runs the entry point.

Its text is passed to the Python of a Kubernetes project's image, or becomes a file of a Databricks
workspace. It imports the standard library of Python 3.8 and MLflow, which both have, and nothing of
ours. A pod has its step in the variable UNDERSTUDY_STEP, which the entry point does not see. On
Databricks the arguments name the MLflow run, whose artifacts hold the step, and the environment
that is built for it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile

# Plain os.path all through this file: it must run wherever a job does.
join = os.path.join
ENDED = "The entry point ended with exit code"
WRONG_PYTHON = 64


def main(*driver: str) -> int:
    """Run a step; return its exit code, on Databricks alone: in a pod this process becomes it.

    Args:
        driver: On Databricks the run, its experiment and the tracking server; nothing in a pod.
    """
    if driver:
        os.environ["MLFLOW_RUN_ID"], os.environ["MLFLOW_EXPERIMENT_ID"] = driver[:2]
        os.environ["MLFLOW_TRACKING_URI"] = driver[2]
        os.environ["MLFLOW_RUN_CONTEXT"] = json.dumps({"mlflow.parentRunId": driver[0]})
    work = tempfile.mkdtemp(prefix="step-")
    step = json.loads(os.environ.pop("UNDERSTUDY_STEP", "{}"))
    folder = step.get("folder") or code(work)
    if driver:
        with open(join(work, "code", "step.json"), encoding="utf-8") as file:  # noqa: PTH123
            step = json.load(file)
        if wrong := other_python(step["python"]):
            say(wrong)
            return WRONG_PYTHON
    binaries = environment(step.get("requirements", []), folder, work)
    chosen = {name: value(one, folder, work) for name, one in step["parameters"].items()}
    line = step["command"].format(**{name: shlex.quote(v) for name, v in chosen.items()})
    say("Command: " + line)
    shell = shutil.which("bash") or "sh"
    if not driver:
        os.chdir(folder)
        # In place of this process: PID 1 of the container gets the TERM of a Job that is deleted.
        os.execvp(shell, [shell, "-c", line])  # noqa: S606 - the values in it are quoted
    return run([shell, "-c", line], folder, binaries)


def say(line: str) -> None:
    """Write a line into the log of the job."""
    print(line, flush=True)  # noqa: T201


def code(work: str) -> str:
    """Return the folder with the project, fetched from the MLflow run."""
    packed = join(fetched(f"runs:/{os.environ['MLFLOW_RUN_ID']}/code", work), "project.tar.gz")
    with tarfile.open(packed) as opened:
        opened.extractall(join(work, "project"))  # noqa: S202 - our own archive, of our own run
    return join(work, "project")


def fetched(uri: str, place: str) -> str:
    """Download artifacts; return where they are."""
    import mlflow.artifacts

    return mlflow.artifacts.download_artifacts(uri, dst_path=place)


def value(parameter: dict[str, str], folder: str, work: str) -> str:
    """Return a parameter as the command takes it; what a path names is downloaded first."""
    given = parameter["value"]
    if parameter["type"] != "path" or not given:
        return given
    if "://" in given or given.startswith(("runs:/", "models:/", "mlflow-artifacts:/")):
        return fetched(given, tempfile.mkdtemp(dir=work))
    return join(folder, given)


def run(command: list[str], folder: str, binaries: str = "") -> int:
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
    python = join(work, "environment", "bin", "python")
    maker = "virtualenv" if importlib.util.find_spec("virtualenv") else "venv"
    commands = [[sys.executable, "-m", maker, join(work, "environment")]]
    for number, lines in enumerate(stages):
        # In the project's own folder: pip looks for the files that a line names beside the list.
        name = f".requirements-{number}.txt"
        with open(join(folder, name), "w", encoding="utf-8") as file:  # noqa: PTH123
            file.write("\n".join(lines) + "\n")
        commands.append([python, "-m", "pip", "install", "--quiet", "-r", name])
    for command in commands:
        say(" ".join(command))
        if ended := run(command, folder):
            message = f"{command[0]} ended with exit code {ended}; see the lines above"
            raise RuntimeError(message)
    return os.path.dirname(python)  # noqa: PTH120


if __name__ == "__main__":
    ended = main(*sys.argv[1:])
    say(f"{ENDED} {ended}")
    if ended:
        sys.exit(ended)
