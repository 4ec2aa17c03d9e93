"""What a pipeline requires of its data, and what a model may cost. Pure."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import BeforeValidator, Field, ValidationInfo

from understudy.errors import DeclarationError
from understudy.spec import quantities
from understudy.spec.declared import declared

OFF: Final = "off"
BLOCK: Final = "block"
BLOCK_OF_0_1: Final = "hold"
"""The name of that level in what 0.1 stored, and in Dag files that were written for it."""


def level_of(stored: str) -> str:
    """Return a stored level by its name of today."""
    return BLOCK if stored == BLOCK_OF_0_1 else stored


def _level(given: object, about: ValidationInfo) -> object:
    if given != BLOCK_OF_0_1:
        return given
    message = f"The level {given!r} has a new name: write {about.field_name}={BLOCK!r}"
    # Past this function, pydantic's constructor and ours around it: at the line of the Dag file.
    warnings.warn(message, DeprecationWarning, stacklevel=4)
    return BLOCK


Level = Annotated[Literal["off", "warn", "block", "reject"], BeforeValidator(_level)]
"""What a guard does that finds something: nothing, as it is not looked for; say so in the record;
keep the challenger from promotion, which is a verdict of HOLD; reject it."""
Told = Annotated[Literal["warn", "block"], BeforeValidator(_level)]

GUARDS: Final = (
    "schema",
    "categories",
    "drift",
    "target_drift",
    "leakage",
    "rows",
    "age",
    "constant",
    "unchecked",
)
"""The fields of ``Guards`` that are levels."""

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Growth = Annotated[float, Field(ge=0)]


@declared
class Guards:
    """What is checked in a night's rows before two models are compared on them.

    Attributes:
        schema: Columns that are gone or have other values, and values missing more often, than
            when the champion was trained.
        categories: Texts that the champion's rows did not have.
        drift: Features that are distributed otherwise than in the champion's training rows.
        target_drift: The same of the target.
        leakage: Rows of the holdout that a model was trained on; a feature that gives the target
            away.
        rows: Fewer rows than there must be.
        age: Rows that are too old. Looked for only with ``max_age``.
        constant: A challenger that predicts one value for all rows of the holdout.
        unchecked: What a guard does that cannot look: the champion's rows are gone, say.
        drift_distance: Jensen-Shannon distance (base 2, 0 to 1) from which a credible change counts
            as drift. 0.2 is a shift of half a standard deviation, or a population stability index
            of 0.25.
        missing_rise: By how much the share of a column's missing values may rise.
        new_categories: The share of a column's values that may be new texts.
        copied_rows: The share of holdout rows that may be found among training rows.
        feature_power: How much of the target one feature may explain (rank R squared, or balanced
            accuracy above chance; 1 is all of it).
        min_training_rows: The fewest rows to train on.
        min_holdout_rows: The fewest rows to judge on.
        kept_rows: The least number of training rows, as a share of the champion's.
        max_age: How old the newest row may be, such as ``"3d"``, as of the night; '' for any age.

    Raises:
        DeclarationError: for unknown fields and levels, numbers out of range.
    """

    schema: Level = "block"
    categories: Level = "warn"
    drift: Level = "warn"
    target_drift: Level = "warn"
    leakage: Level = "block"
    rows: Level = "block"
    age: Level = "block"
    constant: Level = "block"
    unchecked: Told = "warn"
    drift_distance: Share = 0.2
    missing_rise: Share = 0.1
    new_categories: Share = 0.02
    copied_rows: Share = 0.01
    feature_power: Share = 0.99
    min_training_rows: Count = 50
    min_holdout_rows: Count = 20
    kept_rows: Share = 0.5
    max_age: str = ""

    def __post_init__(self) -> None:
        _check_quantity("Guards", "max_age", self.max_age, quantities.duration)

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as JSON values: a default that changes must not change a replay."""
        return asdict(self)

    def level_of(self, guard: str, *, looked: bool) -> str:
        """Return what a guard does.

        Args:
            guard: Its name; that of ``data``, which could not be read at all, is no field.
            looked: Whether it could look.
        """
        return str(getattr(self, guard, self.unchecked)) if looked else self.unchecked

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Guards:
        """Return the guards whose ``to_dict`` gave ``stored``, of this version or 0.1."""
        levels = {name: level_of(stored[name]) for name in GUARDS if name in stored}
        return cls(**{**stored, **levels})


