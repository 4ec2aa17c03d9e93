"""The answer of a backtest as a table for a terminal. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

Result = Mapping[str, Any]

REFERENCES: Final = {
    "hindsight": "best choice in hindsight",
    "point": "promote when the number is better",
    "always": "promote always",
    "frozen": "first model frozen",
}
"""The references by what they are called for a person, the one that nobody can beat first."""
HEAD: Final = ("", "served", "above hindsight", "promoted", "held", "rejected")
_ENOUGH: Final = 0.03
"""How far above hindsight the served error of good rules may lie."""
_ALIKE: Final = 0.005
"""Difference of two served errors, as a share, that says nothing about rules."""
# Hindsight knows rows to come, which no rule does: to reach it is not what rules are for.


def table(result: Result) -> Iterator[str]:
    """Yield the lines of a table: every rule set, then the references."""
    metric, nights = result["metric"]["name"], len(result["nights"])
    yield f"{metric} that was served, {result['how']}; {nights} nights, {sum(result['rows'])} rows"
    rows = [HEAD, *map(tuple, lines(result))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        first, *others = (cell.ljust(w) for cell, w in zip(row, widths, strict=True))
        yield "  ".join([first, *others]).rstrip()
    if result["failures"]:
        yield f"{len(result['failures'])} nights have no model; what served went on serving"
    yield recommendation(result)


def lines(result: Result) -> Iterator[tuple[str, ...]]:
    """Yield the cells of each line."""
    best = result["paths"]["hindsight"]["served"]
    for one in result["rules"]:
        verdicts = Counter(one["verdicts"])
        yield (one["name"], *_numbers(one, best), str(verdicts["HOLD"]), str(verdicts["REJECT"]))
    for name, title in REFERENCES.items():
        yield (title, *_numbers(result["paths"][name], best), "", "")


def above(served: float | None, best: float | None) -> float | None:
    """Return by which share of |best| something served worse; None where there is no number.

    The distance is taken whichever way the metric gets better.
    """
    if served is None or best is None or best == 0:
        return None
    return abs(served - best) / abs(best)


def sentence(result: Result, name: str) -> str:
    """Return one sentence on whether a rule set is near hindsight and better than no rules."""
    found = next(one for one in result["rules"] if one["name"] == name)
    lower = result["metric"]["lower_is_better"]
    others = [
        title
        for key, title in REFERENCES.items()
        if key != "hindsight"
        and not _better(found["served"], result["paths"][key]["served"], lower=lower)
    ]
    excess = above(found["served"], result["paths"]["hindsight"]["served"])
    near = "" if excess is None else f"{excess:.1%} above hindsight"
    if not others and excess is not None and excess <= _ENOUGH:
        return f"{name}: {near}, and better than each way without rules"
    return f"{name}: {near}; not better than: {', '.join(others) or 'hindsight, by more than 3 %'}"


def recommendation(result: Result) -> str:
    """Return which rule set to take, as one sentence with its reason.

    The first one, which is the default, stands unless another serves better by more than
    ``_ALIKE``: less than that is luck of the nights that were replayed.
    """
    lower = result["metric"]["lower_is_better"]
    known = [one for one in result["rules"] if one["served"] is not None]
    if not known:
        return "No rule set can be recommended: none served a number on every night"
    first = known[0]
    best = (min if lower else max)(known, key=lambda one: one["served"])
    apart = above(best["served"], first["served"])
    taken = first if apart is not None and apart <= _ALIKE else best
    why = f"no other rule set serves better by more than {_ALIKE:.1%}"
    if taken is not first and apart is not None:
        why = f"it serves better than {first['name']} by {apart:.1%}"
    simple = [
        title
        for key, title in REFERENCES.items()
        if key != "hindsight"
        and _better(result["paths"][key]["served"], taken["served"], lower=lower)
    ]
    but = f"; on these nights, {' and '.join(simple)} served better" if simple else ""
    return f"Recommended: {taken['name']}, since {why}{but}"


def _better(value: float | None, other: float | None, *, lower: bool) -> bool:
    if value is None or other is None:
        return value is not None
    return value < other if lower else value > other


def _numbers(one: Mapping[str, Any], best: float | None) -> Sequence[str]:
    served = one["served"]
    excess = above(served, best)
    return (
        "none" if served is None else f"{served:.5g}",
        "" if excess is None else f"{excess:.2%}",
        str(one["promotions"]),
    )
