"""From two files to a verdict: every bad input has its answer, and what must always hold does."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fixtures.examples import examples

from understudy.evaluation import compare, load
from understudy.gate import Gate, Metric, Score, Verdict, judge
from understudy.gate.checks import alpha_of
from understudy.gate.evidence import Comparison, Earlier, Evidence

RMSE = Gate(Metric("rmse", min_gain=0.0, confidence=0.9))
ROWS = 40
seeds = st.integers(0, 2**32 - 1)


def evidence_of(gate: Gate, challenger: pd.DataFrame, champion: pd.DataFrame) -> Evidence:
    """Return what two frames say."""
    return compare(gate, load(challenger), load(champion))


def verdict(gate: Gate, challenger: pd.DataFrame, champion: pd.DataFrame) -> Verdict:
    """Return how the gate judges two frames; neither model logged any number."""
    return judged(gate, evidence_of(gate, challenger, champion))


def judged(gate: Gate, evidence: Evidence) -> Verdict:
    """Return the verdict on evidence; neither model logged any number."""
    return judge(gate, Score("ours", {}), Score("theirs", {}), evidence=evidence).verdict


def test_a_better_model_is_promoted_and_a_worse_one_rejected(
    regression: Callable[..., pd.DataFrame],
) -> None:
    """The whole way, where there is something to see."""
    good, bad = regression(200, error=0.5, seed=1), regression(200, seed=2)
    assert verdict(RMSE, good, bad) is Verdict.PROMOTE
    assert verdict(RMSE, bad, good) is Verdict.REJECT
    assert verdict(RMSE, bad, regression(200, seed=3)) is Verdict.HOLD


@pytest.mark.parametrize(
    ("challenger", "champion", "reason"),
    [
        ({}, {"row_id": np.arange(ROWS) + 7}, "different rows: 7 of the challenger's 40 are not"),
        ({}, {"row_id": [str(i) for i in range(ROWS)]}, "different rows: 40 of"),
        ({"row_id": 1}, {}, "challenger: 39 of 40 rows repeat the row_id of another"),
        ({}, {"row_id": 1}, "champion: 39 of 40 rows repeat the row_id of another"),
        ({"target": 5.0}, {}, "the target of 40 of 40 rows differs between the two models"),
        ({"target": "a"}, {}, "the target of 40 of 40 rows differs between the two models"),
        ({"weight": 1.0}, {}, "the weights of the rows differ between the two models"),
        ({"weight": -1.0}, {"weight": -1.0}, "challenger: 40 of 40 weights are below zero"),
        ({"target": np.nan}, {"target": np.nan}, "challenger: 40 of 40 rows have no finite target"),
    ],
)
def test_what_cannot_be_compared(
    regression: Callable[..., pd.DataFrame],
    challenger: Mapping[str, Any],
    champion: Mapping[str, Any],
    reason: str,
) -> None:
    """It holds, with the reason, however good the challenger looks."""
    good, bad = regression(ROWS, error=0.1, seed=1), regression(ROWS, seed=2)
    good, bad = good.assign(**challenger), bad.assign(**champion)
    evidence = evidence_of(RMSE, good, bad)
    assert evidence.comparisons == ()
    assert reason in evidence.blockers[0]
    assert verdict(RMSE, good, bad) is Verdict.HOLD


def test_an_empty_holdout(regression: Callable[..., pd.DataFrame]) -> None:
    """Nothing is known."""
    nothing = regression(5).iloc[:0]
    assert evidence_of(RMSE, nothing, nothing).blockers[0] == "challenger: the holdout is empty"
    assert verdict(RMSE, nothing, nothing) is Verdict.HOLD


def test_clusters_that_the_file_does_not_name(regression: Callable[..., pd.DataFrame]) -> None:
    """No interval without them."""
    gate = Gate(Metric("rmse"), cluster="customer")
    frames = [regression(ROWS, seed=seed) for seed in (1, 2)]
    assert "lack the column 'customer'" in evidence_of(gate, *frames).blockers[0]


@pytest.mark.parametrize("metric", ["rmse", "r2", "max_error", "mae"])
@pytest.mark.parametrize("rows", [1, 2, 4])
def test_few_rows_prove_nothing(
    regression: Callable[..., pd.DataFrame], metric: str, rows: int
) -> None:
    """However good the challenger was on them."""
    frame = regression(rows)
    perfect, wrong = frame.assign(prediction=frame["target"]), frame.assign(prediction=-50.0)
    assert verdict(Gate(Metric(metric, confidence=0.6)), perfect, wrong) is Verdict.HOLD


def test_a_constant_target(regression: Callable[..., pd.DataFrame]) -> None:
    """It has a mean error, and no share of variance that could be explained."""
    frames = [regression(ROWS, seed=seed).assign(target=1.0) for seed in (1, 2)]
    gate = Gate(Metric("mae"), [Metric("r2", at_least=0.0)])
    mae, r2 = evidence_of(gate, *frames).comparisons
    assert mae.interval is not None
    assert r2.challenger is None
    assert r2.note == "not defined on these rows: the target is the same in all of them"
    assert verdict(gate, *frames) is not Verdict.PROMOTE


def test_one_class_in_a_slice(classification: Callable[..., pd.DataFrame]) -> None:
    """It has an accuracy and no ROC area."""
    frame = classification(200, seed=1)
    group = np.where(frame["target"] == "a", "only a", np.where(frame.index % 2, "x", "y"))
    frames = [classification(200, seed=seed, group=group) for seed in (1, 2)]
    gate = Gate(Metric("roc_auc"), [Metric("accuracy", at_least=0.1)], slices=["group"])
    by_slice = {(one.slice, one.metric): one for one in evidence_of(gate, *frames).comparisons}
    assert by_slice["group=only a", "roc_auc"].challenger is None
    assert "on these rows, which lack the classes 'b'" in by_slice["group=only a", "roc_auc"].note
    assert by_slice["group=only a", "accuracy"].challenger is not None


@pytest.mark.parametrize("metric", ["roc_auc", "average_precision"])
@pytest.mark.parametrize("second", [0, 3])
def test_rows_of_one_class_hold(
    classification: Callable[..., pd.DataFrame], metric: str, second: int
) -> None:
    """All rows of one, or so few of the other that resamples have none: nobody knows, never NaN."""
    target = ["b"] * second + ["a"] * (200 - second)
    frames = [classification(200, seed=seed).assign(target=target) for seed in (1, 2)]
    gate = Gate(Metric(metric, min_gain=0.0))
    evidence = evidence_of(gate, *frames)
    (found,) = evidence.comparisons
    assert found.excess is None
    assert judged(gate, evidence) is Verdict.HOLD
    assert second or found.note == "not defined on these rows, which lack the classes 'b'"


@pytest.mark.parametrize("size", [1e155, 1e200, 1.7e308])
@pytest.mark.parametrize("metric", ["rmse", "mae", "r2", "mape"])
def test_predictions_of_any_size_are_judged(
    regression: Callable[..., pd.DataFrame], metric: str, size: float
) -> None:
    """Squares overflow from 1e154 on; the model that said such a thing is rejected all the same."""
    frames = [regression(ROWS, seed=seed) for seed in (1, 2)]
    frames[0].loc[0, "prediction"] = size
    assert verdict(Gate(Metric(metric, confidence=0.7)), *frames) is Verdict.REJECT


def test_a_metric_that_predictions_do_not_give(regression: Callable[..., pd.DataFrame]) -> None:
    """It is left to what was logged, and a note says so."""
    evidence = evidence_of(Gate(Metric("loss")), *[regression(ROWS)] * 2)
    assert evidence.comparisons == ()
    expected = "loss is no metric that predictions give (did you mean 'log_loss'?)"
    assert evidence.notes == (expected,)


def test_without_a_champion(regression: Callable[..., pd.DataFrame]) -> None:
    """Values, and nothing to compare them with."""
    gate = Gate(Metric("rmse"), [Metric("r2", at_least=0.5)])
    rmse, r2 = compare(gate, load(regression(ROWS)), None).comparisons
    assert rmse.challenger == pytest.approx(1, abs=0.3)
    assert (rmse.champion, rmse.gain, rmse.needed, rmse.interval) == (None, None, None, None)
    assert (r2.rule, r2.needed) == ("at_least", 0.5)


def test_numbers_of_a_comparison(regression: Callable[..., pd.DataFrame]) -> None:
    """Values, gain, need and confidence are those of the rule."""
    challenger, champion = (regression(ROWS, seed=seed) for seed in (1, 2))
    gate = Gate(Metric("mae", max_loss=0.1, relative=True, confidence=0.9))
    ours = load(challenger)
    (found,) = compare(
        gate, ours, load(champion), earlier={ours.rows_sha256: Earlier(2)}
    ).comparisons
    values = [abs(f["target"] - f["prediction"]).mean() for f in (challenger, champion)]
    assert (found.challenger, found.champion) == (
        pytest.approx(values[0]),
        pytest.approx(values[1]),
    )
    assert found.gain == pytest.approx(values[1] - values[0])
    assert found.needed == pytest.approx(-0.1 * values[1])
    assert found.excess is not None
    assert found.interval is not None
    assert found.excess.confidence == pytest.approx(1 - 2 * alpha_of(0.1, 2))
    assert (found.rows, found.groups, found.mcnemar) == (ROWS, ROWS, None)
    middle = (found.excess.low + found.excess.high) / 2
    assert middle == pytest.approx(found.gain - found.needed)


def test_mcnemar_is_shown_for_classes(classification: Callable[..., pd.DataFrame]) -> None:
    """Beside what decides."""
    frames = [classification(ROWS, seed=seed) for seed in (1, 2)]
    (accuracy, loss) = evidence_of(
        Gate(Metric("accuracy"), [Metric("log_loss", max_loss=0.1)]), *frames
    ).comparisons
    assert accuracy.mcnemar is not None
    assert set(accuracy.mcnemar) == {"b", "c", "p"}
    assert loss.mcnemar is None


@given(seeds)
@examples(15)
def test_the_order_of_rows_does_not_matter(
    regression: Callable[..., pd.DataFrame], seed: int
) -> None:
    """Not of one file, not of the other: all numbers are the same, to the last bit."""
    region = np.where(np.arange(ROWS) % 3, "north", "south")
    frames = [regression(ROWS, seed=s, region=region) for s in (1, 2)]
    gate = Gate(
        Metric("rmse", min_gain=0.1, relative=True),
        [Metric("r2", max_loss=0.05)],
        slices=["region"],
        cluster="region",
    )
    orders = [np.random.default_rng([seed, number]).permutation(ROWS) for number in range(2)]
    shuffled = [frame.iloc[order] for frame, order in zip(frames, orders, strict=True)]
    assert evidence_of(gate, *shuffled) == evidence_of(gate, *frames)


gates = st.builds(
    lambda name, gain, relative, confidence: Gate(
        Metric(name, min_gain=gain, relative=relative, confidence=confidence)
    ),
    st.sampled_from(["mae", "mse", "rmse", "r2", "explained_variance", "mape"]),
    st.sampled_from([0.0, 1e-9, 0.01, 0.5]),
    st.booleans(),
    st.sampled_from([0.55, 0.9, 0.999]),
)
predictions = st.one_of(
    st.builds(lambda seed, error: ("noise", seed, error), seeds, st.floats(0, 3)),
    st.builds(lambda by: ("shift", 0, by), st.floats(-1, 1)),
)


models = st.sampled_from(["challenger", "champion"])


@pytest.fixture(scope="module")
def predicted(
    regression: Callable[..., pd.DataFrame],
) -> Callable[[tuple[str, int, float]], pd.DataFrame]:
    """Return what returns a model of some quality on the same rows."""

    def make(kind: tuple[str, int, float]) -> pd.DataFrame:
        name, seed, size = kind
        if name == "noise":
            return regression(ROWS, seed=seed, error=size)
        frame = regression(ROWS)
        return frame.assign(prediction=frame["target"] + size)

    return make


@given(gates, predictions, predictions)
@examples(30)
def test_swapping_the_models_never_promotes_both(
    predicted: Callable[[tuple[str, int, float]], pd.DataFrame],
    gate: Gate,
    ours: tuple[str, int, float],
    theirs: tuple[str, int, float],
) -> None:
    """Nor identical ones."""
    one, other = predicted(ours), predicted(theirs)
    both = {verdict(gate, one, other), verdict(gate, other, one)}
    assert both != {Verdict.PROMOTE}
    assert verdict(gate, one, one) is not Verdict.PROMOTE


@given(predictions, st.sampled_from([np.nan, np.inf, -np.inf]), models, st.integers(0, 39))
@examples(30)
def test_a_number_that_is_none_never_promotes(
    predicted: Callable[[tuple[str, int, float]], pd.DataFrame],
    ours: tuple[str, int, float],
    bad: float,
    place: str,
    row: int,
) -> None:
    """In one row of one model, whatever the other rows say."""
    gate = Gate(Metric("mae", confidence=0.55), [Metric("rmse", max_loss=5.0)])
    challenger, champion = predicted(ours), predicted(("noise", 1, 9))
    (champion if place == "champion" else challenger).loc[row, "prediction"] = bad
    expected = Verdict.HOLD if place == "champion" else Verdict.REJECT
    assert verdict(gate, challenger, champion) is expected


@pytest.fixture(scope="module")
def shifted(regression: Callable[..., pd.DataFrame]) -> Callable[[float], Comparison]:
    """Return what compares a challenger that is better on every row by that much more."""
    frame = regression(ROWS)
    error = abs(frame["prediction"] - frame["target"]) + 5
    champion = regression(ROWS, error=7)

    def make(by: float) -> Comparison:
        challenger = frame.assign(prediction=frame["target"] + error - by)
        (found,) = evidence_of(Gate(Metric("mae")), challenger, champion).comparisons
        return found

    return make


@given(st.floats(0, 5), st.floats(0, 5))
@examples(25)
def test_better_rows_are_never_worse_evidence(
    shifted: Callable[[float], Comparison], one: float, other: float
) -> None:
    """A challenger that is better on each row has both ends of its interval higher."""
    less, more = sorted([one, other])
    weak, strong = shifted(less), shifted(more)
    assert weak.excess is not None
    assert strong.excess is not None
    assert strong.excess.low >= weak.excess.low - 1e-9
    assert strong.excess.high >= weak.excess.high - 1e-9
    assert (strong.p_value or 0) <= (weak.p_value or 0) + 1e-9


@given(predictions, predictions, st.tuples(st.floats(0, 1), st.floats(0, 1)), st.booleans())
@examples(40)
def test_asking_for_more_is_never_easier(
    predicted: Callable[[tuple[str, int, float]], pd.DataFrame],
    ours: tuple[str, int, float],
    theirs: tuple[str, int, float],
    gains: tuple[float, float],
    relative: bool,  # noqa: FBT001
) -> None:
    """Who gains enough for a large bound gains enough for a smaller one."""
    lows = []
    for gain in sorted(gains):
        gate = Gate(Metric("rmse", min_gain=gain, relative=relative))
        (found,) = evidence_of(gate, predicted(ours), predicted(theirs)).comparisons
        lows.append(-math.inf if found.excess is None else found.excess.low)
    assert lows[1] <= lows[0] + 1e-9


@given(seeds)
@examples(15)
def test_more_of_the_same_rows_is_more_evidence(
    regression: Callable[..., pd.DataFrame], seed: int
) -> None:
    """Four times the rows, as they are, give an interval within the one before."""
    intervals = []
    for copies in (1, 4):
        frames = [
            pd.concat([regression(ROWS, seed=s)] * copies, ignore_index=True)
            for s in (seed, seed + 1)
        ]
        frames = [frame.assign(row_id=np.arange(len(frame))) for frame in frames]
        (found,) = evidence_of(RMSE, *frames).comparisons
        assert found.excess is not None
        intervals.append(found.excess)
    assert intervals[0].low < intervals[1].low
    assert intervals[1].high < intervals[0].high
