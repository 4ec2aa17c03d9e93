"""The demo: a fresh stack, one pipeline's nights run by the scheduler, and a check of them.

Writes below the demo's own state folder and the shared cache; the checkout is only read.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx

from understudy.cli.terminal import render
from understudy.contract import CHAMPION, DataTag, Kind, Outcome, Tag
from understudy.devstack import settings
from understudy.devstack.airflow_api import FINISHED, AirflowApi, Json, moment
from understudy.devstack.place import StackPlace
from understudy.devstack.processes import StackError
from understudy.devstack.progress import ProgressLines
from understudy.devstack.readiness import LOG_LINES
from understudy.devstack.stack import Stack, describe
from understudy.gate import as_logged

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

    from understudy.store.night import Night


STALL = 900.0
"""Seconds without any change after which the waiting is given up."""
_STEP = 1.0
# States of tasks that are shown; the others pass within a second or two.
_SHOWN = frozenset({"failed", "skipped", "success", "up_for_retry", "upstream_failed"})


@dataclass
class RunFollower:
    """Follows the runs of one Dag, until the schedule has no more of them.

    Attributes:
        api: A client of the running Airflow.
        dag_id: The Dag.
        progress: Where changes are shown.
        expected: At least this many runs have to appear.
    """

    api: AirflowApi
    dag_id: str
    progress: ProgressLines
    expected: int
    _tasks: dict[tuple[str, str, int, int], str] = field(default_factory=dict)
    _ended: dict[str, Json] = field(default_factory=dict)
    _changed: float = field(default_factory=time.monotonic)

    def to_the_end(self) -> list[Json]:
        """Returns the Dag's runs, all of them finished.

        Raises:
            StackError: a run failed, nothing changed for too long, or Airflow is away.
        """
        try:
            while not self._look():
                if time.monotonic() - self._changed > STALL:
                    raise StackError(
                        f"Nothing has changed in {self.dag_id} for {STALL:.0f} s; "
                        f"{len(self._ended)} nights have ended",
                        allowed=f"{self.expected} nights or more, each with some progress in that "
                        "time",
                        action="look into the log of the scheduler; the stack is still running",
                    )
                time.sleep(_STEP)
        except httpx.TransportError as error:
            raise StackError(
                f"Airflow stopped answering ({error})",
                allowed="a stack that keeps running until the demo is over",
                action="look into the log of the api-server, then run make demo again",
            ) from error
        return list(self._ended.values())

    def _look(self) -> bool:
        runs = self.api.dag_runs(self.dag_id)
        for run in runs:
            if run["dag_run_id"] not in self._ended and run["state"] != "queued":
                self._follow(run)
        # All known runs may have ended before the scheduler has made the next one: the end is where
        # the Dag has no next run.
        enough = len(self._ended) == len(runs) >= self.expected
        return enough and self.api.dag(self.dag_id)["next_dagrun_run_after"] is None

    def _follow(self, run: Json) -> None:
        instances = self.api.task_instances(self.dag_id, run["dag_run_id"])
        for instance in sorted(instances, key=lambda one: one["end_date"] or ""):
            self._show_task(run, instance)
        if run["state"] not in FINISHED:
            return
        self._ended[run["dag_run_id"]] = run
        start, end = moment(run["start_date"]), moment(run["end_date"])
        took = f" after {(end - start).total_seconds():.1f} s" if start and end else ""
        self.progress.say(f"night {night_of(run)} ended: {run['state']}{took}")
        self._changed = time.monotonic()
        if run["state"] == "failed":
            raise self._failed(run, instances)

    def _show_task(self, run: Json, instance: Json) -> None:
        run_id, task = run["dag_run_id"], instance["task_id"]
        # A retry is another try number, a mapped task another index: each has its own line.
        key = (run_id, task, instance["map_index"], instance["try_number"])
        state = instance["state"] or "none"
        if self._tasks.get(key) == state:
            return
        self._tasks[key], self._changed = state, time.monotonic()
        if state in _SHOWN:
            took = f"{instance['duration']:.1f} s" if instance["duration"] else ""
            index = f"[{instance['map_index']}]" if instance["map_index"] >= 0 else ""
            self.progress.say(f"  {night_of(run)}  {task + index:28} {state:12} {took}".rstrip())

    def _failed(self, run: Json, instances: Sequence[Json]) -> StackError:
        logs = []
        for instance in (one for one in instances if one["state"] == "failed"):
            task, number = instance["task_id"], instance["try_number"]
            logs.append(f"  The end of the log of {task}, try {number}:")
            # One entry may hold several lines, such as a traceback.
            lines = "\n".join(self.api.task_log(instance)).splitlines()
            logs += [f"    {line}" for line in lines[-LOG_LINES:]]
        listing = "\n".join(logs)
        return StackError(
            f"The night {night_of(run)} of {self.dag_id} failed.\n{listing}\n",
            allowed="nights that end in success",
            action="read the whole log in Airflow's pages; the stack is still running",
        )


def night_of(run: Json) -> str:
    """The day of a Dag run's logical date."""
    # A run that a person or an asset started has no logical date (Airflow 3).
    return str(run["logical_date"] or run["run_after"])[:10]


