"""From two predictions and the rules to the evidence that the gate judges."""

from __future__ import annotations

from dataclasses import replace

from understudy.evidence.catalogue import find, unknown
from understudy.evidence.frames import Predictions
from understudy.evidence.pairing import blockers, paired
from understudy.evidence.slices import cut
from understudy.evidence.units import units_of
from understudy.evidence.views import View
from understudy.gate.evidence import Comparison, Evidence
from understudy.gate.rules import Gate, Slice


def compare(
    gate: Gate,
    challenger: Predictions,
    champion: Predictions | None,
    *,
    judged_before: int = 0,
) -> Evidence:
    """Return what the rows say about every rule, on all of them and on each slice.

    The same predictions, rules and count give the same evidence, whatever the order of the rows.

    Args:
        gate: The rules.
        challenger: Its predictions.
        champion: Its predictions; None where no champion exists yet.
        judged_before: How many challengers were compared on this very holdout before.

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
    comparisons, notes = _compared(gate, View(pair, units, judged_before, gate.seed))
    return replace(evidence, comparisons=comparisons, notes=notes)


def _compared(gate: Gate, whole: View) -> tuple[tuple[Comparison, ...], tuple[str, ...]]:
    rules = [(rule, find(rule[0].name, rule[0].function)) for rule in gate.rules]
    known = [(rule, definition) for rule, definition in rules if definition is not None]
    source = whole.pair.challenger.source
    notes = [*source.notes, *sorted({unknown(r[0].name) for r, d in rules if d is None})]
    comparisons = [whole.comparison(rule, definition) for rule, definition in known]
    for wanted in gate.slices:
        found = cut(whole.pair, wanted if isinstance(wanted, Slice) else Slice(wanted))
        notes += found.notes
        for group in found.groups:
            view = whole.of(group)
            comparisons += [view.comparison(rule, definition) for rule, definition in known]
    return tuple(comparisons), tuple(notes)
