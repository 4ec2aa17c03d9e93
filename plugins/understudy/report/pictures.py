"""The pictures of a page. Pure.

The interval plot shows every check against its bound, one panel for each metric and rule; the
others show both models' predictions, from their summary.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from understudy.report.document import CheckView, IntervalView, finite
from understudy.report.drawing import (
    CHALLENGER,
    CHAMPION,
    Dot,
    Picture,
    PicturePath,
    Scale,
    Summary,
    Table,
    Tick,
    histogram,
    line,
)
from understudy.report.words import count, number, percent, shown, signed, stated

_Z95: Final = 1.959963984540054


def draw_classes(summary: Summary) -> Iterator[Picture | Table]:
    """Yield what shows hits, misses and sureness of both models, in the order it is read."""
    if summary["truth"]["models"]:
        yield _truth(summary)
        yield _calibration(summary)
    if outcomes := summary.get("outcomes"):
        yield _outcome_table(outcomes)
    yield _class_table(summary)


def _truth(summary: Summary) -> Picture:
    models = summary["truth"]["models"]
    shapes, ticks = histogram(models)
    means = "; ".join(
        f"{who}: {percent(model['mean'])} on average" for who, model in models.items()
    )
    return Picture(
        title="How much they believed in what was true",
        alternative=f"Histogram of the probability that was given to the true class. {means}.",
        across="probability given to the true class",
        upwards="share of rows",
        across_ticks=Scale(0.0, 1.0).ticks(6),
        upwards_ticks=ticks,
        shapes=shapes,
        legend=tuple(models),
    )


def _calibration(summary: Summary) -> Picture:
    models, unit = summary["calibration"]["models"], Scale(0.0, 1.0)
    named = summary["calibration"].get("of")
    subject = "the likeliest class" if named is None else f"\u201c{shown(named, 60)}\u201d"
    dots = {
        who: tuple(_calibrated(who, part, unit) for part in model["bins"])
        for who, model in models.items()
    }
    gaps = "; ".join(
        f"{who}: off by {percent(model['error'])} on average" for who, model in models.items()
    )
    return Picture(
        title="Whether their probabilities are calibrated",
        alternative=f"Calibration of {subject}. {gaps}. On the diagonal what is said to happen in "
        "30 % of the cases happens in 30 %.",
        across=f"probability said, of {subject}",
        upwards="share that came true, with its 95 % interval",
        across_ticks=unit.ticks(6),
        upwards_ticks=unit.mirrored_ticks(6),
        shapes=tuple(line(who, [(dot.x, dot.y) for dot in found]) for who, found in dots.items()),
        dots=tuple(dot for found in dots.values() for dot in found),
        guides=(PicturePath("diagonal", "M0 100L100 0"),),
        legend=tuple(models),
    )


def _calibrated(who: str, part: Mapping[str, float], unit: Scale) -> Dot:
    low, high = wilson(part["seen"], part["rows"])
    return Dot(who, unit.at(part["said"]), unit.up(part["seen"]), unit.up(high), unit.up(low))


def wilson(share: float, rows: float) -> tuple[float, float]:
    """Return the 95 % interval of a share that was seen in so many independent rows.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
    JASA 22 (1927).
    """
    squared = _Z95**2
    middle = (share + squared / (2 * rows)) / (1 + squared / rows)
    spread = math.sqrt(share * (1 - share) / rows + squared / (4 * rows**2))
    half = _Z95 * spread / (1 + squared / rows)
    return max(middle - half, 0.0), min(middle + half, 1.0)


def _outcome_table(outcomes: Mapping[str, int]) -> Table:
    total = sum(outcomes.values()) or 1
    names = {
        "both": "both right",
        CHALLENGER: "only the challenger right",
        CHAMPION: "only the champion right",
        "neither": "both wrong",
    }
    rows = tuple(
        (label, count(outcomes[name]), percent(outcomes[name] / total))
        for name, label in names.items()
    )
    return Table("Who was right where", ("", "rows", "share"), rows)


def _class_table(summary: Summary) -> Table:
    classes = summary["classes"]
    models = tuple(classes[0]["models"]) if classes else ()
    head = (
        "class",
        "rows",
        *(f"{name}, {who}" for name in ("recall", "precision") for who in models),
    )
    rows = tuple(
        (
            str(one["name"]),
            count(one["rows"]),
            *(
                percent(finite(one["models"][who][name]))
                for name in ("recall", "precision")
                for who in models
            ),
        )
        for one in classes
    )
    others = summary.get("other_classes", 0)
    return Table(
        "By class", head, rows, f"{count(others)} smaller classes are not shown." if others else ""
    )


def draw_numbers(summary: Summary) -> Iterator[Picture | Table]:
    """Yield what shows the errors of both models, in the order in which it is read."""
    yield _errors(summary)
    yield _error_table(summary)
    yield from _residuals(summary)


def _errors(summary: Summary) -> Picture:
    errors = summary["errors"]
    edges, models = errors["edges"], errors["models"]
    shapes, ticks = histogram(models)
    axis = Scale(edges[0], edges[-1])
    zero = axis.at(0)
    beyond = sum(model["below"] + model["above"] for model in models.values())
    quantiles = "; ".join(
        f"{who}: mean {signed(model['mean'])}, half of the errors below "
        f"{number(model['quantiles']['0.5'])}, 95 % below {number(model['quantiles']['0.95'])}"
        for who, model in models.items()
    )
    outside = f" {count(beyond)} errors lie beyond the picture." if beyond else ""
    return Picture(
        title="How far off they are",
        alternative=f"Histogram of the errors. {quantiles}.{outside}",
        across="error: prediction less target, in the target\u2019s unit",
        upwards="share of rows",
        across_ticks=axis.ticks(),
        upwards_ticks=ticks,
        shapes=shapes,
        guides=(PicturePath("zero", f"M{zero} 0V100"),),
        legend=tuple(models),
    )


def _error_table(summary: Summary) -> Table:
    models = summary["errors"]["models"]
    names = {
        "mean": "mean error (bias)",
        "mean_absolute": "mean absolute error",
        "root_mean_square": "root mean square error",
    }
    rows = []
    for name, label in names.items():
        # Of the three only the bias has a direction.
        text = signed if name == "mean" else number
        rows.append((label, *(text(model[name]) for model in models.values())))
    named = {"0.5": "half of the errors below", "1.0": "largest error"}
    for level in next(iter(models.values()))["quantiles"]:
        label = named.get(level, f"{100 * float(level):g} % of the errors below")
        rows.append((label, *(number(model["quantiles"][level]) for model in models.values())))
    nearer = summary.get("nearer")
    return Table("The same in numbers", ("", *models), tuple(rows), _nearer(nearer))


def _nearer(nearer: Mapping[str, int] | None) -> str:
    if not nearer:
        return ""
    total = sum(nearer.values()) or 1
    equal = f", both equally near on {percent(nearer['equal'] / total)}" if nearer["equal"] else ""
    return (
        f"The challenger is nearer to the target on {percent(nearer[CHALLENGER] / total)} of the "
        f"rows, the champion on {percent(nearer[CHAMPION] / total)}{equal}."
    )


def _residuals(summary: Summary) -> Iterator[Picture]:
    """Yield one picture for each model, all on the same axes."""
    parts = {who: values for who, values in summary["residuals"].items() if values}
    every = [part for values in parts.values() for part in values]
    across = Scale.over(part["prediction"] for part in every)
    upwards = Scale.over([0.0, *(part[end] for part in every for end in ("low", "high"))])
    for who, values in parts.items():
        dots = tuple(
            Dot(
                who,
                across.at(part["prediction"]),
                upwards.up(part["mean"]),
                upwards.up(part["high"]),
                upwards.up(part["low"]),
            )
            for part in values
        )
        worst = max(values, key=lambda part: abs(part["mean"]))
        yield Picture(
            title=f"Errors by prediction: {who}",
            alternative=f"Mean error of the {who} in {len(values)} parts of equal size, by what it "
            f"predicted. It is largest where it predicts about {number(worst['prediction'])}: "
            f"{signed(worst['mean'])}.",
            across="prediction",
            upwards="mean error; the line holds 80 % of the rows",
            across_ticks=across.ticks(),
            upwards_ticks=upwards.mirrored_ticks(),
            shapes=(line(who, [(dot.x, dot.y) for dot in dots]),),
            dots=dots,
            guides=(PicturePath("zero", f"M0 {upwards.up(0)}H100"),),
        )


def drawn(summary: Summary) -> Iterator[Picture | Table]:
    """Yield the pictures and tables of a summary; nothing where it has none."""
    if summary.get("task") == "regression":
        yield from draw_numbers(summary)
    elif summary.get("task") == "classification":
        yield from draw_classes(summary)


_WIDEST: Final = 4
"""An interval so many times wider than the panel's median one is cut, so that others stay seen."""
_ALL_ROWS: Final = "all rows"
_RULES: Final = {
    "at_least": "must be at least {0}",
    "at_most": "must be at most {0}",
    "min_gain": "must be better than the champion\u2019s by at least {0}",
    "max_loss": "may be worse than the champion\u2019s by at most {0}",
    "tolerance": "must not be shown to be worse than the champion\u2019s, nor be worse by more "
    "than {0} as measured",
}
_BARS_DIFFER: Final = (
    "The bound is a share of the champion\u2019s value, which is not known for sure either. Bars "
    "hold that, too, and so differ from the interval of the gain alone, which the reasons and the "
    "table of all numbers name."
)
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
    """The checks of one rule, on one axis; the note says why bars and gains differ, if they do."""

    metric: str
    rule: str
    note: str
    axis: str
    rows: tuple[Row, ...]
    ticks: tuple[Tick, ...]
    zero: float | None


