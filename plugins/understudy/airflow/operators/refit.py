"""``refit``: trains the challenger that has passed again on all rows, and compares the two."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from understudy.airflow.challenger import challenger_version, held, refuse_return
from understudy.airflow.exceptions import airflow_errors
from understudy.airflow.night_context import TRAIN, step_run
from understudy.airflow.night_steps import NOT_PINNED, NightStepOperator
from understudy.airflow.services import Services
from understudy.contract import Tag
from understudy.decide.decision import DecisionService, Validation
from understudy.errors import DecisionError
from understudy.spec.entry_points import REFIT, YES, Role
from understudy.spec.pipeline import NightSpec
from understudy.store.artifacts import read_note
from understudy.store.night import Night

if TYPE_CHECKING:
    from airflow.sdk import Context


class RefitOperator(NightStepOperator):
    """Trains by the recipe that was judged on all rows, scores that, and says how far it moved.

    Nothing is promoted where it fails, or has moved farther than the pipeline allows.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(step=Role.TRAIN, **kwargs)
        self._decisions: DecisionService | None = None

    def execute(self, context: Context) -> Any:  # noqa: ANN401 -- as the base class
        """Return what the rehearsal and the promotion need of the refit."""
        with airflow_errors(context):
            services, night = Services.connect(), self.night(context)
            if night.spec.refit is None:
                self.log.info(NOT_PINNED)
                return None
            # Before hours of training: what may not become champion is not trained again.
            refuse_return(services, night, challenger_version(context, services, night))
        return super().execute(context)

    def inputs(self, context: Context, night: Night) -> dict[str, str]:
        """Return the rows, and the word to take all of them."""
        again = {REFIT: YES} if self.step is Role.TRAIN else {}
        return {**super().inputs(context, night), **again}

    def given(
        self, context: Context, services: Services, night: Night, wanted: Collection[str]
    ) -> dict[str, Any]:
        """Return for the training what the judged one was handed, a search's result included.

        Raises:
            DecisionError: where that is not on record.
        """
        if self.step is not Role.TRAIN:
            return super().given(context, services, night, wanted)
        run = services.runs.get(step_run(context, TRAIN))
        handed = json.loads(read_note(services.client, run, Tag.PARAMETERS) or "{}")
        if not handed:
            raise DecisionError(
                f"The training run {run.info.run_id} has no parameters on record",
                allowed=f"the tag {Tag.PARAMETERS}, by which the same recipe is trained again",
                action=f"clear the task {TRAIN} of this Dag run",
            )
        return {name: handed[name] for name in wanted if name in handed}

    def finished(self, context: Context, services: Services, run_id: str) -> dict[str, str]:
        """Score the refit on the rows that were judged, and hold it where it moved too far."""
        night, trained = self.night(context), services.registry.trained
        self._decisions = DecisionService(services.client, services.runs)
        record = self._decisions.promotion(night)
        rows = self._decisions.holdout_trained(run_id)
        uri = trained(run_id, night.spec.steps.model).uri
        # From here on this is a validation, run within the task, by the night's parameters for it.
        self.step = Role.VALIDATE
        self.entry_point = self.entry_point_of(night.spec)
        scored = Validation(uri, self.score(context, services, night, uri))
        found = self._decisions.refit(night, record, scored, rows, self._say)
        self.log.info(found.said)
        if not found.is_within:
            raise held(services, night, found.said)
        return {"run_id": run_id, "validation": scored.run_id, "said": found.said}

    def on_kill(self) -> None:
        """End what runs: the training, the validation, or the gate's process."""
        super().on_kill()
        if self._decisions is not None:
            self._decisions.stop()

    def may_reuse(self, spec: NightSpec, parameters: Collection[str]) -> bool:
        """Return whether an earlier refit may stand for this one: where a training's may."""
        return spec.reuse.get(self.step.value, super().may_reuse(spec, parameters))

    def run_title(self) -> str:
        """Return the name of the MLflow run."""
        return f"{self.entry_point} refit"
