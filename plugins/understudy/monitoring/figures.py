"""Counts what ended since the last look, and looks at every champion. Reads the tracking server.

The counters begin at zero with the process, as Prometheus expects of them; what happened before is
in MLflow. A pipeline's are there, at zero, as soon as it has a night: Prometheus sees no increase
in a counter that begins with one. A look costs three searches, and two more calls for a new
champion.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final

from understudy.contract import CHAMPION, Kind, Outcome, Tag
from understudy.registry.history_log import HistoryLog
from understudy.store.tracking import RunStore, tracking_errors

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

_PAGE: Final = 1000
# A run's end may be stored after a later one's: each look reaches back that far, and what it has
# counted already is known by its id.
_OVERLAP_MS: Final = 60_000
_KINDS: Final = (Kind.NIGHT.value, Kind.STEP.value)


@dataclass(frozen=True, slots=True)
class Champion:
    """A version in production.

    Attributes:
        version: Its number.
        since: When it became champion, in seconds since 1970: as the history says, or its
            registration where somebody set the alias in MLflow itself.
    """

    version: str
    since: float


@dataclass(slots=True)
class Figures:
    """All that is exported. The keys are label values, in the order of `exposition`.

    Attributes:
        nights: Ended nights by pipeline and outcome.
        verdicts: Verdicts by pipeline and verdict.
        night_seconds: Duration of ended nights, summed by pipeline.
        last_night: When a pipeline's last night ended, in seconds since 1970, by pipeline.
        steps: Ended steps by pipeline, entry point and MLflow's status of the run.
        step_seconds: Their duration, summed by pipeline and entry point.
        champions: By registered model.
    """

    nights: Counter[tuple[str, ...]] = field(default_factory=Counter)
    verdicts: Counter[tuple[str, ...]] = field(default_factory=Counter)
    night_seconds: Counter[tuple[str, ...]] = field(default_factory=Counter)
    last_night: dict[tuple[str, ...], float] = field(default_factory=dict)
    steps: Counter[tuple[str, ...]] = field(default_factory=Counter)
    step_seconds: Counter[tuple[str, ...]] = field(default_factory=Counter)
    champions: dict[str, Champion] = field(default_factory=dict)


class Observer:
    """Keeps figures up to date.

    Args:
        client: Of the tracking server.
        begin_ms: What ended before this time (milliseconds since 1970) is not counted.

    Raises:
        TrackingUnavailableError: from ``look``, when the server does not answer.
    """

    def __init__(self, client: MlflowClient, begin_ms: int) -> None:
        self.figures = Figures()
        self._client, self._log = client, HistoryLog(client, RunStore(client))
        self._begin_ms = self._newest_ms = begin_ms
        self._counted: dict[str, int] = {}
        self._known: set[str] = set()

    def look(self) -> Figures:
        """Return the figures as they are now."""
        with tracking_errors():
            experiments = [one.experiment_id for one in self._client.search_experiments()]
            self._meet([one for one in experiments if one not in self._known])
            for run in self._ended(experiments):
                self._count(run)
            self.figures.champions = dict(self._champions())
        return self.figures

    def _meet(self, experiments: list[str]) -> None:
        """Begin the counters of pipelines that were not known."""
        if not experiments:
            return
        condition = f"tags.`{Tag.KIND}` = '{Kind.NIGHT}'"
        latest = self._client.search_runs(
            experiments, condition, max_results=_PAGE, order_by=["attributes.start_time DESC"]
        )
        for run in latest:
            self._known.add(str(run.info.experiment_id))
            pipeline = run.data.tags.get(Tag.PIPELINE.value, "")
            # `+= 0` makes the key: a counter that is absent cannot be seen to increase.
            for outcome in Outcome:
                self.figures.nights[pipeline, outcome.value] += 0
            self._ended_at(pipeline, run.info.end_time)

    def _ended_at(self, pipeline: str, end_ms: int | None) -> None:
        last = self.figures.last_night
        if end_ms:
            last[(pipeline,)] = max(end_ms / 1000, last.get((pipeline,), 0.0))

    def _ended(self, experiments: list[str]) -> Iterator[Run]:
        """Yield each run of ours that ended since the last look, once."""
        since = max(self._begin_ms, self._newest_ms - _OVERLAP_MS)
        condition = f"attributes.end_time >= {since}"
        token: str | None = None
        while experiments:
            page = self._client.search_runs(
                experiments, condition, max_results=_PAGE, page_token=token
            )
            for run in page:
                run_id, end = str(run.info.run_id), int(run.info.end_time or 0)
                is_ours = run.data.tags.get(Tag.KIND.value) in _KINDS
                if is_ours and run_id not in self._counted and end:
                    self._counted[run_id] = end
                    self._newest_ms = max(self._newest_ms, end)
                    yield run
            token = page.token
            if not token:
                break
        # Ids are forgotten when no look reaches back to their runs any more: memory stays bounded.
        horizon = self._newest_ms - 2 * _OVERLAP_MS
        self._counted = {run: end for run, end in self._counted.items() if end >= horizon}

    def _count(self, run: Run) -> None:
        tags, figures = run.data.tags, self.figures
        pipeline = tags.get(Tag.PIPELINE.value, "")
        seconds = (run.info.end_time - run.info.start_time) / 1000
        if tags[Tag.KIND.value] == Kind.STEP:
            entry_point = tags.get(Tag.ENTRY_POINT.value, "")
            figures.steps[pipeline, entry_point, run.info.status] += 1
            figures.step_seconds[pipeline, entry_point] += seconds
            return
        # A night that was swept up has no outcome: MLflow's status (KILLED) is all that is known.
        outcome = tags.get(Tag.OUTCOME.value, run.info.status)
        figures.nights[pipeline, outcome] += 1
        figures.night_seconds[(pipeline,)] += seconds
        self._ended_at(pipeline, run.info.end_time)
        if verdict := tags.get(Tag.VERDICT.value):
            figures.verdicts[pipeline, verdict] += 1

    def _champions(self) -> Iterator[tuple[str, Champion]]:
        token: str | None = None
        while True:
            page = self._client.search_registered_models(max_results=_PAGE, page_token=token)
            for model in page:
                version = model.aliases.get(CHAMPION)
                if version is not None:
                    yield model.name, self._champion(model.name, str(version))
            token = page.token
            if not token:
                return

    def _champion(self, model: str, version: str) -> Champion:
        # A version's time as champion does not change while it is one: two calls less a look.
        known = self.figures.champions.get(model)
        if known is not None and known.version == version:
            return known
        moves = self._log.tail(model).history.moves
        if moves and moves[-1].move.after == version:
            since = datetime.fromisoformat(moves[-1].move.at).timestamp()
        else:
            made = self._client.get_model_version(model, version).creation_timestamp
            since = made / 1000
        return Champion(version, since)
