"""The programs of a stack: what each is called, how it is started, and in which order they end."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from understudy.devstack.place import StackPlace
from understudy.devstack.ports import LOOPBACK
from understudy.devstack.processes import StackError, StackProgram
from understudy.devstack.settings import REPOSITORY, git_directory

PORTS = ("api-server", "git", "mlflow", "task-api")
"""Which components listen. The log servers of Airflow's scheduler and triggerer are not started:
they listen on every interface, without a setting, and here the API server reads the files."""
STOP_ORDER = (
    ("scheduler", "dag-processor", "triggerer"),
    ("api-server", "task-api"),
    ("git", "mlflow"),
)
"""What uses the others ends first; what stands in one tuple ends together."""
# Started first and awaited last: they start while Airflow's database is migrated.
BACKGROUND = ("git", "mlflow")
AIRFLOW = ("api-server", "task-api", "scheduler", "dag-processor", "triggerer")


@dataclass(frozen=True)
class Setting:
    """What the programs' command lines and environments are made of."""

    place: StackPlace
    ports: Mapping[str, int]
    environment: Mapping[str, str]


def program(name: str, setting: Setting) -> StackProgram:
    """The program of one component."""
    argv = {
        "git": _git(setting),
        "mlflow": _mlflow(setting),
        "migration": _airflow(setting, "db", "migrate"),
        "api-server": _api_server(setting, "api-server", "core"),
        "task-api": _api_server(setting, "task-api", "execution"),
        "scheduler": _airflow(setting, "scheduler", "--skip-serve-logs"),
        "dag-processor": _airflow(setting, "dag-processor"),
        "triggerer": _airflow(setting, "triggerer", "--skip-serve-logs"),
    }[name]
    place, variables = setting.place, setting.environment
    if name == "mlflow":
        # By files and variables, not by options: what is on a command line is everybody's.
        login = {"MLFLOW_AUTH_CONFIG_PATH": str(place.accounts)}
        login["MLFLOW_FLASK_SERVER_SECRET_KEY"] = place.form_key.read_text("ascii")
        variables = {**variables, **login}
    return StackProgram(name, argv, variables, place.state, place.log(name))


def _airflow(setting: Setting, *arguments: str) -> list[str]:
    return [str(setting.place.environment("airflow") / "airflow"), *arguments]


def _api_server(setting: Setting, name: str, app: str) -> list[str]:
    """The pages with their REST interface, or the interface that tasks talk to.

    Two processes, because one would wait for itself: the REST interface writes its audit log on the
    event loop, and waits there for SQLite's write lock, which a task's call gives back only when
    the event loop comes round.
    """
    port = str(setting.ports[name])
    # One worker: each more is 200 MB and more, for a single user.
    listening = ("--host", LOOPBACK, "--port", port, "--workers", "1")
    return _airflow(setting, "api-server", "--apps", app, *listening)


def _mlflow(setting: Setting) -> list[str]:
    folder = setting.place.mlflow
    # A database, because MLflow 3.17 refuses a file store. Artifacts go through the server, so that
    # steps need no path in common with it.
    return [
        str(setting.place.environment("mlflow") / "mlflow"),
        "server",
        "--app-name=basic-auth",
        f"--backend-store-uri=sqlite:///{folder / 'mlflow.db'}",
        f"--artifacts-destination={folder / 'artifacts'}",
        "--serve-artifacts",
        f"--host={LOOPBACK}",
        f"--port={setting.ports['mlflow']}",
        "--workers=1",
    ]


def _git(setting: Setting) -> list[str]:
    folder = setting.place.git
    return [
        "git",
        "daemon",
        f"--base-path={folder}",
        f"--listen={LOOPBACK}",
        f"--port={setting.ports['git']}",
        "--reuseaddr",
        "--informative-errors",
        "--export-all",
        # Without it all folders below the allowed one are served, too: mirrors of private
        # repositories in .state, say.
        "--strict-paths",
        "--log-destination=stderr",
        "--verbose",
        # The allow list: what git itself keeps of this clone, and so what is committed.
        str(folder / REPOSITORY),
    ]


def link_repository(place: StackPlace) -> None:
    """Makes the link to the commits that the git server serves."""
    # A server even on one machine: `mlflow run` of a path (3.17) runs in the working tree, and with
    # a version it checks that out there and leaves the repository shallow.
    link = place.git / REPOSITORY
    link.unlink(missing_ok=True)
    link.symlink_to(git_directory(place.checkout), target_is_directory=True)


def require_git_daemon() -> None:
    """Checks that git came with its server.

    Raises:
        StackError: it did not.
    """
    # Some systems package it apart; without it `git daemon` only says that it is no git command.
    folder = subprocess.run(
        ["git", "--exec-path"], check=True, capture_output=True, text=True
    ).stdout.strip()
    if not (Path(folder) / "git-daemon").exists():
        raise StackError(
            f"{folder} has no git-daemon",
            allowed="a git with its own server, which most systems install with git",
            action="install it (Fedora: dnf install git-daemon)",
        )
