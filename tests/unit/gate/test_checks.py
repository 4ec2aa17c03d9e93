"""Verdicts on evidence: intervals against bounds, slices, guards, and what must always hold."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.gate import (
    Basis,
    Case,
    CheckResult,
    Comparison,
    Decision,
    Evidence,
    Finding,
    Gate,
    Interval,
    Metric,
    Score,
    Unscored,
    Verdict,
    judge,
)
from understudy.gate.checks import sure

OURS = Score("models:/m-1", {"rmse": 9.0, "r2": 0.5, "mae": 7.0})
THEIRS = Score("3", {"rmse": 10.0, "r2": 0.5, "mae": 7.0})
GAINS = Gate(Metric("rmse", min_gain=0.0, confidence=0.95))
SLICED = Gate(Metric("rmse", min_gain=0.0, confidence=0.95), slices=["region"])
KEEPS = Gate(Metric("rmse", max_loss=0.5, confidence=0.95))


def comparison(gain: float, half_width: float, needed: float = 0.0, **others: Any) -> Comparison:
    """Return a comparison whose estimate is normal; ``half_width`` is the interval's at 5 %."""
    interval = Interval(gain - half_width, gain + half_width, 0.9)
    excess = Interval(interval.low - needed, interval.high - needed, 0.9)
    z = (gain - needed) / (half_width / 1.645) if half_width else math.copysign(99, gain - needed)
    fields: dict[str, Any] = {
        "metric": "rmse", "rule": "min_gain", "slice": "", "rows": 200, "groups": 200,
        "challenger": 10 - gain, "champion": 10.0, "gain": gain, "needed": needed,
        "interval": interval, "excess": excess, "p_value": math.erfc(z / math.sqrt(2)) / 2,
        "effect_size": None, "smallest_detectable": 1.5 * half_width, "method": "normal",
        "mcnemar": None,
    }  # fmt: skip
    return Comparison(**{**fields, **others})


def keeps(gain: float, half_width: float, loss: float = 0.5, **others: Any) -> Comparison:
    """Return a comparison for a bound on the loss."""
    return comparison(gain, half_width, -loss, rule="max_loss", **others)


def judged(
    gate: Gate,
    *comparisons: Comparison,
    champion: Score | Unscored | None = THEIRS,
    **more: Any,
) -> Decision:
    """Judge on evidence."""
    evidence = Evidence(comparisons, rows=200, **more)
    return judge(gate, OURS, champion, Basis.PREDICTIONS, evidence)


@pytest.mark.parametrize(
    ("gate", "found", "verdict", "words"),
    [
        pytest.param(GAINS, comparison(2, 1), "PROMOTE", "beats the champion's 10", id="clear"),
        pytest.param(
            GAINS, comparison(1, 2), "HOLD", "With 200 rows, only a gain in rmse of about 3 could"
            " be told from luck, and this one was 1 (-1 to 3); ", id="open",
        ),
        pytest.param(GAINS, comparison(-2, 1), "REJECT", "is worse than the", id="worse"),
        pytest.param(GAINS, comparison(1, 1), "PROMOTE", "beats", id="the bound itself counts"),
        pytest.param(GAINS, comparison(0, 0), "HOLD", "no gain in rmse can be", id="no difference"),
        pytest.param(
            Gate(Metric("rmse", min_gain=0.05)), comparison(0.85 - 0.8, 0, 0.05), "PROMOTE",
            "by at least 0.05", id="0.80 + 0.05",
        ),
        pytest.param(KEEPS, keeps(0, 0.4), "PROMOTE", "within 0.5 of", id="no worse"),
        pytest.param(KEEPS, keeps(0, 0.6), "HOLD", "more than 0.5 cannot be", id="perhaps worse"),
        pytest.param(KEEPS, keeps(-2, 1), "REJECT", "by more than 0.5", id="too much worse"),
        pytest.param(KEEPS, keeps(0, 0), "PROMOTE", "or better", id="the same model"),
    ],
)  # fmt: skip
def test_a_bound_is_judged_by_the_interval_s_ends(
    gate: Gate, found: Comparison, verdict: str, words: str
) -> None:
    """Near end clear: passed. Far end short: failed. In between nobody knows, and it says so."""
    decision = judged(gate, found)
    assert decision.verdict == verdict
    assert decision.case is Case.COMPARED
    assert words in decision.why
    assert decision.checks[0].interval == found.interval
    assert decision.checks[0].excess == found.excess


