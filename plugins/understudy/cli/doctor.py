"""``understudy doctor``: says line by line what works here, what does not, and what to do.

Everything is tried for real: a file is written to the artifact store and deleted again, the
repository is asked for its commit.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from understudy.cli.arguments import client, mlflow_errors, tracking_address
from understudy.cli.terminal import add_json, print_json
from understudy.errors import UnderstudyError
from understudy.spec.quantities import size_text

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

    from understudy.runner.settings import Settings
    from understudy.store.night import Night

_PYTHONS: Final = ((3, 11), (3, 13))
_GIT: Final = (2, 31)
_ROOM: Final = (2 * 10**9, 10 * 10**9)
"""Bytes on a disk below which nothing can be built, and below which a few environments fill it."""
_CLOCK_S: Final = 5.0
"""From this distance on the history takes the server's clock in place of the machine's."""
_EXPERIMENT: Final = "understudy doctor"


class Level(StrEnum):
    """How a thing is."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class DoctorLine:
    """What was looked at: a name, how it is, what was found, and what to do about it."""

    what: str
    level: Level
    found: str
    action: str = ""

    def __str__(self) -> str:
        then = f"\n{'':10}Next: {self.action}" if self.action else ""
        return f"{self.level:8}  {self.what}: {self.found}{then}"


