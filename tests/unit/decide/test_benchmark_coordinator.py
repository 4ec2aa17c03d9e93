"""The coordinator and its workers, with stand-ins for models: turns, times, and what goes wrong."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from understudy.decide import benchmark_coordinator

pytestmark = pytest.mark.unit

PLAYER = """
import json, os, sys, time
name, turns, fails = sys.argv[1:4]
answers = sys.stdout
if fails in ("load", "away"):
    told = {"error": "no such model", "unreachable": fails == "away"}
    print(json.dumps(told), flush=True)
    sys.exit(1)
print(json.dumps({"size": 7, "memory": 8, "loading": 1, "batch_rows": 3}), flush=True)
for number, line in enumerate(sys.stdin):
    asked = json.loads(line)
    with open(turns, "a") as file:
        file.write(f"{name}{asked['first']}:{asked['calls']} ")
    if fails == "die" and number == 2:
        os.kill(os.getpid(), 9)
    if fails == "say" and number == 2:
        print(json.dumps({"error": "out of rows"}), flush=True)
        sys.exit(1)
    print(json.dumps({"single": [0.1] * asked["calls"], "batch": 0.5}), flush=True)
"""


def measured(
    folder: Path, *fails: str, rounds: int = 4, seconds: float = 60
) -> tuple[list[dict[str, Any]], str]:
    """Return the costs, and in which order the workers had their turns."""
    script, turns, plan = folder / "worker.py", folder / "turns", folder / "plan.json"
    script.write_text(PLAYER)
    turns.touch()
    workers = [
        {
            "argv": [sys.executable, "-I", "-S", str(script), name, str(turns), fail],
            "folder": str(folder),
            "variables": dict(os.environ),
        }
        for name, fail in zip("AB", fails, strict=False)
    ]
    terms = {"rounds": rounds, "calls": 2, "seconds": seconds}
    plan.write_text(json.dumps({"workers": workers, **terms}))
    assert benchmark_coordinator.main(str(plan)) == 0
    return json.loads((folder / "measured.json").read_text()), turns.read_text()


def test_turns(tmp_path: Path) -> None:
    """Both warm up, then take turns on the same rows; who begins changes with every round."""
    costs, turns = measured(tmp_path, "", "", rounds=3)
    assert turns.split() == ["A0:3", "B0:3", "B0:2", "A0:2", "A2:2", "B2:2", "B4:2", "A4:2"]
    single = {"size": 7, "memory": 8, "loading": 1, "batch_rows": 3, "single": [[0.1, 0.1]] * 3}
    assert costs == [{**single, "batch": [0.5] * 3}] * 2


@pytest.mark.parametrize(
    ("fails", "error"),
    [
        ("load", "no such model"),
        ("away", "no such model"),
        ("say", "out of rows"),
        ("die", "its process ended with exit code -9"),
    ],
)
def test_one_that_fails_leaves_the_other_alone(tmp_path: Path, fails: str, error: str) -> None:
    """Its costs say why; the other one is measured to the end."""
    costs, _ = measured(tmp_path, fails, "")
    assert costs[0]["error"] == error
    assert costs[0].get("unreachable", False) == (fails == "away")
    assert "error" not in costs[1]
    assert len(costs[1]["batch"]) == 4


def test_bounded_in_time(tmp_path: Path) -> None:
    """No round begins after the time is up."""
    costs, _ = measured(tmp_path, "", seconds=0.0)
    assert costs[0]["batch"] == []
