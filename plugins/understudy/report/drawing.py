"""What pictures and tables are made of. Pure.

A picture knows nothing of colours or pixels: it is a list of shapes in percent of its width and
height, which the page's templates draw.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from understudy.report.words import number

_TICKS: Final = 5
_MARGIN: Final = 0.04
"""Share of the range that is left free at both ends."""
_FAR: Final = 1e150
"""Places of values beyond this are not told apart: the width of their axis would overflow."""
_NARROWEST: Final = 1e-290
"""The narrowest range of all: the steps of a narrower one would underflow."""
_FINEST: Final = 1e-9
"""The narrowest range of an axis, as a share of its largest value."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A labelled place of an axis: percent of its length, and what stands there."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Scale:
    """A straight axis from ``low`` (0 %) to ``high`` (100 %)."""

    low: float
    high: float

    def __post_init__(self) -> None:
        low, high = (min(max(end, -_FAR), _FAR) for end in (self.low, self.high))
        if high - low < _NARROWEST:
            low, high = low - _NARROWEST, high + _NARROWEST
        # So far from zero doubles are further apart than the narrowest range.
        if low == high:
            low, high = low - abs(low) * _FINEST, high + abs(high) * _FINEST
        object.__setattr__(self, "low", low)
        object.__setattr__(self, "high", high)

    @classmethod
    def over(cls, values: Iterable[float | None], margin: float = _MARGIN) -> Scale:
        """Return the axis that shows all of these values; those not finite do not count."""
        finite = [value for value in values if value is not None and math.isfinite(value)]
        known = [min(max(value, -_FAR), _FAR) for value in finite] or [0.0, 1.0]
        low, high = min(known), max(known)
        size = max(abs(low), abs(high))
        # Values that are equal but for rounding get an axis as wide as their size: magnified, the
        # rounding would look like a difference.
        pad = (high - low if high - low > _FINEST * size else size) * margin or 1.0
        return cls(low - pad, high + pad)

    def at(self, value: float) -> float:
        """Return the place of a value, in percent; the nearer end for what lies beyond."""
        share = (value - self.low) / (self.high - self.low)
        return round(100 * min(max(share, 0.0), 1.0), 3)

    def up(self, value: float) -> float:
        """Return the place of a value on an axis that points up, as pictures count downwards."""
        return round(100 - self.at(value), 3)

    def holds(self, value: float) -> bool:
        """Return whether a value lies on the axis."""
        return self.low <= value <= self.high

    def ticks(self, desired: int = _TICKS) -> tuple[Tick, ...]:
        """Return round values on the axis.

        Source: P. S. Heckbert, "Nice numbers for graph labels", in Graphics Gems (1990).
        """
        step = _nice((self.high - self.low) / max(desired - 1, 1))
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        # Capped, should rounding make the step far too small for the range.
        values = [index * step for index in range(first, min(last, first + 4 * desired) + 1)]
        return tuple(Tick(self.at(value), _label(value, step)) for value in values)

    def mirrored_ticks(self, desired: int = _TICKS) -> tuple[Tick, ...]:
        """Return the ticks of an axis that points up."""
        return tuple(Tick(round(100 - tick.at, 3), tick.label) for tick in self.ticks(desired))


def _nice(step: float) -> float:
    """Return the nearest of 1, 2 and 5 times a power of ten."""
    # Never a step of zero: ``Scale`` keeps a least width.
    power = 10.0 ** math.floor(math.log10(step))
    fraction = step / power
    chosen = next((nice for below, nice in ((1.5, 1), (3, 2), (7, 5)) if fraction < below), 10)
    return chosen * power


def _label(value: float, step: float) -> str:
    """Return a tick's label with as many digits as tell it from its neighbours."""
    if value == 0:
        return "0"
    digits = math.floor(math.log10(abs(value))) - math.floor(math.log10(step)) + 1
    return number(value, max(digits, 1))


Summary = Mapping[str, Any]

CHALLENGER: Final = "challenger"
CHAMPION: Final = "champion"


@dataclass(frozen=True, slots=True)
class PicturePath:
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
    shapes: tuple[PicturePath, ...] = ()
    dots: tuple[Dot, ...] = ()
    guides: tuple[PicturePath, ...] = ()
    legend: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """The numbers behind a picture, or instead of one."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def _steps(who: str, counts: Sequence[float], highest: float, *, filled: bool) -> PicturePath:
    """Return a histogram: bins of equal width over the whole picture."""
    width = 100 / len(counts)
    tops = [round(100 - 100 * value / highest, 2) for value in counts]
    places = [round(index * width, 3) for index in range(len(counts) + 1)]
    steps = "".join(f"V{top}H{right}" for top, right in zip(tops, places[1:], strict=True))
    return PicturePath(who, f"M0 100{steps}V100{'Z' if filled else ''}", filled)


def line(who: str, points: Sequence[tuple[float, float]]) -> PicturePath:
    """Return the line through points, given in percent from the left and from the top."""
    return PicturePath(who, "M" + "L".join(f"{x} {y}" for x, y in points))


def _shares(models: Summary) -> tuple[dict[str, list[float]], float]:
    """Return each model's histogram as shares of its rows, and the highest share of all."""
    shares = {}
    for who, model in models.items():
        beyond = model.get("below", 0) + model.get("above", 0)
        total = (sum(model["counts"]) + beyond) or 1
        shares[who] = [value / total for value in model["counts"]]
    return shares, max(max(values) for values in shares.values()) or 1.0


def histogram(models: Summary) -> tuple[tuple[PicturePath, ...], tuple[Tick, ...]]:
    """Return the challenger's histogram as an area, the champion's as a line over it."""
    shares, highest = _shares(models)
    # A little air above the highest bar.
    scale = Scale(0.0, highest * 1.05)
    percents = Scale(100 * scale.low, 100 * scale.high).mirrored_ticks(4)
    ticks = tuple(Tick(tick.at, f"{tick.label} %") for tick in percents)
    shapes = tuple(
        _steps(who, values, scale.high, filled=who == CHALLENGER) for who, values in shares.items()
    )
    return shapes, ticks
