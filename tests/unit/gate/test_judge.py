"""The gate's semantics: every bound, every missing number, and properties that must always hold."""

from __future__ import annotations

import math
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.gate import Basis, Gate, Metric, Score, Unscored, Verdict, judge
from understudy.gate.judge import reaches
from understudy.gate.verdict import Case, CheckResult

finite = st.floats(-1e6, 1e6)


def score(model: str = "models:/m-1", holdout: str = "rows", **metrics: float) -> Score:
    """Return the numbers of a model on the rows that all tests share."""
    return Score(model, metrics, holdout_sha256=holdout)


@pytest.mark.parametrize(
    ("metric", "challenger", "champion", "verdict"),
    [
        pytest.param(Metric("rmse"), 50.0, 51.0, Verdict.PROMOTE, id="lower is better"),
        pytest.param(Metric("rmse", min_gain=0.0), 51.0, 50.0, Verdict.REJECT, id="worse"),
        pytest.param(Metric("rmse"), 51.5, 50.0, Verdict.PROMOTE, id="3 % of the error"),
        pytest.param(Metric("rmse"), 51.6, 50.0, Verdict.REJECT, id="more than 3 % of the error"),
        pytest.param(Metric("accuracy"), 0.897, 0.9, Verdict.PROMOTE, id="3 % of 1 - accuracy"),
        pytest.param(Metric("accuracy"), 0.896, 0.9, Verdict.REJECT, id="more of 1 - accuracy"),
        pytest.param(Metric("r2"), -0.53, -0.5, Verdict.PROMOTE, id="3 % of 1 - r2 below zero"),
        pytest.param(Metric("r2"), -0.56, -0.5, Verdict.REJECT, id="more of 1 - r2"),
        pytest.param(Metric("rmse"), 0.0, 0.0, Verdict.PROMOTE, id="no error to lose"),
        pytest.param(
            Metric("rmse"), 50.0, 50.0, Verdict.PROMOTE, id="equal reaches a gain of zero"
        ),
        pytest.param(Metric("r2"), 0.5, 0.4, Verdict.PROMOTE, id="higher is better"),
        pytest.param(Metric("r2", min_gain=0.05), 0.85, 0.80, Verdict.PROMOTE, id="0.80 + 0.05"),
        pytest.param(Metric("r2", min_gain=0.05), 0.8499, 0.80, Verdict.REJECT, id="just below"),
        pytest.param(
            Metric("rmse", min_gain=0.1, relative=True), 0.9, 1.0, Verdict.PROMOTE, id="10 %"
        ),
        pytest.param(
            Metric("rmse", min_gain=0.1, relative=True), 0.91, 1.0, Verdict.REJECT, id="9 %"
        ),
        pytest.param(Metric("rmse", max_loss=0.02), 1.02, 1.0, Verdict.PROMOTE, id="loss allowed"),
        pytest.param(Metric("rmse", max_loss=0.02), 1.03, 1.0, Verdict.REJECT, id="loss too large"),
        pytest.param(
            Metric("r2", max_loss=0.1, relative=True),
            -0.55,
            -0.5,
            Verdict.PROMOTE,
            id="of |champion|",
        ),
        pytest.param(
            Metric("r2", max_loss=0.1, relative=True),
            -0.56,
            -0.5,
            Verdict.REJECT,
            id="beyond |champion|",
        ),
        pytest.param(
            Metric("profit", lower_is_better=False, min_gain=1),
            3.0,
            2.0,
            Verdict.PROMOTE,
            id="own metric",
        ),
    ],
)
def test_comparison_with_the_champion(
    metric: Metric, challenger: float, champion: float, verdict: Verdict
) -> None:
    """Each bound says what the design says, inclusive on decimal numbers."""
    name = metric.name
    decision = judge(Gate(metric), score(**{name: challenger}), score("3", **{name: champion}))
    assert decision.verdict is verdict
    assert decision.case is Case.COMPARED
    assert decision.reasons


