"""``promote``: obeys a verdict of PROMOTE; judges again where the champion changed meanwhile."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from airflow.sdk.exceptions import AirflowSkipException

from understudy.airflow.assets import announce, announced, champion_asset, keep_quiet
from understudy.airflow.challenger import challenger_version, held, refuse_return
from understudy.airflow.exceptions import airflow_errors
from understudy.airflow.inputs import execution_context, lost_champion, rows_of, trained_score
from understudy.airflow.links import run_address
from understudy.airflow.night_context import REHEARSE, TRAIN, night_of, pulled
from understudy.airflow.night_steps import NightStepOperator, step_run
from understudy.airflow.services import Services
from understudy.airflow.step import attempt_key
from understudy.contract import key_of
from understudy.decide.decision import DecisionInputs, Validation
from understudy.decide.inputs import cause_of
from understudy.errors import DecisionError, StepFailedError
from understudy.gate import DecisionRecord, Unscored, Verdict
from understudy.registry.history import MoveCause
from understudy.registry.promoter import ChampionChangedError, MoveRequest
from understudy.spec.entry_points import MODEL_URI
from understudy.spec.pipeline import Pipeline
from understudy.store.night import Night

if TYPE_CHECKING:
    from airflow.sdk import Context

    from understudy.decide.decision import DecisionService
    from understudy.runner.step import StepRequest

_JUDGEMENTS: Final = 3
"""How often a verdict is reached anew within one task before the task gives up and is retried."""


class PromoteOperator(NightStepOperator):
    """Moves the alias ``champion`` to the challenger's version and returns that version."""

    def __init__(self, *, pipeline: Pipeline, **kwargs: Any) -> None:
        champion = champion_asset(pipeline.model)
        super().__init__(pipeline=pipeline, inlets=[champion], outlets=[champion], **kwargs)
        self._champion, self._judgement = champion, 0
        self._decisions: DecisionService | None = None

    def execute(self, context: Context) -> str:
        """Move while the champion is the one compared with; else validate it and judge again."""
        with airflow_errors():
            services, night = Services.connect(), night_of(context)
            self.mlflow_address = run_address(night.experiment_id, night.run_id)
            record = self._record(services, night)
            who = _who(context, services.nights.approval(night))
            version = challenger_version(context, services, night)
            refuse_return(context, services, night, version)
            rehearsal = str(pulled(context, REHEARSE) or "")
            # The champion may change between verdict and move, and again during each new judgement.
            # The comparison with `expected` happens in the promoter, right before the alias moves.
            for self._judgement in range(1, _JUDGEMENTS + 1):
                try:
                    request = replace(
                        _move_request(night, record, version, who),
                        expected=compared_with(services, night, record),
                        rehearsal_run=rehearsal,
                    )
                    moved = services.promoter.move(request)
                except ChampionChangedError as changed:
                    self.log.warning(str(changed))
                    record = self._judge_again(context, services, night, record)
                else:
                    self.log.info("%s version %s is champion", night.model, version)
                    self._announce(context, request, moved=moved)
                    return version
        raise DecisionError(
            f"The champion of {night.model} changed {_JUDGEMENTS} times while it was compared with",
            allowed="a champion that stays for the length of one validation",
            action="look who else moves the alias; this task may be run again",
        )

    def on_kill(self) -> None:
        """End what runs: a validation, or the gate's process."""
        super().on_kill()
        if self._decisions is not None:
            self._decisions.stop()

    def may_reuse(self, parameters: Collection[str]) -> bool:
        """Return False: what moves the alias is compared anew."""
        del parameters
        return False

    def run_step(self, context: Context, services: Services, request: StepRequest) -> str:
        """Run a validation within this task, which holds the alias's one place meanwhile."""
        if self.placement is None:
            return super().run_step(context, services, request)
        return self.run_job_here(services, request)

    def _announce(self, context: Context, request: MoveRequest, *, moved: bool) -> None:
        """Let Airflow's asset change, once: a try that died after the move made no event."""
        extra = {
            "model": request.model,
            "version": request.version,
            "previous": request.expected,
            "run_id": step_run(context, TRAIN),
            "decision_run_id": request.decision_run,
        }
        if moved or announced(context, self._champion) != extra:
            announce(context, self._champion, extra)
        else:
            keep_quiet(self)

    def attempt(self, context: Context) -> str:
        """Return the identity of this validation: one task may make several."""
        return key_of(attempt_key(context), self._judgement)

    def run_title(self) -> str:
        """Return the name of the MLflow run."""
        return f"{self.entry_point} new champion"

    def _record(self, services: Services, night: Night) -> DecisionRecord:
        record = services.decisions.record(night)
        if record is None or record.verdict is not Verdict.PROMOTE:
            raise DecisionError(
                f"The stored verdict is {'missing' if record is None else record.verdict.value}",
                allowed=f"{Verdict.PROMOTE.value}, in the night's parent run {night.run_id}",
                action="clear the task gate of this Dag run",
            )
        return record

    def _judge_again(
        self, context: Context, services: Services, night: Night, record: DecisionRecord
    ) -> DecisionRecord:
        # The person saw a comparison with the champion of then, and has not agreed to another one.
        if night.promote == "ask":
            raise held(services, night, "the champion changed after a person had approved")
        champion = services.registry.champion(night.model)
        if champion is None:
            validation = lost_champion(services, night.model)
        else:
            validation = self._validated(context, services, night, str(champion.version))
        challenger = Validation(record.challenger.model, record.challenger.run_id)
        # Kept for `on_kill`, which comes while the gate's process runs.
        self._decisions = services.decisions
        execution = execution_context(night, self.pipeline)
        inputs = DecisionInputs(challenger, validation, rows_of(context, night), execution)
        again = services.decisions.judge(night, inputs, self._say)
        for line in again.summary_lines():
            self.log.info(line)
        if again.verdict is not Verdict.PROMOTE:
            raise AirflowSkipException(f"{again.verdict}: {again.decision.why}")
        return again

    def _validated(
        self, context: Context, services: Services, night: Night, version: str
    ) -> Validation:
        if not night.validated:
            return trained_score(services, night, version)
        inputs = {**self.inputs(context, night), MODEL_URI: f"models:/{night.model}/{version}"}
        try:
            run_id = self.run_entry_point(context, services, night, inputs)
        except StepFailedError as error:
            # Another try may succeed; in the last one, that it fails is what there is to judge by.
            if error.can_retry and context["ti"].try_number <= context["ti"].max_tries:
                raise
            cause = cause_of(services.client, error, night.model, version)
            return Validation(version, error.run_id, str(error), cause)
        return Validation(version, run_id)


