"""The space that a search tries: parameters, with the values or range of each. Touches nothing."""

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Value = str | int | float


@dataclass(frozen=True)
class Choices:
    """A parameter that takes one of some values."""

    values: tuple[Value, ...]

    @property
    def ends(self) -> tuple[Value, ...]:
        """The values that stand for all when they are checked."""
        return self.values

    @property
    def grid(self) -> tuple[Value, ...]:
        """Every value."""
        return self.values

    def distribution(self) -> "BaseDistribution":
        """Return the same in Optuna's words."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.values)


@dataclass(frozen=True)
class Range:
    """A number between two ends, both included.

    Attributes:
        low, high: the ends; whole numbers where the parameter is one.
        log: whether equal ratios are equally likely, instead of equal differences.
        step: distance of the values from each other, counted from `low`; 0 means any number.
    """

    low: float
    high: float
    log: bool = False
    step: float = 0

    @property
    def ends(self) -> tuple[Value, ...]:
        """The values that stand for all when they are checked."""
        return (self.low, self.high)

    @property
    def grid(self) -> tuple[Value, ...]:
        """Every value; empty where there is no end of them."""
        if self.log or not self.step:
            return ()
        count = math.floor((self.high - self.low) / self.step + 1e-9) + 1
        # 0.1 + 2 * 0.1 shall be 0.3, as it was written.
        return tuple(
            round(self.low + i * self.step, 12)
            if isinstance(self.low, float)
            else self.low + i * self.step
            for i in range(count)
        )

    def distribution(self) -> "BaseDistribution":
        """Return the same in Optuna's words."""
        from optuna.distributions import FloatDistribution, IntDistribution

        if isinstance(self.low, float):
            return FloatDistribution(self.low, self.high, log=self.log, step=self.step or None)
        return IntDistribution(int(self.low), int(self.high), log=self.log, step=int(self.step))


Dimension = Choices | Range


@dataclass(frozen=True)
class Space:
    """What is tried, and what stays as it is.

    Attributes:
        dimensions: the searched parameters, in the order in which they were written.
        fixed: parameters with one value in all trials.
    """

    dimensions: Mapping[str, Dimension]
    fixed: Mapping[str, Value]

    @property
    def size(self) -> int | None:
        """How many points there are; None for no end of them."""
        sizes = [len(dimension.grid) for dimension in self.dimensions.values()]
        return math.prod(sizes) if all(sizes) else None

    def distributions(self) -> dict[str, "BaseDistribution"]:
        """Return the dimensions in Optuna's words."""
        return {name: dimension.distribution() for name, dimension in self.dimensions.items()}

    def points(self) -> Iterator[dict[str, Value]]:
        """Yield every point of a grid, the last parameter changing first."""
        for values in itertools.product(*(one.grid for one in self.dimensions.values())):
            yield dict(zip(self.dimensions, values, strict=True))

    def to_dict(self) -> dict[str, Any]:
        """Return the space as JSON values."""
        return {
            "dimensions": {name: asdict(one) for name, one in self.dimensions.items()},
            "fixed": dict(self.fixed),
        }