@pytest.mark.parametrize(
    ("metric", "value", "result"),
    [
        (Metric("r2", at_least=0.25), 0.25, CheckResult.PASSED),
        (Metric("r2", at_least=0.25), 0.2499, CheckResult.FAILED),
        (Metric("rmse", at_most=60), 60.0, CheckResult.PASSED),
        (Metric("rmse", at_most=60), 60.01, CheckResult.FAILED),
    ],
)
def test_absolute_bounds(metric: Metric, value: float, result: CheckResult) -> None:
    """Absolute bounds hold with a champion and without one."""
    checks = judge(Gate(metric), score(**{metric.name: value}), None).checks
    assert checks[0].result is result


def test_without_a_champion_only_absolute_rules_apply() -> None:
    """The first model is a case of its own in the record."""
    gate = Gate(Metric("rmse", min_gain=5), [Metric("r2", at_least=0.2)])
    decision = judge(gate, score(rmse=50, r2=0.3), None)
    assert decision.verdict is Verdict.PROMOTE
    assert decision.case is Case.FIRST
    assert decision.checks[0].result is CheckResult.NOT_APPLICABLE
    assert "no champion yet" in decision.why
    assert judge(gate, score(rmse=50, r2=0.1), None).verdict is Verdict.REJECT


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("champion", [score("3", rmse=50.0), None])
def test_a_challenger_that_is_not_finite_is_rejected(value: float, champion: Score | None) -> None:
    """NaN and infinity never pass, first model or not."""
    assert judge(Gate(Metric("rmse")), score(rmse=value), champion).verdict is Verdict.REJECT


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("name", ["rmse", "r2"])
def test_the_largest_double_stands_for_infinity(name: str, sign: int) -> None:
    """MLflow's stores keep infinity as that: it never passes, and no champion loses by it."""
    largest = sign * sys.float_info.max
    gate = Gate(Metric(name), [Metric(name, at_least=-1e300)])
    for champion in (None, score("3", **{name: 0.5})):
        decision = judge(gate, score(**{name: largest}), champion)
        assert decision.verdict is Verdict.REJECT
        assert f"{name} is infinite ({'-' if sign < 0 else ''}inf)" in decision.why
    held = judge(Gate(Metric(name)), score(**{name: 0.5}), score("3", **{name: largest}))
    assert held.verdict is Verdict.HOLD


@pytest.mark.parametrize("champion", [None, score("3", roc_auc=0.7), score("3", roc_auc=math.nan)])
def test_an_area_that_the_rows_do_not_define_holds(champion: Score | None) -> None:
    """scikit-learn returns NaN for rows of one class: that is no fault of a model."""
    gate = Gate(Metric("roc_auc", at_least=0.5, min_gain=0.0))
    decision = judge(gate, score(roc_auc=math.nan), champion)
    assert decision.verdict is Verdict.HOLD
    assert "roc_auc is not defined on these rows" in decision.why


def test_a_missing_metric_holds_and_suggests_the_nearest_name() -> None:
    """A metric that was not logged is missing evidence, and probably a typing error."""
    decision = judge(Gate(Metric("rmse")), score(rsme=1.0), score("3", rmse=2.0))
    assert decision.verdict is Verdict.HOLD
    assert "rmse was not logged (did you mean 'rsme'?)" in decision.why


@pytest.mark.parametrize("theirs", [{}, {"rmse": math.nan}, {"rmse": math.inf}])
def test_a_champion_without_the_number_holds(theirs: dict[str, float]) -> None:
    """A champion whose metric is missing never loses by that."""
    decision = judge(Gate(Metric("rmse")), score(rmse=1.0), score("3", **theirs))
    assert decision.verdict is Verdict.HOLD


def test_a_champion_that_cannot_be_scored_holds_with_the_reason() -> None:
    """The reason of the failed validation stands in the verdict."""
    decision = judge(Gate(Metric("rmse")), score(rmse=1.0), Unscored("3", "column x is gone"))
    assert decision.verdict is Verdict.HOLD
    assert decision.case is Case.CHAMPION_UNSCORED
    assert "column x is gone" in decision.why


