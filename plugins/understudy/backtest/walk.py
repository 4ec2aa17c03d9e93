"""One rule set, night after night, as the gate would have judged: who would have served when."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from understudy.backtest.history import ReplayedNights
from understudy.evaluation import compare
from understudy.gate import Basis, Decision, Gate, Score, Verdict, judge


@dataclass(frozen=True, slots=True)
class NightOutcome:
    """What became of one night.

    Attributes:
        as_of: Its moment.
        serving: The night whose model served afterwards.
        verdict: The gate's, '' where the night had no model.
        reason: Why, as one line.
    """

    as_of: str
    serving: int
    verdict: str
    reason: str


def walk(history: ReplayedNights, gate: Gate) -> list[NightOutcome]:
    """Return the nights under one rule set; somebody serves from the first model on.

    While no model has passed the absolute rules there is no champion, and the first one serves.
    """
    champion: int | None = None
    seen: Counter[str] = Counter()
    judged: list[NightOutcome] = []
    for i, night in enumerate(history.nights):
        if night.folder is None:
            judged.append(NightOutcome(night.as_of, champion or 0, "", "the night has no model"))
            continue
        decision = _decided(history, gate, (i, champion), seen)
        if decision.verdict is Verdict.PROMOTE:
            champion = i
        judged.append(
            NightOutcome(night.as_of, champion or 0, decision.verdict.value, decision.why)
        )
    return judged


def _decided(
    history: ReplayedNights, gate: Gate, models: tuple[int, int | None], seen: Counter[str]
) -> Decision:
    """Judge a night's challenger against the champion on the night's holdout."""
    night, champion = models
    rows = history.nights[night].holdout
    ours = history.predictions(night, rows)
    theirs = None if champion is None else history.predictions(champion, rows)
    evidence = compare(gate, ours, theirs, judged_before=seen[ours.rows_sha256])
    if theirs is not None:
        seen[ours.rows_sha256] += 1
    return judge(
        gate,
        _score(history, night),
        None if champion is None else _score(history, champion),
        Basis.PREDICTIONS,
        evidence,
    )


def _score(history: ReplayedNights, model: int) -> Score:
    return Score(f"the model of {history.nights[model].as_of}", {})