def panels(checks: Sequence[CheckView], relative: Mapping[str, str]) -> tuple[Panel, ...]:
    """Return the panels of an interval plot, in the order of the record.

    Args:
        checks: The record's checks.
        relative: What a bound counts in, by the metrics whose bounds are relative: ``%``, or
            more words.
    """
    grouped: dict[tuple[str, str], list[CheckView]] = {}
    for check in checks:
        grouped.setdefault((check.metric, check.rule), []).append(check)
    return tuple(
        _panel(group, relative=relative.get(metric, "")) for (metric, _), group in grouped.items()
    )


def rule_in_words(check: CheckView, *, relative: str) -> str:
    """Return what a rule asks for, as the rest of a sentence that begins with the metric."""
    if check.rule == "min_gain" and check.bound == 0:
        return "must not be worse than the champion\u2019s"
    bound = stated(check.bound)
    if relative and check.compares and check.bound is not None:
        bound = f"{stated(100 * check.bound)} {relative}"
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


def _panel(checks: Sequence[CheckView], *, relative: str) -> Panel:
    first = checks[0]
    scale = Scale.over(_values(checks))
    rows = tuple(_row(check, scale, relative=relative) for check in checks)
    metric = shown(first.metric, 80)
    return Panel(
        metric=metric,
        rule=rule_in_words(first, relative=relative),
        note=_BARS_DIFFER if any(map(_bar_differs, rows)) else "",
        axis=_AXES[first.compares].format(metric),
        rows=rows,
        ticks=() if all(row.told for row in rows) else scale.ticks(),
        zero=scale.at(0) if first.compares and scale.holds(0) else None,
    )


def _bar_differs(row: Row) -> bool:
    """Return whether a bar is another interval than that of the gain, which the reasons name."""
    own = row.check.interval if row.check.compares and row.point is not None else None
    return own is not None and row.numbers != _numbers(row.check, own)


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


def _row(check: CheckView, scale: Scale, *, relative: str) -> Row:
    interval = deciding(check) if check.compares else None
    ends = {} if interval is None else {"low": interval.low, "high": interval.high}
    point, bound = _point(check), _at(scale, check.needed)
    allowed = None
    if bound is not None:
        allowed = (0.0, bound) if check.rule == "at_most" else (bound, 100.0)
    # Only a relative bound comes to another number on each row's rows.
    shows_needed = bool(relative) and check.compares and check.needed is not None
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
