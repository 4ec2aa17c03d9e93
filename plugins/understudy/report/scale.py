"""From numbers to places on a picture, in percent of its width or height. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from understudy.report.text import number

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
        if low == high:  # so far from zero that doubles are further apart than that
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

    def ticks(self, wanted: int = _TICKS) -> tuple[Tick, ...]:
        """Return round values on the axis.

        Source: P. S. Heckbert, "Nice numbers for graph labels", in Graphics Gems (1990).
        """
        step = _nice((self.high - self.low) / max(wanted - 1, 1))
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        values = [index * step for index in range(first, min(last, first + 4 * wanted) + 1)]
        return tuple(Tick(self.at(value), _label(value, step)) for value in values)

    def mirrored_ticks(self, wanted: int = _TICKS) -> tuple[Tick, ...]:
        """Return the ticks of an axis that points up."""
        return tuple(Tick(round(100 - tick.at, 3), tick.label) for tick in self.ticks(wanted))


def _nice(step: float) -> float:
    """Return the nearest of 1, 2 and 5 times a power of ten."""
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