@pytest.mark.parametrize("gain", [2, 1, -2], ids=["passed", "undecided", "failed"])
def test_a_reason_says_how_sure_each_end_of_its_interval_is(gain: float) -> None:
    """In words that need no table of statistics, whatever came out of the check."""
    why = judged(GAINS, comparison(gain, 1.5)).why
    ends = f"gain {gain}, from {gain - 1.5:g} to {gain + 1.5:g}"
    assert f"{ends} (each bound holds with 95 % confidence)" in why
    assert why.count("% confidence") == 1


@pytest.mark.parametrize(
    ("alpha", "said"), [(0.182, "81.8"), (0.05, "95"), (0.000211, "99.98"), (1e-9, "99.9999999")]
)
def test_no_bound_is_said_to_be_certain(alpha: float, said: str) -> None:
    """The twelfth challenger on the same rows has so little left to err by."""
    assert sure(alpha) == said


def test_a_violation_counts_only_beyond_chance_over_all_comparisons() -> None:
    """One bad slice among forty, at a level that one in twenty reaches, rejects nothing."""
    unlucky = comparison(-1.1, 1, slice="region=0")
    others = [comparison(1, 0.5, slice=f"region={n}") for n in range(1, 40)]
    assert judged(SLICED, comparison(1, 0.5), unlucky).verdict is Verdict.HOLD
    alone = judged(SLICED, unlucky)
    assert alone.verdict is Verdict.HOLD  # 0.035 against the 0.030 of a first challenger
    worse = comparison(-1.6, 1, slice="region=0")
    assert judged(SLICED, comparison(1, 0.5), worse).verdict is Verdict.REJECT
    assert judged(SLICED, comparison(1, 0.5), worse, *others).verdict is Verdict.HOLD
    certain = comparison(-4, 1, slice="region=0")
    assert judged(SLICED, comparison(1, 0.5), certain, *others).verdict is Verdict.REJECT


def test_every_slice_must_keep_the_rules() -> None:
    """A better model over all rows is not promoted while a slice may be worse."""
    decision = judged(SLICED, comparison(2, 1), comparison(0.1, 1, slice="region=north", rows=30))
    assert decision.verdict is Verdict.HOLD
    assert "rmse 9.9 where region=north" in decision.why
    assert [check.slice for check in decision.checks] == ["", "region=north"]


def test_a_slice_that_the_rules_name_and_the_data_lack_is_a_failure() -> None:
    """A renamed column must not switch a rule off."""
    lacking = comparison(0, 0, slice="region", rows=0, challenger=None, note="no such column")
    decision = judged(SLICED, comparison(2, 1), lacking)
    assert decision.verdict is Verdict.REJECT
    assert "no such column" in decision.why


@pytest.mark.parametrize("number", ["challenger", "champion", "gain", "needed"])
@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
def test_missing_and_not_finite_numbers_never_promote(number: str, value: float | None) -> None:
    """Whatever else the comparison says."""
    found = replace(comparison(2, 1), **{number: value})  # type: ignore[arg-type]
    assert judged(GAINS, found).verdict is not Verdict.PROMOTE


@pytest.mark.parametrize("excess", [None, Interval(math.nan, 1, 0.9), Interval(1, math.nan, 0.9)])
def test_without_an_interval_nothing_is_decided(excess: Interval | None) -> None:
    """Two rows, or a metric that a resample does not define."""
    assert judged(GAINS, replace(comparison(2, 1), excess=excess)).verdict is Verdict.HOLD


def test_what_cannot_be_compared_holds_and_absolute_rules_still_decide() -> None:
    """Different rows, duplicated ids: the reason stands first."""
    gate = Gate(Metric("rmse", min_gain=0.0), [Metric("r2", at_least=0.4)])
    held = judged(gate, blockers=("the two have different rows",))
    assert held.verdict is Verdict.HOLD
    assert held.reasons[0] == "the two have different rows"
    poor = Gate(Metric("rmse", min_gain=0.0), [Metric("r2", at_least=0.6)])
    assert judged(poor, blockers=("different rows",)).verdict is Verdict.REJECT
    assert judged(gate, champion=None, blockers=("row ids twice",)).verdict is Verdict.HOLD


