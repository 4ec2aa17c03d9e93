"""The decision of a night: inputs are evaluated, judged, and stored as one record. No Airflow."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Final

from understudy.contract import (
    DECISION_PAGE,
    DECISION_PROFILE,
    DECISION_RECORD,
    DECISION_SUMMARY,
    REFIT_RECORD,
    DataTag,
    Kind,
    Tag,
)
from understudy.decide.digests import check, of_model
from understudy.errors import DecisionError, ProjectError
from understudy.gate import (
    Basis,
    Case,
    Cause,
    Check,
    DecisionRecord,
    Score,
    Unscored,
    Verdict,
    replay,
)
from understudy.gate.evidence import Moved
from understudy.gate.record import CHANGED, STAND_IN, as_json
from understudy.spec.guards import QUANTITIES
from understudy.spec.pipeline import Refit
from understudy.spec.rules import DEFAULTS
from understudy.store.artifacts import log_sealed, log_texts, read_text
from understudy.store.tracking import RunStore, ui_address

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

    from understudy.decide.evaluator import EvaluationRequest, EvaluationResult, Evaluator
    from understudy.runner.process.process import OnLine
    from understudy.spec.git_access import GitAccess
    from understudy.store.night import Night

# Characters; MLflow refuses tag values above its own limit.
_REASON_LIMIT: Final = 5000


@dataclass(frozen=True, slots=True)
class ExecutionContext:
    """What a project's processes need beside its code.

    Attributes:
        environment: Variables that they may see; values may be secrets.
        git_access: What opens the repository; None for what this machine's user can read.
    """

    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    git_access: GitAccess | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class DecisionInputs:
    """What the steps of a night have left to judge by.

    Attributes:
        challenger: The challenger's validation, or its training where a night has none.
        champion: The champion's validation, or None where no champion exists.
        rows: Address of what ``preprocess`` logged, ``runs:/<run id>/<path>``; empty for nothing.
        execution: What the models run with where they are measured.
    """

    challenger: Validation
    champion: Validation | None
    rows: str = ""
    execution: ExecutionContext = ExecutionContext()


@dataclass(frozen=True, slots=True)
class Validation:
    """How the validation of one model ended.

    Attributes:
        model: The model's version in the registry, or its URI.
        run_id: The MLflow run; empty where it never began.
        error: Why there are no numbers; empty where there are.
        cause: The same as one of a few causes.
        scored: The version whose predictions these are, where that is another one: a refit was
            trained on rows of its night's holdout, the version that was judged before it was not.
    """

    model: str
    run_id: str = ""
    error: str = ""
    cause: Cause = Cause.UNKNOWN
    scored: str = ""


@dataclass(frozen=True, slots=True)
class Refitted:
    """A challenger that was trained again on all rows, beside what was judged.

    Attributes:
        moved: How far its predictions are from those that were judged.
        max_change: How far they may be, as a share of the judged model's error.
    """

    moved: Moved
    max_change: float

    @property
    def is_within(self) -> bool:
        """Whether it may be promoted in place of what was judged."""
        # NaN, of predictions that are none, is not.
        return self.moved.share <= self.max_change

    @property
    def said(self) -> str:
        """A sentence about it."""
        share, bound = self.moved.share, f"{self.max_change:g}"
        again = f"refit: trained again on all rows, {self.moved.rows:,} of the holdout included, "
        if math.isnan(share):
            return f"{again}the model predicts no finite numbers for some of these"
        much = f"and may by {bound}" if self.is_within else f"which is more than {bound}"
        return (
            f"{again}the model differs on these from what was judged by {share:.3g} of that model's"
            f" error, {much}"
        )


class DecisionService:
    """Judges nights and keeps their records with the parent runs."""

    def __init__(self, client: MlflowClient, runs: RunStore) -> None:
        self._client, self._runs = client, runs
        self._evaluator: Evaluator | None = None

    def judge(
        self,
        night: Night,
        inputs: DecisionInputs,
        on_line: OnLine = lambda _line: None,
    ) -> DecisionRecord:
        """Judge a night and store the record.

        Args:
            night: What was pinned.
            inputs: What its steps have left to judge by.
            on_line: Takes what the evaluation logs, line by line.

        Raises:
            DecisionError: when the challenger has no numbers, or the evaluation fails.
            UnderstudyError: others of the tree, from environments and the tracking server.
        """
        from understudy.decide.evaluator import Evaluator
        from understudy.decide.inputs import changed, learned, shadow
        from understudy.runner.settings import Settings

        basis = Basis.VALIDATIONS if night.validated else Basis.TRAININGS
        request, chosen = self._request(night, inputs, basis), learned(self._runs, night)
        if chosen is not None:
            request = replace(request, gate=request.gate.tolerating(chosen.chosen))
        settings = replace(Settings.from_environment(), git_access=inputs.execution.git_access)
        # Kept before it runs: `stop` comes from a signal handler while it does.
        self._evaluator = Evaluator(self._client, settings)
        result = self._evaluator.evaluate(request, on_line)
        said = {
            CHANGED: changed(self._runs, night, night.spec.gate),
            STAND_IN: _stand_in(night, inputs.champion),
        }
        record = DecisionRecord.of(
            night.context() | {name: text for name, text in said.items() if text},
            request.gate,
            result.challenger,
            result.champion,
            basis=result.basis if night.validated else basis,
            evidence=result.evidence,
            shadow=shadow(self._runs, night, request.gate),
            software=result.software,
            measurement=result.measurement,
            learned=chosen,
            artifacts=result.artifacts,
        )
        self._store(night, record, result)
        return record

    def stop(self) -> None:
        """End the evaluation; safe in a signal handler."""
        if self._evaluator is not None:
            self._evaluator.stop()

    def record(self, night: Night) -> DecisionRecord | None:
        """Return the night's stored record, recomputed from its own inputs, or None."""
        run = self._runs.get(night.run_id)
        # The tag is written after the record: without it, what lies there may be half a verdict.
        if Tag.VERDICT.value not in run.data.tags:
            return None
        return replay(read_text(self._client, run, DECISION_RECORD))

    def promotion(self, night: Night, *, refitted: bool = False) -> DecisionRecord:
        """Return the night's stored record, whose verdict is PROMOTE.

        All that it rests on is read once more.

        Args:
            night: What was pinned.
            refitted: Whether the model that is promoted is the refit, which has a record, too.

        Raises:
            ArtifactChangedError: when something of it is not what was judged.
            DecisionError: when there is none, or its verdict is another one.
        """
        record = self.record(night)
        if record is None or record.verdict is not Verdict.PROMOTE:
            raise DecisionError(
                f"The stored verdict is {'missing' if record is None else record.verdict.value}",
                allowed=f"{Verdict.PROMOTE.value}, in the night's parent run {night.run_id}",
                action="clear the task gate of this Dag run",
            )
        artifacts = record.digests
        if refitted:
            text = read_text(self._client, self._runs.get(night.run_id), REFIT_RECORD)
            artifacts |= json.loads(text).get("artifacts", {})
        check(self._client, artifacts)
        return record

    def holdout_trained(self, run_id: str) -> int:
        """Return how many holdout rows a training says it learned from.

        Raises:
            ProjectError: when it does not say: it may have taken no notice of ``refit``.
        """
        said = self._runs.get(run_id).data.tags.get(DataTag.HOLDOUT_TRAINED.value, "")
        if not said.isdecimal():
            raise _deaf(run_id, f"says {said!r}" if said else "does not say")
        return int(said)

    def refit(
        self,
        night: Night,
        record: DecisionRecord,
        scored: Validation,
        trained: int,
        on_line: OnLine = lambda _line: None,
    ) -> Refitted:
        """Compare a refit with what was judged, and store what that shows with the night.

        Args:
            night: What was pinned.
            record: What was decided, of the challenger that was trained again.
            scored: The validation of the refit, on the same rows.
            trained: How many of these rows its training says that it learned from.
            on_line: Takes what the gate's process logs, line by line.

        Raises:
            ProjectError: when that are not all of them.
            DecisionError: when the two cannot be compared.
            UnderstudyError: others of the tree, from environments and the tracking server.
        """
        from understudy.decide.evaluator import Evaluator

        self._evaluator = Evaluator(self._client)
        score = Score(scored.model, {}, scored.run_id)
        rules, bound = night.spec.gate, (night.spec.refit or Refit()).max_change
        moved = self._evaluator.moved(score, record.challenger, rules, on_line)
        if trained != moved.rows:
            raise _deaf(scored.model, f"says {trained:,} of {moved.rows:,}")
        found = Refitted(moved, bound)
        model = of_model(self._client, scored.model)
        document = {
            "schema": "understudy/refit/1",
            "judged": record.challenger.model,
            "refitted": scored.model,
            "validation": scored.run_id,
            **as_json(asdict(moved)),
            "share": as_json(moved.share),
            "max_change": bound,
            **({"artifacts": {scored.model: model}} if model else {}),
        }
        run = self._runs.get(night.run_id)
        log_sealed(self._client, run, {REFIT_RECORD: json.dumps(document, indent=2)})
        number = {"refit_change": moved.share} if math.isfinite(moved.share) else {}
        self._runs.tag(night.run_id, {Tag.REFIT: found.said}, number)
        return found

    def _request(self, night: Night, inputs: DecisionInputs, basis: Basis) -> EvaluationRequest:
        """Return what is to be evaluated.

        Raises:
            DecisionError: when the challenger has no numbers.
        """
        from understudy.decide.benchmark import BenchmarkModels
        from understudy.decide.candidates import BenchmarkModel
        from understudy.decide.evaluator import EvaluationRequest
        from understudy.decide.inputs import NightRows, earlier_challengers

        challenger = self._score(inputs.challenger, basis)
        if isinstance(challenger, Unscored):
            raise DecisionError(
                f"The challenger {challenger.model} has no numbers: {challenger.reason}",
                allowed="a validation that finished",
                action="read the log of the task validate of this night",
            )
        champion, measured_champion, uri = None, None, ""
        if inputs.champion is not None:
            champion = self._score(inputs.champion, basis)
            uri = f"models:/{night.model}/{champion.model}"
            measured_champion = BenchmarkModel(champion.model, uri)
        measured, validated = BenchmarkModel(challenger.model, challenger.model), night.validated
        return EvaluationRequest(
            night.spec.gate,
            challenger,
            champion,
            earlier_challengers(self._runs, night, challenger.model) if validated else {},
            NightRows(inputs.rows, night.as_of, uri) if inputs.rows else None,
            models=BenchmarkModels(measured, measured_champion, inputs.execution.environment),
            trained=not validated,
        )

    def _score(self, validation: Validation, basis: Basis) -> Score | Unscored:
        if validation.error:
            return Unscored(validation.model, validation.error, validation.run_id, validation.cause)
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
        # The inner run's metric wins over one of the same name around it: it is of that one model.
        around, metrics = run, dict(run.data.metrics)
        while around.data.tags.get(Tag.KIND.value) != Kind.STEP:
            outer = around.data.tags.get("mlflow.parentRunId")
            if outer is None:
                return dict(run.data.metrics)
            around = self._runs.get(outer)
            metrics = {**around.data.metrics, **metrics}
        return metrics

    def _store(self, night: Night, record: DecisionRecord, result: EvaluationResult) -> None:
        """Keep the record with the night's run; the verdict's tag makes it valid.

        The page is drawn last: a verdict does not depend on its picture.
        """
        from understudy.report import Links, render_or_tell

        summary = dict(result.summary)
        texts = {
            DECISION_RECORD: record.to_json(),
            DECISION_SUMMARY: json.dumps(summary) if summary else "",
            DECISION_PROFILE: result.profile,
        }
        run = self._runs.get(night.run_id)
        log_sealed(self._client, run, {path: text for path, text in texts.items() if text})
        numbers = dict(pair for check in record.decision.checks for pair in _numbers(check))
        self._runs.tag(night.run_id, _tags(record), {**numbers, **dict(_costs(record))})
        links = Links(ui_address(), night.experiment_id, night.run_id)
        page = render_or_tell(record.to_dict(), summary or None, links)
        log_texts(self._client, run, {DECISION_PAGE: page})


