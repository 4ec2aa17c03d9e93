"""``report``: says how the night ended, in Airflow's log, in MLflow and as the task's state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from understudy.contract import Outcome, Tag
from understudy.declaration import Pipeline
from understudy.gate import Verdict
from understudy.night import Night
from understudy.orchestration.edge import airflow_errors
from understudy.orchestration.links import MlflowRunLink, run_address
from understudy.orchestration.night_context import APPROVE, PROMOTE, REPORT, night_of
from understudy.orchestration.services import Services

if TYPE_CHECKING:
    from airflow.sdk import Context

_BY_VERDICT = {Verdict.REJECT.value: Outcome.REJECTED, Verdict.HOLD.value: Outcome.HELD}
_BAD_STATES = frozenset({"failed", "upstream_failed", "removed"})


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
        bad = _bad_tasks(context)
        with airflow_errors():
            night = self._night(context, bad)
            services = Services.connect()
            tags = dict(services.runs.get(night.run_id).data.tags)
            outcome, reason = _outcome(tags, bad)
            champion = services.registry.champion(night.model)
            version = None if champion is None else str(champion.version)
            services.nights.close(night, outcome, reason, version)
        self.mlflow_address = run_address(night.experiment_id, night.run_id)
        self._tell(night, outcome, reason, version)
        return self._end(services, night, outcome, reason, version or "")

    def _night(self, context: Context, bad: list[str]) -> Night:
        try:
            return night_of(context)
        except AirflowSkipException as skip:
            raise AirflowFailException(f"FAILED before the night was opened: {bad}") from skip

    def _tell(self, night: Night, outcome: Outcome, reason: str, version: str | None) -> None:
        self.log.info("Night of %s: %s", night.as_of, outcome)
        self.log.info("Why: %s", reason)
        self.log.info("Champion of %s: %s -> %s", night.model, night.champion or "none", version)
        self.log.info("MLflow: %s", self.mlflow_address or night.run_id)

    def _end(
        self, services: Services, night: Night, outcome: Outcome, reason: str, version: str
    ) -> dict[str, str]:
        if outcome is Outcome.FAILED:
            raise AirflowFailException(f"FAILED: {reason}")
        if outcome is Outcome.SKIPPED:
            self._count_skips(services, night)
            raise AirflowSkipException(f"SKIPPED: {reason}")
        return {"outcome": outcome.value, "reason": reason, "champion": version}

    def _count_skips(self, services: Services, night: Night) -> None:
        skips = services.nights.skips_in_a_row(night) + 1
        if skips % self.pipeline.alert_after_skips == 0:
            self.log.error(
                "%s nights in a row were skipped: is the source of %s still alive?",
                skips,
                night.pipeline,
            )


def _bad_tasks(context: Context) -> list[str]:
    ti = context["ti"]
    states = ti.get_task_states(dag_id=ti.dag_id, run_ids=[ti.run_id]).get(ti.run_id, {})
    bad = [task for task, state in states.items() if str(state) in _BAD_STATES]
    return sorted(task for task in bad if task != REPORT)


def _outcome(tags: dict[str, str], bad: list[str]) -> tuple[Outcome, str]:
    """Return how a night ended, from its parent run's tags and the tasks that failed."""
    reason = tags.get(Tag.REASON.value, "")
    verdict = tags.get(Tag.VERDICT.value)
    if verdict is None and tags.get(Tag.OUTCOME.value) == Outcome.SKIPPED:
        return Outcome.SKIPPED, reason
    if verdict is None:
        return Outcome.FAILED, f"no verdict; these tasks failed: {', '.join(bad) or 'none'}"
    if {APPROVE, PROMOTE} & set(bad):
        return Outcome.FAILED, f"verdict {verdict} ({reason}); these tasks failed: {', '.join(bad)}"
    if verdict != Verdict.PROMOTE:
        return _BY_VERDICT[verdict], reason
    if tags.get(Tag.CHAMPION_AFTER.value):
        return Outcome.PROMOTED, reason
    why = tags.get(Tag.APPROVAL.value) or "this run was told never to promote"
    return Outcome.HELD, f"{why}; verdict PROMOTE: {reason}"
