"""``matured``: sees nights of the past again, on the rows that came after them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from airflow.sdk.exceptions import AirflowSkipException

from understudy.airflow.exceptions import airflow_errors
from understudy.airflow.inputs import has_numbers
from understudy.airflow.night_steps import NightStepOperator
from understudy.airflow.services import Services
from understudy.errors import StepStoppedError, UnderstudyError

if TYPE_CHECKING:
    from airflow.sdk import Context

    from understudy.decide.late_labels import JudgedNight, LateLabels, Validate


class LateLabelsOperator(NightStepOperator):
    """Completes the records of nights whose later rows have their targets now.

    It comes after the promotion and never keeps it waiting, nor does it fail the night.
    """

    _labels: LateLabels | None = None

    def execute(self, context: Context) -> list[str]:
        """Return a sentence on each night that was seen again."""
        from understudy.decide.late_labels import LateLabels

        with airflow_errors(context):
            night, services = self.night(context), Services.connect()
            delay = night.spec.label_delay
            if delay is None or not has_numbers(context, night):
                message = "No model was validated: there are no rows to see nights again on."
                raise AirflowSkipException(message)
            labels = LateLabels(
                services.client,
                services.runs,
                night,
                delay,
                lambda model, version: services.promoter.history(model).replaced(version),
            )
            self._labels = labels
            scoring = partial(self.score, context, services, night)
            return [self._completed(labels, past, scoring) for past in labels.due()]

    def on_kill(self) -> None:
        """End what runs: a validation, or the gate's process."""
        super().on_kill()
        if self._labels is not None:
            self._labels.stop()

    def run_title(self) -> str:
        """Return the name of the MLflow run."""
        return f"{self.entry_point} of a past night"

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
