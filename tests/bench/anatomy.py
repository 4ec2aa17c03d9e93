"""Where the seconds of one night of ours go. Pure, but for reading Python's import profile.

Each moment of the night counts once: as a step's own process where one runs, else as a task where
one runs, else as Airflow's. The time of step processes is then split by the share that imports have
in the same step run as a plain script under `PYTHONPROFILEIMPORTTIME`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.steps_seen import StepProcess
from bench.ways import Night, seconds

STEPS = {"download", "preprocess", "train", "validate"}
_IMPORT = re.compile(r"import time:\s+(\d+) \|\s+\d+ \| ")
_HEADER = "import time: self [us]"

Span = tuple[float, float]


@dataclass(frozen=True)
class Anatomy:
    """Seconds of one night's wall time, which add up to it.

    Attributes:
        between: No task runs: Airflow schedules, queues, starts.
        other_tasks: Only pin, gate, approve, promote or report runs.
        around: A step's task runs, but not its process: environment, Git, MLflow runs.
        processes: A step's process runs.
        steps_cpu: CPU seconds of the step processes.
        by_step: Seconds by step: task, before its process, process, after it.
    """

    between: float
    other_tasks: float
    around: float
    processes: float
    steps_cpu: float
    by_step: Mapping[str, tuple[float, float, float, float]]


def dissect(night: Night, seen: Sequence[StepProcess]) -> Anatomy:
    """Return the anatomy of a night from Airflow's task times and the step processes seen."""
    spans = {_name(task): _span(task) for task in night.tasks if task["start_date"]}
    of_steps = [span for name, span in spans.items() if name.split("[")[0] in STEPS]
    processes = [(one.start, one.end) for one in seen]
    tasks = covered(spans.values())
    return Anatomy(
        between=night.wall - tasks,
        other_tasks=tasks - covered(of_steps),
        around=covered([*of_steps, *processes]) - covered(processes),
        processes=covered(processes),
        steps_cpu=sum(one.cpu for one in seen),
        by_step=dict(_by_step(spans, seen)),
    )


def covered(spans: Iterable[Span]) -> float:
    """Return how long at least one of these spans lasts."""
    total, until = 0.0, 0.0
    for start, end in sorted(spans):
        total += max(end - max(start, until), 0.0)
        until = max(until, end)
    return total


def _by_step(
    spans: Mapping[str, Span], seen: Sequence[StepProcess]
) -> Iterable[tuple[str, tuple[float, float, float, float]]]:
    left = sorted(seen, key=lambda one: one.start)
    for name, (start, end) in sorted(spans.items(), key=lambda named: named[1]):
        # Of two validations that overlap, the earlier process is the earlier task's.
        inside = [one for one in left if one.step == name.split("[")[0] and start <= one.start]
        if inside:
            one = inside[0]
            left.remove(one)
            yield name, (end - start, one.start - start, one.end - one.start, end - one.end)


def _name(task: Mapping[str, object]) -> str:
    index = task["map_index"]
    return f"{task['task_id']}" if index in (None, -1) else f"{task['task_id']}[{index}]"


def _span(task: Mapping[str, object]) -> Span:
    return seconds(str(task["start_date"])), seconds(str(task["end_date"]))


def import_seconds(profile: Path) -> list[float]:
    """Return the seconds that imports took, of each process whose profile a log holds in turn.

    The columns are those of `python -X importtime`; the first, a module's own time, adds up.
    """
    found: list[float] = []
    for line in profile.read_text("utf-8", errors="replace").splitlines():
        if line.startswith(_HEADER):
            found.append(0.0)
        elif (matched := _IMPORT.match(line)) and found:
            found[-1] += int(matched[1]) / 1e6
    return found
