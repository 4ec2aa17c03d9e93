"""Reads the rules of a gate from a file, for commands that judge. Reads that file only."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

from understudy.errors import DeclarationError
from understudy.gate import Gate


def rules(path: Path) -> Gate:
    """Return the gate that a file describes.

    Args:
        path: ``.json``: the rules as a decision record has them, or such a record itself.
            ``.py``: Python with one ``Gate``, or with several of which one is named ``gate``.

    Raises:
        DeclarationError: when there is no gate in it, or a wrong one.
    """
    if not path.is_file():
        raise _no_rules(f"there is no file {path}")
    return _of_python(path) if path.suffix == ".py" else _of_json(path)


def _of_json(path: Path) -> Gate:
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        return Gate.from_dict(content.get("rules", content))
    except (ValueError, AttributeError, TypeError) as error:
        raise _no_rules(f"{path} holds no rules ({error})") from error


def _of_python(path: Path) -> Gate:
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
