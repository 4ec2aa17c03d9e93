"""What commands share: dates and managers among arguments, a file of rules, MLflow's errors."""

from __future__ import annotations

import argparse
import json
import runpy
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy.contract import ENV_MANAGERS, LOCAL_PYTHON, is_env_manager
from understudy.errors import DeclarationError
from understudy.spec import quantities

if TYPE_CHECKING:
    from understudy.gate import Gate


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
    from mlflow.exceptions import MlflowException

    from understudy.store.tracking import refused

    try:
        yield
    except MlflowException as error:
        raise refused(error) from error
