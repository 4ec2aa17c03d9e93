"""Where the seconds of one night of ours go. Pure.

Each moment of the night counts once: as a step's own process where one runs, else as a task where
one runs, else as Airflow's. A step's process runs from right after the begin of its MLflow run to
right before its end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.ways import Night, seconds

STEPS = {"download", "preprocess", "train", "validate"}

Span = tuple[float, float]


@dataclass(frozen=True)
class Anatomy:
    """Seconds of one night's wall time, which add up to it.

    Attributes:
        between: No task runs: Airflow schedules, queues, starts.
        other_tasks: Only pin, gate, approve, promote or report runs.
        around: A step's task runs, but not its process: environment, Git, MLflow runs.
        processes: A step's process runs.
        by_task: Seconds by task.
    """

    between: float
    other_tasks: float
    around: float
    processes: float
    by_task: Mapping[str, float]


def dissect(night: Night, processes: Sequence[Span]) -> Anatomy:
    """Return the anatomy of a night from Airflow's task times and those of the step processes."""
    spans = {_name(task): _span(task) for task in night.tasks if task["start_date"]}
    of_steps = [span for name, span in spans.items() if name.split("[")[0] in STEPS]
    tasks = covered(spans.values())
    return Anatomy(
        between=night.wall - tasks,
        other_tasks=tasks - covered(of_steps),
        around=covered([*of_steps, *processes]) - covered(processes),
        processes=covered(processes),
        by_task={name: end - start for name, (start, end) in spans.items()},
    )


def covered(spans: Iterable[Span]) -> float:
    """Return how long at least one of these spans lasts."""
    total, until = 0.0, 0.0
    for start, end in sorted(spans):
        total += max(end - max(start, until), 0.0)
        until = max(until, end)
    return total


def _name(task: Mapping[str, object]) -> str:
    index = task["map_index"]
    return f"{task['task_id']}" if index in (None, -1) else f"{task['task_id']}[{index}]"


def _span(task: Mapping[str, object]) -> Span:
    return seconds(str(task["start_date"])), seconds(str(task["end_date"]))
