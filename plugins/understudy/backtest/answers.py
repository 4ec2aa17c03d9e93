"""Evaluates the nights: by the references, and by every rule set, in parallel and once only."""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
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
# Every model is scored on the rows of every later night: the square of the nights.
_TIMEOUT_S: Final = 6 * 3600.0
_SHOWN_LINES: Final = 12


def answers(
    plan: Plan,
    place: BacktestFolder,
    by: tuple[Metric, Mapping[str, Gate]],
    jobs: int,
    faults: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Any]:
    """Return what the references and every rule set would have served.

    Args:
        plan: What was replayed.
        place: Where the nights are, and where answers are kept.
        by: The metric that serving is counted by, and the rule sets by their names.
        jobs: How many rule sets in parallel.
        faults: Nights that go wrong, and how; ``refit`` where a night's model of all rows serves in
            place of the one that was judged.

    Raises:
        DecisionError: when the nights cannot be judged.
        EnvironmentBuildError: when the gate's environment cannot be built.
    """
    metric, rule_sets = by
    folders = {n: place.night(plan.night(n, faults.get(n, ""))) for n in plan.nights}
    about = {
        "folder": str(place.folder.absolute()),
        "plan": json.loads(plan.to_json()),
        "metric": metric.to_dict(),
        # Part of the question's key: nights that a later start adds make another question.
        "there": [night for night, folder in folders.items() if folder.is_dir()],
        **({"faults": dict(faults)} if faults else {}),
    }
    # No rules at all stands for the references.
    rules = [{}, *(gate.to_dict() for gate in rule_sets.values())]
    # Threads are enough: each only waits for a process of its own.
    with ThreadPoolExecutor(jobs) as pool:
        references, *judged = pool.map(lambda one: _answer(place, {**about, "rules": one}), rules)
    named = zip(rule_sets, rules[1:], judged, strict=True)
    return {
        **references,
        "rules": [{"name": name, "rules": one, **found} for name, one, found in named],
    }


def _answer(place: BacktestFolder, question: Question) -> dict[str, Any]:
    """Return a part of the answer; computed only where no earlier start has done so."""
    path = place.judged(key_of(json.dumps(question, sort_keys=True))[:32])
    if not path.is_file():
        question_file = path.with_suffix(".question")
        write(question_file, question)
        run_in_gate_python(_EVALUATION, [question_file, path], "The nights could not be judged")
        question_file.unlink()
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def run_in_gate_python(module: str, files: Sequence[Path], failed: str) -> None:
    """Run a module of ours, which takes files, on a Python with the gate's libraries.

    Raises:
        DecisionError: which begins with ``failed``, when it does not come to its end.
        EnvironmentBuildError: when the gate's environment cannot be built.
    """
    settings, process_runner = Settings.from_environment(), ProcessRunner()
    output: deque[str] = deque(maxlen=_SHOWN_LINES)
    with gate_python(settings, process_runner, output.append) as python:
        # -P: the launcher's own folder is not searched for modules, whose names may be others' too.
        program = (str(python.executable), "-P", str(LAUNCH), module)
        command = Command(
            argv=(*program, *(str(file.absolute()) for file in files)),
            folder=files[0].parent.absolute(),
            environment={**THREADS, **step_environment(os.environ, (), local=True)},
            timeout=_TIMEOUT_S,
            held_descriptors=python.locks,
        )
        ending = process_runner.run(command, output.append)
    if not ending.ok:
        raise DecisionError(
            f"{failed}: the process ended with {ending}{ending.likely_cause}: {' | '.join(output)}",
            allowed="predictions that can be compared by the rules",
            action="read its lines above",
        )
