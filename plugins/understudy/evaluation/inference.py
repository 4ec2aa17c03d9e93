"""What is inferred about a gain, and the arithmetic that every method shares."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from scipy import special

from understudy.evaluation.columns import Floats
from understudy.evaluation.units import Units
from understudy.gate.verdict import Interval
from understudy.spec.metrics import Bound, Direction
from understudy.spec.rules import Rule

POWER: Final = 0.8
FEWEST: Final = 5
"""Units below which nothing is inferred, whatever the error rate."""


@dataclass(frozen=True, slots=True)
class Margin:
    """What a rule requires of two values, as numbers or as arrays of them.

    Attributes:
        sign: 1 where more is better, -1 where less is.
        share: Share of |champion - best| that the gain must reach; below zero, may fall short by.
        amount: The same in the metric's unit.
        best: From where a share counts.
    """

    sign: float
    share: float
    amount: float
    best: float = 0.0

    @classmethod
    def of(cls, rule: Rule) -> Margin:
        """Return what a rule that compares two models requires."""
        metric, bound, limit = rule
        # A loss of at most x is a gain of at least -x: from here on there is one kind of bound.
        signed = limit if bound is Bound.MIN_GAIN else -limit
        sign = -1.0 if metric.direction is Direction.LOWER else 1.0
        return cls(sign, signed, 0.0, metric.best) if metric.relative else cls(sign, 0.0, signed)

    def needed(self, champion: float) -> float:
        """Return the gain that must be reached, in the metric's unit."""
        return self.amount + self.share * abs(champion - self.best)

    def gain(self, challenger: Floats, champion: Floats) -> Floats:
        """Return how much better the challenger is."""
        return self.sign * (challenger - champion)

    def excess(self, challenger: Floats, champion: Floats) -> Floats:
        """Return by how much the gain exceeds what is needed."""
        needed = self.amount + self.share * abs(champion - self.best)
        return self.gain(challenger, champion) - needed


@dataclass(frozen=True, slots=True)
class Draw:
    """What every method gets besides the numbers.

    Attributes:
        units: What is independent of each other; drawn or left out as a whole.
        alpha: One-sided error rate.
        seed: Of random numbers, where a method needs any.
    """

    units: Units
    alpha: float
    seed: int


@dataclass(frozen=True, slots=True)
class Inferred:
    """What the rows say about a gain; None where they say nothing.

    Attributes are those of ``understudy.gate.evidence.Comparison``.
    """

    method: str
    gain: Interval | None = None
    excess: Interval | None = None
    p_value: float | None = None
    effect_size: float | None = None
    smallest_detectable: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Spread:
    """An estimate with its standard error and the degrees of freedom of that error."""

    estimate: float
    error: float
    freedom: float

    def interval(self, alpha: float) -> Interval:
        """Return Student's interval, each end one-sided at ``alpha``."""
        half = -float(special.stdtrit(self.freedom, alpha)) * self.error
        return Interval(self.estimate - half, self.estimate + half, 1 - 2 * alpha)

    def p_value(self) -> float:
        """Return the one-sided p-value of the hypothesis that the true value is not above zero."""
        # All units agree, which is certainty as far as they are ``enough``.
        if self.error == 0:
            return 0.0 if self.estimate > 0 else 1.0
        return float(special.stdtr(self.freedom, -self.estimate / self.error))

    def detectable(self, alpha: float) -> float:
        """Return the true value that would be shown to be above zero with a power of 80 %.

        (t_{1-alpha} + t_{0.8}) times the standard error: Bloom, "Minimum Detectable Effects",
        Evaluation Review 19 (1995).
        """
        # Both quantiles are of the lower tail and negative, hence the sign below.
        t = special.stdtrit(self.freedom, 1 - POWER) + special.stdtrit(self.freedom, alpha)
        return -float(t) * self.error


def enough(units: int, alpha: float) -> bool:
    """Return whether so many units can reach ``alpha`` at all.

    Where the models are alike, each unit favours either with the same chance, and all favour one
    with 2^-units. No test may claim less, whatever the spread looks like: two rows that happen
    to agree have none (the attainable level of Fisher's sign-flip test).
    """
    return units >= _required(alpha)


def too_few(units: int, alpha: float, what: str) -> str:
    """Say that there is not enough to infer anything from."""
    if not units:
        return f"no {what} tells the two models apart"
    number = f"{units} {what}{'s tell' if units > 1 else ' tells'}"
    return f"only {number} the two models apart; it takes {_required(alpha)} at this confidence"


def too_rare(units: int, alpha: float, what: str) -> str:
    """Say that one of the classes is too rare to infer anything from."""
    return f"the rarest class has {units} {what}s; it takes {_required(alpha)} at this confidence"


def _required(alpha: float) -> int:
    return max(FEWEST, math.ceil(math.log2(1 / alpha)))
