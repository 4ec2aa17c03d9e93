"""``report``: says how the night ended, in Airflow's log, in MLflow and as the task's state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from understudy.airflow import notice
from understudy.airflow.exceptions import airflow_errors
from understudy.airflow.links import MlflowRunLink, run_address
from understudy.airflow.night_context import (
    APPROVE,
    DOWNLOAD,
    GATE,
    MATURED,
    PIN,
    PROMOTE,
    REHEARSE,
    REPORT,
    TRAIN,
    night_of,
    pulled,
    states,
)
from understudy.airflow.services import Services
from understudy.airflow.step import NOT_MAPPED, task_key
from understudy.contract import Outcome, Tag
from understudy.gate import Verdict
from understudy.spec.pipeline import Event, Pipeline
from understudy.store.night import Night

if TYPE_CHECKING:
    from airflow.sdk import Context

_BY_VERDICT = {Verdict.REJECT.value: Outcome.REJECTED, Verdict.HOLD.value: Outcome.HELD}
_FAILED = frozenset({"failed", "removed"})
_BAD = _FAILED | {"upstream_failed"}
"""States of a task that has failed, or never ran because another one had."""


class ReportOperator(BaseOperator):
    """Closes the night whatever happened; its own state is the night's.

    A promoted, held or rejected night is a success, a skipped one is skipped, and a night in
    which something broke has failed.
    """

    operator_extra_links = (MlflowRunLink(),)
    ui_color = "#f1f8e9"

    def __init__(self, *, pipeline: Pipeline, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pipeline = pipeline
        self.mlflow_address = ""

    def execute(self, context: Context) -> dict[str, str]:
        """Return outcome, reason and the champion afterwards."""
        now = states(context)
        with airflow_errors():
            services = Services.connect()
            night = self._night(context, services, now)
            tags = dict(services.runs.get(night.run_id).data.tags)
            outcome, reason = outcome_of(tags, now)
            if outcome is Outcome.FAILED:
                reason = "; ".join([reason, *_errors(context, services, night, now)])
            _withdraw(context, services, night)
            # Looked up and not taken from what the tasks say: somebody may have moved the alias.
            version = services.promoter.look(night.model).champion
            services.nights.close(night, outcome, reason, version)
        self.mlflow_address = run_address(night.experiment_id, night.run_id)
        self._log_ending(night, outcome, reason, version)
        for line in pulled(context, MATURED) or ():
            self.log.info("Seen again: %s", line)
        with airflow_errors():
            self._notify(context, services, night, (outcome, reason, version or ""))
        # Only now, when everything is stored and sent: these end the task.
        if outcome is Outcome.FAILED:
            raise AirflowFailException(f"FAILED: {reason}")
        if outcome is Outcome.SKIPPED:
            raise AirflowSkipException(f"SKIPPED: {reason}")
        return {"outcome": outcome.value, "reason": reason, "champion": version or ""}

    def _night(self, context: Context, services: Services, now: Mapping[str, str]) -> Night:
        """Return the night; where ``pin`` failed halfway, end what it opened and fail."""
        try:
            return night_of(context)
        # `pin` may have opened the parent run and failed afterwards: nobody else would end it.
        except AirflowSkipException as skip:
            reason = f"the task {PIN} is {now.get(PIN)}: the night did not begin"
            experiment_id = services.runs.experiment(self.pipeline.experiment)
            run_id = services.nights.latest(experiment_id, task_key(context, PIN, NOT_MAPPED))
            if run_id is not None:
                services.runs.tag(run_id, {Tag.OUTCOME: Outcome.FAILED.value, Tag.REASON: reason})
                services.runs.end(run_id, "FAILED", reason)
            pipeline = self.pipeline
            failed = notice.Notice(
                event=Event.FAILED.value,
                title=f"{pipeline.model}: a night FAILED before it began",
                text=f"{pipeline.name}, {context['run_id']}: {reason}. The log of the task says"
                " why.",
                pipeline=pipeline.name,
                model=pipeline.model,
                version="",
                link="",
            )
            notice.Messenger(pipeline.notify, self.log).tell_unrecorded(context, failed)
            raise AirflowFailException(f"FAILED: {reason}; its log says why") from skip

    def _log_ending(self, night: Night, outcome: Outcome, reason: str, version: str | None) -> None:
        self.log.info("Night of %s: %s", night.as_of, outcome)
        for line in reason.split("; "):
            self.log.info("Why: %s", line)
        before, after = night.champion or "none", version or "none"
        self.log.info("Champion of %s: %s -> %s", night.model, before, after)
        self.log.info("MLflow: %s", self.mlflow_address or night.run_id)

    def _notify(
        self, context: Context, services: Services, night: Night, end: tuple[Outcome, str, str]
    ) -> None:
        outcome, reason, version = end
        link = self.mlflow_address
        facts = {"reason": reason, "champion": version, "link": link}
        notices = [notice.of_night(night, outcome, facts)]
        if outcome is Outcome.SKIPPED:
            notices.append(self._skips(services, night))
        notices.append(self._stale(services, night))
        messenger = notice.Messenger(self.pipeline.notify, self.log)
        for one in filter(None, notices):
            messenger.tell(context, services, night, one)

    def _skips(self, services: Services, night: Night) -> notice.Notice | None:
        skips = services.nights.skips_in_a_row(night) + 1
        # At every multiple: reminded, but not each night.
        if skips % self.pipeline.alert_after_skips:
            return None
        self.log.error(
            "%s nights in a row were skipped: is the source of %s still alive?",
            skips,
            night.pipeline,
        )
        return notice.of_skips(night, skips, self.mlflow_address)

    def _stale(self, services: Services, night: Night) -> notice.Notice | None:
        """Return a notice of a champion that is too old, once for each champion."""
        moves = services.promoter.look(night.model).history.moves
        if self.pipeline.alert_after_age is None or not moves or moves[-1].move.after is None:
            return None
        version, since = moves[-1].move.after, moves[-1].move.at
        if datetime.now(UTC) - datetime.fromisoformat(since) <= self.pipeline.alert_after_age:
            return None
        self.log.error("Version %s is champion since %s", version, since)
        if not services.nights.first_to_find_stale(night, version):
            return None
        return notice.of_stale(night, version, since, self.mlflow_address)


def _withdraw(context: Context, services: Services, night: Night) -> None:
    """Let this night's challenger wait no longer, however the night ends."""
    # Another challenger may wait by now: only a model of this night's training is withdrawn.
    waiting, trained = services.registry.challenger(night.model), pulled(context, TRAIN)
    if waiting and trained and services.runs.is_within(str(waiting.run_id), str(trained)):
        services.registry.withdraw(night.model, str(waiting.version))


