"""``report``: says how the night ended, in Airflow's log, in MLflow and as the task's state."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from airflow.sdk import BaseOperator
from airflow.sdk.bases.xcom import BaseXCom
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from understudy.airflow import notice
from understudy.airflow.challenger import withdraw
from understudy.airflow.exceptions import airflow_errors
from understudy.airflow.links import (
    DecisionLink,
    MlflowRunLink,
    decision_address,
    night_page,
    run_address,
)
from understudy.airflow.night_context import (
    MATURED,
    NOT_MAPPED,
    PIN,
    cause_left,
    failed_tasks,
    night_of,
    outcome_of,
    pulled,
    states,
)
from understudy.airflow.schedule import moment
from understudy.airflow.services import Services
from understudy.airflow.step import airflow_tags, attempt_key, errors_of, task_key
from understudy.contract import Outcome, Tag
from understudy.errors import sentences
from understudy.redact import plain
from understudy.spec.pipeline import Pipeline
from understudy.store.night import Night

if TYPE_CHECKING:
    from airflow.sdk import Context

_ENDS: Final = {Outcome.FAILED: AirflowFailException, Outcome.SKIPPED: AirflowSkipException}
"""Outcomes that are the task's state, with what ends a task so."""
_ENDED: Final = "understudy_ended"
_LONGEST: Final = 200
"""Characters of the text in Airflow's list of tasks, which holds 250."""


class ReportOperator(BaseOperator):
    """Closes the night whatever happened; its own state is the night's.

    A promoted, held or rejected night is a success, a skipped one is skipped, and a night in
    which something broke has failed.

    Args:
        pipeline: What the pipeline file declares. Its notifiers are code, and so are not pinned.
    """

    operator_extra_links = (MlflowRunLink(), DecisionLink())
    ui_color = "#f1f8e9"

    def __init__(self, *, pipeline: Pipeline, **kwargs: Any) -> None:
        # A task cannot write its Dag run's note (Airflow 3.3). What it may write is this text,
        # which the Dag run's list of tasks shows beside its state.
        super().__init__(map_index_template=f"{{{{ {_ENDED} }}}}", **kwargs)
        self.pipeline = pipeline
        self.mlflow_address = self.decision_address = ""

    def execute(self, context: Context) -> dict[str, str]:
        """Return outcome, reason, the champion afterwards, and where the decision is shown."""
        messenger = notice.Messenger(self.pipeline.notify, self.log)
        with airflow_errors():
            services = Services.connect()
            night = self._night(context, services, messenger)
            outcome, facts = self._close(context, services, night)
        self._say(context, night, outcome, facts)
        with airflow_errors():
            ended = notice.of_night(night, outcome, facts)
            alerts = notice.alerts(services, night, outcome, facts["link"], self.log)
            for one in (ended, *alerts):
                if one is not None:
                    messenger.tell(context, services, night, one)
        result = {
            "outcome": outcome.value,
            "reason": facts["reason"],
            "champion": facts["champion"],
            "decision": self.decision_address,
        }
        # Only now, when everything is stored and sent: these end the task, and return nothing.
        if outcome in _ENDS:
            context["ti"].xcom_push(BaseXCom.XCOM_RETURN_KEY, result)
            raise _ENDS[outcome](f"{outcome}: {facts['reason']}")
        return result

    def _close(
        self, context: Context, services: Services, night: Night
    ) -> tuple[Outcome, dict[str, str]]:
        """Write down how the night ended; return its outcome, and what notices are made of."""
        now = states(context)
        outcome, reason = outcome_of(dict(services.runs.get(night.run_id).data.tags), now)
        if outcome is Outcome.FAILED:
            errors = errors_of(context, services, night.experiment_id, failed_tasks(now))
            reason = "; ".join([reason, *errors])
        withdraw(context, services, night)
        # Looked up and not taken from what the tasks say: somebody may have moved the alias.
        version = services.promoter.look(night.model).champion
        services.nights.close(night, outcome, reason, version)
        self.mlflow_address = link = run_address(night.experiment_id, night.run_id)
        ti = context["ti"]
        self.decision_address = night_page(ti.dag_id, ti.run_id) or decision_address(
            night.experiment_id, night.run_id
        )
        if outcome is Outcome.PROMOTED and version:
            words = _how_promoted(night, reason, self.decision_address)
            services.registry.describe(night.model, version, words)
        return outcome, {"reason": reason, "champion": version or "", "link": link}

    def _say(
        self, context: Context, night: Night, outcome: Outcome, facts: Mapping[str, str]
    ) -> None:
        """Say how the night ended in the task's log, and in the Dag run's list of tasks."""
        first, *others = sentences(facts["reason"])
        before, after = night.champion or "none", facts["champion"] or "none"
        self.log.info("Night of %s: %s", night.as_of, outcome)
        for line in (
            *(f"Why: {one}" for one in (first, *others)),
            f"Champion of {night.model}: {before} -> {after}",
            f"MLflow: {facts['link'] or night.run_id}",
            *(f"Seen again: {line}" for line in pulled(context, MATURED) or ()),
        ):
            self.log.info("%s", line)
        _label(context, f"{notice.ended(night, outcome, facts)}: {first}")

    def _night(self, context: Context, services: Services, messenger: notice.Messenger) -> Night:
        """Return the night; where ``pin`` opened none, record that and fail."""
        try:
            return night_of(context, self.pipeline)
        except AirflowSkipException as skip:
            cause = cause_left(context, PIN) or "its log says why"
            state = states(context).get(PIN)
            reason = f"the task {PIN} is {state}: the night did not begin; {PIN}: {cause}"
            record_no_night(context, services, self.pipeline, reason)
            failed = notice.of_no_night(self.pipeline, str(context["run_id"]), reason)
            messenger.tell_unrecorded(context, failed)
            _label(context, f"FAILED: {reason}")
            raise AirflowFailException(f"FAILED: {reason}") from skip


def record_no_night(context: Context, services: Services, pipeline: Pipeline, reason: str) -> None:
    """Give a night that ``pin`` did not begin a run that has failed, for the pages and lists."""
    nights, of = services.nights, task_key(context, PIN, NOT_MAPPED)
    experiment_id = services.runs.experiment(pipeline.experiment)
    # `pin` may have opened it and failed afterwards: nobody else would end it. Else it is opened as
    # if by `pin`, which goes on with it when it is cleared.
    run_id = nights.latest(experiment_id, of)
    if run_id is None:
        told = {Tag.TASK_ID: PIN, Tag.ATTEMPT_OF: of, Tag.PIPELINE: pipeline.name}
        tags = {**airflow_tags(context), **{tag.value: text for tag, text in told.items()}}
        name = f"night {moment(context):%Y-%m-%d %H:%M}"
        run_id = nights.open(experiment_id, attempt_key(context), name, tags)
    nights.give_up(run_id, reason)


def _label(context: Context, text: str) -> None:
    """Let the Dag run's list of tasks say something of this one."""
    values: Any = context  # Airflow renders `map_index_template` with it when the task ends.
    values[_ENDED] = plain(text)[:_LONGEST]


def _how_promoted(night: Night, reason: str, address: str) -> str:
    """Return when, against what and why a version was promoted, after "Became champion"."""
    against = f" in place of version {night.champion}" if night.champion else ""
    reasons = "\n".join(f"* {line}" for line in sentences(reason))
    link = f"\n\n[The decision]({address})" if address else ""
    when = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    by = f"by the night of {night.as_of[:16]} of {night.pipeline}"
    return f"{when}{against}, {by}.\n\n{reasons}{link}"
