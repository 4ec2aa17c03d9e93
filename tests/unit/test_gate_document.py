"""The examples of docs/gate.md and docs/guards.md are what the package takes."""

from __future__ import annotations

import argparse
import re
import shlex
from dataclasses import fields
from pathlib import Path

import pytest

from understudy.cli import gate, replay
from understudy.gate import Budgets, Gate, Guards
from understudy.gate.verdict import Cause
from understudy.spec.guards import GUARDS
from understudy.spec.metrics import Bound

DOCS = Path(__file__).parents[2] / "docs"
GATE = ("gate.md", "gate-options.md", "judging-again.md")
TEXT = "".join((DOCS / name).read_text(encoding="utf-8") for name in GATE)
GUARDS_TEXT = (DOCS / "guards.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", TEXT + GUARDS_TEXT, re.DOTALL)
COMMANDS = re.findall(r"^understudy (gate|replay) ([^#\n]*)", TEXT, re.MULTILINE)


@pytest.mark.parametrize("code", PYTHON)
def test_each_example_makes_gates(code: str) -> None:
    """They survive the way into a record, too."""
    names: dict[str, object] = {}
    exec(code, names)  # noqa: S102 -- our own document
    gates = [value for value in names.values() if isinstance(value, Gate)]
    assert gates
    for one in gates:
        assert Gate.from_dict(one.to_dict()).to_dict() == one.to_dict()


@pytest.mark.parametrize(("command", "arguments"), COMMANDS)
def test_each_command_has_these_options(command: str, arguments: str) -> None:
    """Parsed as the terminal program would."""
    parser = argparse.ArgumentParser()
    {"gate": gate, "replay": replay}[command].configure(parser)
    assert parser.parse_args(shlex.split(arguments)).run


def test_every_bound_and_every_cause_is_explained() -> None:
    """A new one must be written down."""
    assert PYTHON
    assert len(COMMANDS) >= 4
    for word in (*Bound, *(cause for cause in Cause if cause is not Cause.UNKNOWN)):
        assert word in TEXT


def test_every_field_of_gate_guards_and_budgets_is_explained() -> None:
    """By its name, and with the level that it has by default."""
    for field in fields(Gate):
        assert f"| `{field.name}` |" in TEXT
    for name in (field.name for record in (Guards, Budgets) for field in fields(record)):
        assert f"`{name}`" in GUARDS_TEXT or f"`{name}=" in GUARDS_TEXT, name
    stated = dict(re.findall(r"^\| `(\w+)` \| `(\w+)` \|", GUARDS_TEXT, re.MULTILINE))
    assert stated == {name: getattr(Guards(), name) for name in GUARDS if name != "unchecked"}
