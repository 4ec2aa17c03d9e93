"""The pictures of predictions of numbers. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

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
from understudy.report.text import count, number, percent, signed


def drawn(summary: Summary) -> Iterator[Picture | Table]:
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
    told = "; ".join(
        f"{who}: mean {signed(model['mean'])}, half of the errors below "
        f"{number(model['quantiles']['0.5'])}, 95 % below {number(model['quantiles']['0.95'])}"
        for who, model in models.items()
    )
    outside = f" {count(beyond)} errors lie beyond the picture." if beyond else ""
    return Picture(
        title="How far off they are",
        alternative=f"Histogram of the errors. {told}.{outside}",
        across="error: prediction less target, in the target\u2019s unit",
        upwards="share of rows",
        across_ticks=axis.ticks(),
        upwards_ticks=ticks,
        shapes=shapes,
        guides=(Shape("zero", f"M{zero} 0V100"),),
        legend=tuple(models),
    )


def _error_table(summary: Summary) -> Table:
    models = summary["errors"]["models"]
    names = {
        "mean": "mean error (bias)",
        "mean_absolute": "mean absolute error",
        "root_mean_square": "root mean square error",
    }
    rows = [
        (label, *(_plain(name, model) for model in models.values()))
        for name, label in names.items()
    ]
    rows += [
        (_quantile_name(level), *(number(model["quantiles"][level]) for model in models.values()))
        for level in next(iter(models.values()))["quantiles"]
    ]
    nearer = summary.get("nearer")
    return Table("The same in numbers", ("", *models), tuple(rows), _nearer(nearer))


def _plain(name: str, model: Summary) -> str:
    return signed(model[name]) if name == "mean" else number(model[name])


def _quantile_name(level: str) -> str:
    named = {"0.5": "half of the errors below", "1.0": "largest error"}
    return named.get(level, f"{100 * float(level):g} % of the errors below")


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
            guides=(Shape("zero", f"M0 {upwards.up(0)}H100"),),
        )