def _deaf(what: str, says: str) -> ProjectError:
    return ProjectError(
        f"The training of {what} was told to take the holdout's rows, too, and {says} how many it"
        " learned from",
        allowed=f"the tag {DataTag.HOLDOUT_TRAINED} on its run: the number of all of them",
        action="let the training take them and set the tag (docs/refit.md), or take refit out of"
        " the pipeline file",
    )


def _stand_in(night: Night, champion: Validation | None) -> str:
    """Return that another version was scored in the champion's place, and why; '' for no other."""
    if champion is None or champion.scored in {"", champion.model}:
        return ""
    said = (
        f"the champion, version {champion.model}, is a refit: it was trained on rows of its own "
        f"night's holdout; version {champion.scored}, which was judged then, was scored in its "
        "place"
    )
    if night.spec.refit is not None:
        return said
    return f"{said}; this night refits nothing: what it promotes may know older rows than that"


def _numbers(check: Check) -> Iterator[tuple[str, float]]:
    """Yield the compared numbers, which MLflow's table of nights then shows."""
    if check.slice:
        return
    named = {"challenger": check.challenger, "champion": check.champion}
    if check.interval is not None:
        named |= {"gain": check.gain, "gain_low": check.interval.low}
        named |= {"gain_high": check.interval.high}
    yield from ((f"{name}_{check.metric}", v) for name, v in named.items() if v is not None)


