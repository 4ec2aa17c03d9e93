"""Judges past nights again: from the stored predictions, under the same rules or others."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Final

from understudy.decide.evaluator import EvaluationRequest, EvaluationResult, Evaluator
from understudy.errors import DecisionError
from understudy.gate import (
    Basis,
    CheckResult,
    DecisionRecord,
    Evidence,
    Finding,
    Gate,
    budgets,
    replay,
)
from understudy.gate.evidence import WORST_SLICES, Earlier
from understudy.gate.record import read
from understudy.runner.process.process import OnLine
from understudy.spec.guards import OFF, QUANTITIES

_AT_ONCE: Final = 20
"""Nights whose predictions lie on the disk together."""
_ROUNDING: Final = 1e-9
"""Relative difference of two numbers below which libraries, not facts, are taken to differ."""
_COMPARED: Final = ("challenger", "champion", "evidence", "learned", "case", "verdict", "checks")
_WORDS: Final = "reason"
"""What is said about the numbers may be said better one day."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A place in two records, and what each has there (JSON)."""

    place: str
    then: str
    now: str

    def __str__(self) -> str:
        return f"{self.place}: {self.then} then, {self.now} now"


@dataclass(frozen=True, slots=True)
class Replayed:
    """A night that was judged again.

    Attributes:
        stored: The record as it was stored (JSON values).
        now: The record of judging again.
        differences: Where the two differ beyond rounding.
    """

    stored: Mapping[str, Any]
    now: DecisionRecord
    differences: tuple[Difference, ...]


def replayed(
    documents: Iterable[str], evaluator: Evaluator, on_line: OnLine, gate: Gate | None = None
) -> Iterator[Replayed]:
    """Yield past nights judged again, in the order of their records.

    Evidence is gathered anew from the stored predictions, whose digests must be those of the
    record, with the stored seed and the stored count of earlier challengers. What budgets say is
    computed from the stored measurement: the machine and the minute are gone. What the guards
    found is taken as it was stored, at the level that the rules give it.

    Args:
        documents: Decision records, as they were stored.
        evaluator: What gathers evidence.
        on_line: Takes progress messages.
        gate: Rules to judge under instead of the stored ones.

    Raises:
        DecisionError: when a document is no record, or its predictions are gone or have changed.
    """
    for some in _chunks(documents):
        records = [replay(document) for document in some]
        requests = [_matter(record, gate) for record in records]
        evaluated = evaluator.evaluate_all(requests, on_line)
        for document, record, one in zip(some, records, evaluated, strict=True):
            stored, now = read(document), _judged(record, one, gate)
            yield Replayed(stored, now, tuple(differences(stored, now.to_dict())))


def replayed_where_possible(
    documents: Iterable[str], evaluator: Evaluator, on_line: OnLine, gate: Gate | None = None
) -> Iterator[Replayed | DecisionError]:
    """Yield past nights judged again, and in place of one that cannot be, why; else as above.

    One night of a year whose predictions were deleted says nothing about the others.
    """
    for some in _chunks(documents):
        try:
            yield from list(replayed(some, evaluator, on_line, gate))
        except DecisionError as error:
            if len(some) == 1:
                yield error
            else:
                for one in some:
                    yield from replayed_where_possible([one], evaluator, on_line, gate)


def _chunks(documents: Iterable[str]) -> Iterator[Sequence[str]]:
    waiting: list[str] = []
    for document in documents:
        waiting.append(document)
        if len(waiting) == _AT_ONCE:
            yield waiting
            waiting = []
    if waiting:
        yield waiting


def _matter(record: DecisionRecord, gate: Gate | None) -> EvaluationRequest:
    evidence = record.evidence
    earlier = {}
    if evidence is not None:
        # As it was counted then: what was compared since on these rows changes no past verdict.
        then = Earlier(evidence.judged_before, overlapping=evidence.overlapping)
        earlier = {evidence.rows_sha256: then}
    trained = record.basis is Basis.TRAININGS
    rules = gate or record.gate
    return EvaluationRequest(rules, record.challenger, record.champion, earlier, trained=trained)


def _judged(
    record: DecisionRecord, evaluated: EvaluationResult, gate: Gate | None
) -> DecisionRecord:
    # Found anew is what predictions say, the search for the worst slices included. Guards and
    # budgets are judged on what was measured then: that night's rows and machine are gone.
    rules, again = gate or record.gate, evaluated.challenger.predictions is not None
    evidence = evaluated.evidence if again else record.evidence
    stored = () if record.evidence is None else record.evidence.findings
    searched = stored if evidence is None else evidence.findings
    found = (
        *(one for one in searched if one.guard == WORST_SLICES),
        *_guarded(stored, rules),
        *_weighed(record, rules),
    )
    if evidence is not None or found:
        evidence = replace(evidence or Evidence((), seed=rules.seed), findings=found)
    gathered = replace(
        record,
        challenger=evaluated.challenger,
        champion=evaluated.champion,
        evidence=evidence,
        software=evaluated.software,
        basis=evaluated.basis if again else record.basis,
    )
    return gathered.judged_again(gate)


def _guarded(stored: Sequence[Finding], rules: Gate) -> Iterator[Finding]:
    """Yield what the guards found then, at the level that the rules give it."""
    for one in stored:
        if rules.guards is not None and one.guard not in {WORST_SLICES, *QUANTITIES}:
            looked = one.result != CheckResult.UNDECIDED
            level = rules.guards.level_of(one.guard, looked=looked)
            if level != OFF:
                yield replace(one, level=level)


def _weighed(record: DecisionRecord, rules: Gate) -> tuple[Finding, ...]:
    """Return what was measured then says of the rules' budgets."""
    if rules.budgets is None:
        return ()
    champion = None if record.champion is None else record.champion.model
    why = "that night had no budgets, and measured nothing"
    measured = record.measurement or budgets.unmeasured(record.challenger.model, champion, why)
    return budgets.findings(rules.budgets, measured, rules.seed)


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Difference]:
    """Yield where two records differ in what was compared, found and decided."""
    for part in _COMPARED:
        yield from _differing(part, then.get(part), now.get(part))


def _differing(place: str, then: Any, now: Any) -> Iterator[Difference]:  # noqa: ANN401 -- JSON
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        for name in dict.fromkeys(chain(then, now)):
            if name != _WORDS:
                yield from _differing(f"{place}.{name}", then.get(name), now.get(name))
    elif isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        for number, (one, other) in enumerate(zip(then, now, strict=True)):
            yield from _differing(f"{place}[{number}]", one, other)
    else:
        # Libraries of another version may round the last digits otherwise: no other finding.
        floats = isinstance(then, float) and isinstance(now, float)
        close = floats and math.isclose(then, now, rel_tol=_ROUNDING, abs_tol=_ROUNDING)
        if not (close or then == now):
            yield Difference(place, json.dumps(then), json.dumps(now))
