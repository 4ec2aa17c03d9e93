"""Checks of rules on single numbers, for which no interval is claimed. Pure.

NaN, infinity and missing numbers are decided first, and never towards promotion.
"""

from __future__ import annotations

import math
from typing import Final

from understudy.errors import nearest
from understudy.gate.verdict import Check, CheckResult, Score, Unscored
from understudy.spec.metrics import UNDEFINED_AS_NAN, Bound, Direction
from understudy.spec.rules import Rule

_RELATIVE_TOLERANCE: Final = 1e-9
_ABSOLUTE_TOLERANCE: Final = 1e-12
"""Bounds are inclusive on decimal numbers: 0.80 + 0.05 reaches 0.85, which binary floats deny."""


def reaches(value: float, bound: float) -> bool:
    """Return whether ``value`` is at or above ``bound``, forgiving binary rounding."""
    return value >= bound or math.isclose(
        value, bound, rel_tol=_RELATIVE_TOLERANCE, abs_tol=_ABSOLUTE_TOLERANCE
    )


def check(rule: Rule, challenger: Score, champion: Score | Unscored | None) -> Check:
    """Return how a rule came out on the numbers that were logged."""
    metric, bound, _ = rule
    value = challenger.metrics.get(metric.name)
    if value is None:
        known = nearest(metric.name, challenger.metrics)
        return made(rule, CheckResult.UNDECIDED, f"{metric.name} was not logged{known}")
    if math.isnan(value) and metric.name in UNDEFINED_AS_NAN:
        reason = f"{metric.name} is not defined on these rows: it was logged as nan"
        return made(rule, CheckResult.UNDECIDED, reason)
    if not math.isfinite(value):
        return made(rule, CheckResult.FAILED, f"{metric.name} is {stated(value)}")
    if not bound.needs_champion:
        return absolute(rule, value)
    return _compared(rule, value, champion)


def stated(value: float) -> str:
    """Return a number that is not finite, in words."""
    return "nan, not a finite number" if math.isnan(value) else f"infinite ({value})"


def absolute(rule: Rule, value: float, where: str = "") -> Check:
    """Return how an absolute rule came out on a finite value.

    Args:
        rule: The rule.
        value: The challenger's value.
        where: Whose rows it is of, for the reason; empty for all.
    """
    metric, bound, limit = rule
    lower_limit = bound is Bound.AT_LEAST
    passed = reaches(value, limit) if lower_limit else reaches(limit, value)
    word = "at least" if lower_limit else "at most"
    verb = "is" if passed else "is not"
    reason = f"{metric.name} {value:.6g}{where} {verb} {word} {limit:g}"
    return made(rule, _result(passed=passed), reason, challenger=value, needed=limit)


def made(rule: Rule, result: CheckResult, reason: str, **numbers: float | None) -> Check:
    """Return the check of a rule without an interval."""
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


def without(champion: Unscored | None, rule: Rule, value: float) -> Check:
    """Return the check of a comparison with a champion that has no numbers, or is not there."""
    if champion is None:
        reason = f"{rule[0].name}: no champion to compare with"
        return made(rule, CheckResult.NOT_APPLICABLE, reason, challenger=value)
    reason = f"{rule[0].name}: nothing to compare with"
    return made(rule, CheckResult.UNDECIDED, reason, challenger=value)


def _compared(rule: Rule, value: float, champion: Score | Unscored | None) -> Check:
    if not isinstance(champion, Score):
        return without(champion, rule, value)
    theirs = champion.metrics.get(rule[0].name)
    if theirs is None or not math.isfinite(theirs):
        state = "missing" if theirs is None else f"{theirs}"
        reason = f"{rule[0].name} of the champion {champion.model} is {state}"
        return made(rule, CheckResult.UNDECIDED, reason, challenger=value)
    return _difference(rule, value, theirs)


def _difference(rule: Rule, value: float, theirs: float) -> Check:
    metric, bound, limit = rule
    gain = theirs - value if metric.direction is Direction.LOWER else value - theirs
    needed = (limit if bound is Bound.MIN_GAIN else -limit) * (
        abs(theirs) if metric.relative else 1.0
    )
    passed = _gains(metric.direction, (value, theirs), needed)
    return made(
        rule,
        _result(passed=passed),
        _difference_reason(rule, value, theirs, passed=passed),
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
    ours, size = f"{metric.name} {value:.6g}", size_of(rule)
    other = f"the champion's {theirs:.6g}"
    if bound is Bound.MAX_LOSS and passed:
        return f"{ours} is within {size} of {other}, or better"
    if bound is Bound.MAX_LOSS:
        return f"{ours} is worse than {other} by more than {size}"
    if limit:
        return f"{ours} {'beats' if passed else 'does not beat'} {other} by at least {size}"
    return f"{ours} is {'no worse' if passed else 'worse'} than {other}"


def size_of(rule: Rule) -> str:
    """Return a bound as a person reads it: ``0.05``, or ``2.00%`` where it is relative."""
    metric, _, limit = rule
    return f"{limit:.2%}" if metric.relative else f"{limit:.4g}"


def _result(*, passed: bool) -> CheckResult:
    return CheckResult.PASSED if passed else CheckResult.FAILED
