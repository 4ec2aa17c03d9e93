"""The answer of a backtest as one self-contained page with pictures. Pure.

Nothing in it comes unescaped from data, and it loads nothing from anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Final

from understudy.backtest.results import (
    REFERENCES,
    Result,
    far,
    head,
    lines,
    recommendation,
    sentence,
)
from understudy.report.drawing import Scale, Tick

WINDOW: Final = 28
"""Nights that a point of the curve is the mean of: four weeks hide no season."""
_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 960, 340, 64, 28
_STRIP: Final = 12
# Gaps between the dates below the chart.
_DATES: Final = 5
# Rule sets are drawn in colours, references in greys and dashes: they are what to compare with.
_OWN: Final = ("#0a65b0", "#b3261e", "#08734f", "#7b3fa0", "#a05a00", "#00707a")
_REFERENCE: Final = {
    "hindsight": ("#444444", "2 3"),
    "point": ("#8a8a8a", "7 4"),
    "always": ("#8a8a8a", "2 5"),
    "frozen": ("#c0a080", "10 5"),
}


@dataclass(frozen=True, slots=True)
class Curve:
    """One way to promote: its name, colour and dashes, and what the evaluation found."""

    name: str
    colour: str
    dashes: str
    found: Mapping[str, Any]


def page(result: Result) -> str:
    """Return the page as HTML."""
    curves = [
        Curve(one["name"], _OWN[number % len(_OWN)], "", one)
        for number, one in enumerate(result["rules"])
    ]
    for name, title in REFERENCES.items():
        curves.append(Curve(title, *_REFERENCE[name], result["paths"][name]))
    metric = escape(str(result["metric"]["name"]))
    project = escape(str(result["plan"]["project"]))
    nights = result["nights"]
    said = [sentence(result, one["name"]) for one in result["rules"]]
    summary = "".join(f"<li>{escape(line)}" for line in (*said, recommendation(result)))
    return _PAGE.format(
        title=f"Backtest: {metric} of {project}",
        intro=f"{len(nights)} nights, {escape(nights[0])} to {escape(nights[-1])}; "
        f"{metric} {escape(result['how'])}, {sum(result['rows']):,} rows.",
        summary=summary,
        table=_table(result),
        curve=_chart(curves, result),
        window=min(WINDOW, len(nights)),
        strips=_strips(curves, nights),
        failures=_failures(result["failures"]),
    )


def _table(result: Result) -> str:
    titles = "".join(f"<th>{escape(cell)}" for cell in head(result))
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}" for cell in row) for row in lines(result))
    return f"<table><thead><tr>{titles}</thead><tbody>{body}</tbody></table>"


def trailing(values: Sequence[float | None], window: int = WINDOW) -> list[float | None]:
    """Return the means of the last values at each place; None while there are too few."""
    found: list[float | None] = []
    for end in range(1, len(values) + 1):
        known = [v for v in values[max(end - window, 0) : end] if v is not None]
        enough = end >= min(window, len(values)) and known
        found.append(sum(known) / len(known) if enough else None)
    return found


def _chart(curves: Sequence[Curve], result: Result) -> str:
    """Return the curves as SVG, their dates and their legend."""
    smooth = {curve.name: trailing(curve.found["by_night"]) for curve in curves}
    beyond = far(result)
    scale = Scale.over(v for name, curve in smooth.items() if name not in beyond for v in curve)
    axis = "".join(map(_tick, scale.mirrored_ticks()))
    # Rule sets come first, and what is drawn last lies on top.
    paths = "".join(
        f'<path d="{_path(smooth[c.name], scale)}" stroke="{c.colour}" '
        f'stroke-dasharray="{c.dashes}"><title>{escape(c.name)}</title></path>'
        for c in reversed(curves)
    )
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img"><clipPath id="in"><rect x="{_LEFT}" '
        f'width="{_WIDTH - _LEFT}" height="{_HEIGHT - _BOTTOM}"/></clipPath>{axis}'
        f'<g clip-path="url(#in)" fill="none" stroke-width="2">{paths}</g>'
        f"{_dates(result['nights'])}</svg>{_legend(curves)}"
    )


def _y(percent: float) -> float:
    return round((_HEIGHT - _BOTTOM) * percent / 100, 1)


def _x(place: int, count: int) -> float:
    return round(_LEFT + (_WIDTH - _LEFT - 4) * place / max(count - 1, 1), 1)


def _path(values: Sequence[float | None], scale: Scale) -> str:
    # In percent from the top; outside of 0 to 100 for what is cut off.
    places = [
        f"{_x(i, len(values))} {_y(100 * (scale.high - value) / (scale.high - scale.low))}"
        for i, value in enumerate(values)
        if value is not None
    ]
    return f"M{'L'.join(places)}" if places else ""


def _tick(tick: Tick) -> str:
    y = _y(tick.at)
    line = f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH}" y1="{y}" y2="{y}"/>'
    return f'{line}<text x="{_LEFT - 8}" y="{y + 4}" text-anchor="end">{escape(tick.label)}</text>'


def _dates(nights: Sequence[str]) -> str:
    count = len(nights)
    chosen = sorted({round(i * (count - 1) / _DATES) for i in range(_DATES + 1)})
    ends = {chosen[0]: "start", chosen[-1]: "end"}
    return "".join(
        f'<text x="{_x(i, count)}" y="{_HEIGHT - 8}" text-anchor="{ends.get(i, "middle")}">'
        f"{escape(nights[i][:10])}</text>"
        for i in chosen
    )


def _legend(curves: Sequence[Curve]) -> str:
    entries = (
        f'<span><svg width="34" height="10"><line x2="34" y1="5" y2="5" stroke="{c.colour}" '
        f'stroke-width="2" stroke-dasharray="{c.dashes}"/></svg> {escape(c.name)}</span>'
        for c in curves
    )
    return f'<p class="legend">{"".join(entries)}</p>'


def _strips(curves: Sequence[Curve], nights: Sequence[str]) -> str:
    """Return one line per way, with a mark at each night that changed the model in production."""
    count, rows = len(nights), []
    # 60 % of a night's share, so that neighbours stay apart; never thinner than can be seen.
    width = max(round(60 / count, 2), 0.15)
    for curve in curves:
        serving = curve.found["serving"]
        marks = "".join(
            f'<rect x="{round(100 * i / count, 2)}%" width="{width}%" '
            f'height="{_STRIP}"><title>{escape(nights[i])}</title></rect>'
            for i in range(1, count)
            if serving[i] != serving[i - 1]
        )
        strip = f'<svg class="strip" height="{_STRIP}" fill="{curve.colour}">{marks}</svg>'
        rows.append(f"<tr><th>{escape(curve.name)}<td>{strip}<td>{curve.found['promotions']}")
    return f'<table class="strips">{"".join(rows)}</table>'


def _failures(failures: Mapping[str, str]) -> str:
    if not failures:
        return ""
    reasons = "".join(f"<li>{escape(night)}: {escape(why)}" for night, why in failures.items())
    return f"<h2>Nights without a model</h2><ul>{reasons}</ul>"


_PAGE: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; color: #1c2126; background: #fff; max-width: 62rem;
  margin: 2rem auto; padding: 0 1rem; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
th, td {{ text-align: left; padding: .2rem 1rem .2rem 0; border-bottom: 1px solid #d5dbe1; }}
svg text {{ font-size: 12px; fill: #57606a; }} .grid {{ stroke: #e3e7eb; }}
svg[role=img] {{ width: 100%; height: auto; }} .strip {{ width: 34rem; max-width: 60vw; }}
.legend span {{ margin-right: 1.4rem; white-space: nowrap; }} .strips th {{ font-weight: normal; }}
</style>
<h1>{title}</h1>
<p>{intro}</p>
<ul>{summary}</ul>
{table}
<h2>What was served: mean of {window} nights</h2>
{curve}
<h2>When the model in production changed</h2>
{strips}
{failures}
</html>
"""
