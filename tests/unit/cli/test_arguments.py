"""Rules for the command line: from Python, from JSON, from a record; wrong ones are named."""

from __future__ import annotations

import argparse
import json
from importlib import import_module
from pathlib import Path

import pytest

from understudy.cli.arguments import rules
from understudy.cli.main import COMMANDS
from understudy.errors import DeclarationError
from understudy.gate import DecisionRecord, Gate, Metric, Score

GATE = Gate(Metric("rmse", min_gain=0.5), [Metric("r2", at_least=0.2)])
HEAD = "from understudy import Gate, Metric\n"
WRITTEN = "Gate(Metric('rmse', min_gain=0.5), [Metric('r2', at_least=0.2)])"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rules.json", json.dumps(GATE.to_dict())),
        ("decision.json", DecisionRecord.of({}, GATE, Score("m", {}), None).to_json()),
        (
            "one.py",
            f"{HEAD}mine = {WRITTEN}",
        ),
        ("two.py", f"{HEAD}other = Gate(Metric('mae'))\ngate = {WRITTEN}"),
    ],
)
def test_rules_are_read(tmp_path: Path, name: str, text: str) -> None:
    """Each form gives the same gate."""
    (tmp_path / name).write_text(text)
    assert rules(tmp_path / name).to_dict() == GATE.to_dict()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("none.json", None, "there is no file"),
        ("broken.json", "{", "holds no rules"),
        ("list.json", "[1]", "holds no rules"),
        ("typo.json", '{"primary": {"name": "rmse", "min_gian": 1}}', "did you mean 'min_gain'"),
        ("lacking.json", '{"guardrails": []}', "'primary' is missing"),
        ("empty.py", "", "has 0 gates: none"),
        ("many.py", f"{HEAD}a = Gate(Metric('mae'))\nb = Gate(Metric('mse'))", "has 2 gates: a, b"),
        ("wrong.py", f"{HEAD}gate = Gate('rmse')", "'primary' is 'rmse'"),
        ("import.py", "import no_such_module", "does not run .*no_such_module"),
    ],
)
def test_wrong_rules_are_refused(tmp_path: Path, name: str, text: str | None, message: str) -> None:
    """With what was found, what is allowed, and what to do."""
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(DeclarationError, match=message) as caught:
        rules(tmp_path / name)
    assert "Next: " in str(caught.value)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_default_is_what_its_option_takes(name: str) -> None:
    """Argparse parses a default that is a text, and refuses the command where that fails."""
    parser = argparse.ArgumentParser()
    import_module(f"understudy.cli.{name}").configure(parser)
    parsers = [parser]
    for one in parsers:
        for action in one._actions:
            if isinstance(action, argparse._SubParsersAction):
                parsers += action.choices.values()
            elif isinstance(action.default, str) and action.default != argparse.SUPPRESS:
                one._get_value(action, action.default)
