"""Whether a model may have seen the answers: holdout rows in training data, features that tell.

Touches what it reads only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from understudy.evaluation.guards.current_data import Numbers, Tonight, made, some, unchecked
from understudy.evaluation.guards.power import telling
from understudy.evaluation.guards.profile import Profile
from understudy.evaluation.guards.sketch import Sketch, hash_version
from understudy.evaluation.guards.table import Digests, Table
from understudy.gate.evidence import Finding
from understudy.spec.guards import Guards

_GUARD = "leakage"
_FEWEST_LOOKED_AT = 20
"""Holdout rows that must be looked for before a share of them means something."""


@dataclass(frozen=True, slots=True)
class Sketches:
    """What finds training rows again: by their content, and by their names where they have some."""

    content: Sketch
    identities: Sketch | None

    @classmethod
    def of(cls, table: Table) -> Sketches:
        """Read all rows of a table."""
        named = Sketch.of([table.identities]) if table.has_identities else None
        return cls(Sketch.of(table.digests(table.content)), named)


@dataclass(frozen=True, slots=True)
class _Found:
    """How many of the holdout rows that were looked for were found, and how."""

    rows: int
    looked_for: int
    by: str

    @property
    def share(self) -> float:
        return self.rows / self.looked_for if self.looked_for else 0.0


def copies(guards: Guards, tonight: Tonight, sketches: Sketches) -> Finding:
    """Return whether holdout rows are among tonight's training rows."""
    columns = tonight.train.content
    lacking = [name for name in columns if name not in tonight.holdout.kinds]
    content = None if lacking else _all(tonight.holdout.digests(columns))
    named = tonight.holdout.has_identities and sketches.identities is not None
    names = tonight.holdout.identities if named else None
    return _judged(guards, sketches, (content, names), "the challenger was trained on")


def champions_copies(guards: Guards, tonight: Tonight, then: Profile) -> Finding:
    """Return whether holdout rows are among those that the champion was trained on.

    A champion that knows the answers already would win over every better model.
    """
    if then.hashing != hash_version():
        why = "the champion's rows were noted by another version of pandas"
        return unchecked(_GUARD, guards.unchecked, why)
    columns = sorted(then.columns)
    known = all(name in tonight.holdout.kinds for name in columns)
    content = _all(tonight.holdout.digests(columns)) if known else None
    named = tonight.holdout.has_identities and then.identities is not None
    names = tonight.holdout.identities if named else None
    sketches = Sketches(then.content, then.identities)
    return _judged(guards, sketches, (content, names), "the champion was trained on")


def features(guards: Guards, tonight: Tonight) -> Finding:
    """Return whether one feature is the target, or gives nearly all of it away."""
    if not tonight.roles.target:
        return unchecked(_GUARD, guards.unchecked, "it is not known which column is the target")
    powers = telling(tonight.train, tonight.features, tonight.roles)
    too_strong = [power for power in powers if power.score >= guards.feature_power]
    problems = f"these tell the target alone: {some([str(power) for power in too_strong])}"
    numbers: Numbers = {"features": len(powers), "limit": guards.feature_power}
    numbers |= {f"power: {power.feature}": power.score for power in powers[:10]}
    strongest = f"; the strongest: {powers[0]}" if powers else ""
    fine = f"no feature tells the target alone{strongest}"
    return made(_GUARD, guards.leakage, problems if too_strong else "", fine, numbers)


def _all(batches: Iterator[Digests]) -> Digests:
    return np.concatenate([np.array([], dtype="uint64"), *batches])


def _judged(
    guards: Guards,
    sketches: Sketches,
    holdout: tuple[Digests | None, Digests | None],
    whose: str,
) -> Finding:
    looked = list(_looked(sketches, holdout))
    enough = [found for found in looked if _is_enough(found, holdout)]
    if not enough:
        return unchecked(_GUARD, guards.unchecked, f"too little is known of the rows that {whose}")
    worst = max(enough, key=lambda found: found.share - _chance(found, sketches))
    told = (
        f"{worst.rows:,} of {worst.looked_for:,} holdout rows that were looked for are among "
        f"those that {whose}, by {worst.by}"
    )
    allowed = max(guards.copied_rows, _chance(worst, sketches))
    problems = f"{told}; {allowed:.2%} may be" if worst.share > allowed else ""
    numbers: Numbers = {f"found by {found.by}": found.share for found in enough}
    numbers |= {"looked for": worst.looked_for, "allowed": allowed}
    return made(_GUARD, guards.leakage, problems, told, numbers)


def _looked(sketches: Sketches, holdout: tuple[Digests | None, Digests | None]) -> Iterator[_Found]:
    content, names = holdout
    if content is not None:
        yield _Found(*sketches.content.found(content), "content")
    if names is not None and sketches.identities is not None:
        yield _Found(*sketches.identities.found(names), "name")


def _is_enough(found: _Found, holdout: tuple[Digests | None, Digests | None]) -> bool:
    """Return whether enough rows were looked for: all of them, or a sample that says something."""
    rows = next(len(digests) for digests in holdout if digests is not None)
    return found.looked_for == rows or found.looked_for >= _FEWEST_LOOKED_AT


def _chance(found: _Found, sketches: Sketches) -> float:
    """Return the share that has a twin anyway: rows of few columns are alike by chance."""
    return sketches.content.repeated if found.by == "content" else 0.0
