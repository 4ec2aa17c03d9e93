"""Evaluates two models: brings their predictions here, has them compared, and measures costs.

Reads MLflow; starts the gate's process and, where the rules have budgets, those of the benchmark.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from understudy.decide import inputs
from understudy.decide.benchmark import Benchmark, BenchmarkModels
from understudy.decide.digests import as_left, of_model
from understudy.decide.gate_process import GateProcess
from understudy.decide.inputs import Fetched, NightRows, brought, holdout
from understudy.errors import ArtifactChangedError, DecisionError
from understudy.gate import (
    Basis,
    Cause,
    CheckResult,
    Evidence,
    Finding,
    Gate,
    Measurement,
    Score,
    StoredPredictions,
    Unscored,
    budgets,
)
from understudy.gate.evidence import Earlier, Moved
from understudy.gate.exchange import GateRequest, GateResult, RowFiles
from understudy.runner.process.process import OnLine
from understudy.runner.scratch import scratch_folder
from understudy.runner.settings import Settings

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient


_PREDICTIONS_ALONE: Final = "a file of predictions does not say which model they are of"


@dataclass(frozen=True, slots=True)
class EvaluationResult:
    """What there is to judge.

    Attributes:
        challenger: Its numbers, with where its predictions are; None where there are none.
        champion: The same; why it has none; None without a champion.
        evidence: What the predictions say; None where logged metrics are all there is.
        software: Versions of what computed it.
        summary: What pictures are drawn from.
        profile: Of the night's training rows (JSON); empty without guards.
        measurement: What both models cost; None without budgets.
        artifacts: Digests of what else was read, as in the record.
    """

    challenger: Score
    champion: Score | Unscored | None
    evidence: Evidence | None = None
    software: Mapping[str, str] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    profile: str = ""
    measurement: Measurement | None = None
    artifacts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def basis(self) -> Basis:
        """What the comparison of two validated models rests on."""
        found = self.challenger.predictions is not None and self.evidence is not None
        return Basis.PREDICTIONS if found else Basis.VALIDATIONS


@dataclass(frozen=True, slots=True)
class EvaluationRequest:
    """What is to be evaluated.

    Attributes:
        gate: The rules.
        challenger: The challenger's numbers. Predictions that it names are taken; otherwise those
            that its validation logged.
        champion: The champion's numbers likewise; why it has none; None without a champion.
        earlier: Which challengers were compared before, by the digest of their holdout.
        rows: Where the night's rows are, for guards and budgets; None where that is not known.
        span: Two moments (ISO 8601): only rows after the first and not after the second are
            compared. None for all rows.
        models: What is measured for budgets; None where it is not known which models these are.
        trained: Whether the numbers are those of two trainings, each on rows of its own:
            predictions that a training may have logged are not compared.
    """

    gate: Gate
    challenger: Score
    champion: Score | Unscored | None
    earlier: Mapping[str, Earlier] = field(default_factory=dict)
    rows: NightRows | None = None
    span: tuple[str, str] | None = None
    models: BenchmarkModels | None = None
    trained: bool = False


@dataclass(frozen=True, slots=True)
class _Fetched:
    """A request whose files lie on this machine.

    Attributes:
        request: What is asked for.
        folder: Where the files lie.
        challenger: Its numbers, with where its predictions are.
        champion: The same; why it cannot be compared; None without a champion.
        gate_request: What the gate's process has to read; None where there is nothing to read.
        artifacts: Digests of rows and models.
    """

    request: EvaluationRequest
    folder: Path
    challenger: Score
    champion: Score | Unscored | None
    gate_request: GateRequest | None
    artifacts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


class Evaluator:
    """Evaluates models whose predictions lie in MLflow or in files; ``stop`` ends it."""

    def __init__(self, client: MlflowClient | None, settings: Settings | None = None) -> None:
        self._client = client
        self._settings = settings or Settings.from_environment()
        self._process = GateProcess(self._settings)
        self._benchmark = None if client is None else Benchmark(client, self._settings)

    def evaluate(self, request: EvaluationRequest, on_line: OnLine) -> EvaluationResult:
        """Return what there is to judge; logged metrics alone where there are no predictions.

        Where the rules have budgets, both models are measured afterwards.

        Raises:
            DecisionError: when the challenger's predictions are gone, or the process fails.
            UnderstudyError: others of the tree, from environments and the tracking server.
        """
        (result,) = self.evaluate_all([request], on_line)
        return result

    def evaluate_all(
        self, requests: Sequence[EvaluationRequest], on_line: OnLine
    ) -> list[EvaluationResult]:
        """Return the results of several requests, for the cost of one gate's process."""
        with scratch_folder(self._settings.scratch) as scratch:
            fetched = [
                self._fetched(request, scratch.inputs / str(number))
                for number, request in enumerate(requests)
            ]
            requests_to_gate = [one.gate_request for one in fetched if one.gate_request is not None]
            # One process for all: it takes seconds to import what the statistics need.
            answers = iter(
                self._process.run(requests_to_gate, scratch, on_line) if requests_to_gate else ()
            )
            found = [(one, next(answers) if one.gate_request else None) for one in fetched]
            # Last, so that nothing else of ours takes the machine's time meanwhile.
            return [_result(one, answer, self._measured(one, on_line)) for one, answer in found]

    def moved(self, refitted: Score, judged: Score, rules: Gate, on_line: OnLine) -> Moved:
        """Return how far a refit's predictions are from those that were judged.

        Raises:
            DecisionError: when one of the two has none, or they cannot be compared.
            UnderstudyError: others of the tree, from environments and the tracking server.
        """
        with scratch_folder(self._settings.scratch) as scratch:
            files = []
            for name, score in (("refitted", refitted), ("judged", judged)):
                found = score.predictions or self._stored(score)
                if found is None:
                    raise _incomparable(f"the validation of {score.model} left no predictions")
                files.append(str(self._file(found, scratch.inputs / name).file))
            ours, theirs = files
            request = GateRequest(rules.to_dict(), ours, theirs, refit=True)
            (answer,) = self._process.run([request], scratch, on_line)
        if answer.moved is None:
            raise _incomparable(answer.unusable)
        return answer.moved

    def stop(self) -> None:
        """End the gate's process and the benchmark; safe in a signal handler."""
        self._process.stop()
        if self._benchmark is not None:
            self._benchmark.stop()

    def _fetched(self, request: EvaluationRequest, folder: Path) -> _Fetched:
        """Bring the files of a request here."""
        challenger, champion = request.challenger, request.champion
        files = ("", "")
        predictions = challenger.predictions
        # Two trainings scored rows of their own: their predictions cannot be paired row by row.
        if predictions is None and not request.trained:
            predictions = self._stored(challenger)
        if predictions is not None:
            fetched = self._file(predictions, folder / "challenger")
            champion, champion_file = self._opponent(champion, folder / "champion")
            challenger = replace(challenger, predictions=fetched.predictions)
            files = (str(fetched.file), champion_file)
        rows, artifacts = self._rows(request, folder)
        artifacts |= self._of_models(request)
        gate_request = GateRequest(
            request.gate.to_dict(),
            *files,
            earlier=request.earlier,
            search_path=user_folders(),
            rows=rows,
            span=request.span,
        )
        to_read = predictions is not None or rows is not None
        to_gate = gate_request if to_read else None
        return _Fetched(request, folder, challenger, champion, to_gate, artifacts)

    def _rows(
        self, request: EvaluationRequest, folder: Path
    ) -> tuple[RowFiles | None, dict[str, dict[str, str]]]:
        """Return what the guards look at, and the digests of what was brought for them."""
        if request.rows is None or self._client is None:
            return None, {}
        if request.gate.guards:
            return brought(self._client, request.rows, folder)
        if request.gate.budgets is None:
            return None, {}
        file, address = holdout(self._client, request.rows.address, folder), request.rows.holdout
        return None, {} if file is None else {address: as_left(self._client, address, file)}

    def _of_models(self, request: EvaluationRequest) -> dict[str, dict[str, str]]:
        """Return the digests of the models that are compared, where it is known which these are."""
        models = request.models
        if models is None or self._client is None:
            return {}
        both = (models.challenger, models.champion)
        addresses = [one.uri for one in both if one is not None and one.uri]
        found = {uri: of_model(self._client, uri) for uri in addresses}
        return {uri: files for uri, files in found.items() if files}

    def _measured(self, one: _Fetched, on_line: OnLine) -> Measurement | None:
        """Return what both models cost; None where the rules have no budgets."""
        request, rows = one.request, list[Path]()
        if request.gate.budgets is None:
            return None
        champion = None if request.champion is None else request.champion.model
        if self._client is None or self._benchmark is None or request.models is None:
            return budgets.unmeasured(request.challenger.model, champion, _PREDICTIONS_ALONE)
        if request.rows is not None:
            file = holdout(self._client, request.rows.address, one.folder)
            said = "" if one.gate_request is None else one.gate_request.challenger
            rows = [] if file is None else [file, *([Path(said)] if said else [])]
        return self._benchmark.measure(request.models, rows, on_line)

    def _opponent(
        self, champion: Score | Unscored | None, folder: Path
    ) -> tuple[Score | Unscored | None, str]:
        """Return the champion with the file of its predictions, or with why it has none."""
        if not isinstance(champion, Score):
            return champion, ""
        predictions = champion.predictions or self._stored(champion)
        if predictions is None:
            return _unusable(champion, "its validation left none, the challenger's did"), ""
        # Of the champion an error is a fact to judge by; of the challenger it ends the evaluation.
        try:
            found = self._file(predictions, folder)
        except ArtifactChangedError:
            raise
        except DecisionError as error:
            return _unusable(champion, str(error)), ""
        return replace(champion, predictions=found.predictions), str(found.file)

    def _stored(self, score: Score) -> StoredPredictions | None:
        if self._client is None or not score.run_id:
            return None
        return inputs.stored(self._client, score.run_id)

    def _file(self, predictions: StoredPredictions, folder: Path) -> Fetched:
        if self._client is None or not predictions.run_id:
            return inputs.local(Path(predictions.path), predictions.sha256)
        return inputs.fetch(self._client, predictions, folder)


