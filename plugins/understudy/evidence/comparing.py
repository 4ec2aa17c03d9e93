"""From two predictions and the rules to the evidence that the gate judges."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from understudy.evidence import sameness, worst
from understudy.evidence.catalogue import find, unknown
from understudy.evidence.definition import Input
from understudy.evidence.frames import TIME, Predictions
from understudy.evidence.pairing import Pair, blockers, paired
from understudy.evidence.slices import cut
from understudy.evidence.units import Units, units_of, unnamed
from understudy.evidence.views import View
from understudy.gate.evidence import Comparison, Evidence, Finding
from understudy.gate.guards import OFF
from understudy.gate.metrics import Direction
from understudy.gate.rules import Gate, Slice


def compare(
    gate: Gate,
    challenger: Predictions,
    champion: Predictions | None,
    *,
    judged_before: int = 0,
    search: bool = True,
) -> Evidence:
    """Return what the rows say about every rule, on all of them and on each slice.

    The same predictions, rules and count give the same evidence, whatever the order of the rows.

    Args:
        gate: The rules.
        challenger: Its predictions.
        champion: Its predictions; None where no champion exists yet.
        judged_before: How many challengers were compared on this very holdout before.
        search: Whether to look for groups of rows that the rules do not name, where these ask
            for it.

    Raises:
        DecisionError: when a metric's function cannot be imported.
    """
    evidence = Evidence(
        comparisons=(),
        rows=len(challenger),
        rows_sha256=challenger.rows_sha256,
        judged_before=judged_before,
        seed=gate.seed,
        blockers=blockers(challenger, champion),
        notes=challenger.notes,
    )
    if evidence.blockers:
        return evidence
    pair = paired(challenger, champion)
    units = units_of(pair, gate.cluster, gate.time_block)
    if isinstance(units, str):
        return replace(evidence, blockers=(units,))
    # Predictions of any size: numbers that overflow are judged as what they are, infinite.
    with np.errstate(over="ignore", invalid="ignore"):
        comparisons, notes = _compared(gate, pair, units, judged_before)
        notes = (*notes, *unnamed(pair, gate.cluster, gate.time_block))
        findings = tuple(_found(gate, pair, units, search=search and gate.worst_slices))
    return replace(evidence, comparisons=comparisons, findings=findings, notes=notes)


def _found(gate: Gate, pair: Pair, units: Units, *, search: bool) -> Iterator[Finding]:
    """Yield what else there is to say of the challenger, beside the rules."""
    # In this order, which is that of a replay: it searches anew, and takes guards as stored.
    if search:
        yield from _worst(gate, pair, units)
    if gate.guards is not None and gate.guards.constant != OFF:
        found = sameness.look(pair.challenger, gate.guards.constant)
        if found is not None:
            yield found


def _worst(gate: Gate, pair: Pair, units: Units) -> Iterator[Finding]:
    """Yield where the challenger loses by the primary metric."""
    definition = find(gate.primary.name, gate.primary.function)
    if definition is None or definition.lacking(pair.challenger):
        return
    sign = 1.0 if gate.primary.direction is Direction.HIGHER else -1.0
    gains = worst.gains_of(pair, units, definition, sign)
    found = None if gains is None else worst.search(pair, gains, (gate.cluster, TIME))
    if found is not None:
        yield found


def _compared(
    gate: Gate, pair: Pair, units: Units, judged_before: int
) -> tuple[tuple[Comparison, ...], tuple[str, ...]]:
    rules = [(rule, find(rule[0].name, rule[0].function)) for rule in gate.rules]
    known = [(rule, definition) for rule, definition in rules if definition is not None]
    needs_all = any(definition.reads is Input.FRAME for _, definition in known)
    whole = View(pair if needs_all else pair.bare(), units, judged_before, gate.seed)
    notes = [
        *pair.challenger.source.notes,
        *sorted({unknown(r[0].name) for r, d in rules if d is None}),
    ]
    comparisons = [whole.comparison(rule, definition) for rule, definition in known]
    for wanted in gate.slices:
        found = cut(pair, wanted if isinstance(wanted, Slice) else Slice(wanted))
        notes += found.notes
        for group in found.groups:
            view = whole.of(group)
            comparisons += [view.comparison(rule, definition) for rule, definition in known]
    return tuple(comparisons), tuple(notes)
