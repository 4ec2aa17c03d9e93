"""Checks of rules: on single numbers, and on comparisons that have an interval. Pure.

How much error each comparison may spend, over nights and over the rules of one night, is here too.

NaN, infinity and missing numbers are decided first, and never towards promotion.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from understudy.errors import nearest
from understudy.gate.evidence import Comparison, Evidence
from understudy.gate.verdict import Check, CheckResult, Score, Unscored
from understudy.spec.metrics import UNDEFINED_AS_NAN, Bound, Direction

if TYPE_CHECKING:
    from understudy.spec.rules import Rule

_RELATIVE_TOLERANCE: Final = 1e-9
_ABSOLUTE_TOLERANCE: Final = 1e-12
"""Bounds are inclusive on decimal numbers: 0.80 + 0.05 reaches 0.85, which binary floats deny."""


_LOSSES: Final = frozenset({Bound.MAX_LOSS, Bound.TOLERANCE})


def reaches(value: float, bound: float) -> bool:
    """Return whether ``value`` is at or above ``bound``, forgiving binary rounding."""
    return value >= bound or math.isclose(
        value, bound, rel_tol=_RELATIVE_TOLERANCE, abs_tol=_ABSOLUTE_TOLERANCE
    )


def check_logged(rule: Rule, challenger: Score, champion: Score | Unscored | None) -> Check:
    """Return how a rule came out on the numbers that were logged."""
    metric, bound, _ = rule
    value = challenger.metrics.get(metric.name)
    if value is None:
        known = nearest(metric.name, challenger.metrics)
        return made(rule, CheckResult.UNDECIDED, f"{metric.name} was not logged{known}")
    # The rows are to blame here and not the model: undecided, where any other NaN fails.
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


def sure(alpha: float) -> str:
    """Return what is left of 100 % beside an error rate, which is never said to be all of it."""
    left = 100 * (1 - alpha)
    texts = (f"{left:.{digits}g}" for digits in range(3, 17))
    return next((text for text in texts if float(text) < 100), f"{left:g}")  # noqa: PLR2004 -- of 100 %


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
    return made(rule, _logged_result(passed=passed), reason, challenger=value, needed=limit)


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
    metric, bound, limit = rule
    other = champion.metrics.get(metric.name)
    if other is None or not math.isfinite(other):
        state = "missing" if other is None else f"{other}"
        reason = f"{metric.name} of the champion {champion.model} is {state}"
        return made(rule, CheckResult.UNDECIDED, reason, challenger=value)
    needed = (limit if bound is Bound.MIN_GAIN else -limit) * (
        abs(other - metric.best) if metric.relative else 1.0
    )
    # The value is compared with champion plus needed, since the difference of two numbers that
    # are nearly equal has lost the digits that the tolerance is about.
    if metric.direction is Direction.LOWER:
        gain, passed = other - value, reaches(other - needed, value)
    else:
        gain, passed = value - other, reaches(value, other + needed)
    return made(
        rule,
        _logged_result(passed=passed),
        _difference_reason(rule, value, other, passed=passed),
        challenger=value,
        champion=other,
        gain=gain,
        needed=needed,
    )


def _difference_reason(rule: Rule, value: float, other: float, *, passed: bool) -> str:
    metric, bound, limit = rule
    challenger, size = f"{metric.name} {value:.6g}", size_of(rule)
    champion = f"the champion's {other:.6g}"
    if bound in _LOSSES and passed:
        return f"{challenger} is within {size} of {champion}, or better"
    if bound in _LOSSES:
        return f"{challenger} is worse than {champion} by more than {size}"
    if limit:
        verb = "beats" if passed else "does not beat"
        return f"{challenger} {verb} {champion} by at least {size}"
    return f"{challenger} is {'no worse' if passed else 'worse'} than {champion}"


def size_of(rule: Rule) -> str:
    """Return a bound as a person reads it: ``0.05``, or ``2.00%`` where it is relative."""
    metric, _, limit = rule
    if not metric.relative:
        return f"{limit:.4g}"
    return f"{limit:.2%} of {metric.best:g} - {metric.name}" if metric.best else f"{limit:.2%}"


def _logged_result(*, passed: bool) -> CheckResult:
    return CheckResult.PASSED if passed else CheckResult.FAILED


# A bound is kept when the near end of the interval clears it, and violated when the far end does
# not reach it and that is beyond chance for all rules taken together; in between nobody knows.
@dataclass(frozen=True, slots=True)
class Compared:
    """A rule with what is known about it on the rows of one slice, or on all.

    Attributes:
        rule: The rule.
        found: What is known.
        again: Whether other challengers were judged on the very same rows before.
        violated: Whether the bound is missed beyond chance, all rules taken together.
    """

    rule: Rule
    found: Comparison
    again: bool = False
    violated: bool = False


def compared(
    rules: Iterable[Rule], comparisons: Iterable[Comparison], evidence: Evidence | None
) -> Mapping[tuple[str, Bound], tuple[Compared, ...]]:
    """Return what is known about each rule, by metric and bound; those without are left out."""
    by_name = {(metric.name, bound): (metric, bound, limit) for metric, bound, limit in rules}
    again = evidence is not None and evidence.judged_before > 0
    known = [
        Compared(by_name[found.metric, Bound(found.rule)], found, again)
        for found in comparisons
        if (found.metric, Bound(found.rule)) in by_name
    ]
    known = _with_violations(known, 0.0 if evidence is None else evidence.compared_before)
    return {
        name: tuple(one for one in known if (one.rule[0].name, one.rule[1]) == name)
        for name in by_name
    }


def _with_violations(known: list[Compared], compared_before: float) -> list[Compared]:
    """Say which bounds are missed: an error over all of them, since one is enough to reject."""
    # Only comparisons with a p-value take part in Holm's correction; others are decided on values.
    decidable = [one for one in known if _is_finite(one.found) and one.found.p_value is not None]
    tested = [
        # The stored p-value is of "does not exceed"; of "is kept" it is the other tail.
        (1 - (one.found.p_value or 0.0), alpha_of(one.rule[0].alpha, compared_before))
        for one in decidable
    ]
    missed = {
        # By identity: a comparison may hold a dictionary and then has no hash.
        id(one.found)
        for one, beyond_chance in zip(decidable, violations(tested), strict=True)
        if beyond_chance
    }
    return [replace(one, violated=id(one.found) in missed) for one in known]


def check_compared(one: Compared, champion: Score | Unscored | None) -> Check:
    """Return how a rule came out on one comparison."""
    made = replace(_checked(one, champion), slice=one.found.slice)
    if one.found.note and one.found.note not in made.reason:
        return replace(made, reason=f"{made.reason} ({one.found.note})")
    return made


def _checked(one: Compared, champion: Score | Unscored | None) -> Check:
    rule, found = one.rule, one.found
    name = f"{rule[0].name}{_where(found)}"
    # A named slice without rows is a mistake in the rules or a gap in the data; neither may
    # promote.
    if found.slice and not found.rows:
        return made(rule, CheckResult.FAILED, f"{name}: the holdout has no such rows")
    if found.challenger is None:
        return made(rule, CheckResult.UNDECIDED, f"{name} cannot be computed")
    if not math.isfinite(found.challenger):
        return made(rule, CheckResult.FAILED, f"{name} is {stated(found.challenger)}")
    if not rule[1].needs_champion:
        return absolute(rule, found.challenger, _where(found))
    if not isinstance(champion, Score):
        return without(champion, rule, found.challenger)
    result = _compared_result(one)
    return replace(
        made(rule, result, _reason(one, result)),
        needed=found.needed,
        challenger=found.challenger,
        champion=found.champion,
        gain=found.gain,
        interval=found.interval,
        excess=found.excess,
    )


def _compared_result(one: Compared) -> CheckResult:
    found = one.found
    if not _is_finite(found) or found.excess is None or found.needed is None or found.gain is None:
        return CheckResult.UNDECIDED
    if one.rule[1] is Bound.TOLERANCE:
        passed = _is_tolerated(one, found.gain, found.needed)
    else:
        # Two models without any difference are no evidence that one is better.
        better = found.gain > 0 or one.rule[1] is Bound.MAX_LOSS
        passed = better and reaches(found.needed + found.excess.low, found.needed)
    if passed:
        return CheckResult.PASSED
    far_end_short = not reaches(found.needed + found.excess.high, found.needed)
    return CheckResult.FAILED if one.violated and far_end_short else CheckResult.UNDECIDED


def _is_tolerated(one: Compared, gain: float, needed: float) -> bool:
    """Return whether a challenger is not shown to be worse, and is not much worse as measured."""
    # On the very same rows one small loss after the other would add up: none is allowed there.
    least = 0.0 if one.again else needed
    return not _is_worse(one.found) and reaches(gain, least)


def _is_worse(found: Comparison) -> bool:
    """Return whether the rows show that the challenger is worse."""
    return found.interval is None or not reaches(found.interval.high, 0.0)


def _is_finite(found: Comparison) -> bool:
    """Return whether every number that a comparison rests on is there and finite."""
    ends = () if found.excess is None else (found.excess.low, found.excess.high)
    numbers = (found.challenger, found.champion, found.gain, found.needed, *ends)
    return len(ends) == 2 and all(n is not None and math.isfinite(n) for n in numbers)  # noqa: PLR2004


def _reason(one: Compared, result: CheckResult) -> str:
    rule, found = one.rule, one.found
    challenger = f"{rule[0].name} {found.challenger:.6g}{_where(found)}"
    if found.champion is None or found.gain is None:
        return f"{challenger}: the champion's cannot be computed"
    champion = f"{_relation(rule, result)} the champion's {found.champion:.6g}"
    told = f"{challenger} {champion}{_by(rule, result)}{_gain(found)}"
    return f"{_plainly(one)}; {told}" if result is CheckResult.UNDECIDED else told


def _plainly(one: Compared) -> str:
    """Return why a comparison is undecided, for who knows no statistics."""
    rule, found = one.rule, one.found
    where = f"With {found.rows:,} rows{_where(found)}"
    gain = f"{found.gain:.2g}"
    if found.interval is not None:
        gain += f" ({found.interval.low:.2g} to {found.interval.high:.2g})"
    if rule[1] is Bound.TOLERANCE and _is_worse(found):
        return f"{where}, a loss in {rule[0].name} can be told from luck: the gain was {gain}"
    if rule[1] is Bound.TOLERANCE:
        most = "there is a loss" if one.again else f"the loss is more than {size_of(rule)}"
        return f"{where}, {most} in {rule[0].name}, which may be luck: the gain was {gain}"
    if rule[1] is Bound.MAX_LOSS:
        lost = f"a loss in {rule[0].name} of more than {size_of(rule)} cannot be ruled out"
        return f"{where}, {lost}: the gain was {gain}"
    # None where it cannot be computed; 0 where the two models answer alike.
    if not found.smallest_detectable:
        return f"{where}, no gain in {rule[0].name} can be told from luck: it was {gain}"
    least = f"a gain in {rule[0].name} of about {found.smallest_detectable:.2g}"
    return f"{where}, only {least} could be told from luck, and this one was {gain}"


def _relation(rule: Rule, result: CheckResult) -> str:
    if result is CheckResult.UNDECIDED:
        return "against"
    passed = result is CheckResult.PASSED
    if rule[1] in _LOSSES:
        return f"is within {size_of(rule)} of" if passed else "is worse than"
    if passed:
        return "beats"
    return "does not beat" if rule[2] else "is worse than"


def _by(rule: Rule, result: CheckResult) -> str:
    _, bound, limit = rule
    size = size_of(rule)
    if bound in _LOSSES:
        return {
            CheckResult.PASSED: ", or better",
            CheckResult.FAILED: f" by more than {size}",
        }.get(result, f": not certainly within {size}")
    if result is CheckResult.UNDECIDED:
        return f": not certainly better{f' by {size}' if limit else ''}"
    return f" by at least {size}" if limit else ""


def _gain(found: Comparison) -> str:
    if found.interval is None:
        return "; no interval can be computed"
    ends = f"{found.interval.low:.4g} to {found.interval.high:.4g}"
    # The interval is two-sided at 1 - 2 alpha, each end one-sided at alpha: (1 + c) / 2 is 1 -
    # alpha.
    said = f"each bound holds with {sure((1 - found.interval.confidence) / 2)} % confidence"
    return f"; gain {found.gain:.4g}, from {ends} ({said})"


def _where(found: Comparison) -> str:
    return f" where {found.slice}" if found.slice else ""


def alpha_of(alpha: float, compared_before: float) -> float:
    """Return the one-sided error rate that the next challenger on a holdout may spend.

    The k-th challenger on the same rows, ``k = compared_before + 1``, gets
    ``alpha * 6 / (pi^2 k^2)``. The sum over all k is ``alpha`` (Basel problem), so the chance that
    any of them, however many, is promoted by luck stays at or below ``alpha`` by the union bound.
    New rows start anew; where a part of them is new, ``Evidence.overlapping`` says how many
    challengers the earlier ones amount to.
    This is Bonferroni's rule for a sequence of unknown length, named Alpha-Spending in Tian and
    Ramdas, "Online control of the familywise error rate", Stat. Methods Med. Res. 30 (2021).

    Args:
        alpha: The error rate over all challengers.
        compared_before: ``Evidence.compared_before``.
    """
    return alpha * 6 / (math.pi * (compared_before + 1)) ** 2


def violations(evidence: Sequence[tuple[float, float]]) -> tuple[bool, ...]:
    """Return which of several rules are violated beyond chance, all errors taken together.

    Holm's step-down procedure ("A simple sequentially rejective multiple test procedure", Scand.
    J. Statist. 6, 1979): with m rules, the j-th smallest p-value must reach alpha / (m - j + 1).
    The chance that any rule is called violated that is not stays at or below alpha. Where rules
    state different error rates, each p-value is measured by its own, which keeps the chance at or
    below the largest of them.

    Args:
        evidence: For each rule the one-sided p-value of the hypothesis that it is kept, and the
            error rate that it states.
    """
    order = sorted(range(len(evidence)), key=lambda i: evidence[i][0] / evidence[i][1])
    rejected = [False] * len(evidence)
    for place, index in enumerate(order):
        p_value, alpha = evidence[index]
        if p_value > alpha / (len(evidence) - place):
            break
        rejected[index] = True
    return tuple(rejected)
