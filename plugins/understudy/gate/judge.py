"""The pure function from rules and numbers to a verdict."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from understudy.gate import checks
from understudy.gate.checks import alpha_of, reaches
from understudy.gate.evidence import Evidence, Finding
from understudy.gate.verdict import (
    Basis,
    Case,
    Check,
    CheckResult,
    Decision,
    Score,
    Unscored,
    Verdict,
)
from understudy.spec.rules import Bound, Gate, Unscorable

_OWN_ROWS: Final = (
    "each model's numbers are those that its own training logged, not on the same rows: "
    "a difference may be that of the rows"
)
_WARN, _REJECT = "warn", "reject"

Champion = Score | Unscored | None


def judge(
    gate: Gate,
    challenger: Score,
    champion: Champion,
    basis: Basis = Basis.VALIDATIONS,
    evidence: Evidence | None = None,
) -> Decision:
    """Judge a challenger.

    Args:
        gate: The rules.
        challenger: The numbers of the model that this night trained.
        champion: The champion's numbers on the same rows; why it has none; or None where no
            champion exists yet, so that only absolute rules apply.
        basis: Where the numbers are from.
        evidence: What the predictions of both say; None where there are none, so that the
            numbers that were logged are compared as they are.

    Returns:
        PROMOTE when every applicable rule passes, REJECT when one fails, HOLD when none fails
        and one cannot be decided. Guards and budgets hold or reject as they are declared to.
    """
    blockers = tuple(_comparability(challenger, champion, basis, evidence))
    # Checks are made in any case, also where a blocker has decided: a reader wants to see them
    # all.
    checks = tuple(_checks(gate, challenger, _opponent(gate, champion, blockers), evidence))
    findings = () if evidence is None else evidence.findings
    results = {check.result for check in checks} | set(map(_weight, findings))
    if isinstance(champion, Unscored):
        results.add(_UNSCORED[Unscorable(gate.unscored_champion)])
    if blockers:
        results.add(CheckResult.UNDECIDED)
    # A rule that is broken for sure outweighs one that cannot be decided.
    verdict = Verdict.HOLD if CheckResult.UNDECIDED in results else Verdict.PROMOTE
    if CheckResult.FAILED in results:
        verdict = Verdict.REJECT
    compared = Case.COMPARED if isinstance(champion, Score) else Case.CHAMPION_UNSCORED
    return Decision(
        verdict=verdict,
        case=Case.FIRST if champion is None else compared,
        reasons=tuple(_reasons(gate, verdict, checks, (blockers, findings, champion))),
        checks=checks,
        notes=(
            *_notes(gate, challenger, champion, basis, evidence),
            # What is worth knowing and is no reason of the verdict.
            *(
                _named(one)
                for one in findings
                if one.result != CheckResult.PASSED and _weight(one) is not _DECIDES[verdict]
            ),
        ),
    )


_UNSCORED: Final = {
    Unscorable.HOLD: CheckResult.UNDECIDED,
    Unscorable.PROMOTE: CheckResult.NOT_APPLICABLE,
    Unscorable.REJECT: CheckResult.FAILED,
}
"""What a champion that could not be scored counts as."""


def _opponent(gate: Gate, champion: Champion, blockers: tuple[str, ...]) -> Champion:
    """Return what the challenger is compared with."""
    # Numbers that must not be compared are treated as if the champion had none.
    if blockers and isinstance(champion, Score):
        return Unscored(champion.model, blockers[0])
    # A pipeline that promotes without the champion's numbers is judged as if there were no
    # champion.
    waived = isinstance(champion, Unscored) and gate.unscored_champion == Unscorable.PROMOTE
    return None if waived else champion


def _comparability(
    challenger: Score, champion: Champion, basis: Basis, evidence: Evidence | None
) -> Iterator[str]:
    """Yield why the two sets of numbers must not be compared."""
    if evidence is not None:
        yield from evidence.blockers
    if (
        isinstance(champion, Score)
        and basis is Basis.VALIDATIONS
        and challenger.holdout_sha256 != champion.holdout_sha256
    ):
        yield f"challenger and champion {champion.model} were scored on different rows"


def _checks(
    gate: Gate, challenger: Score, champion: Champion, evidence: Evidence | None
) -> Iterator[Check]:
    """Yield one check for each rule, on all rows and on each slice."""
    comparisons = () if evidence is None else evidence.comparisons
    known = checks.compared(gate.rules, comparisons, evidence)
    for rule in gate.rules:
        found = known[rule[0].name, rule[1]]
        # A metric that the predictions do not give is judged by the number that ``validate``
        # logged.
        if not any(not one.found.slice for one in found):
            yield checks.check_logged(rule, challenger, champion)
        for one in found:
            yield checks.check_compared(one, champion)


def _weight(finding: Finding) -> CheckResult:
    """Return what a finding counts as: a warning never decides."""
    result = CheckResult(finding.result)
    if finding.level == _WARN or result is CheckResult.PASSED:
        return CheckResult.NOT_APPLICABLE
    return result if finding.level == _REJECT else CheckResult.UNDECIDED


_DECIDES: Final = {
    Verdict.REJECT: CheckResult.FAILED,
    Verdict.HOLD: CheckResult.UNDECIDED,
    Verdict.PROMOTE: CheckResult.PASSED,
}


def _reasons(
    gate: Gate,
    verdict: Verdict,
    checks: tuple[Check, ...],
    others: tuple[tuple[str, ...], tuple[Finding, ...], Champion],
) -> Iterator[str]:
    blockers, findings, champion = others
    decisive = _DECIDES[verdict]
    if champion is None and verdict is Verdict.PROMOTE:
        yield "no champion yet: only absolute rules apply"
    if isinstance(champion, Unscored) and (
        verdict is Verdict.PROMOTE or _UNSCORED[Unscorable(gate.unscored_champion)] is decisive
    ):
        yield f"the champion {champion.model} could not be scored: {champion.reason}"
    if verdict is Verdict.HOLD:
        yield from blockers
    yield from (check.reason for check in checks if check.result is decisive)
    if verdict is not Verdict.PROMOTE:
        yield from (_named(one) for one in findings if _weight(one) is decisive)


def _named(finding: Finding) -> str:
    return f"{finding.guard}: {finding.reason}"


def _notes(
    gate: Gate, challenger: Score, champion: Champion, basis: Basis, evidence: Evidence | None
) -> Iterator[str]:
    if isinstance(champion, Score) and basis is not Basis.PREDICTIONS:
        asked = max(metric.sureness for metric, bound, _ in gate.rules if bound.needs_champion)
        yield f"confidence {asked} is asked; logged metrics have no interval, none is claimed"
        if basis is Basis.TRAININGS:
            yield _OWN_ROWS
        elif not challenger.holdout_sha256:
            yield "the validations do not name their rows; that they are the same is not proven"
    if evidence is None:
        return
    if isinstance(champion, Score) and evidence.comparisons:
        yield from _notes_on_errors(gate, evidence)
    yield from evidence.notes
    known = {(one.metric, one.rule) for one in evidence.comparisons}
    for metric, bound, _ in gate.rules:
        if evidence.comparisons and (metric.name, bound.value) not in known:
            yield f"{metric.name} {bound}: judged by the logged number, without an interval"


def _notes_on_errors(gate: Gate, evidence: Evidence) -> Iterator[str]:
    """Say what chance may do: to a promotion, to a rejection, and over the nights of a holdout.

    That PROMOTE needs every rule makes it an intersection-union test (Berger, "Multiparameter
    hypothesis testing and acceptance sampling", Technometrics 24, 1982): each rule may use the
    whole error rate, and a false promotion is no likelier than that.
    """
    compared = [(metric, bound) for metric, bound, _ in gate.rules if bound.needs_champion]
    alpha = max(metric.alpha for metric, _ in compared)
    spent = alpha_of(alpha, evidence.compared_before)
    tested = sum(one.p_value is not None for one in evidence.comparisons)
    for metric, bound in compared:
        if bound is Bound.TOLERANCE:
            yield (
                f"{metric.name}: between two models that the rows do not tell apart, the newer one "
                "is taken; how often that one is the worse is not bounded, only by how much it "
                "may measure worse"
            )
    if any(bound is not Bound.TOLERANCE for _, bound in compared):
        yield (
            f"chance of promoting a model that breaks a rule: at most {alpha:.2g} over all "
            f"challengers on these rows, of which {spent:.2g} is spent on this one "
            f"({_before(evidence)} were compared on them before)"
        )
    yield (
        f"chance of rejecting one that keeps all rules: at most {spent:.2g} over the "
        f"{tested} comparisons together (Holm)"
    )


def _before(evidence: Evidence) -> str:
    if not evidence.overlapping:
        return f"{evidence.judged_before}"
    return f"{evidence.compared_before:.2g}, by the share of rows that holdouts have in common,"


__all__ = ["Champion", "judge", "reaches"]
