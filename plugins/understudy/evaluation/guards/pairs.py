"""Each column of tonight's rows beside the same column of the champion's training rows."""

from __future__ import annotations

from dataclasses import dataclass

from understudy.evaluation.guards.current_data import Tonight
from understudy.evaluation.guards.profile import Column, Profile
from understudy.evaluation.guards.table import Kind, Table


@dataclass(frozen=True, slots=True)
class Pair:
    """One column of one part.

    Attributes:
        part: The part of tonight's rows.
        name: The column.
        then: How it was distributed among the champion's training rows.
        now: How it is distributed in this part, in the same bins or levels.
    """

    part: str
    name: str
    then: Column
    now: Column


def wanted(then: Profile) -> tuple[str, ...]:
    """Return the columns that a champion needed: all, where it is not known which."""
    needed = tuple(name for name in (*then.features, then.target) if name)
    return needed if then.features else tuple(then.columns)


def pairs(tonight: Tonight, then: Profile) -> tuple[Pair, ...]:
    """Return the columns that both have and that hold the same kind of values, or none tonight.

    They are those that the champion needed, and what is a feature or the target tonight.
    """
    roles = tonight.roles
    names = dict.fromkeys((*wanted(then), *tonight.features, *filter(None, (roles.target,))))
    return tuple(
        Pair(part, name, then.columns[name], then.columns[name].like(table.column(name)))
        for part, table in tonight.parts
        for name in names
        if name in then.columns and _is_alike(then.columns[name], table, name)
    )


def _is_alike(then: Column, table: Table, name: str) -> bool:
    """Return whether a column holds what it held; one without values is of any kind."""
    return table.kinds.get(name) in {then.kind, Kind.EMPTY} and then.kind is not Kind.EMPTY


def incomparable(before: Column, pair: Pair | None, kind: Kind) -> str:
    """Return why a column's distribution cannot be compared with the champion's; '' if it can.

    Args:
        before: The column among the champion's training rows.
        pair: Both beside each other; None where they do not hold the same.
        kind: What the column holds tonight.
    """
    if before.kind is Kind.EMPTY or before.missing == before.rows:
        return "it had no values when the champion was trained"
    if pair is None:
        return f"it holds {kind}, then {before.kind}"
    if not before.counts:
        return f"values of the kind {before.kind.value!r} have no distribution here"
    if len(before.counts) == 1:
        return "no value was frequent enough to be kept when the champion was trained"
    return "" if pair.now.compares else "it has no values tonight"