def _costs(record: DecisionRecord) -> Iterator[tuple[str, float]]:
    """Yield what the two models cost, in bytes and seconds, beside the compared numbers."""
    for found in record.evidence.findings if record.evidence else ():
        for model in ("challenger", "champion") if found.guard in QUANTITIES else ():
            value = found.numbers.get(model)
            if isinstance(value, int | float):
                yield f"{model}_{found.guard}", float(value)


def _tags(record: DecisionRecord) -> dict[Tag, str]:
    """Return what later nights and Airflow look up without reading the record.

    Empty values are written too: a night that is judged again must not keep the first one's.
    """
    decision, evidence = record.decision, record.evidence
    compared = decision.case is Case.COMPARED and evidence is not None
    unscored = record.champion if isinstance(record.champion, Unscored) else None
    return {
        Tag.HOLDOUT: evidence.rows_sha256 if compared and evidence else "",
        Tag.HOLDOUT_ROWS: evidence.rows_sample if compared and evidence else "",
        Tag.DEFAULTS: DEFAULTS,
        Tag.CHALLENGER: record.challenger.model,
        Tag.PRIMARY: record.gate.primary.name,
        Tag.MATURED: "",
        Tag.LESSON: "",
        Tag.SHADOW: record.shadow.summary(record.verdict) if record.shadow else "",
        Tag.CHAMPION_UNSCORED: unscored.cause.value if unscored else "",
        Tag.VERDICT_REASON: decision.why[:_REASON_LIMIT],
        Tag.VERDICT: record.verdict.value,
    }
