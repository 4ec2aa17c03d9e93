"""What a page knows of a pipeline and its nights, as their runs in MLflow say. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Self

from understudy.contract import CHAMPION, Tag
from understudy.registry.history import History

_OURS: Final = "understudy."


@dataclass(frozen=True, slots=True)
class NightRow:
    """One night, as its run in MLflow says.

    Attributes:
        run_id: The night's parent run.
        experiment_id: Its experiment.
        status: MLflow's status of it.
        started, ended: Milliseconds since 1970; 0 where it has not ended.
        tags: The tags of ours, and ``error``.
        metrics: The numbers that were compared.
        parameters: The project's parameters.
    """

    run_id: str
    experiment_id: str
    status: str
    started: int
    ended: int
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    parameters: Mapping[str, str] = field(default_factory=dict)

    def tag(self, tag: Tag) -> str:
        """Return a tag of ours; '' where the run has none."""
        return self.tags.get(tag.value, "")

    @classmethod
    def of(cls, run: Mapping[str, Any]) -> Self:
        """Return a night of MLflow's JSON of a run."""
        info, data = run["info"], run.get("data", {})
        tags = {one["key"]: one.get("value", "") for one in data.get("tags", ())}
        ours = {key: text for key, text in tags.items() if key.startswith(_OURS) or key == "error"}
        return cls(
            run_id=str(info["run_id"]),
            experiment_id=str(info["experiment_id"]),
            status=str(info["status"]),
            started=int(info.get("start_time", 0)),
            ended=int(info.get("end_time", 0)),
            tags=ours,
            metrics={one["key"]: float(one.get("value", 0)) for one in data.get("metrics", ())},
            parameters={one["key"]: one.get("value", "") for one in data.get("params", ())},
        )

    @property
    def running(self) -> bool:
        """Whether the night has not ended."""
        return self.status in {"RUNNING", "SCHEDULED"}

    @property
    def moment(self) -> str:
        """The ISO time of its data; of its start where its tag is no time."""
        try:
            return datetime.fromisoformat(self.tag(Tag.AS_OF)).isoformat()
        except ValueError:
            return datetime.fromtimestamp(self.started / 1000, UTC).isoformat()

    @property
    def moved(self) -> str:
        """What became of the alias, as ``1 -> 2``; '' where it stayed, or that is not known."""
        if self.running or Tag.CHAMPION_AFTER.value not in self.tags:
            return ""
        before, after = self.tag(Tag.CHAMPION_BEFORE), self.tag(Tag.CHAMPION_AFTER)
        return "" if before == after else f"{before or 'none'} \u2192 {after or 'none'}"

    @property
    def task(self) -> str:
        """The task that a step's run is of, with its index where there are several."""
        index = self.tag(Tag.MAP_INDEX)
        return f"{self.tag(Tag.TASK_ID)}{f' [{index}]' if index not in {'', '-1'} else ''}"


@dataclass(frozen=True, slots=True)
class Production:
    """What is in production of a model, and how it came there.

    Attributes:
        model: The registered model; '' where it is not known.
        aliases: Versions by alias.
        history: The last moves.
        unreadable: Why there are none, where somebody changed what MLflow has; else ''.
    """

    model: str
    aliases: Mapping[str, str]
    history: History
    unreadable: str = ""

    @property
    def champion(self) -> str | None:
        """The version that production serves."""
        return self.aliases.get(CHAMPION)


@dataclass(frozen=True, slots=True)
class PipelineState:
    """A pipeline: its nights, the latest first, and what is in production.

    Attributes:
        name: The Dag's id.
        nights: Up to ``NIGHTS`` of them.
        earlier: Milliseconds since 1970 before which the next page begins; 0 for none.
        production: What is in production.
        partly: Whether more nights are being read.
    """

    name: str
    nights: tuple[NightRow, ...]
    production: Production
    earlier: int = 0
    partly: bool = False


@dataclass(frozen=True, slots=True)
class NightState:
    """One night with its steps and its decision.

    Attributes:
        night: The parent run.
        steps: The runs of its tasks, in the order in which they began.
        record: The decision record; None where there is none.
        summary: What the pictures of the predictions are drawn from; None likewise.
        changed: Which of the two is not what the gate stored; '' for none.
    """

    night: NightRow
    steps: tuple[NightRow, ...]
    record: Mapping[str, Any] | None = None
    summary: Mapping[str, Any] | None = None
    changed: str = ""


@dataclass(frozen=True, slots=True)
class NightNumbers:
    """A night's numbers of one metric: both models', and the ends of the interval on that axis."""

    challenger: float | None
    champion: float | None
    low: float | None
    high: float | None
    gain: float | None
    gain_low: float | None
    gain_high: float | None

    @classmethod
    def of(cls, row: NightRow, metric: str) -> NightNumbers:
        """Return what a night says of a metric; nothing that is no finite number."""

        def known(name: str) -> float | None:
            value = row.metrics.get(f"{name}_{metric}")
            return value if value is not None and math.isfinite(value) else None

        challenger, champion, gain = known("challenger"), known("champion"), known("gain")
        low, high = known("gain_low"), known("gain_high")
        ends: tuple[float | None, float | None] = (None, None)
        if None not in (challenger, champion, gain, low, high):
            ends = _on_axis(*(float(one or 0.0) for one in (challenger, champion, gain, low, high)))
        return cls(challenger, champion, *ends, gain, low, high)

    @property
    def values(self) -> tuple[float | None, ...]:
        """What has to find its place on the axis."""
        return (self.challenger, self.champion, self.low, self.high)


def _on_axis(
    challenger: float, champion: float, gain: float, low: float, high: float
) -> tuple[float, float]:
    """Return the interval of a gain as values of the metric, around the challenger's.

    A gain is the champion's value less the challenger's where lower is better.
    """
    lower_is_better = abs((champion - challenger) - gain) < abs((challenger - champion) - gain)
    ends = (
        (champion - high, champion - low) if lower_is_better else (champion + low, champion + high)
    )
    return min(ends), max(ends)