TITLES = (
    "night",
    "rows",
    "metric",
    "challenger",
    "champion",
    "outcome",
    "champion after",
    "reason",
)


@dataclass(frozen=True)
class NightReport:
    """What became of one night.

    Attributes:
        as_of: The date as of which the night saw the data.
        rows: How many rows the download delivered; None where it failed before.
        metric: The gate's primary metric.
        challenger: Its value for the challenger; None where none was trained.
        champion: Its value for the champion of that night; None where there was none.
        outcome: How the night ended; empty while it has not.
        reason: Why.
        champion_before: The version in production when the night began; empty for none.
        champion_after: The version in production when it ended; empty for none.
    """

    as_of: str
    rows: int | None
    metric: str
    challenger: float | None
    champion: float | None
    outcome: str
    reason: str
    champion_before: str
    champion_after: str


def read_nights(client: MlflowClient, pipeline: str) -> list[NightReport]:
    """The nights of a pipeline, the earliest first.

    Raises:
        StackError: MLflow has no experiment of that name.
    """
    from understudy.store.night import NightBook
    from understudy.store.tracking import RunStore

    experiment = client.get_experiment_by_name(pipeline)
    if experiment is None:
        raise StackError(
            f"MLflow has no experiment {pipeline!r}",
            allowed="one experiment for each pipeline that has run",
            action="look into the log of the Dag's first task",
        )
    # One search for nights and steps, which have different tags: a demo has some dozens of runs.
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    book = NightBook(client, RunStore(client))
    parents = [run for run in runs if run.data.tags.get(Tag.KIND) == Kind.NIGHT]
    reports = [_report(run, book.opened(run.info.run_id), runs) for run in parents]
    return sorted(reports, key=lambda report: report.as_of)


def _report(run: Run, night: Night | None, runs: Sequence[Run]) -> NightReport:
    tags, metrics = run.data.tags, run.data.metrics
    metric = night.spec.gate.primary.name if night else ""
    return NightReport(
        as_of=tags.get(Tag.AS_OF, "")[:10],
        rows=_rows(run.info.run_id, runs),
        metric=metric,
        challenger=_logged(metrics, f"challenger_{metric}"),
        champion=_logged(metrics, f"champion_{metric}"),
        outcome=tags.get(Tag.OUTCOME, ""),
        reason=tags.get(Tag.REASON, ""),
        champion_before=tags.get(Tag.CHAMPION_BEFORE, ""),
        champion_after=tags.get(Tag.CHAMPION_AFTER, ""),
    )


def _logged(metrics: Mapping[str, float], name: str) -> float | None:
    return as_logged(metrics[name]) if name in metrics else None


def _rows(parent: str, runs: Sequence[Run]) -> int | None:
    """The row count that the night's download wrote on its own run."""
    for run in runs:
        tags = run.data.tags
        if tags.get("mlflow.parentRunId") == parent and DataTag.ROWS in tags:
            return int(tags[DataTag.ROWS])
    return None


def champion_version(client: MlflowClient, model: str) -> str | None:
    """The version that the alias resolves to in the registry; None where it does not."""
    from mlflow.exceptions import MlflowException

    try:
        return str(client.get_model_version_by_alias(model, CHAMPION).version)
    # A missing alias and a missing model have different codes (3.17): both mean no champion here.
    except MlflowException:
        return None