def _result(
    one: _Fetched, answer: GateResult | None, measurement: Measurement | None
) -> EvaluationResult:
    """Return what the gate's process and the benchmark found, and what nobody looked at."""
    champion, evidence = one.champion, None if answer is None else answer.evidence
    if answer is not None and answer.unusable and isinstance(champion, Score):
        champion = _unusable(champion, answer.unusable)
    gate = one.request.gate
    findings: list[Finding] = []
    # A guard that could not look says so: silence would read as "checked, and nothing found".
    if gate.guards is not None and (one.gate_request is None or one.gate_request.rows is None):
        why = "not checked: nobody knows which rows these are, the night has no preprocess"
        undecided = CheckResult.UNDECIDED.value
        findings.append(Finding("data", gate.guards.unchecked, undecided, why, {}))
    if gate.budgets is not None and measurement is not None:
        findings += budgets.findings(gate.budgets, measurement, gate.seed)
    if findings:
        evidence = evidence or Evidence((), seed=gate.seed)
        evidence = replace(evidence, findings=(*evidence.findings, *findings))
    found = EvaluationResult(
        one.challenger, champion, evidence, measurement=measurement, artifacts=one.artifacts
    )
    if answer is None:
        return found
    return replace(found, software=answer.software, summary=answer.summary, profile=answer.profile)


def _incomparable(why: str) -> DecisionError:
    return DecisionError(
        f"The refit cannot be compared with what was judged: {why}",
        allowed="predictions.parquet of the same rows, logged by both validations",
        action="let validate log it, or take refit out of the pipeline file",
    )


def _unusable(champion: Score, why: str) -> Unscored:
    reason = f"its predictions cannot be used: {why}"
    return Unscored(champion.model, reason, champion.run_id, Cause.PREDICTIONS)


def user_folders() -> tuple[str, ...]:
    """Return the folders from which this process imports what no environment has installed.

    In a worker these are Airflow's folders of Dags and plug-ins, on a command line the present one.
    """
    installed = {Path(prefix).resolve() for prefix in (sys.prefix, sys.base_prefix)}
    folders = (Path(path or ".").resolve() for path in sys.path)
    return tuple(
        str(folder)
        for folder in folders
        if folder.is_dir() and not any(folder.is_relative_to(prefix) for prefix in installed)
    )
