"""Gathers two models' numbers from MLflow, has them judged, and stores the record. No Airflow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from understudy.artifacts import log_texts, read_text
from understudy.contract import DECISION_ARTIFACT, DataTag, Kind, Tag
from understudy.errors import DecisionError
from understudy.gate import Basis, DecisionRecord, Gate, Score, Unscored, replay
from understudy.tracking import RunStore

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

    from understudy.night import Night

RECORD: Final = f"{DECISION_ARTIFACT}/decision.json"


@dataclass(frozen=True, slots=True)
class Validation:
    """How the validation of one model ended.

    Attributes:
        model: The model's version in the registry, or its URI.
        run_id: The MLflow run; empty where it never began.
        error: Why there are no numbers; empty where there are.
    """

    model: str
    run_id: str = ""
    error: str = ""


class Court:
    """Judges nights and keeps their records with the parent runs."""

    def __init__(self, client: MlflowClient, runs: RunStore) -> None:
        self._client, self._runs = client, runs

    def judge(
        self, night: Night, challenger: Validation, champion: Validation | None
    ) -> DecisionRecord:
        """Judge a night and store the record.

        Args:
            night: What was pinned.
            challenger: The challenger's validation, or its training where a night has none.
            champion: The champion's validation, or None where no champion exists.

        Raises:
            DecisionError: when the challenger has no numbers.
        """
        basis = Basis.VALIDATIONS if night.validated else Basis.TRAININGS
        score = self._score(challenger, basis)
        if isinstance(score, Unscored):
            raise DecisionError(
                f"The challenger {challenger.model} has no numbers: {score.reason}",
                allowed="a validation that finished",
                action="read the log of the task validate of this night",
            )
        theirs = None if champion is None else self._score(champion, basis)
        gate = Gate.from_dict(dict(night.rules))
        record = DecisionRecord.of(night.context(), gate, score, theirs, basis=basis)
        self._store(night, record)
        return record

    def record(self, night: Night) -> DecisionRecord | None:
        """Return the night's stored record, recomputed from its own inputs, or None."""
        run = self._runs.get(night.run_id)
        if Tag.VERDICT.value not in run.data.tags:
            return None
        return replay(read_text(self._client, run, RECORD))

    def _score(self, validation: Validation, basis: Basis) -> Score | Unscored:
        if validation.error:
            return Unscored(validation.model, validation.error, validation.run_id)
        run = self._runs.get(validation.run_id)
        return Score(
            validation.model,
            self._metrics(run) if basis is Basis.TRAININGS else dict(run.data.metrics),
            validation.run_id,
            run.data.tags.get(DataTag.HOLDOUT_SHA256.value, ""),
        )

    def _metrics(self, run: Run) -> dict[str, float]:
        """Return a training's numbers: those of the run with the model, then of the runs around it.

        The outermost that counts is the step's own; where none is, the model's run stands alone.
        """
        around, metrics = run, dict(run.data.metrics)
        while around.data.tags.get(Tag.KIND.value) != Kind.STEP:
            outer = around.data.tags.get("mlflow.parentRunId")
            if outer is None:
                return dict(run.data.metrics)
            around = self._runs.get(outer)
            metrics = {**around.data.metrics, **metrics}
        return metrics

    def _store(self, night: Night, record: DecisionRecord) -> None:
        """Keep the record; the verdict's tag makes it valid.

        The compared numbers are repeated on the parent run, where MLflow's table shows them.
        """
        run = self._runs.get(night.run_id)
        log_texts(self._client, run, {RECORD: record.to_json()})
        numbers = {
            f"{who}_{check.metric}": value
            for check in record.decision.checks
            for who, value in (("challenger", check.challenger), ("champion", check.champion))
            if value is not None
        }
        tags = {Tag.VERDICT_REASON: record.decision.why[:5000], Tag.VERDICT: record.verdict.value}
        self._runs.tag(night.run_id, tags, numbers)
