"""The tolerance that late labels set: rules and what became of past nights to one number. Pure.

A night that was seen again says which of its two models would have served better, and by how much.
So it says what each tolerance would have cost on that night, and these costs choose among a few.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from understudy.errors import DecisionError
from understudy.gate.checks import reaches
from understudy.gate.evidence import Comparison, Evidence
from understudy.gate.judge import Champion, judge
from understudy.gate.verdict import Basis, Score, Verdict
from understudy.spec.metrics import Bound
from understudy.spec.rules import Gate

BURN_IN: Final = 20
"""Nights seen again before which the stated tolerance decides."""
REMEMBERED: Final = 400
"""Nights that a tolerance is learned from, the latest ones."""
# In any metric's unit; far from infinity, because sums are made with it.
_ANY_LOSS: Final = -1e300


@dataclass(frozen=True, slots=True)
class Lesson:
    """A past night, and what its later rows said.

    Attributes:
        as_of: ISO time of the night.
        known: ISO time of the night that saw it again: not before that was any of this known.
        least: The smallest tolerance with which the night's challenger would have been promoted, in
            the unit of the rule; None where no tolerance would have.
        gain: How much better the challenger then was than the champion on the rows that came after
            the night, in the primary metric's unit; below zero where it was worse.
    """

    as_of: str
    known: str
    least: float | None
    gain: float


def least_tolerance(
    gate: Gate, challenger: Score, champion: Champion, basis: Basis, evidence: Evidence | None
) -> float | None:
    """Return the smallest tolerance of the primary metric that promotes; None where none does.

    Whatever else the rules ask for stays as it was.
    """
    if evidence is None or not isinstance(champion, Score):
        return None
    name = gate.decisive.name
    wide = [
        replace(one, needed=_ANY_LOSS) if _is_open(one, name) else one
        for one in evidence.comparisons
    ]
    judged = judge(gate, challenger, champion, basis, replace(evidence, comparisons=tuple(wide)))
    if judged.verdict is not Verdict.PROMOTE:
        return None
    open_ = [one for one in evidence.comparisons if _is_open(one, name)]
    losses = [0.0 if evidence.judged_before else _loss(gate, one) for one in open_]
    least = max(losses, default=math.inf)
    return least if math.isfinite(least) else None


def _is_open(found: Comparison, metric: str) -> bool:
    return found.metric == metric and found.rule == Bound.TOLERANCE


def _loss(gate: Gate, found: Comparison) -> float:
    """Return a measured loss in the tolerance's unit; 0 for a gain, infinite for one of nothing."""
    if found.gain is None or found.champion is None or found.gain >= 0:
        return 0.0
    metric = gate.decisive
    scale = abs(found.champion - metric.best) if metric.relative else 1.0
    return -found.gain / scale if scale else math.inf


@dataclass(frozen=True, slots=True)
class Learning:
    """How one night's tolerance was chosen.

    Attributes:
        stated: The person's tolerance.
        chosen: The one that the night is judged by.
        why: One sentence for a person.
        tolerances: Those to choose from, the smallest first.
        weights: The chance of each.
        costs: What each would have served more than keeping the champion every night, in the sum
            over the nights that are known, in the primary metric's unit; below zero: less.
        draw: Between 0 and 1: the chosen tolerance is the first at which the weights, added up,
            exceed it.
        bound: By how much the chances may have served more, at most, than the best of the
            tolerances on the known nights, in the unit of ``costs``.
        lessons: The known nights, the earliest first.
    """

    stated: float
    chosen: float
    why: str
    tolerances: tuple[float, ...]
    weights: tuple[float, ...]
    costs: tuple[float, ...]
    draw: float
    bound: float
    lessons: tuple[Lesson, ...]

    @classmethod
    def of(cls, gate: Gate, lessons: Iterable[Lesson], as_of: str) -> Learning:
        """Choose the tolerance of a night.

        Args:
            gate: The rules, with the person's tolerance and ``learn``.
            lessons: Past nights in any order; those not known before the night count for nothing.
            as_of: ISO time of the night.

        Raises:
            DecisionError: when the rules learn nothing.
        """
        stated, tolerances = gate.decisive.tolerance, gate.tolerances
        if stated is None or not tolerances:
            raise DecisionError(
                "The rules of a decision that was learned do not learn",
                allowed="rules with learn and a tolerance",
                action="name the record of the night as it was stored",
            )
        now = _moment(as_of)
        # Strictly before: what a night sees again it sees after its own verdict.
        known = sorted((one for one in lessons if _moment(one.known) < now), key=_order)
        known = known[-REMEMBERED:]
        state = hedge(tolerances, known)
        draw = _draw(gate.seed, as_of)
        drawn = _drawn(tolerances, state.weights, draw)
        chosen = drawn if len(known) >= BURN_IN else stated
        return cls(
            stated=stated,
            chosen=chosen,
            why=_sentence(chosen, stated, tolerances, state.weights, len(known)),
            tolerances=tolerances,
            weights=state.weights,
            costs=state.costs,
            draw=draw,
            bound=state.bound,
            lessons=tuple(known),
        )

    @classmethod
    def again(cls, gate: Gate, stored: Mapping[str, Any], as_of: str) -> Learning:
        """Choose again from what a record has stored."""
        lessons = [Lesson(**one) for one in stored["lessons"]]
        return cls.of(gate.tolerating(stored["stated"]), lessons, as_of)