def test_a_violated_guardrail_rejects_even_where_the_champion_cannot_be_scored() -> None:
    """What fails for certain is not hidden by what cannot be known."""
    gate = Gate(Metric("rmse"), [Metric("r2", at_least=0.5)])
    decision = judge(gate, score(rmse=1, r2=0.1), Unscored("3", "gone"))
    assert decision.verdict is Verdict.REJECT


def test_different_rows_are_not_compared() -> None:
    """Numbers from two holdouts never promote."""
    for ours in (1, 3):
        decision = judge(Gate(Metric("rmse")), score(rmse=ours), score("3", "others", rmse=2))
        assert decision.verdict is Verdict.HOLD
        assert "different rows" in decision.why


def test_asked_confidence_without_an_interval_is_said() -> None:
    """Logged metrics claim no interval, and the record says that one was wanted."""
    decision = judge(Gate(Metric("rmse", confidence=0.95)), score(rmse=1), score("3", rmse=2))
    assert decision.checks[0].interval is None
    assert any("0.95" in note and "none is claimed" in note for note in decision.notes)


def test_unproven_rows_are_said() -> None:
    """Projects that do not name their rows are compared, and the record says what that means."""
    decision = judge(Gate(Metric("rmse")), score(holdout="", rmse=1), score("3", "", rmse=2))
    assert decision.verdict is Verdict.PROMOTE
    assert any("not proven" in note for note in decision.notes)


@given(ours=finite, theirs=finite, gain=st.floats(1e-3, 1e3))
def test_swapping_the_models_never_promotes_both(ours: float, theirs: float, gain: float) -> None:
    """With a gain asked for, at most one of two models can replace the other."""
    gate = Gate(Metric("rmse", min_gain=gain))
    one, other = score("1", rmse=ours), score("2", rmse=theirs)
    verdicts = [judge(gate, one, other).verdict, judge(gate, other, one).verdict]
    assert verdicts.count(Verdict.PROMOTE) <= 1


@given(ours=finite, theirs=finite, better=st.floats(0, 1e6))
def test_a_better_number_never_turns_promote_into_something_else(
    ours: float, theirs: float, better: float
) -> None:
    """The verdict is monotone in the evidence."""
    gate = Gate(Metric("rmse", min_gain=0.5), [Metric("rmse", at_most=100.0)])
    champion = score("3", rmse=theirs)
    if judge(gate, score(rmse=ours), champion).verdict is Verdict.PROMOTE:
        assert judge(gate, score(rmse=ours - better), champion).verdict is Verdict.PROMOTE


@given(
    ours=st.floats(allow_nan=True, allow_infinity=True),
    theirs=st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True)),
)
def test_promotion_needs_finite_numbers_on_both_sides(ours: float, theirs: float | None) -> None:
    """Whatever the numbers are, PROMOTE means that all of them were finite."""
    champion = score("3") if theirs is None else score("3", rmse=theirs)
    if judge(Gate(Metric("rmse")), score(rmse=ours), champion).verdict is Verdict.PROMOTE:
        assert math.isfinite(ours)
        assert theirs is not None
        assert math.isfinite(theirs)


@pytest.mark.parametrize("theirs", ["", "other rows"])
def test_numbers_of_trainings_are_compared_and_the_record_says_so(theirs: str) -> None:
    """Rows differ by nature there; where both were validated they must not."""
    champion = score("3", theirs, rmse=2.0)
    decision = judge(Gate(Metric("rmse")), score(rmse=1.0), champion, Basis.TRAININGS)
    assert decision.verdict is Verdict.PROMOTE
    assert any("not on the same rows" in note for note in decision.notes)
    assert judge(Gate(Metric("rmse")), score(rmse=1.0), champion).verdict is Verdict.HOLD


@pytest.mark.parametrize(
    ("value", "bound", "expected"),
    [(0.1 + 0.2, 0.3, True), (0.3, 0.1 + 0.2, True), (0.3, 0.3001, False), (0.0, 1e-13, True)],
)
def test_reaches_forgives_binary_rounding_only(value: float, bound: float, expected: bool) -> None:  # noqa: FBT001
    """The tolerance is far below any number that a person would state."""
    assert reaches(value, bound) is expected