def compared_with(services: Services, night: Night, record: DecisionRecord) -> str | None:
    """Return the champion that the alias must still point at; None for "at none"."""
    if record.champion is None:
        return None
    # Its version was deleted or its alias taken away: the alias is expected to point nowhere.
    lost = services.promoter.lost(night.model) if isinstance(record.champion, Unscored) else None
    if lost is not None and lost.version == record.champion.model:
        return None  # the rules waive that comparison
    return record.champion.model


def _move_request(
    night: Night, record: DecisionRecord, version: str, who: tuple[MoveCause, str]
) -> MoveRequest:
    return MoveRequest(
        model=night.model,
        version=version,
        expected=None,
        # The same for every try of the task: a move that a killed try began is carried on.
        key=key_of("night", night.run_id, version),
        cause=who[0],
        actor=who[1],
        why=record.decision.why,
        decision_run=night.run_id,
    )


def _who(context: Context, approval: str) -> tuple[MoveCause, str]:
    """Return whose move it is: of the person who approved or started the night, else its own."""
    dag_run = context["dag_run"]
    approved_by = approval.partition(" by ")[2]
    if approved_by:
        return MoveCause.PERSON, approved_by
    if dag_run.run_type == "manual":
        return MoveCause.PERSON, dag_run.triggering_user_name or "unknown"
    return MoveCause.NIGHT, f"{dag_run.dag_id} {dag_run.run_id}"
