"""The pure function from rules and numbers to a verdict.

NaN, infinity and missing numbers are decided first, and never towards promotion.
"""

from __future__ import annotations

import math
from typing import Final

from understudy.errors import nearest
from understudy.gate.rules import Bound, Direction, Gate, Metric
from understudy.gate.verdict import (
    Basis,
    Case,
    Check,
    CheckResult,
    Decision,
    Score,
    Unscored,
    Verdict,
)

_RELATIVE_TOLERANCE: Final = 1e-9
_ABSOLUTE_TOLERANCE: Final = 1e-12
"""Bounds are inclusive on decimal numbers: 0.80 + 0.05 reaches 0.85, which binary floats deny."""
_OWN_ROWS: Final = (
    "each model's numbers are those that its own training logged, not on the same rows: "
    "a difference may be that of the rows"
)

Rule = tuple[Metric, Bound, float]


def reaches(value: float, bound: float) -> bool:
    """Return whether ``value`` is at or above ``bound``, forgiving binary rounding."""
    return value >= bound or math.isclose(
        value, bound, rel_tol=_RELATIVE_TOLERANCE, abs_tol=_ABSOLUTE_TOLERANCE
    )


def judge(
    gate: Gate,
    challenger: Score,
    champion: Score | Unscored | None,
    basis: Basis = Basis.VALIDATIONS,
) -> Decision:
    """Judge a challenger.

    Args:
        gate: The rules.
        challenger: The numbers of the model that this night trained.
        champion: The champion's numbers on the same rows; why it has none; or None where no
            champion exists yet, so that only absolute rules apply.
        basis: Where the numbers are from.

    Returns:
        PROMOTE when every applicable rule passes, REJECT when one fails, HOLD when none fails
        and one cannot be decided.
    """
    scored = champion if isinstance(champion, Score) else None
    blockers = tuple(_comparability(challenger, champion, basis))
    comparable = Unscored(scored.model, blockers[0]) if blockers and scored else champion
    checks = tuple(_check(rule, challenger, comparable) for rule in gate.rules)
    verdict = _verdict(checks, held=bool(blockers))
    return Decision(
        verdict=verdict,
        case=_case(champion),
        reasons=_reasons(verdict, checks, blockers, champion),
        checks=checks,
        notes=tuple(_notes(gate, challenger, scored, basis)),
    )


def _case(champion: Score | Unscored | None) -> Case:
    if champion is None:
        return Case.FIRST
    return Case.COMPARED if isinstance(champion, Score) else Case.CHAMPION_UNSCORED


def _comparability(challenger: Score, champion: Score | Unscored | None, basis: Basis) -> list[str]:
    """Return why the two sets of numbers must not be compared."""
    if isinstance(champion, Unscored):
        return [f"the champion {champion.model} could not be scored: {champion.reason}"]
    if champion is None or basis is Basis.TRAININGS:
        return []
    if challenger.holdout_sha256 != champion.holdout_sha256:
        return [f"challenger and champion {champion.model} were scored on different rows"]
    return []


def _verdict(checks: tuple[Check, ...], *, held: bool) -> Verdict:
    results = {check.result for check in checks}
    if CheckResult.FAILED in results:
        return Verdict.REJECT
    if held or CheckResult.UNDECIDED in results:
        return Verdict.HOLD
    return Verdict.PROMOTE


def _reasons(
    verdict: Verdict,
    checks: tuple[Check, ...],
    blockers: tuple[str, ...],
    champion: Score | Unscored | None,
) -> tuple[str, ...]:
    wanted = {
        Verdict.REJECT: CheckResult.FAILED,
        Verdict.HOLD: CheckResult.UNDECIDED,
        Verdict.PROMOTE: CheckResult.PASSED,
    }[verdict]
    found = tuple(check.reason for check in checks if check.result is wanted)
    if verdict is Verdict.PROMOTE:
        first = ("no champion yet: only absolute rules apply",) if champion is None else ()
        return first + found
    return (blockers if verdict is Verdict.HOLD else ()) + found


def _notes(gate: Gate, challenger: Score, champion: Score | None, basis: Basis) -> list[str]:
    notes = []
    asked = [rule[0].confidence for rule in gate.rules if rule[0].confidence is not None]
    if champion is not None and asked:
        notes.append(
            f"confidence {max(asked)} was asked; logged metrics have no interval, none is claimed"
        )
    if champion is not None and basis is Basis.TRAININGS:
        notes.append(_OWN_ROWS)
    elif champion is not None and not challenger.holdout_sha256:
        notes.append("the validations do not name their rows; that they are the same is not proven")
    return notes


