"""From two predictions and the rules to the evidence that the gate judges."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import Final

import numpy as np
from scipy import special

from understudy.errors import DecisionError
from understudy.evaluation import ranks, reevaluated, slices, smooth, t_test
from understudy.evaluation.catalogue import find, unknown
from understudy.evaluation.columns import Column, Floats
from understudy.evaluation.inference import Draw, Inferred, Margin
from understudy.evaluation.means import Means, Shape
from understudy.evaluation.metrics import Definition, Input, measured
from understudy.evaluation.pairing import Pair, Rows, blockers, paired
from understudy.evaluation.predictions import TIME, Predictions, overlapping
from understudy.evaluation.slices import Group, cut
from understudy.evaluation.t_test import Losses
from understudy.evaluation.units import Units, units_of, unnamed
from understudy.gate.checks import alpha_of
from understudy.gate.evidence import CONSTANT, Comparison, Earlier, Evidence, Finding, Moved
from understudy.gate.verdict import CheckResult
from understudy.spec.guards import OFF
from understudy.spec.metrics import Bound, Direction, Metric
from understudy.spec.rules import Gate, Rule, Slice


def mcnemar(challenger: Rows, champion: Rows) -> Mapping[str, float]:
    """Return the counts that differ and the two-sided mid-p value.

    ``b`` is how many rows only the champion got right, ``c`` only the challenger. Under the
    hypothesis of equal rates, min(b, c) is binomial of b + c and one half; the mid-p value counts
    half of what was observed, which keeps its size in all but the smallest samples (Fagerland,
    Lydersen and Laake, "The McNemar test for binary matched-pairs data", BMC Med. Res. Methodol.
    13, 2013). Rows are taken as independent and unweighted.
    """
    challenger_right = challenger.guessed_class == challenger.true_class
    champion_right = champion.guessed_class == champion.true_class
    b = int((champion_right & ~challenger_right).sum())
    c = int((challenger_right & ~champion_right).sum())
    return {"b": b, "c": c, "p": mid_p(b, c)}


def mid_p(b: int, c: int) -> float:
    """Return the two-sided mid-p value of two discordant counts."""
    # By symmetry exactly one, which the sum below would reach up to rounding only.
    if b == c:
        return 1.0
    fewer, both = min(b, c), b + c
    at_most = float(special.bdtr(fewer, both, 0.5))
    below = float(special.bdtr(fewer - 1, both, 0.5)) if fewer else 0.0
    return at_most + below


_ROUNDING: Final = 1e-9
"""Relative difference of two numbers that are one but for rounding, in single precision too."""


def look(rows: Rows, level: str) -> Finding | None:
    """Return whether one value is predicted for all rows whose targets differ.

    Of classes with probabilities it is these that must differ: where one class is rare, the other
    is rightly called the likelier one of every row.

    Args:
        rows: The challenger's predictions.
        level: What the guard is declared to do.

    Returns:
        None where a single row, or a prediction that is missing or infinite, leaves nothing to say.
    """
    predicted, shares = rows.source.prediction, rows.source.probabilities
    columns = [Column(values) for values in shares.values()] or ([predicted] if predicted else [])
    if len(rows) < 2 or not columns or not all(map(_is_known, columns)):  # noqa: PLR2004 -- one row
        return None
    first = columns[0]
    # Text and times are compared as they are, numbers up to rounding: a constant model that
    # predicts in single precision is still a constant one.
    what = "the same probabilities"
    if not shares:
        text = repr(str(first.take(slice(0, 1)).to_pandas()[0]))
        what = f"one value, {f'{first.data[0]:.6g}' if first.is_number else text},"
    same, varied = all(map(_is_same, columns)), not _is_same(rows.source.target, 0.0)
    if same and not shares and first.is_number and rows.source.target.is_number:
        # Far from zero all numbers are alike: what counts is how far the targets are apart.
        same = _range(first) <= _ROUNDING * _range(rows.source.target)
    message = f"the challenger predicts {what} for all {len(rows):,} rows"
    if not same:
        message = f"the challenger tells rows apart: {len(rows):,} of them, not one value for all"
    elif not varied:
        message += ", as are their targets"
    result = CheckResult.FAILED if same and varied else CheckResult.PASSED
    return Finding(CONSTANT, level, result.value, message, {"rows": len(rows)})


def _is_known(column: Column) -> bool:
    if column.names is not None or column.is_time:
        return True
    return bool(np.isfinite(column.data).all())


def _is_same(column: Column, rounding: float = _ROUNDING) -> bool:
    if column.names is not None or column.is_time:
        return bool((column.data == column.data[0]).all())
    return _range(column) <= rounding * float(abs(column.data).max()) / 2


def _range(column: Column) -> float:
    """Return half of how far numbers are apart: the whole of it may overflow."""
    return float(column.data.max()) / 2 - float(column.data.min()) / 2


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
        judged_before: As how many challengers on all of these rows the earlier ones count.
        seed: Of the random numbers.
        slice: Empty for all rows, else their name.
    """

    pair: Pair
    units: Units
    judged_before: float
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
        value = self._measured(metric, definition, self.pair.challenger)
        champion = self.pair.champion
        if champion is None:
            absolute = None if bound.needs_champion else limit
            found = Inferred("", note=value.why)
            return self._made(rule, value, Measured(None), found, absolute)
        baseline = self._measured(metric, definition, champion)
        # An absolute bound gets no interval: it is judged on the value itself.
        found = Inferred("", note=_both(value.why, baseline.why))
        if bound.needs_champion and value.is_finite and baseline.is_finite:
            # The wider the interval, the more passes a tolerance: it must not widen with each test.
            repeats = 0 if bound is Bound.TOLERANCE else self.judged_before
            alpha = alpha_of(metric.alpha, repeats)
            found = self._inferred(definition, champion, Margin.of(rule), alpha)
        needed: float | None = limit
        if bound.needs_champion:
            needed = None if baseline.value is None else Margin.of(rule).needed(baseline.value)
        made = self._made(rule, value, baseline, found, needed)
        compares_classes = (
            definition.reads is Input.CLASSES and value.is_finite and baseline.is_finite
        )
        return replace(made, mcnemar=self._mcnemar) if compares_classes else made

    def _measured(self, metric: Metric, definition: Definition, rows: Rows) -> Measured:
        key = metric.function or metric.name, rows is self.pair.champion
        # One value per metric and model, however many rules ask for it: a metric of the user's may
        # be slow.
        if key not in self._values:
            value, why = (None, "there are no such rows")
            if len(rows):
                value, why = measured(definition, rows)
            self._values[key] = Measured(value, why)
        return self._values[key]

    def _inferred(
        self, definition: Definition, champion: Rows, margin: Margin, alpha: float
    ) -> Inferred:
        draw = Draw(self.units, alpha, self.seed)
        challenger, made = self.pair.challenger, definition.means
        # From the exact to the general: t for means, the bootstrap of sums for smooth functions of
        # them, ranks for areas, and only for what is left the metric itself on every resample.
        if made is not None and made.shape is not Shape.SMOOTH:
            losses = Losses(_first(made, challenger), _first(made, champion), champion.weight)
            return t_test.infer(losses, made.shape, margin, draw)
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
        self,
        rule: Rule,
        challenger: Measured,
        champion: Measured,
        found: Inferred,
        needed: float | None,
    ) -> Comparison:
        gain = None
        if rule[1].needs_champion and challenger.value is not None and champion.value is not None:
            gain = Margin.of(rule).sign * (challenger.value - champion.value)
        return Comparison(
            metric=rule[0].name,
            rule=rule[1].value,
            slice=self.slice,
            rows=len(self.pair),
            groups=self.units.count,
            challenger=challenger.value,
            champion=champion.value,
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


def _both(challenger: str, champion: str) -> str:
    """Return why two models have no number; what is so of both is said once."""
    if challenger == champion:
        return challenger
    notes = (
        f"challenger: {challenger}" if challenger else "",
        f"champion: {champion}" if champion else "",
    )
    return "; ".join(note for note in notes if note)


def compare(
    gate: Gate,
    challenger: Predictions,
    champion: Predictions | None,
    *,
    earlier: Mapping[str, Earlier] = MappingProxyType({}),
    search: bool = True,
) -> Evidence:
    """Return what the rows say about every rule, on all of them and on each slice.

    The same predictions, rules and count give the same evidence, whatever the order of the rows.

    Args:
        gate: The rules.
        challenger: Its predictions.
        champion: Its predictions; None where no champion exists yet.
        earlier: Which challengers were compared before, by the digest of their holdout.
        search: Whether to look for groups of rows that the rules do not name, where these ask
            for it.

    Raises:
        DecisionError: when a metric's function cannot be imported.
    """
    whole = earlier.get(challenger.rows_sha256)
    evidence = Evidence(
        comparisons=(),
        rows=len(challenger),
        rows_sha256=challenger.rows_sha256,
        judged_before=0 if whole is None else whole.count,
        overlapping=overlapping(challenger, earlier),
        rows_sample=challenger.rows_sample,
        seed=gate.seed,
        blockers=blockers(challenger, champion),
        notes=challenger.notes,
    )
    if evidence.blockers:
        return evidence
    pair = paired(challenger, champion)
    # Without the units that the rules name nothing is compared: rows that belong together, taken
    # as independent, would make every interval too narrow.
    units = units_of(pair, gate.cluster, gate.time_block)
    if isinstance(units, str):
        return replace(evidence, blockers=(units,))
    # Predictions of any size: numbers that overflow are judged as what they are, infinite.
    with np.errstate(over="ignore", invalid="ignore"):
        comparisons, notes = _compared(gate, pair, units, evidence.compared_before)
        notes = (*notes, *unnamed(pair, gate.cluster, gate.time_block))
        findings = tuple(_found(gate, pair, units, search=search and gate.worst_slices))
    return replace(evidence, comparisons=comparisons, findings=findings, notes=notes)


def moved(refitted: Predictions, judged: Predictions) -> Moved:
    """Return how far a model's predictions are from those of the model that was judged.

    Args:
        refitted: Of the model that was trained again.
        judged: Of the model that was judged, on the same rows.

    Raises:
        DecisionError: when the two cannot be compared.
    """
    if found := blockers(refitted, judged):
        raise DecisionError(
            f"The two models' predictions cannot be compared: {'; '.join(found)}",
            allowed="predictions of the same rows, with the same targets",
            action="look at what the two validations logged",
        )
    pair = paired(refitted, judged)
    new, old = pair.challenger, pair.champion
    if old is None:
        raise AssertionError(pair)
    if old.source.probabilities and new.source.probabilities:
        # Half the sum of the differences; of a certain truth that is what its class lacks to 1.
        change = abs(new.probabilities - old.probabilities).sum(axis=1) / 2
        miss = 1 - old.probabilities[np.arange(len(old)), old.true_class]
        return Moved(len(pair), *(_mean(values, old.weight) for values in (change, miss)))
    if judged.target.is_number:
        with np.errstate(over="ignore", invalid="ignore"):
            squares = (new.guess - old.guess) ** 2, (old.truth - old.guess) ** 2
            return Moved(len(pair), *(_mean(one, old.weight) ** 0.5 for one in squares))
    changed = new.guessed_class != old.guessed_class, old.true_class != old.guessed_class
    return Moved(len(pair), *(_mean(one.astype("float64"), old.weight) for one in changed))


def _mean(values: Floats, weight: Floats | None) -> float:
    return float(np.average(values, weights=weight))


def _found(gate: Gate, pair: Pair, units: Units, *, search: bool) -> Iterator[Finding]:
    """Yield what is found about the challenger beside the rules."""
    # In this order, which is that of a replay: it searches anew, and takes guards as stored.
    if search:
        yield from _worst(gate, pair, units)
    if gate.guards is not None and gate.guards.constant != OFF:
        found = look(pair.challenger, gate.guards.constant)
        if found is not None:
            yield found


def _worst(gate: Gate, pair: Pair, units: Units) -> Iterator[Finding]:
    """Yield where the challenger loses by the primary metric."""
    definition = find(gate.primary.name, gate.primary.function)
    if definition is None or definition.lacking(pair.challenger):
        return
    sign = 1.0 if gate.primary.direction is Direction.HIGHER else -1.0
    gains = slices.gains_of(pair, units, definition, sign)
    found = None if gains is None else slices.search(pair, gains, (gate.cluster, TIME))
    if found is not None:
        yield found


def _compared(
    gate: Gate, pair: Pair, units: Units, judged_before: float
) -> tuple[tuple[Comparison, ...], tuple[str, ...]]:
    rules = [(rule, find(rule[0].name, rule[0].function)) for rule in gate.rules]
    known = [(rule, definition) for rule, definition in rules if definition is not None]
    needs_all = any(definition.reads is Input.FRAME for _, definition in known)
    # Further columns are dropped early: only a metric of the user's reads them, and each slice
    # would copy them.
    whole = View(pair if needs_all else pair.bare(), units, judged_before, gate.seed)
    notes = [
        *pair.challenger.source.notes,
        *sorted({unknown(r[0].name) for r, d in rules if d is None}),
    ]
    comparisons = [whole.comparison(rule, definition) for rule, definition in known]
    for one in gate.slices:
        found = cut(pair, one if isinstance(one, Slice) else Slice(one))
        notes += found.notes
        for group in found.groups:
            view = whole.of(group)
            comparisons += [view.comparison(rule, definition) for rule, definition in known]
    return tuple(comparisons), tuple(notes)
