"""Hears two models' predictions: brings them here and has evidence gathered. Touches MLflow."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy.errors import DecisionError
from understudy.gate import Basis, Cause, Evidence, Gate, Predictions, Score, Unscored
from understudy.judging import predictions
from understudy.judging.exchange import Answer, Request
from understudy.judging.gathering import Gatherer
from understudy.judging.predictions import Fetched
from understudy.judging.rows import NightRows, brought
from understudy.steps.process import OnLine
from understudy.steps.scratch import scratch_folder
from understudy.steps.settings import Settings

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient


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
    """

    challenger: Score
    champion: Score | Unscored | None
    evidence: Evidence | None = None
    software: Mapping[str, str] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    profile: str = ""

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
        rows: Where the night's rows are, for the guards; None where they are not looked at.
        span: Two moments (ISO 8601): only rows after the first and not after the second are
            compared. None for all rows.
    """

    gate: Gate
    challenger: Score
    champion: Score | Unscored | None
    earlier: Mapping[str, int] = field(default_factory=dict)
    rows: NightRows | None = None
    span: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class _Brought:
    """A matter whose files lie here; ``request`` is None where there are none."""

    heard: Heard
    request: Request | None


class Hearing:
    """Gathers evidence on models whose predictions lie in MLflow or in files."""

    def __init__(self, client: MlflowClient | None, settings: Settings | None = None) -> None:
        self._client = client
        self._settings = settings or Settings.from_environment()
        self._gatherer = Gatherer(self._settings)

    def hear(self, matter: Matter, on_line: OnLine) -> Heard:
        """Return what there is to judge; logged metrics alone where there are no predictions.

        Raises:
            DecisionError: when the challenger's predictions are gone, or the process fails.
            UnderstudyError: others of the tree, from environments and the tracking server.
        """
        (heard,) = self.hear_all([matter], on_line)
        return heard

    def hear_all(self, matters: Sequence[Matter], on_line: OnLine) -> list[Heard]:
        """Return what there is to judge in several matters, for the cost of one process."""
        with scratch_folder(self._settings.scratch) as scratch:
            brought = [
                self._brought(matter, scratch.inputs / str(number))
                for number, matter in enumerate(matters)
            ]
            requests = [one.request for one in brought if one.request is not None]
            gathered = self._gatherer.gather(requests, scratch, on_line) if requests else []
        answers = iter(gathered)
        return [one.heard if one.request is None else _with(one, next(answers)) for one in brought]

    def stop(self) -> None:
        """End the gate's process; safe in a signal handler."""
        self._gatherer.stop()

    def _brought(self, matter: Matter, folder: Path) -> _Brought:
        """Bring the files of both models here."""
        challenger, champion = matter.challenger, matter.champion
        request = Request(
            matter.gate.to_dict(),
            earlier=matter.earlier,
            search_path=user_folders(),
            span=matter.span,
        )
        ours = challenger.predictions or self._stored(challenger)
        if ours is not None:
            mine = self._fetched(ours, folder / "challenger")
            champion, file = self._opponent(champion, folder / "champion")
            challenger = replace(challenger, predictions=mine.predictions)
            request = replace(request, challenger=str(mine.file), champion=file)
        if matter.rows is not None and matter.gate.guards and self._client is not None:
            request = replace(request, rows=brought(self._client, matter.rows, folder))
        wanted = bool(request.challenger or request.rows)
        return _Brought(Heard(challenger, champion), request if wanted else None)

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
        return predictions.stored(self._client, score.run_id)

    def _fetched(self, wanted: Predictions, folder: Path) -> Fetched:
        if self._client is None or not wanted.run_id:
            return predictions.local(Path(wanted.path), wanted.sha256)
        return predictions.fetch(self._client, wanted, folder)


def _with(brought: _Brought, answer: Answer) -> Heard:
    """Return a matter with what the gate's process found in it."""
    champion = brought.heard.champion
    if answer.unusable and isinstance(champion, Score):
        champion = _unusable(champion, answer.unusable)
    return replace(
        brought.heard,
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
