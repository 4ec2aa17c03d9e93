"""Hears two models' predictions: brings them here and has evidence gathered. Touches MLflow."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from understudy.decide import inputs
from understudy.decide.benchmark import Models, Scales
from understudy.decide.gate_process import Gatherer
from understudy.decide.inputs import Fetched, NightRows, brought, holdout
from understudy.errors import DecisionError
from understudy.evaluation.exchange import Answer, Request
from understudy.gate import (
    Basis,
    Cause,
    CheckResult,
    Evidence,
    Finding,
    Gate,
    Guards,
    Measurement,
    Predictions,
    Score,
    Unscored,
    budgets,
)
from understudy.runner.process.process import OnLine
from understudy.runner.scratch import scratch_folder
from understudy.runner.settings import Settings

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient


_PREDICTIONS_ALONE: Final = "a file of predictions does not say which model they are of"


@dataclass(frozen=True, slots=True)
class Heard:
    """What there is to judge.

    Attributes:
        challenger: Its numbers, with where its predictions are; None where there are none.
        champion: The same; why it has none; None without a champion.
        evidence: What the predictions say; None where logged metrics are all there is.
        software: Versions of what computed it.
        summary: What pictures are drawn from.
        profile: Of the night's training rows (JSON); empty without guards.
        measurement: What both models cost; None without budgets.
    """

    challenger: Score
    champion: Score | Unscored | None
    evidence: Evidence | None = None
    software: Mapping[str, str] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    profile: str = ""
    measurement: Measurement | None = None

    @property
    def basis(self) -> Basis:
        """What the comparison of two validated models rests on."""
        found = self.challenger.predictions is not None and self.evidence is not None
        return Basis.PREDICTIONS if found else Basis.VALIDATIONS


@dataclass(frozen=True, slots=True)
class Matter:
    """What evidence is wanted on.

    Attributes:
        gate: The rules.
        challenger: The challenger's numbers. Predictions that it names are taken; otherwise those
            that its validation logged.
        champion: The champion's numbers likewise; why it has none; None without a champion.
        earlier: How many challengers were compared before, by the digest of their holdout.
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
    earlier: Mapping[str, int] = field(default_factory=dict)
    rows: NightRows | None = None
    span: tuple[str, str] | None = None
    models: Models | None = None
    trained: bool = False


@dataclass(frozen=True, slots=True)
class _Brought:
    """A matter whose files lie in a folder; ``request`` is None where there are none."""

    matter: Matter
    folder: Path
    heard: Heard
    request: Request | None


