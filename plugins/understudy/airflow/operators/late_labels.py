"""``matured``: sees nights of the past again, on the rows that came after them."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException

from understudy.airflow.exceptions import airflow_errors
from understudy.airflow.inputs import has_numbers
from understudy.airflow.night_context import night_of
from understudy.airflow.night_steps import NightStepOperator
from understudy.airflow.services import Services
from understudy.airflow.step import attempt_key
from understudy.contract import key_of
from understudy.errors import StepStoppedError, UnderstudyError
from understudy.spec.entry_points import MODEL_URI
from understudy.store.night import Night

if TYPE_CHECKING:
    from airflow.sdk import Context

    from understudy.decide.late_labels import JudgedNight, LateLabels, Validate
    from understudy.runner.step import StepRequest


class LateLabelsOperator(NightStepOperator):
    """Completes the records of nights whose later rows have their targets now.

    It comes after the promotion and never keeps it waiting, nor does it fail the night.

    Args:
        delay: How long after a night its later rows have their targets.
    """

    def __init__(self, *, delay: timedelta, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.delay, self._scored = delay, 0
        self._labels: LateLabels | None = None

    def execute(self, context: Context) -> list[str]:
        """Return a sentence on each night that was seen again."""
        from understudy.decide.late_labels import LateLabels

        night = night_of(context)
        if not has_numbers(context, night):
            message = "Tonight no model was validated: there are no rows to see nights again on."
            raise AirflowSkipException(message)
        with airflow_errors():
            services = Services.connect()
            labels = LateLabels(
                services.client,
                services.runs,
                night,
                self.delay,
                lambda model, version: services.promoter.history(model).replaced(version),
            )
            self._labels = labels
            scoring = partial(self._validate, context, services, night)
            return [self._completed(labels, past, scoring) for past in labels.due()]

    def on_kill(self) -> None:
        """End what runs: a validation, or the gate's process."""
        super().on_kill()
        if self._labels is not None:
            self._labels.stop()

    def attempt(self, context: Context) -> str:
        """Return the identity of this validation: one task makes several."""
        return key_of(attempt_key(context), self._scored)

    def run_title(self) -> str:
        """Return the name of the MLflow run."""
        return f"{self.entry_point} of a past night"

    def run_step(self, context: Context, services: Services, request: StepRequest) -> str:
        """Run a validation within this task; one of many, none of which Airflow knows."""
        if self.placement is None:
            return super().run_step(context, services, request)
        return self.run_job_here(services, request)

    def _validate(self, context: Context, services: Services, night: Night, model_uri: str) -> str:
        """Score a model on the current rows; return the MLflow run of it."""
        # Counted, because the count is in the key: each validation of this try is a run of its own.
        self._scored += 1
        inputs = {**self.inputs(context, night), MODEL_URI: model_uri}
        return self.run_entry_point(context, services, night, inputs)

    def _completed(self, labels: LateLabels, past: JudgedNight, validate: Validate) -> str:
        """Complete one night; return a sentence about it, or why it must wait for a later night."""
        # One night's error keeps no other from being completed; a stop ends the task itself.
        try:
            summary = labels.complete(past, validate, self._say).summary()
        except StepStoppedError:
            raise
        except UnderstudyError as error:
            when = f"{past.as_of:%Y-%m-%d %H:%M}"
            summary = f"Night of {when}: it is for a later night to see. {error}"
        self._say(summary)
        return summary
