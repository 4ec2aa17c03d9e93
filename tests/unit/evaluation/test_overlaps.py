"""What is spent of the error rate where holdouts share a part of their rows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest
from scipy import special

from understudy.evaluation import Predictions, compare, load
from understudy.evaluation.predictions import overlapping
from understudy.gate import Evidence, Gate, Metric
from understudy.gate.checks import alpha_of
from understudy.gate.evidence import Earlier

pytestmark = pytest.mark.unit

PER_DAY, WINDOW = 40, 14
"""Rows of a day, and days of a holdout."""


def rows(first: int, last: int, seed: int = 0) -> Predictions:
    """Return predictions for some days, the last one excluded: the error is drawn for each row."""
    ids = np.arange(first * PER_DAY, last * PER_DAY)
    errors = np.random.default_rng(seed).normal(size=100 * PER_DAY)[ids]
    frame = {"row_id": [f"row {n}" for n in ids], "target": 0.0, "prediction": errors}
    return load(pd.DataFrame(frame))


def night(first: int, count: int = 1, days: int = WINDOW) -> tuple[str, Earlier]:
    """Return a holdout that was judged on before, by its digest."""
    found = rows(first, first + days)
    return found.rows_sha256, Earlier(count, found.rows_sample)


def exactly(times: np.ndarray) -> float:
    """Return the number of challengers that spends as much as these counts of each row."""
    return float(np.mean(1 / (times + 1) ** 2) ** -0.5 - 1)


@pytest.mark.parametrize(
    ("earlier", "times"),
    [
        pytest.param({}, [0], id="nothing before"),
        pytest.param(dict([night(20)]), [0], id="other rows"),
        pytest.param(dict([night(1)]), [0] + 13 * [1], id="all but a day"),
        pytest.param(dict([night(7, 3)]), 7 * [0] + 7 * [3], id="half, three times"),
        pytest.param(
            dict([night(-n) for n in range(1, WINDOW)]), list(range(WINDOW)), id="a moving window"
        ),
        pytest.param(dict([night(0, days=70)]), [1], id="a part of a far larger one"),
    ],
)
def test_each_row_counts_its_own_comparisons(
    earlier: Mapping[str, Earlier], times: list[int]
) -> None:
    """By samples, near to what the rows themselves say."""
    found = overlapping(rows(0, WINDOW), earlier)
    assert found == pytest.approx(exactly(np.array(times)), abs=0.2)


def test_the_very_same_rows_count_in_whole_numbers() -> None:
    """As ever: nothing of it is estimated."""
    ours = rows(0, WINDOW)
    same = {ours.rows_sha256: Earlier(3, ours.rows_sample)}
    assert overlapping(ours, same) == 0
    evidence = compare(Gate(Metric("mae")), ours, rows(0, WINDOW, 1), earlier=same)
    assert (evidence.judged_before, evidence.overlapping) == (3, 0.0)
    assert evidence.compared_before == 3
    more = overlapping(ours, {**same, **dict([night(1), night(2)])})
    assert 3 + more == pytest.approx(exactly(np.array([3, 4] + 12 * [5])), abs=0.2)


def test_a_holdout_of_which_no_sample_was_kept_counts_only_as_a_whole() -> None:
    """Nights of earlier versions."""
    digest, _ = night(1)
    assert overlapping(rows(0, WINDOW), {digest: Earlier(5)}) == 0
    assert rows(0, WINDOW).rows_sample == rows(0, WINDOW, 1).rows_sample, "of ids, not of errors"


def test_what_a_record_says_is_taken_as_it_is() -> None:
    """A replay knows no other nights."""
    ours = rows(0, WINDOW)
    then = {ours.rows_sha256: Earlier(1, overlapping=2.5)}
    assert compare(Gate(Metric("mae")), ours, None, earlier=then).compared_before == 3.5


def judged(gate: Gate, nights: int) -> list[Evidence]:
    """Return what each night of a window that moves by a day finds; all models are alike."""
    earlier: dict[str, Earlier] = {}
    found = []
    for first in range(nights):
        ours, theirs = (rows(first, first + WINDOW, seed) for seed in (1, 2))
        found.append(compare(gate, ours, theirs, earlier=earlier, search=False))
        earlier[ours.rows_sha256] = Earlier(1, ours.rows_sample)
    return found


def test_a_moving_window_spends_the_error_rate_once_for_as_many_rows_as_it_has() -> None:
    """Each night has what its new rows are worth, and luck promotes no more often than asked."""
    alpha, nights = 0.2, 2 * WINDOW
    gate = Gate(Metric("mae", min_gain=0.0, confidence=1 - alpha), time_block="")
    found = judged(gate, nights)
    spent = [alpha_of(alpha, one.compared_before) for one in found]
    assert spent[0] == pytest.approx(alpha_of(alpha, 0))
    assert spent[-1] == pytest.approx(alpha / WINDOW, rel=0.35)
    holdouts = (nights + WINDOW - 1) / WINDOW
    assert sum(spent) <= alpha * holdouts * 1.1
    (compared,) = found[-1].comparisons
    assert compared.interval is not None
    assert (1 - compared.interval.confidence) / 2 == pytest.approx(spent[-1])

    # Two thousand such months in which every challenger is as good as its champion.
    daily = np.random.default_rng(5).normal(size=(2000, nights + WINDOW - 1))
    sums = np.cumsum(np.pad(daily, ((0, 0), (1, 0))), axis=1)
    gains = (sums[:, WINDOW:] - sums[:, :-WINDOW]) / WINDOW**0.5

    def lucky(rates: list[float]) -> float:
        """Return how many nights promote by luck, in the mean."""
        return float((gains > -special.ndtri(rates)).sum(axis=1).mean())

    assert lucky(spent) <= alpha * holdouts * 1.05
    assert lucky([alpha_of(alpha, 0)] * nights) > alpha * holdouts, "as it would be without"
