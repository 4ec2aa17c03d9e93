"""Reads what a pipeline has left in MLflow, and removes what a plan says. Touches MLflow.

Removed runs go to MLflow's trash, from which its UI brings them back; ``mlflow gc``, where the
server runs, then frees the disk. Versions are removed at once, before the runs that they need. The
histories of champions are never touched.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from understudy.contract import Kind, Tag
from understudy.errors import RegistryError
from understudy.registry.history import History
from understudy.registry.promoter import Promoter
from understudy.registry.retention import (
    KEEP_TAG,
    Inventory,
    Keep,
    OldNight,
    OldVersion,
    RetentionPlan,
    plan,
)
from understudy.runner.process.process import OnLine
from understudy.store.tracking import RunStore, tracking_errors

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

_PARENT: Final = "mlflow.parentRunId"
_PAGE: Final = 1000
_NEEDED: Final = (Tag.DECISION_RUN, Tag.REHEARSAL_RUN)
_CHAMPIONS: Final = (Tag.CHAMPION_BEFORE, Tag.CHAMPION_AFTER)


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose inventory it is: a pipeline's experiment and its registered model, by name."""

    experiment: str
    model: str


class GarbageCollector:
    """Reads a pipeline's inventory, and removes what a plan says.

    Raises:
        TrackingUnavailableError: from every method, when the server does not answer.
    """

    def __init__(self, client: MlflowClient, runs: RunStore, promoter: Promoter) -> None:
        self._client, self._runs, self._promoter = client, runs, promoter

    def plan(self, owner: Owner, keep: Keep) -> RetentionPlan:
        """Return what may go now, and why the rest stays.

        Raises:
            RegistryError: when there is no such experiment.
        """
        return plan(self.inventory(owner, keep), keep, datetime.now(UTC))

    def carry_out(self, owner: Owner, keep: Keep, on_line: OnLine) -> RetentionPlan:
        """Remove what may go; what appeared in use meanwhile stays until the next time."""
        planned = self.plan(owner, keep)
        # Read again after the plan: MLflow deletes the champion's version without objection and
        # drops its alias silently (3.17), so the last look should be as late as possible.
        aliased = set(self._promoter.look(owner.model).aliases.values())
        for version in planned.versions:
            if version.number not in aliased:
                with tracking_errors():
                    self._client.delete_model_version(owner.model, version.number)
                on_line(f"Removed version {version.number} of {owner.model}")
        for night in planned.nights:
            # The parent last: a removal that was cut short is found again by it.
            for run_id in sorted(night.runs, key=lambda run_id: run_id == night.run_id):
                self._runs.delete(run_id)
            on_line(f"Removed {night.title} with {len(night.runs)} runs")
        return planned

    def inventory(self, owner: Owner, keep: Keep) -> Inventory:
        """Return all that a pipeline has left."""
        with tracking_errors():
            experiment = self._client.get_experiment_by_name(owner.experiment)
        if experiment is None:
            raise RegistryError(
                f"There is no experiment {owner.experiment!r}",
                allowed="the experiment of a pipeline, by default of the Dag's name",
                action="correct its name",
            )
        history = self._promoter.history(owner.model)
        last = history.moves[-keep.moves :]
        names = {name for entry in last for name in (entry.move.before, entry.move.after) if name}
        return Inventory(
            nights=tuple(_nights(self._all_runs(str(experiment.experiment_id)), history)),
            versions=tuple(self._versions(owner.model)),
            named=dict.fromkeys(
                names, f"one of the last {keep.moves} moves of the champion names it"
            ),
            decided=frozenset(filter(None, (entry.move.decision_run for entry in last))),
        )

    def _all_runs(self, experiment_id: str) -> Iterator[Run]:
        token = None
        while True:
            with tracking_errors():
                page = self._client.search_runs(
                    [experiment_id], max_results=_PAGE, page_token=token
                )
            yield from page
            token = page.token
            if not token:
                return

    def _versions(self, model: str) -> Iterator[OldVersion]:
        # A search for versions returns none of their aliases (MLflow 3.17).
        aliases: dict[str, set[str]] = defaultdict(set)
        for alias, version in self._promoter.look(model).aliases.items():
            aliases[version].add(alias)
        token = None
        while True:
            with tracking_errors():
                page = self._client.search_model_versions(
                    f"name = '{model}'", max_results=_PAGE, page_token=token
                )
            for one in page:
                needed = [str(one.run_id or ""), *(one.tags.get(tag.value, "") for tag in _NEEDED)]
                yield OldVersion(
                    number=str(one.version),
                    made=datetime.fromtimestamp(one.creation_timestamp / 1000, UTC),
                    runs=frozenset(filter(None, needed)),
                    aliases=frozenset(aliases[str(one.version)]),
                    pinned=(one.tags[KEEP_TAG] or "yes") if KEEP_TAG in one.tags else "",
                    refit_of=one.tags.get(Tag.REFIT_OF.value, ""),
                )
            token = page.token
            if not token:
                return


def _nights(runs: Iterable[Run], history: History) -> Iterator[OldNight]:
    known = {str(run.info.run_id): run for run in runs}
    below: dict[str, list[str]] = defaultdict(list)
    for run_id, run in known.items():
        below[run.data.tags.get(_PARENT, "")].append(run_id)
    for run_id, run in known.items():
        if run.data.tags.get(Tag.KIND.value) == Kind.NIGHT.value:
            yield _night(run, [known[inside] for inside in _within(run_id, below)], history)


def _within(run_id: str, below: Mapping[str, list[str]]) -> Iterator[str]:
    yield run_id
    for child in below.get(run_id, ()):
        yield from _within(child, below)


def _night(parent: Run, runs: list[Run], history: History) -> OldNight:
    tags = parent.data.tags
    # Only a night with a verdict is judged again when its targets have come.
    judged = bool(tags.get(Tag.VERDICT.value))
    champion = tags.get(Tag.CHAMPION_BEFORE.value, "")
    reused = {run.data.tags.get(Tag.REUSED_FROM.value, "") for run in runs} - {""}
    # A tag without a value pins as well: MLflow's UI lets a person leave it empty.
    pinned = [run.data.tags[KEEP_TAG] or "yes" for run in runs if KEEP_TAG in run.data.tags]
    return OldNight(
        run_id=str(parent.info.run_id),
        title=str(parent.info.run_name or parent.info.run_id),
        began=datetime.fromtimestamp(parent.info.start_time / 1000, UTC),
        runs=frozenset(str(run.info.run_id) for run in runs),
        reused=frozenset(reused),
        champions=frozenset(tags.get(tag.value, "") for tag in _CHAMPIONS) - {""},
        holdout=tags.get(Tag.HOLDOUT.value, ""),
        shadow=bool(tags.get(Tag.SHADOW.value)),
        pinned=next(iter(pinned), ""),
        alive=any(run.info.status == "RUNNING" for run in runs),
        delay=timedelta(seconds=float(tags.get(Tag.LABEL_DELAY.value) or 0) if judged else 0),
        matured=bool(tags.get(Tag.MATURED.value)),
        needed=frozenset(filter(None, (champion, champion and history.replaced(champion)))),
    )
