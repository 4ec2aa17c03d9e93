"""``promote``: obeys a verdict of PROMOTE; judges again where the champion changed meanwhile."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from airflow.sdk.exceptions import AirflowSkipException

from understudy.airflow.assets import announce_champion, champion_asset, keep_quiet
from understudy.airflow.challenger import (
    compared_with,
    final_training,
    final_version,
    held,
    promotion,
    refuse_return,
)
from understudy.airflow.exceptions import airflow_errors
from understudy.airflow.inputs import inputs_again
from understudy.airflow.links import run_address
from understudy.airflow.night_steps import NightStepOperator
from understudy.airflow.services import Services
from understudy.decide.decision import DecisionService
from understudy.errors import DecisionError
from understudy.gate import DecisionRecord, Verdict
from understudy.registry.promoter import ChampionChangedError
from understudy.spec.entry_points import Role
from understudy.spec.pipeline import NightSpec, Pipeline
from understudy.store.night import Night

if TYPE_CHECKING:
    from airflow.sdk import Context


_JUDGEMENTS: Final = 3
"""How often a verdict is reached anew within one task before the task gives up and is retried."""


class PromoteOperator(NightStepOperator):
    """Moves the alias ``champion`` to the challenger's version and returns that version."""

    def __init__(self, *, pipeline: Pipeline, **kwargs: Any) -> None:
        champion, step = [champion_asset(pipeline.model)], Role.VALIDATE
        super().__init__(pipeline=pipeline, step=step, inlets=champion, outlets=champion, **kwargs)
        self._decisions: DecisionService | None = None

    def execute(self, context: Context) -> str:
        """Move while the champion is the one compared with; else validate it and judge again."""
        with airflow_errors(context):
            services, night = Services.connect(), self.night(context)
            self.mlflow_address = run_address(night.experiment_id, night.run_id)
            decisions = DecisionService(services.client, services.runs)
            record = decisions.promotion(night, refitted=night.spec.refit is not None)
            version = final_version(context, services, night)
            refuse_return(services, night, version)
            asked = promotion(context, services, night, version)
            # The champion may change between verdict and move, and again during each new judgement.
            # The comparison with `expected` happens in the promoter, right before the alias moves.
            for _ in range(_JUDGEMENTS):
                expected = compared_with(services, night, record)
                why = "; ".join(filter(None, [record.decision.why, asked.why]))
                request = replace(asked, expected=expected, why=why)
                try:
                    moved = services.promoter.move(request)
                except ChampionChangedError as changed:
                    self.log.warning(str(changed))
                    record = self._judge_again(context, services, night, record)
                    continue
                # A move that was made once is not made again, as when this task is cleared later.
                champion = services.promoter.look(night.model).champion
                if champion != version:
                    made = "%s version %s was made champion by this night; by now %s is, and stays"
                    self.log.info(made, night.model, version, champion or "none")
                    keep_quiet(self)
                    return version
                self.log.info("%s version %s is champion", night.model, version)
                names = {"model": night.model, "version": version, "previous": expected}
                trained = final_training(context, night)
                runs = {"run_id": trained, "decision_run_id": night.run_id}
                announce_champion(self, context, {**names, **runs}, moved=moved)
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

    def entry_point_of(self, spec: NightSpec) -> str:
        """Return what scores a new champion; without it, the numbers are those of trainings."""
        return spec.steps.validate or spec.steps.train

    def may_reuse(self, spec: NightSpec, parameters: Collection[str]) -> bool:
        """Return False: what moves the alias is compared anew."""
        del spec, parameters
        return False

    def run_title(self) -> str:
        """Return the name of the MLflow run."""
        return f"{self.entry_point} new champion"

    def _judge_again(
        self, context: Context, services: Services, night: Night, record: DecisionRecord
    ) -> DecisionRecord:
        # The person saw a comparison with the champion of then, and has not agreed to another one.
        if night.promote == "ask":
            raise held(services, night, "the champion changed after a person had approved")
        score = partial(self.score, context, services, night)
        inputs = inputs_again(context, services, night, record, score)
        # Kept for `on_kill`, which comes while the gate's process runs.
        self._decisions = DecisionService(services.client, services.runs)
        again = self._decisions.judge(night, inputs, self._say)
        for line in again.summary_lines():
            self.log.info(line)
        if again.verdict is not Verdict.PROMOTE:
            raise AirflowSkipException(f"{again.verdict}: {again.decision.why}")
        return again
