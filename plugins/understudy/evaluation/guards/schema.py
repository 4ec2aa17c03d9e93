"""Whether the columns are those that the champion was trained on. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from understudy.evaluation.guards.current_data import Numbers, Tonight, made, some
from understudy.evaluation.guards.distances import chance, credible
from understudy.evaluation.guards.pairs import Pair, wanted
from understudy.evaluation.guards.profile import Column, Profile
from understudy.evaluation.guards.table import Kind
from understudy.gate.evidence import Finding
from understudy.spec.guards import OFF, Guards

Split = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Rise:
    """How the share of a column's values that something is said of has risen.

    Attributes:
        pair: The column.
        then, now: Of how many it is said, and of how many others not.
    """

    pair: Pair
    then: Split
    now: Split

    @property
    def shares(self) -> tuple[float, float]:
        """Then and now."""
        (then, other_then), (now, other_now) = self.then, self.now
        return then / max(then + other_then, 1), now / max(now + other_now, 1)

    @property
    def p_value(self) -> float:
        """Of the hypothesis that the rise is chance."""
        return chance(np.array(self.then), np.array(self.now))

    def __str__(self) -> str:
        then, now = self.shares
        return f"{self.pair.name!r} of the {self.pair.part} {now:.1%}, then {then:.1%}"


def find(
    guards: Guards, tonight: Tonight, then: Profile, pairs: Sequence[Pair]
) -> Iterator[Finding]:
    """Yield whether columns are gone, hold something else, lack more values, have new texts."""
    if guards.schema != OFF:
        yield _schema(guards, tonight, then, pairs)
    if guards.categories != OFF:
        texts = [pair for pair in pairs if pair.then.kind is Kind.TEXT]
        new = _risen(texts, _unlisted, guards.new_categories)
        problems = f"texts that the champion was not trained on: {_told(new)}" if new else ""
        fine = "texts are those that the champion was trained on"
        yield made("categories", guards.categories, problems, fine, _numbers(texts, new))


def _schema(guards: Guards, tonight: Tonight, then: Profile, pairs: Sequence[Pair]) -> Finding:
    gone = [name for name in wanted(then) if name not in tonight.train.kinds]
    other = _otherwise(tonight, then)
    risen = _risen(pairs, _missing, guards.missing_rise)
    new = [name for name in tonight.train.content if name not in then.columns]
    fine = "the columns are those that the champion was trained on"
    return made(
        "schema",
        guards.schema,
        "; ".join(_problems(gone, other, risen)),
        fine + (f", and new: {some(list(map(repr, new)))}" if new else ""),
        {**_numbers(pairs, risen), "gone": len(gone), "other": len(other), "new": len(new)},
    )


def _otherwise(tonight: Tonight, then: Profile) -> list[str]:
    """Return the columns that hold another kind of values; one without any value fits all."""
    kinds = {
        name: (then.columns[name].kind, table.kinds.get(name, Kind.EMPTY))
        for _, table in tonight.parts
        for name in wanted(then)
        if name in then.columns
    }
    return [
        f"{name!r} ({now}, then {before})"
        for name, (before, now) in kinds.items()
        if before is not now and Kind.EMPTY not in {before, now}
    ]


def _risen(
    pairs: Sequence[Pair], counted: Callable[[Column], Split], allowed: float
) -> list[_Rise]:
    """Return the columns of which something can credibly be said more often than it may be."""
    rises = [_Rise(pair, counted(pair.then), counted(pair.now)) for pair in pairs]
    real = credible([rise.p_value for rise in rises])
    return [
        rise
        for rise, is_real in zip(rises, real, strict=True)
        if is_real and rise.shares[1] - rise.shares[0] > allowed
    ]


def _missing(column: Column) -> Split:
    return column.missing, column.rows - column.missing


def _unlisted(column: Column) -> Split:
    return (column.counts[-1], sum(column.counts[:-1])) if column.counts else (0, 0)


def _numbers(pairs: Sequence[Pair], risen: list[_Rise]) -> Numbers:
    columns = len({pair.name for pair in pairs})
    shares = {f"{one.pair.part}: {one.pair.name}": one.shares[1] for one in risen}
    return {"columns": columns, **shares}


def _told(risen: list[_Rise]) -> str:
    return some([str(rise) for rise in risen])


def _problems(gone: list[str], other: list[str], risen: list[_Rise]) -> Iterator[str]:
    if gone:
        yield f"columns that the champion was trained on are gone: {some(list(map(repr, gone)))}"
    if other:
        yield f"columns hold something else than when the champion was trained: {some(other)}"
    if risen:
        yield f"values are missing more often: {_told(risen)}"