def _check(rule: Rule, challenger: Score, champion: Score | Unscored | None) -> Check:
    metric, bound, _ = rule
    value = challenger.metrics.get(metric.name)
    if value is None:
        known = nearest(metric.name, challenger.metrics)
        return _made(rule, CheckResult.UNDECIDED, f"{metric.name} was not logged{known}")
    if not math.isfinite(value):
        return _made(rule, CheckResult.FAILED, f"{metric.name} is {value}, not a finite number")
    if not bound.needs_champion:
        return _absolute(rule, value)
    return _compared(rule, value, champion)


def _absolute(rule: Rule, value: float) -> Check:
    metric, bound, limit = rule
    lower_limit = bound is Bound.AT_LEAST
    passed = reaches(value, limit) if lower_limit else reaches(limit, value)
    word = "at least" if lower_limit else "at most"
    verb = "is" if passed else "is not"
    reason = f"{metric.name} {value:.6g} {verb} {word} {limit:g}"
    return _made(rule, _result(passed=passed), reason, challenger=value, needed=limit)


def _compared(rule: Rule, value: float, champion: Score | Unscored | None) -> Check:
    metric, _, _ = rule
    if champion is None:
        reason = f"{metric.name}: no champion to compare with"
        return _made(rule, CheckResult.NOT_APPLICABLE, reason, challenger=value)
    if isinstance(champion, Unscored):
        reason = f"{metric.name}: nothing to compare with"
        return _made(rule, CheckResult.UNDECIDED, reason, challenger=value)
    theirs = champion.metrics.get(metric.name)
    if theirs is None or not math.isfinite(theirs):
        state = "missing" if theirs is None else f"{theirs}"
        reason = f"{metric.name} of the champion {champion.model} is {state}"
        return _made(rule, CheckResult.UNDECIDED, reason, challenger=value)
    return _difference(rule, value, theirs)


def _difference(rule: Rule, value: float, theirs: float) -> Check:
    metric, bound, limit = rule
    gain = theirs - value if metric.direction is Direction.LOWER else value - theirs
    needed = (limit if bound is Bound.MIN_GAIN else -limit) * (
        abs(theirs) if metric.relative else 1.0
    )
    passed = _gains(metric.direction, (value, theirs), needed)
    reason = _difference_reason(rule, value, theirs, passed=passed)
    return _made(
        rule,
        _result(passed=passed),
        reason,
        challenger=value,
        champion=theirs,
        gain=gain,
        needed=needed,
    )


def _gains(direction: Direction, values: tuple[float, float], needed: float) -> bool:
    """Compare value with champion + needed: adding keeps more digits than subtracting."""
    value, theirs = values
    if direction is Direction.LOWER:
        return reaches(theirs - needed, value)
    return reaches(value, theirs + needed)


def _difference_reason(rule: Rule, value: float, theirs: float, *, passed: bool) -> str:
    metric, bound, limit = rule
    ours, size = f"{metric.name} {value:.6g}", f"{limit:.2%}" if metric.relative else f"{limit:.4g}"
    other = f"the champion's {theirs:.6g}"
    if bound is Bound.MAX_LOSS and passed:
        return f"{ours} is within {size} of {other}, or better"
    if bound is Bound.MAX_LOSS:
        return f"{ours} is worse than {other} by more than {size}"
    if limit:
        return f"{ours} {'beats' if passed else 'does not beat'} {other} by at least {size}"
    return f"{ours} is {'no worse' if passed else 'worse'} than {other}"


def _result(*, passed: bool) -> CheckResult:
    return CheckResult.PASSED if passed else CheckResult.FAILED


def _made(rule: Rule, result: CheckResult, reason: str, **numbers: float) -> Check:
    metric, bound, limit = rule
    return Check(
        metric=metric.name,
        rule=bound.value,
        bound=limit,
        needed=numbers.get("needed"),
        challenger=numbers.get("challenger"),
        champion=numbers.get("champion"),
        gain=numbers.get("gain"),
        interval=None,
        result=result,
        reason=reason,
    )
