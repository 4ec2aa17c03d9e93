"""The examples of docs/gate.md are what the package takes."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path

import pytest

from understudy.cli import gate, replay
from understudy.gate import Gate
from understudy.gate.metrics import Bound
from understudy.gate.verdict import Cause

TEXT = (Path(__file__).parents[2] / "docs" / "gate.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
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