def as_table(reports: Sequence[NightReport], width: int) -> str:
    """The nights as lines for a terminal of that many characters."""
    rows = [
        (
            report.as_of,
            "" if report.rows is None else str(report.rows),
            report.metric,
            _number(report.challenger),
            _number(report.champion),
            report.outcome or "(open)",
            f"version {report.champion_after}" if report.champion_after else "none",
            report.reason,
        )
        for report in reports
    ]
    return render(TITLES, rows, width)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def missing(reports: Sequence[NightReport], champion: str | None) -> list[str]:
    """What a demo should have shown and did not; empty when all of it happened.

    Args:
        reports: The nights, the earliest first.
        champion: What the alias resolves to in the registry now; None for nothing.
    """
    promoted = [report for report in reports if report.outcome == Outcome.PROMOTED]
    after = reports[-1].champion_after if reports else ""
    happened = {
        "a first champion": any(not report.champion_before for report in promoted),
        "a champion that a better challenger replaced": any(
            report.champion_before for report in promoted
        ),
        "a night whose challenger was not promoted": any(
            report.outcome in {Outcome.HELD, Outcome.REJECTED} for report in reports
        ),
        "a night that was skipped because nothing had changed": any(
            report.outcome == Outcome.SKIPPED for report in reports
        ),
        "an outcome for every night": all(
            report.outcome not in {"", Outcome.FAILED} for report in reports
        ),
        "an alias in the registry that names the last champion": champion is not None
        and champion == after,
    }
    return [what for what, did in happened.items() if not did]


PIPELINE = "diabetes"
NIGHTS = 4
"""How many nights a demo has at least."""


@dataclass
class Demo:
    """One demo on a stack of its own.

    Attributes:
        place: Where the stack's files are; what an earlier demo left there is removed.
        progress: Where progress is shown.
    """

    place: StackPlace
    progress: ProgressLines = field(default_factory=ProgressLines)

    def run(self) -> int:
        """Runs the demo; returns 0 when everything that it is to show has happened.

        Raises:
            StackError: the stack does not start, a night fails, or something has not happened.
        """
        self._warn_of_changes()
        stack = Stack(self.place, self.progress)
        stack.down()
        self._start_afresh()
        stack.up()
        self.progress.show(describe(stack))
        api = stack.api()
        with self.progress.phase(f"The nights of {PIPELINE}, as the scheduler comes to them"):
            api.pause(PIPELINE, paused=False)
            RunFollower(api, PIPELINE, self.progress, NIGHTS).to_the_end()
        lacking = self._show_nights(stack)
        for name, seconds in self.progress.phases.items():
            self.progress.show(f"  {seconds:7.1f} s  {name}")
        self.progress.show(f"  {self.progress.elapsed():7.1f} s  in all\n")
        self.progress.show(describe(stack))
        if lacking:
            raise StackError(
                f"The demo ended without: {'; '.join(lacking)}",
                allowed="nights with every outcome",
                action="compare the table above with dags/diabetes.py; the stack is still running",
            )
        self.progress.say("the demo went as it should")
        return 0

    def _warn_of_changes(self) -> None:
        # The nights clone the checkout, so they see what is committed and nothing else.
        argv = ["git", "-C", str(self.place.checkout), "status", "--porcelain", "--", "mlproject"]
        changes = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
        if changes:
            self.progress.say("mlproject/ has changes that are not committed; the demo runs HEAD:")
            self.progress.show(changes.rstrip())

    def _start_afresh(self) -> None:
        """Removes everything of the last demo but its ports, so that its addresses stay."""
        kept = self.place.ports.read_bytes() if self.place.ports.exists() else None
        if self.place.state.exists():
            shutil.rmtree(self.place.state)
        self.place.state.mkdir(mode=0o700, parents=True)
        if kept is not None:
            self.place.ports.write_bytes(kept)

    def _show_nights(self, stack: Stack) -> list[str]:
        from mlflow.tracking import MlflowClient

        # Both addresses: without the second, MLFLOW_REGISTRY_URI of the caller's would apply.
        url = stack.addresses().mlflow
        os.environ.update(settings.mlflow_account(stack.place))  # the only way to tell a client
        client = MlflowClient(tracking_uri=url, registry_uri=url)
        reports = read_nights(client, PIPELINE)
        width = shutil.get_terminal_size((120, 24)).columns
        self.progress.show(f"\n{as_table(reports, width)}\n")
        lacking = missing(reports, champion_version(client, PIPELINE))
        if len(reports) < NIGHTS:
            lacking.insert(0, f"{NIGHTS} nights (there were {len(reports)})")
        return lacking
