"""Lays the readings out: a table for people, JSON for programs. Pure."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from bench.anatomy import Anatomy
from understudy.cli.terminal import render


@dataclass(frozen=True)
class Reading:
    """One measured night.

    Attributes:
        way: Its way's name.
        title: Its way's title.
        wall: Seconds.
        cpu: CPU seconds of everything that belongs to it, the stack's idle rate taken off.
        parts: The same by part.
        gross: CPU seconds with the idle rate.
        others: Cores that other programs kept busy meanwhile, on average.
        anatomy: Where the seconds went, for our way.
    """

    way: str
    title: str
    wall: float
    cpu: float
    parts: Mapping[str, float]
    gross: float
    others: float
    anatomy: Anatomy | None


@dataclass(frozen=True)
class Result:
    """All that a bench found.

    Attributes:
        commit: Of the project that all ways ran.
        data: What all nights took.
        rounds: The measured rounds, ours first in each; the warm-up is not among them.
        idle: CPU seconds per second of the stack at rest, by part.
        lookups: Seconds that finding commit and environment takes once, warm.
        cpu: CPU seconds of the whole bench, start and warm-up included.
        load: The machine's load averages at the end (1, 5, 15 minutes).
    """

    commit: str
    data: str
    rounds: Sequence[Sequence[Reading]]
    idle: Mapping[str, float]
    lookups: float
    cpu: float
    load: Sequence[float]

    def of(self, way: str) -> list[Reading]:
        """Return the readings of one way."""
        return [one for measured in self.rounds for one in measured if one.way == way]

    def ways(self) -> dict[str, str]:
        """Return the titles by name."""
        return {one.way: one.title for one in self.rounds[0]}

    def ratios(self, way: str, figure: str) -> list[float]:
        """Return ours divided by another way's of the same round, for ``wall`` or ``cpu``."""
        pairs = [
            (getattr(measured[0], figure), getattr(one, figure))
            for measured in self.rounds
            for one in measured
            if one.way == way
        ]
        return [ours / theirs for ours, theirs in pairs]


def as_json(result: Result, seconds: float) -> dict[str, Any]:
    """Return everything as JSON values; ``seconds`` is how long the whole bench took."""
    machine = {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }
    ways = {way: _figures(result, way) for way in result.ways()}
    return {"machine": machine, "ways": ways, "seconds": seconds, **asdict(result)}


def _figures(result: Result, way: str) -> dict[str, Any]:
    found = result.of(way)
    return {
        "wall": _span([one.wall for one in found]),
        "cpu": _span([one.cpu for one in found]),
        "ours_by_this_wall": _span(result.ratios(way, "wall")),
        "ours_by_this_cpu": _span(result.ratios(way, "cpu")),
    }


def _span(values: Sequence[float]) -> dict[str, float]:
    return {"median": median(values), "least": min(values), "most": max(values)}


def comparison(result: Result) -> str:
    """Return the table of ways, with ours as a ratio of each."""
    rows = []
    for way, title in result.ways().items():
        found = result.of(way)
        ratios = [_spread(result.ratios(way, figure), 2) for figure in ("wall", "cpu")]
        rows.append(
            [
                title,
                str(len(found)),
                _spread([one.wall for one in found], 1),
                _spread([one.cpu for one in found], 1),
                *([""] * len(ratios) if way == "ours" else ratios),
            ]
        )
    titles = ["one night", "times", "wall s", "CPU s", "ours/this wall", "ours/this CPU"]
    legend = "median (least to most); a ratio is of two nights of the same round"
    return f"{render(titles, rows)}\n{legend}"


def night(result: Result) -> str:
    """Return where the wall seconds of one night of ours go."""
    found = [one.anatomy for one in result.of("ours") if one.anatomy]
    whole = median(one.wall for one in result.of("ours"))
    parts = {
        "steps: their own work, MLflow's answers included": median(one.processes for one in found),
        "around the steps: task, Git, environment, MLflow run, input files": median(
            one.around for one in found
        ),
        "pin, gate, approve, promote, report": median(one.other_tasks for one in found),
        "Airflow between tasks": median(one.between for one in found),
    }
    rows = [[title, f"{seconds:.1f}", f"{seconds / whole:.0%}"] for title, seconds in parts.items()]
    title = "of all: finding commit and environment, each time"
    rows.append([title, f"{result.lookups:.2f}", ""])
    return render(["where a night's wall seconds go", "s", "share"], rows)


def cpu(result: Result) -> str:
    """Return where the CPU seconds go, by part and way."""
    ways = result.ways()
    names = list(result.of("ours")[0].parts)
    rows = [
        [
            name,
            *(f"{median(one.parts[name] for one in result.of(way)):.1f}" for way in ways),
            f"{result.idle.get(name, 0.0):.3f}",
        ]
        for name in names
    ]
    return render(["CPU s by process tree", *ways, "at rest, per s"], rows)


def tasks(result: Result) -> str:
    """Return each task of the last night of ours."""
    last = [one.anatomy for one in result.of("ours") if one.anatomy][-1]
    rows = [[name, f"{seconds:.2f}"] for name, seconds in last.by_task.items()]
    return render(["last night, task", "wall s"], rows)


def _spread(values: Sequence[float], digits: int) -> str:
    middle, least, most = (
        f"{one:.{digits}f}" for one in (median(values), min(values), max(values))
    )
    return f"{middle} ({least} to {most})"
