"""``report``: says how the night ended, in Airflow's log, in MLflow and as the task's state."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
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
from understudy.airflow.services import Services
from understudy.airflow.step import errors_of, task_key
from understudy.contract import Outcome
from understudy.spec.pipeline import Pipeline
from understudy.store.night import Night

if TYPE_CHECKING:
    from airflow.sdk import Context


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
        super().__init__(**kwargs)
        self.pipeline = pipeline
        self.mlflow_address = self.decision_address = ""

    def execute(self, context: Context) -> dict[str, str]:
        """Return outcome, reason, the champion afterwards, and where the decision is shown."""
        now, messenger = states(context), notice.Messenger(self.pipeline.notify, self.log)
        with airflow_errors():
            services = Services.connect()
            night = self._night(context, services, messenger, now)
            outcome, reason = outcome_of(dict(services.runs.get(night.run_id).data.tags), now)
            if outcome is Outcome.FAILED:
                errors = errors_of(context, services, night.experiment_id, failed_tasks(now))
                reason = "; ".join([reason, *errors])
            withdraw(context, services, night)
            # Looked up and not taken from what the tasks say: somebody may have moved the alias.
            version = services.promoter.look(night.model).champion
            services.nights.close(night, outcome, reason, version)
            self.mlflow_address = link = run_address(night.experiment_id, night.run_id)
            self.decision_address = night_page(
                context["ti"].dag_id, context["ti"].run_id
            ) or decision_address(night.experiment_id, night.run_id)
            if outcome is Outcome.PROMOTED and version:
                words = _how_promoted(night, reason, self.decision_address)
                services.registry.describe(night.model, version, words)
        self.log.info("Night of %s: %s", night.as_of, outcome)
        before, after = night.champion or "none", version or "none"
        moved = f"Champion of {night.model}: {before} -> {after}"
        seen = [f"Seen again: {line}" for line in pulled(context, MATURED) or ()]
        why = [f"Why: {line}" for line in reason.split("; ")]
        for line in (*why, moved, f"MLflow: {link or night.run_id}", *seen):
            self.log.info("%s", line)
        with airflow_errors():
            facts = {"reason": reason, "champion": version or "", "link": link}
            ended = notice.of_night(night, outcome, facts)
            alerts = notice.alerts(services, night, outcome, link, self.log)
            for one in (ended, *alerts):
                if one is not None:
                    messenger.tell(context, services, night, one)
        # Only now, when everything is stored and sent: these end the task.
        if outcome is Outcome.FAILED:
            raise AirflowFailException(f"FAILED: {reason}")
        if outcome is Outcome.SKIPPED:
            raise AirflowSkipException(f"SKIPPED: {reason}")
        return {
            "outcome": outcome.value,
            "reason": reason,
            "champion": version or "",
            "decision": self.decision_address,
        }

    def _night(
        self,
        context: Context,
        services: Services,
        messenger: notice.Messenger,
        now: Mapping[str, str],
    ) -> Night:
        """Return the night; where ``pin`` failed halfway, end what it opened and fail."""
        try:
            return night_of(context, self.pipeline)
        # `pin` may have opened the parent run and failed afterwards: nobody else would end it.
        except AirflowSkipException as skip:
            cause = cause_left(context, PIN) or "its log says why"
            reason = f"the task {PIN} is {now.get(PIN)}: the night did not begin; {PIN}: {cause}"
            experiment_id = services.runs.experiment(self.pipeline.experiment)
            run_id = services.nights.latest(experiment_id, task_key(context, PIN, NOT_MAPPED))
            if run_id is not None:
                services.nights.give_up(run_id, reason)
            failed = notice.of_no_night(self.pipeline, str(context["run_id"]), reason)
            messenger.tell_unrecorded(context, failed)
            raise AirflowFailException(f"FAILED: {reason}") from skip


def _how_promoted(night: Night, reason: str, address: str) -> str:
    """Return when, against what and why a version was promoted, after "Became champion"."""
    against = f" in place of version {night.champion}" if night.champion else ""
    reasons = "\n".join(f"* {line}" for line in reason.split("; "))
    link = f"\n\n[The decision]({address})" if address else ""
    when = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    by = f"by the night of {night.as_of[:16]} of {night.pipeline}"
    return f"{when}{against}, {by}.\n\n{reasons}{link}"
