"""ROC areas: scikit-learn's values, DeLong's errors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from understudy.evaluation import compare, load
from understudy.evaluation.ranks import area
from understudy.gate import Gate, Metric


@given(st.integers(0, 2**32 - 1))
def test_the_area_is_that_of_scikit_learn(seed: int) -> None:
    """With ties and weights, and influences that add up to nothing."""
    rng = np.random.default_rng(seed)
    scores, positive = rng.integers(0, 9, 40) / 8, np.r_[True, False, rng.random(38) < 0.3]
    weight = rng.uniform(0.1, 2, 40)
    found = area(scores, positive, weight)
    assert found.value == pytest.approx(roc_auc_score(positive, scores, sample_weight=weight))
    assert found.influence @ weight == pytest.approx(0, abs=1e-9)


def test_the_influence_is_what_leaving_a_row_out_changes() -> None:
    """To first order, in each of 300 rows."""
    rng = np.random.default_rng(2)
    positive = rng.random(300) < 0.3
    scores, ones = rng.normal(size=300) + positive, np.ones(300)
    found = area(scores, positive, ones)
    for row in range(0, 300, 6):
        keep = np.arange(300) != row
        without = roc_auc_score(positive[keep], scores[keep])
        assert 299 * (found.value - without) == pytest.approx(found.influence[row], abs=0.03)


def test_the_interval_is_delongs(classification: Callable[..., pd.DataFrame]) -> None:
    """The covariance of the placements, written out pair by pair as in the paper."""
    challenger, champion = (classification(120, seed=seed) for seed in (1, 2))
    positive = (challenger["target"] == "b").to_numpy()
    placements = []
    for frame in (challenger, champion):
        scores = frame["probability_b"].to_numpy()
        wins = (scores[positive][:, None] > scores[~positive][None, :]).astype(float)
        placements.append((wins.mean(axis=1), wins.mean(axis=0)))
    variance = sum(
        np.var(placements[0][kind] - placements[1][kind], ddof=1) / count
        for kind, count in enumerate((positive.sum(), (~positive).sum()))
    )
    evidence = compare(Gate(Metric("roc_auc", min_gain=0.0)), load(challenger), load(champion))
    (found,) = evidence.comparisons
    assert found.gain == pytest.approx(placements[0][0].mean() - placements[1][0].mean())
    assert found.smallest_detectable is not None
    freedom = min(positive.sum(), (~positive).sum()) - 1
    from scipy import stats

    alpha = (1 - found.excess.confidence) / 2 if found.excess else None
    quantiles = stats.t.ppf(1 - alpha, freedom) + stats.t.ppf(0.8, freedom)
    assert found.smallest_detectable / quantiles == pytest.approx(float(variance) ** 0.5, rel=0.01)


def test_three_positives_are_three_pieces_of_evidence(
    classification: Callable[..., pd.DataFrame],
) -> None:
    """However many negatives there are, no interval is claimed."""
    frames = [classification(400, seed=seed) for seed in (1, 2)]
    few = [frame[(frame["target"] == "a") | (frame.index % 60 == 0)] for frame in frames]
    count = int((few[0]["target"] == "b").sum())
    assert 2 <= count <= 4
    (found,) = compare(Gate(Metric("roc_auc")), *map(load, few)).comparisons
    assert found.excess is None
    assert found.note == f"the rarest class has {count} rows; it takes 5 at this confidence"


def test_several_classes_are_averaged(classification: Callable[..., pd.DataFrame]) -> None:
    """Each class against the rest."""
    challenger, champion = (classification(90, classes="abc", seed=s) for s in (1, 2))
    (found,) = compare(Gate(Metric("roc_auc_ovr")), load(challenger), load(champion)).comparisons
    shares = challenger[["probability_a", "probability_b", "probability_c"]]
    expected = roc_auc_score(challenger["target"], shares, multi_class="ovr")
    assert found.challenger == pytest.approx(expected)
    assert found.interval is not None