def test_without_a_champion_absolute_rules_alone_are_judged_in_every_slice() -> None:
    """The first model must be good enough everywhere that the rules name."""
    gate = Gate(Metric("rmse", min_gain=0.0, at_most=9.5), slices=["region"])
    alone = {"rule": "at_most", "champion": None, "excess": None, "interval": None}
    good = comparison(1, 0, **alone)
    assert judged(gate, good, champion=None).case is Case.FIRST
    assert judged(gate, good, champion=None).verdict is Verdict.PROMOTE
    bad = comparison(0, 0, slice="region=north", **alone)
    decision = judged(gate, good, bad, champion=None)
    assert decision.verdict is Verdict.REJECT
    assert "rmse 10 where region=north is not at most 9.5" in decision.why


@pytest.mark.parametrize(
    ("choice", "challenger", "verdict"),
    [
        ("hold", 9, "HOLD"),
        ("promote", 9, "PROMOTE"),
        ("promote", 11, "REJECT"),
        ("reject", 9, "REJECT"),
    ],
)
@pytest.mark.parametrize("with_evidence", [False, True])
def test_a_champion_that_cannot_be_scored_is_judged_as_the_pipeline_says(
    choice: str, challenger: float, verdict: str, *, with_evidence: bool
) -> None:
    """By default nothing moves; the reason stands in the verdict whatever it is."""
    gate = Gate(Metric("rmse", min_gain=0.0, at_most=10), unscored_champion=choice)
    found = comparison(10 - challenger, 0, rule="at_most", champion=None, excess=None)
    evidence = Evidence((found,)) if with_evidence else None
    ours, theirs = Score("m", {"rmse": challenger}), Unscored("3", "column x is gone")
    decision = judge(gate, ours, theirs, evidence=evidence)
    assert decision.verdict == verdict
    assert decision.case is Case.CHAMPION_UNSCORED
    assert ("column x is gone" in decision.why) == (challenger == 9)


@pytest.mark.parametrize(
    ("level", "result", "verdict"),
    [
        ("warn", "failed", "PROMOTE"),
        ("block", "failed", "HOLD"),
        ("block", "undecided", "HOLD"),
        ("reject", "failed", "REJECT"),
        ("reject", "undecided", "HOLD"),
        ("reject", "passed", "PROMOTE"),
    ],
)
def test_guards_do_what_they_are_declared_to(level: str, result: str, verdict: str) -> None:
    """A warning is told and never decides."""
    finding = Finding("drift", level, result, "age has moved", {"age": 0.3})
    decision = judged(GAINS, comparison(2, 1), findings=(finding,))
    assert decision.verdict == verdict
    said = "drift: age has moved"
    if verdict != "PROMOTE":
        assert said in decision.why
    elif result == "failed":
        assert said in decision.notes


@pytest.mark.parametrize("level", ["warn", "block"])
def test_what_a_guard_says_of_a_rejected_challenger_is_told_too(level: str) -> None:
    """It is no reason of that verdict, and a reader wants to know it."""
    finding = Finding("drift", level, "failed", "age has moved", {})
    decision = judged(GAINS, comparison(-2, 0.5), findings=(finding,))
    assert decision.verdict == "REJECT"
    assert "drift" not in decision.why
    assert "drift: age has moved" in decision.notes


def test_errors_that_chance_may_make_are_said() -> None:
    """For both kinds, and how much of it is spent on this challenger."""
    notes = " ".join(judged(GAINS, comparison(2, 1), judged_before=2).notes)
    assert "at most 0.05 over all challengers" in notes
    assert "0.0034 is spent on this one (2 were compared on them before)" in notes
    assert "over the 1 comparisons together (Holm)" in notes


def test_a_metric_that_only_the_project_logs_is_judged_without_an_interval() -> None:
    """And the record says so; the holdout is the same, since the predictions are."""
    gate = Gate(Metric("rmse", min_gain=0.0), [Metric("mae", max_loss=0.1)])
    decision = judged(gate, comparison(2, 1))
    assert decision.verdict is Verdict.PROMOTE
    assert any("mae max_loss: judged by the logged number" in note for note in decision.notes)