Check = Callable[[], Iterator[DoctorLine]]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Tries what a night needs on this machine and at the MLflow server. Exit code 1 where there"
        " is a fault. Writes one file and one run to MLflow, and deletes both."
    )
    parser.add_argument(
        "--pipeline", default="", metavar="NAME", help="check what this pipeline's last night needs"
    )
    add_json(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    worst = 0
    for one in _lines(options.pipeline):
        if options.json:
            print_json([asdict(one)])
        else:
            print(one)
        sys.stdout.flush()
        worst = max(worst, int(one.level is Level.FAULT))
    return worst


def _lines(pipeline: str) -> Iterator[DoctorLine]:
    tracking_address()  # a local stack has a cache of its own, which is what is looked at then
    yield from _python()
    yield from _tried("uv", _uv)
    yield from _git()
    yield from _tried("settings", _machine)
    yield from _loopback()
    yield from _airflow()
    yield from _tried("MLflow server", partial(_mlflow, pipeline))


def _machine() -> Iterator[DoctorLine]:
    from understudy.runner.settings import Settings

    settings = Settings.from_environment()
    yield from _cache(settings)
    yield from _tried("gate", partial(_gate, settings))


def _mlflow(pipeline: str) -> Iterator[DoctorLine]:
    made = client()
    yield from _server(made)
    yield from _tried("registry", partial(_registry, made))
    yield from _tried("artifacts", partial(_artifacts, made, pipeline))
    if pipeline:
        yield from _tried(pipeline, partial(_pipeline, made, pipeline))


def _tried(what: str, check: Check) -> Iterator[DoctorLine]:
    """Yield what a check finds; an error of ours is a fault."""
    try:
        with mlflow_errors():
            yield from check()
    except UnderstudyError as error:
        yield DoctorLine(what, Level.FAULT, error.found, error.action)


def _python() -> Iterator[DoctorLine]:
    first, last = _PYTHONS
    fits = first <= sys.version_info[:2] <= last
    yield DoctorLine(
        "Python",
        Level.OK if fits else Level.FAULT,
        f"{platform.python_version()}, {sys.executable}",
        "" if fits else "use Python 3.11, 3.12 or 3.13",
    )


def _uv() -> Iterator[DoctorLine]:
    from understudy.runner.environment.interpreter import find_uv

    path = find_uv()
    yield DoctorLine("uv", Level.OK, f"{_said(str(path), '--version')}, {path}")
    if shutil.which("uv") is None:
        yield DoctorLine(
            "uv on PATH",
            Level.WARNING,
            "not there: mlflow run --env-manager uv needs it, understudy does not",
            f"export PATH={path.parent}:$PATH",
        )


def _git() -> Iterator[DoctorLine]:
    if shutil.which("git") is None:
        yield DoctorLine(
            "git", Level.FAULT, "not on PATH", "install it (Debian: apt-get install git)"
        )
        return
    said = _said("git", "--version")
    numbers = tuple(int(part) for part in said.split()[-1].split(".")[:2] if part.isdecimal())
    fits = numbers >= _GIT
    yield DoctorLine(
        "git", Level.OK if fits else Level.FAULT, said, "" if fits else "install git 2.31 or newer"
    )


def _said(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=20)
    return (done.stdout or done.stderr).strip().partition("\n")[0]


def _cache(settings: Settings) -> Iterator[DoctorLine]:
    from understudy.runner.reuse.cache import inventory

    folder = settings.cache
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            kept = sum(item.size() for item in inventory(folder) if item.folder.is_dir())
    except OSError as error:
        action = "let this user write there, or set UNDERSTUDY_CACHE to another folder"
        yield DoctorLine("cache", Level.FAULT, f"{folder}: {error.strerror}", action)
        return
    yield DoctorLine("cache", Level.OK, f"{size_text(kept)} in {folder}")
    for place in {folder, Path(tempfile.gettempdir())}:
        free = shutil.disk_usage(place).free
        level = Level.FAULT if free < _ROOM[0] else Level.WARNING if free < _ROOM[1] else Level.OK
        action = "" if level is Level.OK else "understudy cache prune --larger-than 5GB, or a disk"
        yield DoctorLine("disk", level, f"{size_text(free)} free at {place}", action)


def _loopback() -> Iterator[DoctorLine]:
    try:
        with socket.create_server(("127.0.0.1", 0)):
            yield DoctorLine("ports", Level.OK, "a rehearsal can listen on loopback")
    except OSError as error:
        yield DoctorLine("ports", Level.FAULT, f"nothing can listen on loopback: {error.strerror}")


def _gate(settings: Settings) -> Iterator[DoctorLine]:
    from understudy.decide.gate_process import USER, gate_python_here, project
    from understudy.runner.environment.store import EnvironmentStore
    from understudy.runner.process.process import ProcessRunner

    found = gate_python_here()
    if found is None:
        store = EnvironmentStore(settings, ProcessRunner())
        with store.lease_built(project(), "uv", user=USER) as built:
            found = built.bin if built is not None else None
    if found:
        yield DoctorLine("gate", Level.OK, f"its statistics run on {found}")
        return
    yield DoctorLine(
        "gate",
        Level.WARNING,
        "its environment is not built yet: the first night builds it, in about a minute",
        "understudy environments build --gate",
    )


def _airflow() -> Iterator[DoctorLine]:
    try:
        version = metadata.version("apache-airflow-core")
    except metadata.PackageNotFoundError:
        yield DoctorLine(
            "Airflow",
            Level.WARNING,
            f"not in this Python, {sys.executable}",
            "call the understudy of Airflow's own environment to check that one",
        )
        return
    fits = version.startswith("3.3.")
    yield DoctorLine(
        "Airflow",
        Level.OK if fits else Level.WARNING,
        version,
        "" if fits else "install Airflow 3.3, with which this version is tested",
    )
    named = {entry.name for entry in metadata.entry_points(group="airflow.plugins")}
    yield DoctorLine(
        "plug-in",
        Level.OK if "understudy" in named else Level.FAULT,
        "registered" if "understudy" in named else "Airflow does not see it",
        "" if "understudy" in named else "pip install understudy into Airflow's environment",
    )


def _server(made: MlflowClient) -> Iterator[DoctorLine]:
    import mlflow

    from understudy.redact import redacted
    from understudy.store.tracking import server_time

    address = redacted(str(made.tracking_uri))
    made.search_experiments(max_results=1)
    theirs = _version_of(made)
    same = theirs.split(".")[:2] == mlflow.__version__.split(".")[:2]
    yield DoctorLine(
        "MLflow server",
        Level.OK if same or not theirs else Level.WARNING,
        f"{address} lets this user read; its version is {theirs or 'not told'}, here"
        f" {mlflow.__version__}",
        "" if same or not theirs else "run the same minor version of MLflow on both sides",
    )
    time = server_time(made)
    if time is not None:
        off = abs((datetime.now(UTC) - time).total_seconds())
        late = off > _CLOCK_S
        yield DoctorLine(
            "clock",
            Level.WARNING if late else Level.OK,
            f"{off:.0f} s from the server's",
            "let both follow a time server" if late else "",
        )


def _version_of(made: MlflowClient) -> str:
    """Return the server's version; '' where there is no HTTP server to ask."""
    from mlflow.utils.rest_utils import http_request

    credentials = getattr(made._tracking_client.store, "get_host_creds", None)  # noqa: SLF001
    if credentials is None:
        return ""
    answer = http_request(  # type: ignore[no-untyped-call]
        credentials(), "/version", "GET", raise_on_status=False
    )
    return str(answer.text).strip() if answer.ok else ""


def _registry(made: MlflowClient) -> Iterator[DoctorLine]:
    count = len(made.search_registered_models(max_results=100))
    yield DoctorLine("registry", Level.OK, f"{count}{'+' if count == 100 else ''} models")  # noqa: PLR2004


def _artifacts(made: MlflowClient, pipeline: str) -> Iterator[DoctorLine]:
    """Write, read and delete a file of a run in the pipeline's own experiment: rights differ."""
    from mlflow.exceptions import MlflowException
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    from understudy.store.tracking import RunStore, tracking_errors

    runs, text = RunStore(made), uuid.uuid4().hex
    name = pipeline if pipeline and made.get_experiment_by_name(pipeline) else _EXPERIMENT
    run = made.create_run(runs.experiment(name), run_name=_EXPERIMENT)
    run_id = run.info.run_id
    try:
        with tracking_errors():
            made.log_text(run_id, text, "doctor.txt")
            with tempfile.TemporaryDirectory() as folder:
                path = made.download_artifacts(run_id, "doctor.txt", folder)
                same = Path(path).read_text("utf-8") == text
        found = f"a file was written to the experiment {name!r}, read and deleted"
        try:
            repository: Any = get_artifact_repository(run.info.artifact_uri)
            repository.delete_artifacts("doctor.txt")
        except (MlflowException, NotImplementedError, OSError) as error:
            action = "delete what understudy retention leaves with the store's own tools"
            yield DoctorLine("artifacts", Level.WARNING, f"cannot be deleted: {error}", action)
            found = f"a file was written to the experiment {name!r} and read"
        if not same:
            found, action = "a file came back otherwise than it was written", "look at the store"
            yield DoctorLine("artifacts", Level.FAULT, found, action)
        else:
            yield DoctorLine("artifacts", Level.OK, found)
    finally:
        runs.end(run_id, "FINISHED")
        runs.delete(run_id)


def _pipeline(made: MlflowClient, name: str) -> Iterator[DoctorLine]:
    night = _last_night(made, name)
    if night is None:
        yield DoctorLine(
            name,
            Level.WARNING,
            "no night of it has begun on this server: what it needs is not known here yet",
            "unpause or trigger its Dag, then call this again",
        )
        return
    spec = night.spec
    for variable in spec.environment:
        there = variable in os.environ
        yield DoctorLine(
            f"variable {variable}",
            Level.OK if there else Level.FAULT,
            "set" if there else "not set here, and the pipeline's steps are to see it",
            "" if there else "set it where the workers run",
        )
    if spec.project.connection:
        yield DoctorLine(
            "repository",
            Level.WARNING,
            f"the Airflow connection {spec.project.connection!r} opens it, which this cannot use",
            "test the connection in Airflow",
        )
        return
    yield from _tried("repository", partial(_repository, night))


def _last_night(made: MlflowClient, name: str) -> Night | None:
    from understudy.contract import Kind, Tag
    from understudy.store.night import NightBook
    from understudy.store.tracking import RunStore

    runs = RunStore(made)
    everywhere = [str(one.experiment_id) for one in made.search_experiments()]
    pinned = f"tags.`{Tag.COMMIT}` != ''"
    tags = {Tag.PIPELINE: name, Tag.KIND: Kind.NIGHT.value}
    found = runs.search(everywhere, tags, also=pinned, limit=1)
    return NightBook(made, runs).opened(found[0].info.run_id) if found else None


def _repository(night: Night) -> Iterator[DoctorLine]:
    from understudy.runner.environment.prebuild import is_built

    where = f"{night.repository}{f'#{night.subdirectory}' if night.subdirectory else ''}"
    version = night.version or "its default branch"
    commit, built = is_built(where, night.version, night.spec.env_manager)
    yield DoctorLine("repository", Level.OK, f"{where}: {version} is {commit[:12]}")
    version = f" --version {shlex.quote(night.version)}" if night.version else ""
    yield DoctorLine(
        "environment",
        Level.OK if built else Level.WARNING,
        "built" if built else "not built yet on this machine: the night builds it",
        "" if built else f"understudy environments build {shlex.quote(where)}{version}",
    )
