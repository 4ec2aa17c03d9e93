"""``gate`` and ``approve``: reach the verdict, and ask a person where one is wanted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from understudy.airflow.challenger import challenger_version, held
from understudy.airflow.exceptions import airflow_errors
from understudy.airflow.inputs import decision_inputs, has_numbers
from understudy.airflow.links import (
    DecisionLink,
    MlflowRunLink,
    decision_address,
    night_page,
    run_address,
)
from understudy.airflow.night_context import GATE, night_of, pulled
from understudy.airflow.services import Services
from understudy.contract import Tag
from understudy.decide.decision import DecisionService
from understudy.gate import Verdict
from understudy.redact import plain
from understudy.spec.pipeline import Pipeline

if TYPE_CHECKING:
    from airflow.sdk import Context


_MARKUP, _LITERAL = re.compile(r"([\\`\[\]<>])"), r"\\\1"
"""What names of columns and classes could make links and tags of, in Markdown."""


class GateOperator(BaseOperator):
    """Compares two models' numbers and stores the decision record; it never moves anything.

    It runs also when the champion's validation failed, because that is a verdict of its own.

    Args:
        pipeline: What the pipeline file declares; it counts where the version before, which pinned
            less, began the night.
    """

    operator_extra_links = (MlflowRunLink(), DecisionLink())
    ui_color = "#fff8e1"

    def __init__(self, *, pipeline: Pipeline, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pipeline = pipeline
        self.mlflow_address = self.decision_address = ""
        self._decisions: DecisionService | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Return the verdict and its reasons, and what a night in shadow only says."""
        night = night_of(context, self.pipeline)
        if not has_numbers(context, night):
            message = "No challenger was validated: there is nothing to judge."
            raise AirflowSkipException(message)
        with airflow_errors(context):
            services = Services.connect()
            self._decisions = DecisionService(services.client, services.runs)
            inputs = decision_inputs(context, services, night)
            record = self._decisions.judge(night, inputs, partial(self.log.info, "%s"))
        self.mlflow_address = run_address(night.experiment_id, night.run_id)
        self.decision_address = night_page(
            context["ti"].dag_id, context["ti"].run_id
        ) or decision_address(night.experiment_id, night.run_id)
        for line in record.summary_lines():
            self.log.info(line)
        reasons = "\n".join(f"* {_MARKUP.sub(_LITERAL, line)}" for line in record.summary_lines())
        page = self.decision_address
        return {
            "verdict": record.verdict.value,
            "reasons": list(record.decision.reasons),
            "shadow": record.shadow.summary(record.verdict) if record.shadow else "",
            # Markdown, from which `approve` renders what a person reads before the answer.
            "summary": f"{reasons}\n\n[The whole decision, with every check]({page})"
            if page
            else reasons,
        }

    def on_kill(self) -> None:
        """End the gate's process; Airflow gives this five seconds."""
        if self._decisions is not None:
            self._decisions.stop()


class ApproveOperator(ApprovalOperator):
    """Ends the night here unless the verdict is PROMOTE; asks a person where the night says so.

    While a person is asked the challenger has the alias ``challenger``, and no worker waits.
    """

    template_fields: Sequence[str] = ("subject", "body")
    ui_color = "#fff8e1"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            subject="Promote the challenger of {{ dag.dag_id }} ({{ run_id }})?",
            body=f"{{{{ ti.xcom_pull(task_ids='{GATE}')['summary'] }}}}",
            defaults=self.REJECT,
            **kwargs,
        )

    def execute(self, context: Context) -> Any:  # noqa: ANN401 -- the base class says so
        """Pass, skip, or park the task until a person answers."""
        night, judged = night_of(context), pulled(context, GATE)
        if judged is None or judged["verdict"] != Verdict.PROMOTE.value:
            raise AirflowSkipException(
                plain("; ".join(judged["reasons"])) if judged else "no verdict"
            )
        if night.promote == "auto" and not judged["shadow"]:
            return None
        with airflow_errors(context):
            services = Services.connect()
            if judged["shadow"]:
                raise held(services, night, judged["shadow"])
            if night.promote == "never":
                raise held(services, night, "this run was told never to promote")
            # The alias lets a person load the very model that the question is about.
            version = challenger_version(context, services, night)
            services.registry.challenge(night.model, version)
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:  # noqa: ANN401
        """Write down the answer and the person, then let Airflow act on it."""
        if "error" not in event:
            night = night_of(context)
            # No user: nobody answered in time, and Airflow took the default (Airflow 3.3).
            user = (event.get("responded_by_user") or {}).get("name") or "nobody in time"
            answer = f"{event['chosen_options'][0]} by {user}"
            # Rejected, the night ends HELD with these words as its reason.
            with airflow_errors(context):
                tags = {Tag.APPROVAL: answer, Tag.HELD_BECAUSE: answer}
                Services.connect().runs.tag(night.run_id, tags)
        return super().execute_complete(context, event)
