"""What pictures and tables are made of. Pure.

A picture knows nothing of colours or pixels: it is a list of shapes in percent of its width and
height, which the page's templates draw.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from understudy.report.scale import Scale, Tick

Summary = Mapping[str, Any]

CHALLENGER: Final = "challenger"
CHAMPION: Final = "champion"


@dataclass(frozen=True, slots=True)
class Shape:
    """A line or an area of one model, as an SVG path on a square of 100 by 100."""

    who: str
    path: str
    filled: bool = False


@dataclass(frozen=True, slots=True)
class Dot:
    """A point of one model, with the span around it."""

    who: str
    x: float
    y: float
    top: float
    bottom: float


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything that is to be drawn on one pair of axes, and in words for who cannot see it."""

    title: str
    alternative: str
    across: str
    upwards: str
    across_ticks: tuple[Tick, ...]
    upwards_ticks: tuple[Tick, ...]
    shapes: tuple[Shape, ...] = ()
    dots: tuple[Dot, ...] = ()
    guides: tuple[Shape, ...] = ()
    legend: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """The numbers behind a picture, or instead of one."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def _steps(who: str, counts: Sequence[float], highest: float, *, filled: bool) -> Shape:
    """Return a histogram: bins of equal width over the whole picture."""
    width = 100 / len(counts)
    tops = [round(100 - 100 * value / highest, 2) for value in counts]
    places = [round(index * width, 3) for index in range(len(counts) + 1)]
    steps = "".join(f"V{top}H{right}" for top, right in zip(tops, places[1:], strict=True))
    return Shape(who, f"M0 100{steps}V100{'Z' if filled else ''}", filled)


def line(who: str, points: Sequence[tuple[float, float]]) -> Shape:
    """Return the line through points, given in percent from the left and from the top."""
    return Shape(who, "M" + "L".join(f"{x} {y}" for x, y in points))


def _shares(models: Summary) -> tuple[dict[str, list[float]], float]:
    """Return each model's histogram as shares of its rows, and the highest share of all."""
    shares = {}
    for who, model in models.items():
        beyond = model.get("below", 0) + model.get("above", 0)
        total = (sum(model["counts"]) + beyond) or 1
        shares[who] = [value / total for value in model["counts"]]
    return shares, max(max(values) for values in shares.values()) or 1.0


def histogram(models: Summary) -> tuple[tuple[Shape, ...], tuple[Tick, ...]]:
    """Return the challenger's histogram as an area, the champion's as a line over it."""
    shares, highest = _shares(models)
    scale = Scale(0.0, highest * 1.05)
    ticks = tuple(Tick(tick.at, _percentage(tick)) for tick in _percent_ticks(scale))
    shapes = tuple(
        _steps(who, values, scale.high, filled=who == CHALLENGER) for who, values in shares.items()
    )
    return shapes, ticks


def _percent_ticks(scale: Scale) -> tuple[Tick, ...]:
    return Scale(100 * scale.low, 100 * scale.high).mirrored_ticks(4)


def _percentage(tick: Tick) -> str:
    return f"{tick.label} %"