class Hearing:
    """Gathers evidence on models whose predictions lie in MLflow or in files."""

    def __init__(self, client: MlflowClient | None, settings: Settings | None = None) -> None:
        self._client = client
        self._settings = settings or Settings.from_environment()
        self._gatherer = Gatherer(self._settings)
        self._scales = None if client is None else Scales(client, self._settings)

    def hear(self, matter: Matter, on_line: OnLine) -> Heard:
        """Return what there is to judge; logged metrics alone where there are no predictions.

        Where the rules have budgets, both models are measured afterwards.

        Raises:
            DecisionError: when the challenger's predictions are gone, or the process fails.
            UnderstudyError: others of the tree, from environments and the tracking server.
        """
        (heard,) = self.hear_all([matter], on_line)
        return heard

    def hear_all(self, matters: Sequence[Matter], on_line: OnLine) -> list[Heard]:
        """Return what there is to judge in several matters, for the cost of one gate's process."""
        with scratch_folder(self._settings.scratch) as scratch:
            brought = [
                self._brought(matter, scratch.inputs / str(number))
                for number, matter in enumerate(matters)
            ]
            requests = [one.request for one in brought if one.request is not None]
            gathered = self._gatherer.gather(requests, scratch, on_line) if requests else []
            answers = iter(gathered)
            heard = [_with(one, next(answers) if one.request else None) for one in brought]
            # Last: nothing else of ours takes the machine's time meanwhile.
            return [
                self._weighed(one, found, on_line)
                for one, found in zip(brought, heard, strict=True)
            ]

    def stop(self) -> None:
        """End the gate's process and what measures; safe in a signal handler."""
        self._gatherer.stop()
        if self._scales is not None:
            self._scales.stop()

    def _brought(self, matter: Matter, folder: Path) -> _Brought:
        """Bring the files of both models here."""
        challenger, champion = matter.challenger, matter.champion
        request = Request(
            matter.gate.to_dict(),
            earlier=matter.earlier,
            search_path=user_folders(),
            span=matter.span,
        )
        ours = challenger.predictions or (None if matter.trained else self._stored(challenger))
        if ours is not None:
            mine = self._fetched(ours, folder / "challenger")
            champion, file = self._opponent(champion, folder / "champion")
            challenger = replace(challenger, predictions=mine.predictions)
            request = replace(request, challenger=str(mine.file), champion=file)
        if matter.rows is not None and matter.gate.guards and self._client is not None:
            request = replace(request, rows=brought(self._client, matter.rows, folder))
        wanted = bool(request.challenger or request.rows)
        heard = Heard(challenger, champion)
        return _Brought(matter, folder, heard, request if wanted else None)

    def _weighed(self, one: _Brought, heard: Heard, on_line: OnLine) -> Heard:
        """Return a matter with what both models cost, where the rules have budgets."""
        gate = one.matter.gate
        if gate.budgets is None:
            return heard
        measured = self._measured(one, on_line)
        found = budgets.findings(gate.budgets, measured, gate.seed)
        return replace(_told(heard, found, gate), measurement=measured)

    def _measured(self, one: _Brought, on_line: OnLine) -> Measurement:
        matter, rows = one.matter, None
        theirs = None if matter.champion is None else matter.champion.model
        if self._client is None or self._scales is None or matter.models is None:
            return budgets.unmeasured(matter.challenger.model, theirs, _PREDICTIONS_ALONE)
        if matter.rows is not None:
            rows = holdout(self._client, matter.rows.address, one.folder)
        return self._scales.weigh(matter.models, rows, on_line)

    def _opponent(
        self, champion: Score | Unscored | None, folder: Path
    ) -> tuple[Score | Unscored | None, str]:
        """Return the champion with the file of its predictions, or with why it has none."""
        if not isinstance(champion, Score):
            return champion, ""
        theirs = champion.predictions or self._stored(champion)
        if theirs is None:
            return _unusable(champion, "its validation left none, the challenger's did"), ""
        try:
            found = self._fetched(theirs, folder)
        except DecisionError as error:
            return _unusable(champion, str(error)), ""
        return replace(champion, predictions=found.predictions), str(found.file)

    def _stored(self, score: Score) -> Predictions | None:
        if self._client is None or not score.run_id:
            return None
        return inputs.stored(self._client, score.run_id)

    def _fetched(self, wanted: Predictions, folder: Path) -> Fetched:
        if self._client is None or not wanted.run_id:
            return inputs.local(Path(wanted.path), wanted.sha256)
        return inputs.fetch(self._client, wanted, folder)


def _with(brought: _Brought, answer: Answer | None) -> Heard:
    """Return a matter with what the gate's process found in it, and what nobody looked at."""
    gate, heard = brought.matter.gate, brought.heard
    if answer is not None:
        heard = _answered(heard, answer)
    seen = brought.request is not None and brought.request.rows is not None
    return heard if seen or gate.guards is None else _told(heard, [_unseen(gate.guards)], gate)


def _unseen(guards: Guards) -> Finding:
    """Return that the guards could not look."""
    why = "not checked: nobody knows which rows these are, the night has no preprocess"
    return Finding("data", guards.unchecked, CheckResult.UNDECIDED.value, why, {})


def _told(heard: Heard, found: Sequence[Finding], gate: Gate) -> Heard:
    """Return a matter with further findings."""
    evidence = heard.evidence or Evidence((), seed=gate.seed)
    return replace(heard, evidence=replace(evidence, findings=(*evidence.findings, *found)))


def _answered(heard: Heard, answer: Answer) -> Heard:
    champion = heard.champion
    if answer.unusable and isinstance(champion, Score):
        champion = _unusable(champion, answer.unusable)
    return replace(
        heard,
        champion=champion,
        evidence=answer.evidence,
        software=answer.software,
        summary=answer.summary,
        profile=answer.profile,
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
