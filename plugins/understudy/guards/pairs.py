"""Each column of tonight's rows beside the same column of the champion's training rows."""

from __future__ import annotations

from dataclasses import dataclass

from understudy.guards.profile import Column, Profile
from understudy.guards.tonight import Tonight


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
    """Return the columns that both have and that hold the same kind of values.

    They are those that the champion needed, and what is a feature or the target tonight.
    """
    roles = tonight.roles
    names = dict.fromkeys((*wanted(then), *tonight.features, *filter(None, (roles.target,))))
    return tuple(
        Pair(part, name, then.columns[name], then.columns[name].like(table.column(name)))
        for part, table in tonight.parts
        for name in names
        if name in then.columns and table.kinds.get(name) is then.columns[name].kind
    )
