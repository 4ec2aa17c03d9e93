"""Writes the configuration of a stack, with its generated secrets, below the state folder.

A file rather than environment variables: it is readable by its owner only, tasks do not inherit
it, and `AIRFLOW_HOME=.state/stack/airflow airflow ...` works by hand.
"""

from __future__ import annotations

import base64
import configparser
import contextlib
import json
import os
import secrets
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TextIO

from understudy.devstack.place import StackPlace
from understudy.devstack.ports import LOOPBACK

USER = "admin"
"""The user of Airflow and of MLflow, who have one password."""
MARK = "UNDERSTUDY_STACK"
"""The environment variable that marks every process of a stack with the stack's random word."""
REPOSITORY = "understudy.git"
"""The name under which the git server serves the checkout."""

WELCOME = frozenset({
    "UNDERSTUDY_DATA_MIRROR", "UNDERSTUDY_MLFLOW_UI",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR",
})  # fmt: skip
"""Variables of the caller's that configure a stack."""

Sections = Mapping[str, Mapping[str, object]]


def airflow_url(ports: Mapping[str, int]) -> str:
    """Where Airflow's pages and REST interface are."""
    return f"http://{LOOPBACK}:{ports['api-server']}"


def task_api_url(ports: Mapping[str, int]) -> str:
    """Where tasks reach Airflow."""
    return f"http://{LOOPBACK}:{ports['task-api']}/execution/"


def mlflow_url(ports: Mapping[str, int]) -> str:
    """Where MLflow's pages and REST interface are."""
    return f"http://{LOOPBACK}:{ports['mlflow']}"


def repository_url(ports: Mapping[str, int]) -> str:
    """Where the checkout can be cloned from."""
    return f"git://{LOOPBACK}:{ports['git']}/{REPOSITORY}"


def sections(place: StackPlace, ports: Mapping[str, int]) -> Sections:
    """Airflow's settings without secrets, by section."""
    return {
        "core": _core(place, ports),
        # One writer at a time: on a busy machine the others wait for longer than SQLite's 5 s, but
        # for less than the callers of the API server do.
        "database": {"sql_alchemy_conn": f"sqlite:///{place.airflow / 'airflow.db'}?timeout=20"},
        "api": {
            "host": LOOPBACK,
            "port": ports["api-server"],
            "base_url": airflow_url(ports),
            "workers": 1,
            # /docs answers to anyone, whoever is logged in or not.
            "enable_swagger_ui": False,
        },
        # The default of 1 s passes between any two tasks; 0.2 s costs 15 % of one core.
        "scheduler": {
            "scheduler_idle_sleep_time": 0.2,
            "task_instance_heartbeat_timeout": 60,
            # Tasks of a scheduler that was killed are nobody's until this comes round.
            "orphaned_tasks_check_interval": 20,
        },
        # A finished task holds its slot for up to one heartbeat interval, 5 s by default. 20 may
        # fail, not 3: tasks survive an API server that is away as long as with the defaults.
        "workers": {
            "min_heartbeat_interval": 1,
            "max_failed_heartbeats": 20,
            "execution_api_timeout": 30,
        },
        # How soon a new Dag file is seen; the default is 300 s. A file that is edited is read at
        # once, so that it need not be read again every 30 s.
        "dag_processor": {"refresh_interval": 10, "min_file_process_interval": 300},
        # A cleared task runs again, although it had succeeded.
        "state_store": {"clear_on_success": True},
        "logging": {"base_log_folder": place.airflow / "logs"},
    }


def _core(place: StackPlace, ports: Mapping[str, int]) -> dict[str, object]:
    return {
        "executor": "LocalExecutor",
        # LocalExecutor forks all of its workers at the start, 32 by default.
        "parallelism": 8,
        "dags_folder": place.dags,
        # Empty on purpose: the checkout is installed into Airflow's environment, and its entry
        # point registers the plug-in. Found in both places, Airflow reports an import error.
        "plugins_folder": place.airflow / "plugins",
        "load_examples": False,
        # The first import of a Dag file has all processes of the stack starting beside it.
        "dagbag_import_timeout": 120,
        # A Dag file may have `from understudy import pipeline` as its only import.
        "might_contain_dag_callable": "understudy.provider.might_contain_dag",
        # No night starts before a person, or the demo, unpauses its Dag.
        "dags_are_paused_at_creation": True,
        "execution_api_server_url": task_api_url(ports),
        "simple_auth_manager_users": f"{USER}:admin",
        "simple_auth_manager_passwords_file": place.passwords,
    }


def write(place: StackPlace, ports: Mapping[str, int]) -> None:
    """Writes Airflow's and MLflow's settings; secrets of an earlier start are kept."""
    for folder in (place.airflow / "plugins", place.mlflow, place.logs, place.git):
        folder.mkdir(parents=True, exist_ok=True)
    parser = _parser()
    for name, section in sections(place, ports).items():
        # Airflow reads a % as the beginning of an interpolation; a doubled one stands for itself.
        texts = {key: str(value).replace("%", "%%") for key, value in section.items()}
        parser.read_dict({name: texts})
    parser.read_dict(_secrets(place.airflow / "secrets.cfg"))
    path = place.airflow / "airflow.cfg"
    with _private(path) as handle:
        parser.write(handle)
    # Before the first start: SimpleAuthManager would otherwise make up a password and print it.
    if not place.passwords.exists():
        with _private(place.passwords) as handle:
            json.dump({USER: secrets.token_urlsafe(18)}, handle)
    _write_accounts(place)
    with _private(place.shell) as handle:
        variables = {"MLFLOW_TRACKING_URI": mlflow_url(ports), **mlflow_account(place)}
        handle.writelines(
            f"export {name}={shlex.quote(text)}\n" for name, text in variables.items()
        )


