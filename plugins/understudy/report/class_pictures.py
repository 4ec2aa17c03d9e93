"""The pictures of predictions of classes. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Final

from understudy.report.document import finite
from understudy.report.drawing import (
    CHALLENGER,
    CHAMPION,
    Dot,
    Picture,
    Shape,
    Summary,
    Table,
    histogram,
    line,
)
from understudy.report.scale import Scale
from understudy.report.text import count, percent, shown

_Z95: Final = 1.959963984540054


def drawn(summary: Summary) -> Iterator[Picture | Table]:
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
    told = "; ".join(f"{who}: {percent(model['mean'])} on average" for who, model in models.items())
    return Picture(
        title="How much they believed in what was true",
        alternative=f"Histogram of the probability that was given to the true class. {told}.",
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
    told = "; ".join(
        f"{who}: off by {percent(model['error'])} on average" for who, model in models.items()
    )
    return Picture(
        title="Whether they are as sure as they may be",
        alternative=f"Calibration of {subject}. {told}. On the diagonal what is said to happen in "
        "30 % of the cases happens in 30 %.",
        across=f"probability said, of {subject}",
        upwards="share that came true, with its 95 % interval",
        across_ticks=unit.ticks(6),
        upwards_ticks=unit.mirrored_ticks(6),
        shapes=tuple(line(who, [(dot.x, dot.y) for dot in found]) for who, found in dots.items()),
        dots=tuple(dot for found in dots.values() for dot in found),
        guides=(Shape("diagonal", "M0 100L100 0"),),
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