RESTS_ON = ("challenger", "champion", "gain", "needed", "p_value")
numbers = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True))
gains = st.floats(-100, 100)
widths = st.floats(0, 50)


@given(gain=gains, width=widths, needed=st.floats(0, 10))
def test_swapping_the_models_never_promotes_both(gain: float, width: float, needed: float) -> None:
    """Neither with a gain asked for, nor with one of zero."""
    gate = Gate(Metric("rmse", min_gain=needed))
    pair = comparison(gain, width, needed), comparison(-gain, width, needed)
    verdicts = [judged(gate, one).verdict for one in pair]
    assert verdicts.count(Verdict.PROMOTE) <= 1


@given(gain=gains, width=widths, more=st.floats(0, 100), less=st.floats(0, 1))
@pytest.mark.parametrize("gate", [GAINS, KEEPS])
def test_more_gain_and_more_certainty_never_lose_a_promotion(
    gate: Gate, gain: float, width: float, more: float, less: float
) -> None:
    """The verdict is monotone in the evidence."""
    made = comparison if gate is GAINS else keeps
    if judged(gate, made(gain, width)).verdict is Verdict.PROMOTE:
        assert judged(gate, made(gain + more, width)).verdict is Verdict.PROMOTE
        assert judged(gate, made(gain, width * less)).verdict is Verdict.PROMOTE


@given(
    known=st.fixed_dictionaries(dict.fromkeys(RESTS_ON, numbers)),
    ends=st.tuples(numbers, numbers),
)  # fmt: skip
def test_a_promotion_rests_on_finite_numbers(
    known: dict[str, float | None], ends: tuple[float | None, float | None]
) -> None:
    """Whatever the statistics hand over."""
    low, high = ends
    excess = None if low is None or high is None else Interval(low, high, 0.9)
    found = replace(comparison(2, 1), **known, excess=excess)  # type: ignore[arg-type]
    decision = judged(GAINS, found)
    if decision.verdict is Verdict.PROMOTE:
        rests_on = (found.challenger, found.champion, found.gain, found.needed, low, high)
        assert all(number is not None and math.isfinite(number) for number in rests_on)
        assert low is not None
        assert found.needed is not None
        assert low >= -max(1e-6, 2e-9 * abs(found.needed))  # the rounding of what was asked for
    if decision.verdict is Verdict.REJECT:
        assert decision.checks[0].result is CheckResult.FAILED


TOLERATES = Gate(Metric("rmse", tolerance=0.5, confidence=0.95))


@pytest.mark.parametrize(
    ("gain", "half_width", "verdict"),
    [
        pytest.param(1.0, 0.5, "PROMOTE", id="better"),
        pytest.param(-0.4, 0.6, "PROMOTE", id="not told apart"),
        pytest.param(-0.5, 0.6, "PROMOTE", id="the tolerance itself counts"),
        pytest.param(0.0, 0.0, "PROMOTE", id="the same: the newer one"),
        pytest.param(-0.4, 0.2, "HOLD", id="worse, if by little"),
        pytest.param(-0.8, 2.0, "HOLD", id="more than is tolerated, perhaps by luck"),
        pytest.param(-2.0, 0.5, "REJECT", id="far worse"),
    ],
)
def test_a_tolerance_takes_the_newer_of_two_that_are_not_told_apart(
    gain: float, half_width: float, verdict: str
) -> None:
    """It may not be shown to be worse, nor be worse by more as measured."""
    found = comparison(gain, half_width, -0.5, rule="tolerance")
    assert judged(TOLERATES, found).verdict == verdict


def test_on_the_very_same_rows_small_losses_do_not_add_up() -> None:
    """Each challenger a little worse than the last would be a slide without end."""
    found = comparison(-0.4, 0.6, -0.5, rule="tolerance")
    evidence = Evidence((found,), rows=200, judged_before=1)
    again = judge(TOLERATES, OURS, THEIRS, Basis.PREDICTIONS, evidence)
    assert again.verdict is Verdict.HOLD
    assert "there is a loss in rmse" in again.why


def test_without_an_interval_a_tolerance_promotes_nothing() -> None:
    """Too few rows to tell are no reason to take the newer model."""
    found = comparison(1.0, 0.5, -0.5, rule="tolerance", interval=None, excess=None)
    assert judged(TOLERATES, found).verdict is Verdict.HOLD