def _errors(
    context: Context, services: Services, night: Night, now: Mapping[str, str]
) -> Iterator[str]:
    """Yield why tasks failed, as far as the MLflow run of their last try says so."""
    for task in _failed(now):
        # States name a mapped task's parts as `validate_0`; its runs are tagged by task and index.
        name, _, index = task.rpartition("_")
        mapped = index.isdecimal()
        key = task_key(context, name if mapped else task, int(index) if mapped else NOT_MAPPED)
        for run in services.runs.tagged(night.experiment_id, Tag.ATTEMPT_OF, key, limit=1):
            if error := run.data.tags.get(Tag.ERROR.value):
                yield f"{task}: {error}"


def _failed(now: Mapping[str, str]) -> list[str]:
    """Return the tasks that failed themselves."""
    return sorted(task for task, state in now.items() if state in _FAILED and task != REPORT)


def outcome_of(tags: Mapping[str, str], now: Mapping[str, str]) -> tuple[Outcome, str]:
    """Return how a night ended, and why.

    Args:
        tags: The tags of its parent run. Those of an earlier pass may be among them, so each is
            believed only where the task that writes it has run in this one.
        now: The state of each task of the Dag run.
    """
    outcome, reason = _end_of(tags, now)
    notes = [reason, tags.get(Tag.SAW_LESS.value, "")]
    if now.get(REHEARSE) == "success":
        notes.append(tags.get(Tag.UNASKED.value, ""))
    return outcome, "; ".join(filter(None, notes))


def _end_of(tags: Mapping[str, str], now: Mapping[str, str]) -> tuple[Outcome, str]:
    # In the order of the tasks: what stopped the night first is how it ended.
    ill = {task: state for task, state in now.items() if state in _BAD and task != REPORT}
    if now.get(DOWNLOAD) == "skipped":
        return Outcome.SKIPPED, tags.get(Tag.SKIPPED_BECAUSE.value, "the download was skipped")
    if now.get(GATE) != "success" or {APPROVE, PROMOTE} & ill.keys():
        return Outcome.FAILED, f"these tasks failed: {', '.join(_failed(now)) or 'none'}"
    verdict, reason = tags[Tag.VERDICT.value], tags[Tag.VERDICT_REASON.value]
    if shadow := tags.get(Tag.SHADOW.value, ""):
        return Outcome.HELD, f"{shadow}: {reason}"
    if now.get(PROMOTE) == "success":
        return Outcome.PROMOTED, reason
    if verdict != Verdict.PROMOTE:
        return _BY_VERDICT[verdict], reason
    why = tags.get(Tag.HELD_BECAUSE.value, "the task promote did not run")
    return Outcome.HELD, f"{why}; verdict PROMOTE: {reason}"
