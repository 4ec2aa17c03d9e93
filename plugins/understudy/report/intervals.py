"""The interval plot: every check against its bound, one panel for each metric and rule. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from understudy.report.document import CheckView, IntervalView
from understudy.report.drawing import Scale, Tick
from understudy.report.text import number, shown, signed, stated

_WIDEST: Final = 4
"""An interval so many times wider than the panel's median one is cut, so that others stay seen."""
_ALL_ROWS: Final = "all rows"
_RULES: Final = {
    "at_least": "must be at least {0}",
    "at_most": "must be at most {0}",
    "min_gain": "must be better than the champion\u2019s by at least {0}",
    "max_loss": "may be worse than the champion\u2019s by at most {0}",
}
_AXES: Final = {
    True: "gain in {0}, right of 0 the challenger is better",
    False: "{0} of the challenger",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One check of a panel; places are percent of the panel's width, None for what is not there.

    Attributes:
        check: The check.
        name: Which rows of the holdout it is about.
        point: Where the gain lies, or the value where the bound is absolute.
        low: Where the interval that decides begins.
        high: Where it ends.
        cut: Which of its ends, ``low`` and ``high``, lie beyond the panel.
        champion: Where the champion's value lies, if the bound is absolute.
        bound: Where the bound lies.
        allowed: From where to where the check passes.
        numbers: What is drawn, as text.
        needed: What a relative bound came to on these rows, as text; '' where the panel's title
            says it.
        told: Why there is nothing to draw; '' where there is.
    """

    check: CheckView
    name: str
    point: float | None
    low: float | None
    high: float | None
    cut: frozenset[str]
    champion: float | None
    bound: float | None
    allowed: tuple[float, float] | None
    numbers: str
    needed: str
    told: str


@dataclass(frozen=True, slots=True)
class Panel:
    """The checks of one rule, on one axis."""

    metric: str
    rule: str
    axis: str
    rows: tuple[Row, ...]
    ticks: tuple[Tick, ...]
    zero: float | None


def panels(checks: Sequence[CheckView], relative: frozenset[str]) -> tuple[Panel, ...]:
    """Return the panels of an interval plot, in the order of the record.

    Args:
        checks: The record's checks.
        relative: The metrics whose comparisons are stated as fractions of the champion's value.
    """
    grouped: dict[tuple[str, str], list[CheckView]] = {}
    for check in checks:
        grouped.setdefault((check.metric, check.rule), []).append(check)
    return tuple(
        _panel(group, relative=metric in relative) for (metric, _), group in grouped.items()
    )


def rule_in_words(check: CheckView, *, relative: bool) -> str:
    """Return what a rule asks for, as the rest of a sentence that begins with the metric."""
    if check.rule == "min_gain" and check.bound == 0:
        return "must not be worse than the champion\u2019s"
    bound = stated(check.bound)
    if relative and check.compares and check.bound is not None:
        bound = f"{stated(100 * check.bound)} %"
    # A rule that a later version added is shown by its bound alone.
    return _RULES.get(check.rule, "{0}").format(bound)


def deciding(check: CheckView) -> IntervalView | None:
    """Return the interval that decides, on the axis of the gain.

    It is that of ``gain - needed``, moved by ``needed``. Of an absolute bound that is the gain's
    own interval; of a relative one it also holds what is not known of the champion's value.
    """
    if check.excess is None or check.needed is None or not math.isfinite(check.needed):
        return check.interval
    # By ``needed`` as it was estimated; what is uncertain about it is within the excess already.
    low, high = check.excess.low + check.needed, check.excess.high + check.needed
    return IntervalView(low, high, check.excess.confidence)


def _panel(checks: Sequence[CheckView], *, relative: bool) -> Panel:
    first = checks[0]
    scale = Scale.over(_values(checks))
    rows = tuple(_row(check, scale, relative=relative) for check in checks)
    metric = shown(first.metric, 80)
    return Panel(
        metric=metric,
        rule=rule_in_words(first, relative=relative),
        axis=_AXES[first.compares].format(metric),
        rows=rows,
        ticks=() if all(row.told for row in rows) else scale.ticks(),
        zero=scale.at(0) if first.compares and scale.holds(0) else None,
    )


def _values(checks: Sequence[CheckView]) -> Iterable[float | None]:
    """Yield what a panel must show; of intervals far wider than most only the middle."""
    # The median and no mean: one interval of few rows would be wide enough to hide its own width.
    widths = [one.high - one.low for check in checks if (one := _finite(deciding(check)))]
    widest = _WIDEST * median(widths) if widths else 0.0
    for check in checks:
        yield from (_point(check), check.needed)
        if check.compares:
            yield 0.0
        else:
            yield check.champion
        interval = _finite(deciding(check)) if check.compares else None
        if interval and interval.high - interval.low <= widest:
            yield from (interval.low, interval.high)


def _finite(interval: IntervalView | None) -> IntervalView | None:
    if interval is None or not all(map(math.isfinite, (interval.low, interval.high))):
        return None
    return interval


def _point(check: CheckView) -> float | None:
    value = check.gain if check.compares else check.challenger
    return value if value is not None and math.isfinite(value) else None


def _row(check: CheckView, scale: Scale, *, relative: bool) -> Row:
    interval = deciding(check) if check.compares else None
    ends = {} if interval is None else {"low": interval.low, "high": interval.high}
    point, bound = _point(check), _at(scale, check.needed)
    allowed = None
    if bound is not None:
        allowed = (0.0, bound) if check.rule == "at_most" else (bound, 100.0)
    # Only a relative bound comes to another number on each row's rows.
    shows_needed = relative and check.compares and check.needed is not None
    return Row(
        check=check,
        name=check.slice or _ALL_ROWS,
        point=_at(scale, point),
        low=scale.at(interval.low) if interval else None,
        high=scale.at(interval.high) if interval else None,
        cut=frozenset(name for name, value in ends.items() if not scale.holds(value)),
        champion=None if check.compares else _at(scale, check.champion),
        bound=bound,
        allowed=allowed,
        numbers=_numbers(check, interval),
        needed=f"needed {signed(check.needed, 3)}" if shows_needed else "",
        told="" if point is not None or interval is not None else check.reason,
    )


def _at(scale: Scale, value: float | None) -> float | None:
    return scale.at(value) if value is not None and math.isfinite(value) else None


def _numbers(check: CheckView, interval: IntervalView | None) -> str:
    """Return a row's numbers: the point and its interval."""
    if _point(check) is None:
        return ""
    if not check.compares:
        return number(check.challenger)
    ends = f" [{signed(interval.low, 3)}, {signed(interval.high, 3)}]" if interval else ""
    return f"{signed(check.gain, 3)}{ends}"
