"""What commands share: dates and managers among arguments, a file of rules, the MLflow server."""

from __future__ import annotations

import argparse
import json
import os
import runpy
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from understudy.cli.terminal import to_stderr
from understudy.contract import ENV_MANAGERS, LOCAL_PYTHON, is_env_manager
from understudy.errors import (
    DeclarationError,
    TrackingRefusedError,
    TrackingUnavailableError,
    nearest,
)
from understudy.spec import quantities

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

    from understudy.gate import Gate

SERVER_VARIABLE: Final = "MLFLOW_TRACKING_URI"
# Seconds that a server may take until it answers: one that is just starting is waited for.
_PATIENCE_S: Final = 4.0
_PAUSE_S: Final = 0.5
# What a proxy says whose server is away.
_NOBODY: Final = frozenset({502, 503, 504})
# What `make up` and `make demo` keep below a checkout, the lasting one first.
_STACKS: Final = (".state/stack", ".state/demo")
_CACHE: Final = ".state/cache"
_LOOPBACK: Final = "127.0.0.1"
_USER, _PASSWORD = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"
_LOGIN: Final = frozenset({_USER, _PASSWORD, "MLFLOW_TRACKING_TOKEN"})


def moment(text: str) -> datetime:
    """Return an argument as a time; without a time zone it is UTC.

    Raises:
        ArgumentTypeError: when it is no ISO 8601 date or time.
    """
    try:
        return quantities.moment(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def env_manager(text: str) -> str:
    """Return an argument that names an environment manager.

    Raises:
        ArgumentTypeError: when there is none of that name.
    """
    if not is_env_manager(text):
        known = ", ".join(ENV_MANAGERS)
        raise argparse.ArgumentTypeError(f"{text!r} is none of {known}, {LOCAL_PYTHON}PYTHON")
    return text


def rules(path: Path) -> Gate:
    """Return the gate that a file describes.

    Args:
        path: ``.json``: the rules as a decision record has them, or such a record itself.
            ``.py``: Python with one ``Gate``, or with several of which one is named ``gate``.

    Raises:
        DeclarationError: when there is no gate in it, or a wrong one.
    """
    # Here, not above: it loads pydantic, and most commands start without.
    from understudy.gate import Gate

    if not path.is_file():
        raise _no_rules(f"there is no file {path}")
    if path.suffix == ".py":
        return _of_python(path)
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        # A decision record holds the rules below a key, a file of rules is the rules.
        return Gate.from_dict(content.get("rules", content))
    except (ValueError, AttributeError, TypeError) as error:
        raise _no_rules(f"{path} holds no rules ({error})") from error


def _of_python(path: Path) -> Gate:
    # The file runs as code with all rights of the caller, as a Dag file does: it is the user's own.
    from understudy.gate import Gate

    try:
        names = runpy.run_path(str(path))
    except (ImportError, SyntaxError, NameError, AttributeError, TypeError) as error:
        raise _no_rules(f"{path} does not run ({type(error).__name__}: {error})") from error
    gates = {name: value for name, value in names.items() if isinstance(value, Gate)}
    if isinstance(gates.get("gate"), Gate):
        return gates["gate"]
    if len(gates) != 1:
        raise _no_rules(f"{path} has {len(gates)} gates: {', '.join(gates) or 'none'}")
    return next(iter(gates.values()))


def _no_rules(found: str) -> DeclarationError:
    return DeclarationError(
        f"Rules: {found}",
        allowed='{"primary": {"name": "rmse", "min_gain": 0}} in a .json file, or '
        "gate = Gate(Metric(...)) in a .py file",
        action="name such a file",
    )


@contextmanager
def mlflow_errors() -> Iterator[None]:
    """Turn a call that MLflow refused into an error of ours, which ``main`` prints.

    Raises:
        TrackingRefusedError: instead of MLflow's own exception.
        TrackingUnavailableError: ditto, where running it again may help.
    """
    from understudy.store.tracking import refusals

    with refusals():
        yield


def client(*, wait: bool = True) -> MlflowClient:
    """Return a client of the tracking server: the variable's, else that of the checkout's stack.

    Args:
        wait: Whether to see that the server answers, for a few seconds. A program that runs for
            ever outlives a server that is away, and so need not find it at its start.

    Raises:
        TrackingUnavailableError: when no server is named, or it does not answer.
    """
    address = tracking_address()
    if not address:
        raise TrackingUnavailableError(
            f"No MLflow server is named: {SERVER_VARIABLE} is not set, and no stack of make up or"
            f" make demo runs in {Path.cwd()} or above it",
            allowed=f"{SERVER_VARIABLE} in this shell, or a checkout whose stack runs",
            action=f"export {SERVER_VARIABLE}=http://HOST:PORT, or call this in the checkout after"
            " make up",
        )
    # Before MLflow is imported, which takes seconds of its own.
    if wait and address.startswith(("http://", "https://")):
        _await_answer(address)
    from understudy.store import tracking

    # For what is run below: `mlflow.artifacts` and others read the variable themselves.
    os.environ[SERVER_VARIABLE] = address
    return tracking.client(address)


def tracking_address() -> str:
    """Return the address of the tracking server; '' where neither variable nor stack names one.

    With the address of a stack this process takes its login, and its cache unless one is named; of
    a stack that the variable names, the login alone.
    """
    named = os.environ.get(SERVER_VARIABLE, "").rstrip("/")
    here = Path.cwd()
    for folder in (here, *here.parents):
        for state in (folder / stack for stack in _STACKS):
            address = _of_stack(state)
            if not address or (named and named != address) or not (named or _listens(address)):
                continue
            _log_in(state)
            if not named:
                _say_once(f"understudy: the MLflow of {state}, {address}")
                os.environ.setdefault("UNDERSTUDY_CACHE", str(folder / _CACHE))
            return address
    return named


@cache
def _say_once(line: str) -> None:
    to_stderr(line)


def _of_stack(state: Path) -> str:
    """Return the address of a local stack's MLflow; '' where none was started."""
    # The record goes with `make down`; the ports stay, so that the next start has the same.
    record = state / "stack.json"
    # One of somebody else's, above a folder such as /tmp, would have us load that user's models.
    if not record.is_file() or record.stat().st_uid != os.getuid():
        return ""
    port = json.loads((state / "ports.json").read_text("utf-8"))["mlflow"]
    return f"http://{_LOOPBACK}:{port}"


def _listens(address: str) -> bool:
    try:
        socket.create_connection((_LOOPBACK, urlsplit(address).port or 0), timeout=1).close()
    except OSError:
        return False
    return True


def _log_in(state: Path) -> None:
    """Let this process ask a stack's MLflow as its user, unless it is told as whom to ask."""
    passwords = state / "airflow" / "passwords.json"
    if _LOGIN.isdisjoint(os.environ) and passwords.is_file():
        user, password = next(iter(json.loads(passwords.read_text("utf-8")).items()))
        os.environ |= {_USER: user, _PASSWORD: password}


def _await_answer(address: str) -> None:
    """Wait until a server answers.

    Raises:
        TrackingUnavailableError: when it does not.
    """
    from understudy.redact import redacted

    shown = redacted(address)
    why = _silence(address, _PATIENCE_S / 3)
    if not why:
        return
    to_stderr(f"understudy: waiting for the MLflow server {shown} ({why})")
    end = time.monotonic() + _PATIENCE_S
    while why := _silence(address, _PATIENCE_S / 2):
        if time.monotonic() > end:
            raise TrackingUnavailableError(
                f"The MLflow server {shown} did not answer for {_PATIENCE_S:g} s: {why}",
                allowed=f"a server that answers at {SERVER_VARIABLE}",
                action="start it, or correct the address",
            )
        time.sleep(_PAUSE_S)


def _silence(address: str, within: float) -> str:
    """Return why a server does not answer, '' where it does, whatever it says."""
    import ssl
    from urllib.error import HTTPError, URLError
    from urllib.parse import urlsplit
    from urllib.request import urlopen

    parts = urlsplit(address)
    # Without a user and password, which urllib would take for a part of the host's name.
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    try:
        urlopen(f"{bare.rstrip('/')}/health", timeout=within).close()  # noqa: S310 -- http(s) alone
    except HTTPError as error:
        error.close()
        return f"status {error.code}" if error.code in _NOBODY else ""
    except (URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        # Which certificates count is for MLflow to say, in its own words.
        return "" if isinstance(reason, ssl.SSLError) else str(reason)
    return ""


def known_model(made: MlflowClient, name: str) -> None:
    """Check that there is a registered model of a name.

    Raises:
        TrackingRefusedError: naming one with a similar name.
    """
    from understudy.registry.versions import registered

    if registered(made, name) is not None:
        return
    with mlflow_errors():
        names = [str(model.name) for model in made.search_registered_models(max_results=1000)]
    raise TrackingRefusedError(
        f"There is no registered model {name!r}{nearest(name, names)}",
        allowed="the name of a model in MLflow's registry, by default that of its Dag",
        action=f"name one of {', '.join(sorted(names)[:20])}"
        if names
        else "wait for a night that promotes, or name another server",
    )