def _write_accounts(place: StackPlace) -> None:
    """Writes the settings of MLflow's login, and the key that signs its forms."""
    parser = _parser()
    accounts = {
        "default_permission": "READ",
        "database_uri": f"sqlite:///{place.mlflow / 'accounts.db'}",
        "admin_username": USER,
        "admin_password": password(place),
        # A password's hash takes a third of a second, which each call of a night would wait for.
        # The server is one process, which forgets at once what was changed.
        "auth_cache_ttl_seconds": "3600",
    }
    parser.read_dict({"mlflow": accounts})
    with _private(place.accounts) as handle:
        parser.write(handle)
    if not place.form_key.exists():
        with _private(place.form_key) as handle:
            handle.write(secrets.token_urlsafe(32))


def password(place: StackPlace) -> str:
    """The password of the user of Airflow and MLflow."""
    content: dict[str, str] = json.loads(place.passwords.read_text("utf-8"))
    return content[USER]


def mlflow_account(place: StackPlace) -> dict[str, str]:
    """The variables by which MLflow's clients log in."""
    return {"MLFLOW_TRACKING_USERNAME": USER, "MLFLOW_TRACKING_PASSWORD": password(place)}


def environment(place: StackPlace, ports: Mapping[str, int], mark: str) -> dict[str, str]:
    """The environment variables of every component.

    The caller's own, without those that configure another Airflow, MLflow or Python.
    """
    kept = {name: value for name, value in os.environ.items() if not _foreign(name)}
    programs = [str(place.environment("airflow")), kept.get("PATH", os.defpath)]
    # In both spellings below: programs differ in which one they read.
    direct = [name for name in (kept.get("NO_PROXY", ""), LOOPBACK, "localhost") if name]
    stack = {
        MARK: mark,
        "AIRFLOW_HOME": str(place.airflow),
        # The Airflow variable `understudy_repository`, which the Dag files name.
        "AIRFLOW_VAR_UNDERSTUDY_REPOSITORY": repository_url(ports),
        "MLFLOW_TRACKING_URI": mlflow_url(ports),
        **mlflow_account(place),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # Job consumers would take five times the memory and the time to start.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "UNDERSTUDY_CACHE": str(place.cache),
        "UNDERSTUDY_STUDIES": str(place.studies),
        # Else uv fetches a missing interpreter from GitHub, and fails late where it cannot.
        "UV_PYTHON_DOWNLOADS": "never",
        "PATH": os.pathsep.join(programs),
        # Logs are files: buffered lines of a program that dies would be lost.
        "PYTHONUNBUFFERED": "1",
        "NO_PROXY": ",".join(direct),
        "no_proxy": ",".join(direct),
    }
    return {**kept, **stack, **_git_variables(place)}


def _foreign(name: str) -> bool:
    # Without byte code each start of MLflow or Airflow compiles itself anew, for 10 s of CPU.
    python = {"PYTHONDONTWRITEBYTECODE", "PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV"}
    prefixes = ("AIRFLOW_", "MLFLOW_", "_MLFLOW_", "GIT_", "UNDERSTUDY_")
    return name in python or (name.startswith(prefixes) and name not in WELCOME)


def _git_variables(place: StackPlace) -> dict[str, str]:
    """Let git serve a checkout that belongs to another user, and never ask for a password."""
    return {
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_COUNT": "3",
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": str(place.checkout),
        "GIT_CONFIG_KEY_1": "safe.directory",
        "GIT_CONFIG_VALUE_1": str(git_directory(place.checkout)),
        # So the server names what it serves before git 2.46.
        "GIT_CONFIG_KEY_2": "safe.directory",
        "GIT_CONFIG_VALUE_2": ".",
    }


def git_directory(checkout: Path) -> Path:
    """The folder in which git keeps a checkout's commits; a worktree's names it in a file."""
    entry = checkout / ".git"
    if entry.is_file():
        entry = checkout / entry.read_text(encoding="utf-8").partition("gitdir:")[2].strip()
    return entry.resolve()


def _secrets(path: Path) -> dict[str, dict[str, str]]:
    """The generated secrets by section, made once and kept."""
    parser = _parser()
    if not path.exists():
        parser.read_dict(
            {
                # Shorter than 64 bytes, Airflow warns at every call.
                "api_auth": {"jwt_secret": secrets.token_urlsafe(64)},
                "api": {"secret_key": secrets.token_urlsafe(32)},
                "core": {"fernet_key": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()},
            }
        )
        with _private(path) as handle:
            parser.write(handle)
    parser.read(path, "utf-8")
    return {name: dict(parser[name]) for name in parser.sections()}


def _parser() -> configparser.ConfigParser:
    return configparser.ConfigParser(interpolation=None)


@contextlib.contextmanager
def _private(path: Path) -> Iterator[TextIO]:
    """Opens a file for writing that only its owner can read, and puts it in place when whole."""
    # O_EXCL and the mode at creation: at no moment can others open it, nor does a link that lies in
    # its place lead the secrets elsewhere.
    draft = path.with_name(f"{path.name}.draft")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
        yield handle
    draft.replace(path)
