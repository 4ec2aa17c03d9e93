"""Has both models of a comparison measured, for budgets. Reads MLflow, starts processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from understudy.decide.benchmark import Effort, Stopwatch
from understudy.decide.candidates import Candidate, candidate, refuse_gone, training_run
from understudy.errors import (
    RegistryError,
    StepStoppedError,
    TrackingUnavailableError,
    UnderstudyError,
)
from understudy.gate import Costs, Measurement
from understudy.gate.budgets import unmeasured
from understudy.runner.process.process import OnLine
from understudy.runner.settings import Settings

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

EFFORT: Final = Effort()
"""How much is measured at a gate."""
_NO_RUN: Final = "no run says which model its predictions are of"


@dataclass(frozen=True, slots=True)
class Model:
    """A model that may be measured.

    Attributes:
        name: Its version in the registry, its address, or the file of its predictions.
        uri: Its address in MLflow; empty where that is not known.
    """

    name: str
    uri: str = ""


@dataclass(frozen=True, slots=True)
class Models:
    """Both models of a comparison.

    Attributes:
        challenger: The challenger.
        champion: The champion; None without one.
        environment: Variables that their projects' processes are given; values may be secrets.
    """

    challenger: Model
    champion: Model | None
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)


class Scales:
    """Measures what models cost; ``stop`` ends it."""

    def __init__(self, client: MlflowClient, settings: Settings) -> None:
        self._client = client
        self._stopwatch = Stopwatch(client.tracking_uri, settings, EFFORT)

    def weigh(self, models: Models, holdout: Path | None, on_line: OnLine) -> Measurement:
        """Return what both models cost; where one cannot be measured, why.

        Args:
            models: Which ones.
            holdout: Parquet file whose first rows they predict; None for the challenger's example.
            on_line: Takes what the processes print, and lines of our own.

        Raises:
            StepStoppedError: when it was stopped.
            TrackingUnavailableError: when the server does not answer.
        """
        ours = self._found(models.challenger, models.environment)
        champion = models.champion
        theirs = None if champion is None else self._found(champion, models.environment)
        if isinstance(ours, Costs):
            alone = None if champion is None else Costs(champion.name, error="it would be alone")
            return Measurement(ours, alone)
        beside = theirs if isinstance(theirs, Candidate) else None
        on_line(_begins(ours, beside))
        try:
            measured = self._stopwatch.measure(ours, beside, holdout, on_line)
        except (StepStoppedError, TrackingUnavailableError):
            raise
        except UnderstudyError as error:
            named = None if champion is None else champion.name
            return unmeasured(ours.name, named, error.found)
        return Measurement(measured.challenger, theirs) if isinstance(theirs, Costs) else measured

    def stop(self) -> None:
        """End what runs; safe in a signal handler."""
        self._stopwatch.stop()

    def _found(self, model: Model, environment: Mapping[str, str]) -> Candidate | Costs:
        """Return what can be measured, or why it cannot."""
        if not model.uri:
            return Costs(model.name, error=_NO_RUN)
        try:
            run_id = training_run(self._client, model.uri)
            refuse_gone(self._client, model.uri)
            return candidate(self._client, model.name, model.uri, run_id, environment)
        except RegistryError as error:
            return Costs(model.name, error=error.found)


def _begins(ours: Candidate, theirs: Candidate | None) -> str:
    beside = f" beside {theirs.name}" if theirs else ""
    return f"Measuring what {ours.name} costs{beside}: about a minute, after their environments."
