"""The pictures of both models' predictions, from their summary. Pure."""

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
    PicturePath,
    Scale,
    Summary,
    Table,
    histogram,
    line,
)
from understudy.report.text import count, number, percent, shown, signed

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