@dataclass(frozen=True, slots=True)
class Hedged:
    """What past nights say of some tolerances.

    Attributes:
        weights: The chance of each.
        costs: What each would have served, in the sum over all nights.
        bound: See ``Learning.bound``.
        expected: What the chances of each night would have served in the mean, in the sum.
    """

    weights: tuple[float, ...]
    costs: tuple[float, ...]
    bound: float
    expected: float


def hedge(tolerances: Sequence[float], lessons: Sequence[Lesson]) -> Hedged:
    """Return the chances that AdaHedgeD gives each tolerance after some nights.

    Weights are exponential in minus the costs that were known on a night, divided by a scale
    ``s``. The scale has no tuning: it is what following these weights has lost so far against
    weights that know each night's cost, divided by ln K for K tolerances. That is AdaHedge (de
    Rooij, van Erven, Grünwald and Koolen, "Follow the leader if you can, hedge if you must", JMLR
    15, 2014) for costs that come late (Flaspohler et al., "Online learning with optimism and
    delay", ICML 2021, section 5).

    The expected cost exceeds that of the best single tolerance by no more than
    ``s ln K + sum of the losses d``, whatever the nights are like: with F(w) = <costs, w> + s
    KL(w, uniform) each night's cost is at most ``d + min F after it - min F before it``, where d
    is the smaller of F(w) - min F and <cost, w - argmin F>, and s never falls.

    Args:
        tolerances: Those to choose from.
        lessons: Nights in the order of their time.
    """
    totals, known = [0.0] * len(tolerances), [0.0] * len(tolerances)
    lost, lost_known, expected = 0.0, 0.0, 0.0
    share = math.log(len(tolerances))
    # Costs that are not known yet on the night that comes next: when they are, costs, loss.
    waiting: list[tuple[datetime, list[float], float]] = []
    for lesson in lessons:
        costs = [_cost(one, lesson) for one in tolerances]
        if len(set(costs)) == 1:
            # No tolerance would have made a difference: nothing is learned or lost.
            totals, known, expected = _sum(totals, costs), _sum(known, costs), expected + costs[0]
            continue
        now = _moment(lesson.as_of)
        for _, told, missed in (one for one in waiting if one[0] < now):
            known, lost_known = _sum(known, told), lost_known + missed
        waiting = [one for one in waiting if one[0] >= now]
        scale = lost_known / share
        weights, totals = _weights(known, scale), _sum(totals, costs)
        missed = _lost(weights, totals, costs, scale)
        lost, expected = lost + missed, expected + _mean(costs, weights)
        waiting.append((_moment(lesson.known), costs, missed))
    return Hedged(_weights(totals, lost / share), tuple(totals), 2 * lost, expected)


def _cost(tolerance: float, lesson: Lesson) -> float:
    """Return what a tolerance would have served more than the champion on a night."""
    promotes = lesson.least is not None and reaches(tolerance, lesson.least)
    return -lesson.gain if promotes else 0.0


def _weights(costs: Sequence[float], scale: float) -> tuple[float, ...]:
    least = min(costs)
    # Where nothing was lost so far the best ones share all weight: the limit for a scale of zero.
    raw = [math.exp((least - one) / scale) if scale else float(one == least) for one in costs]
    return tuple(one / sum(raw) for one in raw)


def _lost(
    weights: Sequence[float], totals: Sequence[float], costs: Sequence[float], scale: float
) -> float:
    """Return what weights lose against the best that know the night's costs; see ``hedge``."""
    best = _weights(totals, scale)
    regularised = _mean(totals, weights) + scale * _divergence(weights)
    least = _mean(totals, best) + scale * _divergence(best)
    return max(0.0, min(regularised - least, _mean(costs, weights) - _mean(costs, best)))


def _divergence(weights: Sequence[float]) -> float:
    """Return the Kullback-Leibler divergence from equal weights, in nats."""
    return math.log(len(weights)) + sum(one * math.log(one) for one in weights if one)


def _mean(costs: Sequence[float], weights: Sequence[float]) -> float:
    return sum(one * weight for one, weight in zip(costs, weights, strict=True))


def _sum(ones: Sequence[float], others: Sequence[float]) -> list[float]:
    return [one + other for one, other in zip(ones, others, strict=True)]


def _draw(seed: int, as_of: str) -> float:
    """Return a number in [0, 1) that nobody can have fitted the nights to, the same at a replay."""
    digest = hashlib.sha256(f"{seed} {as_of}".encode()).digest()
    return int.from_bytes(digest[:6]) / 2**48


def _drawn(tolerances: Sequence[float], weights: Sequence[float], draw: float) -> float:
    reached = 0.0
    for tolerance, weight in zip(tolerances, weights, strict=True):
        reached += weight
        if draw < reached:
            return tolerance
    # Rounding may leave the sum of all weights just below the draw.
    return tolerances[-1]


def _sentence(
    chosen: float,
    stated: float,
    tolerances: Sequence[float],
    weights: Sequence[float],
    nights: int,
) -> str:
    if nights < BURN_IN:
        return (
            f"the stated tolerance {chosen:g} judges: {nights} nights were seen again so far, "
            f"{BURN_IN} are needed to learn another one"
        )
    chances = ", ".join(
        f"{tolerance:g}: {weight:.0%}"
        for tolerance, weight in zip(tolerances, weights, strict=True)
    )
    return (
        f"the tolerance {chosen:g} judges ({stated:g} is stated), drawn by what each would have "
        f"served on {nights} nights that were seen again ({chances})"
    )


def _order(lesson: Lesson) -> tuple[datetime, str]:
    return _moment(lesson.as_of), lesson.known


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    # Records of times without a zone are UTC.
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


__all__ = ["BURN_IN", "Learning", "Lesson", "hedge", "least_tolerance"]
