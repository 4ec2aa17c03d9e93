"""The answer of a backtest as a table and a drawing for a terminal. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from understudy.report.drawing import Scale

Result = Mapping[str, Any]

REFERENCES: Final = {
    "hindsight": "best choice in hindsight",
    "point": "promote when the number is better",
    "always": "promote always",
    "frozen": "first model frozen",
}
"""The references by what they are called for a person, the one that nobody can beat first."""
_HEAD: Final = ("", "served", "above hindsight", "promoted", "held", "rejected")
BLOCKS: Final = "\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
"""Least to greatest, where a terminal can show them; else digits."""
DIGITS: Final = "01234567"
_WITH_FAULTS: Final = "with faults"
_WITH_REFIT: Final = "with a refit"
_ENOUGH: Final = 0.03
"""How far above hindsight the served error of good rules may lie."""
_ALIKE: Final = 0.005
"""Difference of two served errors, as a share, that says nothing about rules."""
# Hindsight knows rows to come, which no rule does: to reach it is not what rules are for.


Rows = Sequence[Sequence[str]]


def beside(titles: Sequence[str], rows: Rows) -> list[str]:
    """Return the lines of a table whose columns are beside each other, however wide that is."""
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    padded = (
        [cell.ljust(w) for cell, w in zip(row, widths, strict=True)] for row in (titles, *rows)
    )
    return ["  ".join(row).rstrip() for row in padded]


def table(
    result: Result, layout: Callable[[Sequence[str], Rows], Iterable[str]] = beside
) -> Iterator[str]:
    """Yield the lines of a table: every rule set, then the references.

    Args:
        result: Of the backtest.
        layout: Makes lines of titles and rows.
    """
    metric, nights = result["metric"]["name"], len(result["nights"])
    yield f"{metric} that was served, {result['how']}; {nights} nights, {sum(result['rows'])} rows"
    yield from layout(head(result), list(lines(result)))
    if result["failures"]:
        yield f"{len(result['failures'])} nights have no model; what served went on serving"
    if "faults" in result:
        yield f"Nights with faults: {_faulty_nights(result)}"
    yield recommendation(result)


def head(result: Result) -> tuple[str, ...]:
    """Return what stands above the columns of ``lines``."""
    more = {"faults": _WITH_FAULTS, "refit": _WITH_REFIT}
    return (*_HEAD, *(title for key, title in more.items() if key in result))


def lines(result: Result) -> Iterator[tuple[str, ...]]:
    """Yield the cells of each line; with faults, too, above hindsight that has none.

    What refits served stands as it is, with how much worse that is than without them.
    """
    best, spoilt = result["paths"]["hindsight"]["served"], _served(result, "faults")
    refitted, lower = _served(result, "refit"), result["metric"]["lower_is_better"]

    def ending(name: str, served: float | None) -> Iterator[str]:
        if spoilt:
            excess = above(spoilt.get(name), best)
            yield "" if excess is None else f"{excess:.2%}"
        if refitted:
            again = refitted.get(name)
            told = "none" if again is None else f"{again:.5g}"
            yield f"{told}, {_worse(again, served, lower=lower)}"

    for one in result["rules"]:
        verdicts = Counter(one["verdicts"])
        counted = str(verdicts["HOLD"]), str(verdicts["REJECT"])
        ends = ending(one["name"], one["served"])
        yield (one["name"], *_numbers(one, best), *counted, *ends)
    for name, title in REFERENCES.items():
        found = result["paths"][name]
        yield (title, *_numbers(found, best), "", "", *ending(title, found["served"]))


def sketch(result: Result, width: int, marks: str = BLOCKS) -> Iterator[str]:
    """Yield the lines of a drawing: what each way served in the course of the nights.

    Args:
        result: Of the backtest.
        width: Characters of a line; the course keeps at least 10 of them.
        marks: What stands for the least to the greatest value.
    """
    ways = {one["name"]: one for one in result["rules"]}
    ways |= {title: result["paths"][key] for key, title in REFERENCES.items()}
    names, nights = max(map(len, ways)) + 2, result["nights"]
    cells = min(max(width - names, 10), len(nights))
    means = {name: list(_means(one["by_night"], cells)) for name, one in ways.items()}
    beyond = far(result)
    shown = [v for name in ways if name not in beyond for v in means[name] if v is not None]
    scale = Scale(min(shown, default=0.0), max(shown, default=1.0))
    better = "lower" if result["metric"]["lower_is_better"] else "higher"
    ends = f"{marks[0]} {scale.low:.5g} to {marks[-1]} {scale.high:.5g}"
    yield f"{result['metric']['name']} by time, {ends}; {better} is better"
    for name, values in means.items():
        yield f"{name:{names}}{''.join(_mark(value, scale, marks) for value in values)}".rstrip()
    first, last = nights[0][:10], nights[-1][:10]
    yield f"{'':{names}}{first}{last.rjust(max(cells - len(first), len(last) + 1))}"


def _means(values: Sequence[float | None], cells: int) -> Iterator[float | None]:
    """Yield the mean of each of so many stretches; None where no night has a value."""
    for cell in range(cells):
        stretch = values[cell * len(values) // cells : (cell + 1) * len(values) // cells]
        known = [value for value in stretch if value is not None]
        yield sum(known) / len(known) if known else None


def _mark(value: float | None, scale: Scale, marks: str) -> str:
    if value is None:
        return " "
    return marks[min(int(scale.at(value) / 100 * len(marks)), len(marks) - 1)]


def far(result: Result) -> frozenset[str]:
    """Return the titles of references more than twice as bad as hindsight.

    A first model that drift made useless would press all other curves into one line: such a one
    does not set the scale of a drawing, and is cut off.
    """
    best = result["paths"]["hindsight"]["served"]
    served = {title: result["paths"][key]["served"] for key, title in REFERENCES.items()}
    return frozenset(title for title, value in served.items() if (above(value, best) or 0.0) > 1)


def _served(result: Result, part: str) -> dict[str, float | None]:
    """Return what was served with faults or by refits, by rule set and title of a reference."""
    if part not in result:
        return {}
    found = result[part]
    references = {title: found["paths"][key]["served"] for key, title in REFERENCES.items()}
    return {**references, **{one["name"]: one["served"] for one in found["rules"]}}


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


def _faulty_nights(result: Result) -> str:
    by_fault: dict[str, list[str]] = {}
    for night, fault in result["faults"]["injected"].items():
        by_fault.setdefault(fault, []).append(night[:10])
    return "; ".join(f"{fault} {', '.join(nights)}" for fault, nights in by_fault.items())


def recommendation(result: Result) -> str:
    """Return which rule set to take, as one sentence with its reason.

    The first one, which is the default, stands unless another serves better by more than
    ``_ALIKE``: less than that is luck of the nights that were replayed. Where faults were injected,
    that counts with them and without, and what wins by the one must not lose by the other.
    """
    lower = result["metric"]["lower_is_better"]
    known = [one for one in result["rules"] if one["served"] is not None]
    if not known:
        return "No rule set can be recommended: none served a number on every night"
    first, spoilt = known[0], _served(result, "faults")
    gains = {one["name"]: _gains(one, first, spoilt, lower=lower) for one in known}
    winners = [
        one for one in known
        if max(gains[one["name"]]) > _ALIKE and min(gains[one["name"]]) >= -_ALIKE
    ]  # fmt: skip
    taken = max(winners, key=lambda one: sum(gains[one["name"]]), default=first)
    why = f"no other rule set serves better by more than {_ALIKE:.1%}"
    if winners:
        parts = [f"{gain:.1%}" for gain in gains[taken["name"]]]
        with_faults = f" ({parts[1]} with the faults)" if spoilt else ""
        why = f"it serves better than {first['name']} by {parts[0]}{with_faults}"
    simple = [
        title
        for key, title in REFERENCES.items()
        if key != "hindsight"
        and _better(result["paths"][key]["served"], taken["served"], lower=lower)
    ]
    but = f"; on these nights, {' and '.join(simple)} served better" if simple else ""
    if spoilt:
        always = REFERENCES["always"]
        ours = _worse(spoilt[taken["name"]], taken["served"], lower=lower)
        theirs = _worse(spoilt[always], result["paths"]["always"]["served"], lower=lower)
        but += f"; the faults make it serve {ours}, and {always} {theirs}"
    if again := _served(result, "refit"):
        ours = _worse(again[taken["name"]], taken["served"], lower=lower)
        but += f"; with a refit after each promotion it would have served {ours}"
    return f"Recommended: {taken['name']}, since {why}{but}"


def _gains(
    one: Result, first: Result, spoilt: Mapping[str, float | None], *, lower: bool
) -> list[float]:
    """Return by which shares one rule set serves better than the first: as it is, with faults."""
    pairs = [(one["served"], first["served"])]
    if spoilt:
        pairs.append((spoilt[one["name"]], spoilt[first["name"]]))
    return [_gain(value, other, lower=lower) for value, other in pairs]


def _gain(value: float | None, other: float | None, *, lower: bool) -> float:
    if value is None:
        return 0.0 if other is None else -math.inf
    if other is None:
        return math.inf
    share = above(value, other) or 0.0
    return share if _better(value, other, lower=lower) else -share


def _worse(value: float | None, before: float | None, *, lower: bool) -> str:
    gain = _gain(value, before, lower=lower)
    if not math.isfinite(gain):
        return "no number"
    return f"{abs(gain):.1%} {'better' if gain > 0 else 'worse'}"


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
