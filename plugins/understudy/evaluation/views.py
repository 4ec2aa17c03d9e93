"""One comparison after another on the same rows: all of a holdout, or those of a slice."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from understudy.evaluation import paired, ranks, reevaluated, smooth
from understudy.evaluation.columns import Floats
from understudy.evaluation.definition import Definition, Input, measured
from understudy.evaluation.inference import Draw, Inferred, Margin
from understudy.evaluation.mcnemar import mcnemar
from understudy.evaluation.means import Means, Shape
from understudy.evaluation.paired import Losses
from understudy.evaluation.pairing import Pair, Rows
from understudy.evaluation.slices import Group
from understudy.evaluation.units import Units
from understudy.gate.error_rates import alpha_of
from understudy.gate.evidence import Comparison
from understudy.spec.metrics import Metric
from understudy.spec.rules import Rule


@dataclass(frozen=True, slots=True)
class Measured:
    """A metric's value; None or NaN with the reason, as ``catalogue.measured`` has it."""

    value: float | None
    why: str = ""

    @property
    def is_finite(self) -> bool:
        """Whether it is a number to compare with."""
        return self.value is not None and math.isfinite(self.value)


@dataclass(frozen=True, eq=False)
class View:
    """Rows on which rules are compared.

    Attributes:
        pair: Both models on these rows.
        units: What is independent among them.
        judged_before: How many challengers were compared on this very holdout before.
        seed: Of the random numbers.
        slice: Empty for all rows, else their name.
    """

    pair: Pair
    units: Units
    judged_before: int
    seed: int
    slice: str = ""
    _values: dict[tuple[str, bool], Measured] = field(default_factory=dict)

    def of(self, group: Group) -> View:
        """Return the view of some of the rows."""
        taken = self.pair.take(group.rows), self.units.take(group.rows)
        return View(*taken, self.judged_before, self.seed, group.name)

    def comparison(self, rule: Rule, definition: Definition) -> Comparison:
        """Return what these rows say about one rule."""
        metric, bound, limit = rule
        ours = self._measured(metric, definition, self.pair.challenger)
        champion = self.pair.champion
        if champion is None:
            needed = None if bound.needs_champion else limit
            return self._made(rule, ours, Measured(None), Inferred("", note=ours.why), needed)
        theirs = self._measured(metric, definition, champion)
        found = Inferred("", note=_both(ours.why, theirs.why))
        if bound.needs_champion and ours.is_finite and theirs.is_finite:
            found = self._inferred(definition, champion, Margin.of(rule), metric.alpha)
        needed = _needed(rule, theirs) if bound.needs_champion else limit
        made = self._made(rule, ours, theirs, found, needed)
        compares_classes = definition.reads is Input.CLASSES and ours.is_finite and theirs.is_finite
        return replace(made, mcnemar=self._mcnemar) if compares_classes else made

    def _measured(self, metric: Metric, definition: Definition, rows: Rows) -> Measured:
        key = metric.function or metric.name, rows is self.pair.champion
        if key not in self._values:
            value, why = (None, "there are no such rows")
            if len(rows):
                value, why = measured(definition, rows)
            self._values[key] = Measured(value, why)
        return self._values[key]

    def _inferred(
        self, definition: Definition, champion: Rows, margin: Margin, alpha: float
    ) -> Inferred:
        draw = Draw(self.units, alpha_of(alpha, self.judged_before), self.seed)
        challenger, made = self.pair.challenger, definition.means
        if made is not None and made.shape is not Shape.SMOOTH:
            losses = Losses(_first(made, challenger), _first(made, champion), champion.weight)
            return paired.infer(losses, made.shape, margin, draw)
        if made is not None:
            return smooth.infer(challenger, champion, made, margin, draw)
        if definition.ranked:
            return ranks.infer(challenger, champion, margin, draw)
        return reevaluated.infer(challenger, champion, definition, margin, draw)

    @cached_property
    def _mcnemar(self) -> Mapping[str, float] | None:
        champion = self.pair.champion
        return None if champion is None else mcnemar(self.pair.challenger, champion)

    def _made(
        self, rule: Rule, ours: Measured, theirs: Measured, found: Inferred, needed: float | None
    ) -> Comparison:
        gain = None
        if rule[1].needs_champion and ours.value is not None and theirs.value is not None:
            gain = Margin.of(rule).sign * (ours.value - theirs.value)
        return Comparison(
            metric=rule[0].name,
            rule=rule[1].value,
            slice=self.slice,
            rows=len(self.pair),
            groups=self.units.count,
            challenger=ours.value,
            champion=theirs.value,
            gain=gain,
            needed=needed,
            interval=found.gain,
            excess=found.excess,
            p_value=found.p_value,
            effect_size=found.effect_size,
            smallest_detectable=found.smallest_detectable,
            method=found.method,
            mcnemar=None,
            note=found.note,
        )


def _first(made: Means, rows: Rows) -> Floats:
    return next(made.per_row(rows))


def _needed(rule: Rule, champion: Measured) -> float | None:
    return Margin.of(rule).needed(champion.value) if champion.value is not None else None


def _both(ours: str, theirs: str) -> str:
    """Return why two models have no number; what is so of both is said once."""
    if ours == theirs:
        return ours
    notes = (f"challenger: {ours}" if ours else "", f"champion: {theirs}" if theirs else "")
    return "; ".join(note for note in notes if note)
