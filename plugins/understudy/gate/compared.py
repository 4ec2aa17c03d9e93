"""Checks of rules on comparisons that have an interval. Pure.

A bound is kept when the near end of the interval clears it, and violated when the far end does not
reach it and that is beyond chance for all rules taken together; in between nobody knows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from understudy.gate import logged
from understudy.gate.error_rates import alpha_of, violations
from understudy.gate.evidence import Comparison
from understudy.gate.verdict import Check, CheckResult, Score, Unscored
from understudy.spec.metrics import Bound
from understudy.spec.rules import Rule


@dataclass(frozen=True, slots=True)
class Compared:
    """A rule with what is known about it on the rows of one slice, or on all.

    Attributes:
        rule: The rule.
        found: What is known.
        violated: Whether the bound is missed beyond chance, all rules taken together.
    """

    rule: Rule
    found: Comparison
    violated: bool = False


def compared(
    rules: Iterable[Rule], comparisons: Iterable[Comparison], judged_before: int
) -> Mapping[tuple[str, Bound], tuple[Compared, ...]]:
    """Return what is known about each rule, by metric and bound; those without are left out."""
    by_name = {(metric.name, bound): (metric, bound, limit) for metric, bound, limit in rules}
    known = [
        Compared(by_name[found.metric, Bound(found.rule)], found)
        for found in comparisons
        if (found.metric, Bound(found.rule)) in by_name
    ]
    known = _with_violations(known, judged_before)
    return {
        name: tuple(one for one in known if (one.rule[0].name, one.rule[1]) == name)
        for name in by_name
    }


def _with_violations(known: list[Compared], judged_before: int) -> list[Compared]:
    """Say which bounds are missed: an error over all of them, since one is enough to reject."""
    decidable = [one for one in known if _is_finite(one.found) and one.found.p_value is not None]
    tested = [
        (1 - (one.found.p_value or 0.0), alpha_of(one.rule[0].alpha, judged_before))
        for one in decidable
    ]
    missed = {
        id(one.found)
        for one, beyond_chance in zip(decidable, violations(tested), strict=True)
        if beyond_chance
    }
    return [replace(one, violated=id(one.found) in missed) for one in known]


def check(one: Compared, champion: Score | Unscored | None) -> Check:
    """Return how a rule came out on one comparison."""
    made = replace(_checked(one, champion), slice=one.found.slice)
    if one.found.note and one.found.note not in made.reason:
        return replace(made, reason=f"{made.reason} ({one.found.note})")
    return made


def _checked(one: Compared, champion: Score | Unscored | None) -> Check:
    rule, found = one.rule, one.found
    name = f"{rule[0].name}{_where(found)}"
    if found.slice and not found.rows:
        return logged.made(rule, CheckResult.FAILED, f"{name}: the holdout has no such rows")
    if found.challenger is None:
        return logged.made(rule, CheckResult.UNDECIDED, f"{name} cannot be computed")
    if not math.isfinite(found.challenger):
        state = f"{name} is {logged.stated(found.challenger)}"
        return logged.made(rule, CheckResult.FAILED, state)
    if not rule[1].needs_champion:
        return logged.absolute(rule, found.challenger, _where(found))
    if not isinstance(champion, Score):
        return logged.without(champion, rule, found.challenger)
    return _with_interval(one)


def _with_interval(one: Compared) -> Check:
    result = _result(one)
    check = logged.made(one.rule, result, _reason(one, result))
    found = one.found
    return replace(
        check,
        needed=found.needed,
        challenger=found.challenger,
        champion=found.champion,
        gain=found.gain,
        interval=found.interval,
        excess=found.excess,
    )


def _result(one: Compared) -> CheckResult:
    found = one.found
    if not _is_finite(found) or found.excess is None or found.needed is None or found.gain is None:
        return CheckResult.UNDECIDED
    # Two models without any difference are no evidence that one is better.
    better = found.gain > 0 or one.rule[1] is Bound.MAX_LOSS
    if better and logged.reaches(found.needed + found.excess.low, found.needed):
        return CheckResult.PASSED
    far_end_short = not logged.reaches(found.needed + found.excess.high, found.needed)
    return CheckResult.FAILED if one.violated and far_end_short else CheckResult.UNDECIDED


def _is_finite(found: Comparison) -> bool:
    """Return whether every number that a comparison rests on is there and finite."""
    ends = () if found.excess is None else (found.excess.low, found.excess.high)
    numbers = (found.challenger, found.champion, found.gain, found.needed, *ends)
    return len(ends) == 2 and all(n is not None and math.isfinite(n) for n in numbers)  # noqa: PLR2004


def _reason(one: Compared, result: CheckResult) -> str:
    rule, found = one.rule, one.found
    ours = f"{rule[0].name} {found.challenger:.6g}{_where(found)}"
    if found.champion is None or found.gain is None:
        return f"{ours}: the champion's cannot be computed"
    other = f"the champion's {found.champion:.6g}"
    return f"{ours} {_relation(rule, result)} {other}{_by(rule, result)}{_gain(found, result)}"


def _relation(rule: Rule, result: CheckResult) -> str:
    if result is CheckResult.UNDECIDED:
        return "against"
    passed = result is CheckResult.PASSED
    if rule[1] is Bound.MAX_LOSS:
        return f"is within {logged.size_of(rule)} of" if passed else "is worse than"
    if passed:
        return "beats"
    return "does not beat" if rule[2] else "is worse than"


def _by(rule: Rule, result: CheckResult) -> str:
    _, bound, limit = rule
    size = logged.size_of(rule)
    if bound is Bound.MAX_LOSS:
        return {
            CheckResult.PASSED: ", or better",
            CheckResult.FAILED: f" by more than {size}",
        }.get(result, f": not certainly within {size}")
    if result is CheckResult.UNDECIDED:
        return f": not certainly better{f' by {size}' if limit else ''}"
    return f" by at least {size}" if limit else ""


def _gain(found: Comparison, result: CheckResult) -> str:
    if found.interval is None:
        return "; no interval can be computed"
    ends = f"{found.interval.low:.4g} to {found.interval.high:.4g}"
    sure = f"{100 * (1 + found.interval.confidence) / 2:.3g} %"
    told = f"; gain {found.gain:.4g}, from {ends} (each end {sure} sure)"
    least = found.smallest_detectable
    if result is not CheckResult.UNDECIDED or least is None:
        return told
    return f"{told}; these {found.rows} rows would show a gain of {least:.4g}"


def _where(found: Comparison) -> str:
    return f" where {found.slice}" if found.slice else ""
