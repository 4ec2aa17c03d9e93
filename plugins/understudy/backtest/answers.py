"""Has the nights judged: by the references, and by every rule set, side by side and once only."""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from understudy.backtest.place import BacktestFolder, write
from understudy.backtest.plan import Plan
from understudy.backtest.workers import THREADS
from understudy.contract import key_of
from understudy.decide.gate_process import LAUNCH, gate_python
from understudy.errors import DecisionError
from understudy.gate import Gate, Metric
from understudy.runner.process.process import Command, ProcessRunner
from understudy.runner.process.variables import step_environment
from understudy.runner.settings import Settings

Question = Mapping[str, Any]
_EVALUATION: Final = "understudy.backtest.evaluation"
_TIMEOUT_S: Final = 6 * 3600.0
_SHOWN_LINES: Final = 12


def answers(
    plan: Plan, place: BacktestFolder, by: tuple[Metric, Mapping[str, Gate]], jobs: int
) -> dict[str, Any]:
    """Return what the references and every rule set would have served.

    Args:
        plan: What was replayed.
        place: Where the nights are, and where answers are kept.
        by: The metric that serving is counted by, and the rule sets by their names.
        jobs: How many rule sets side by side.

    Raises:
        DecisionError: when the nights cannot be judged.
        EnvironmentBuildError: when the gate's environment cannot be built.
    """
    metric, rule_sets = by
    about = {
        "folder": str(place.folder.absolute()),
        "plan": json.loads(plan.to_json()),
        "metric": metric.to_dict(),
        "there": [n for n in plan.nights if place.night(plan.night(n)).is_dir()],
    }
    rules = [{}, *(gate.to_dict() for gate in rule_sets.values())]
    with ThreadPoolExecutor(jobs) as pool:
        references, *judged = pool.map(lambda one: _answer(place, {**about, "rules": one}), rules)
    named = zip(rule_sets, rules[1:], judged, strict=True)
    return {
        **references,
        "rules": [{"name": name, "rules": one, **found} for name, one, found in named],
    }


def _answer(place: BacktestFolder, question: Question) -> dict[str, Any]:
    """Return a part of the answer; a question that was asked before has it."""
    path = place.judged(key_of(json.dumps(question, sort_keys=True))[:32])
    if not path.is_file():
        asked = path.with_suffix(".question")
        write(asked, question)
        _evaluate(asked, path)
        asked.unlink()
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _evaluate(asked: Path, answer: Path) -> None:
    settings, process_runner = Settings.from_environment(), ProcessRunner()
    said: deque[str] = deque(maxlen=_SHOWN_LINES)
    with gate_python(settings, process_runner, said.append) as python:
        program = (str(python.executable), "-P", str(LAUNCH), _EVALUATION)
        command = Command(
            argv=(*program, str(asked.absolute()), str(answer.absolute())),
            folder=asked.parent.absolute(),
            environment={**THREADS, **step_environment(os.environ, (), local=True)},
            timeout=_TIMEOUT_S,
            held_descriptors=python.locks,
        )
        ending = process_runner.run(command, said.append)
    if not ending.ok:
        raise DecisionError(
            f"The nights could not be judged: the process ended with {ending}"
            f"{ending.likely_cause}: {' | '.join(said)}",
            allowed="predictions that can be compared by the rules",
            action="read its lines above",
        )