@declared
class Limit:
    """How much of something a model may take.

    Attributes:
        at_most: So much, as people write it: ``"200MB"``, ``"50ms"``; '' for any.
        growth: More than the champion by at most this fraction: 0.2 is 20 %. None for any.
        level: What a challenger above it meets: ``warn``, ``block``, ``reject``.
    """

    at_most: str = ""
    growth: Growth | None = None
    level: Level = "block"


class QuantityBound(NamedTuple):
    """A limit on one quantity, in its unit: bytes or seconds. None for no such limit."""

    name: str
    at_most: float | None
    growth: float | None
    level: str


_DOUBLED: Final = Limit(growth=1.0)


@declared
class Budgets:
    """What a model may cost; measured for both models together, on one machine.

    Attributes:
        size: Bytes of the model's files.
        memory: Resident memory of a process that has loaded it and predicted.
        latency_p50: Time of a prediction of one row: half of them are quicker.
        latency_p95: The same: 95 % of them are quicker.
        batch_latency: Time of a prediction of many rows at once: half of them are quicker.
        unchecked: What a budget does that could not be measured.

    Raises:
        DeclarationError: for unknown fields, quantities that cannot be understood.
    """

    size: Limit = _DOUBLED
    memory: Limit = _DOUBLED
    latency_p50: Limit = Limit()
    latency_p95: Limit = _DOUBLED
    batch_latency: Limit = Limit()
    unchecked: Told = "warn"

    def __post_init__(self) -> None:
        for name, limit in self.limits:
            _check_quantity("Budgets", f"{name}.at_most", limit.at_most, _UNITS[name])

    @property
    def bounds(self) -> tuple[QuantityBound, ...]:
        """Every limit that limits something, with its numbers in bytes or seconds."""
        return tuple(
            QuantityBound(
                name,
                float(_UNITS[name](limit.at_most)) if limit.at_most else None,
                limit.growth,
                limit.level,
            )
            for name, limit in self.limits
            # A default that limits nothing yields no finding, or each record would tell of it.
            if limit.level != OFF and (limit.at_most or limit.growth is not None)
        )

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as JSON values: a default that changes must not change a replay."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Budgets:
        """Return the budgets whose ``to_dict`` gave ``stored``, of this version or 0.1."""
        # An older record lacks newer quantities: they get today's defaults.
        limits = {name: _limit(stored[name]) for name in _UNITS if name in stored}
        unchecked = level_of(stored.get("unchecked", cls.unchecked))
        return cls(**{**stored, **limits, "unchecked": unchecked})

    @property
    def limits(self) -> Iterator[tuple[str, Limit]]:
        """Every quantity with its limit as it was stated."""
        return ((name, getattr(self, name)) for name in _UNITS)


_UNITS: Final[Mapping[str, Callable[[str], float]]] = {
    "size": quantities.size,
    "memory": quantities.size,
    "latency_p50": quantities.duration,
    "latency_p95": quantities.duration,
    "batch_latency": quantities.duration,
}


def _limit(stored: Mapping[str, Any]) -> Limit:
    return Limit(**{**stored, "level": level_of(stored.get("level", Limit.level))})


QUANTITIES: Final = tuple(_UNITS)
"""What a model may cost; a budget's finding has the name of its quantity."""


def _check_quantity(record: str, field: str, text: str, parse: Callable[[str], float]) -> None:
    if not text:
        return
    try:
        parse(text)
    except ValueError as error:
        raise DeclarationError(
            f"{record}: {field}: {error}",
            allowed="such a quantity, or '' for no limit",
            action=f"correct {field}",
        ) from error
