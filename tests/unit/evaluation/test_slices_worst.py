"""The search finds what is there and, almost always, nothing where nothing is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from understudy.evaluation import compare, load, slices
from understudy.gate import Gate, Metric
from understudy.gate.evidence import Finding

Findings = Callable[..., tuple[Finding, ...]]
ROWS = 2000
RNG = np.random.default_rng(11)
COLUMNS = {
    "region": RNG.choice(["north", "south", "west"], ROWS),
    "age": RNG.uniform(0, 80, ROWS),
    "floor": RNG.integers(0, 5, ROWS),
    "name": [f"name {number}" for number in range(ROWS)],
}


@pytest.fixture(scope="module")
def found(
    regression: Callable[..., pd.DataFrame], classification: Callable[..., pd.DataFrame]
) -> Findings:
    """Return what returns what is found about a challenger against a champion of seed 2."""

    def find(
        challenger: pd.DataFrame, metric: str = "rmse", cluster: str = ""
    ) -> tuple[Finding, ...]:
        make = classification if "probability_a" in challenger else regression
        champion = make(ROWS, seed=2, **COLUMNS)
        gate = Gate(Metric(metric), cluster=cluster)
        return compare(gate, load(challenger), load(champion)).findings

    return find


@pytest.mark.parametrize("metric", ["rmse", "r2", "max_error"])
def test_a_group_that_is_served_worse_is_named(
    regression: Callable[..., pd.DataFrame], found: Findings, metric: str
) -> None:
    """Southerners above sixty get errors three times as large."""
    frame = regression(ROWS, seed=1, **COLUMNS)
    hit = (frame["region"] == "south") & (frame["age"] > 60)
    frame.loc[hit, "prediction"] += 3 * (frame["prediction"] - frame["target"])[hit]
    (finding,) = found(frame, metric)
    assert (finding.guard, finding.level, finding.result) == ("worst_slices", "warn", "failed")
    name = str(finding.numbers["slice_1"])
    assert name.startswith("age in [")
    assert name.endswith("80] and region=south") or "region=south" in name
    assert float(finding.numbers["p_value_1"] or 1) < 1e-6
    assert float(finding.numbers["gain_1"] or 0) < -5
    assert name in finding.reason


def test_classes_are_searched_too(
    classification: Callable[..., pd.DataFrame], found: Findings
) -> None:
    """By right and wrong, whatever score of classes decides."""
    frame = classification(ROWS, seed=1, **COLUMNS)
    frame.loc[frame["region"] == "west", "prediction"] = "a"
    (finding,) = found(frame, "f1")
    assert finding.result == "failed"
    assert finding.numbers["slice_1"] == "region=west"


def test_equal_models_rarely_give_a_warning(
    regression: Callable[..., pd.DataFrame], found: Findings
) -> None:
    """All groups that could be looked at are paid for: at most one search in twenty, and few."""
    warned = 0
    for seed in range(100, 140):
        (finding,) = found(regression(ROWS, seed=seed, **COLUMNS))
        warned += finding.result == "failed"
        assert finding.numbers["searched"] == 4 + 3 + 5 + 4 * 3 + 4 * 5 + 3 * 5
    assert warned <= 5


def test_rows_that_belong_together_are_worth_less(
    regression: Callable[..., pd.DataFrame], found: Findings
) -> None:
    """The column of the clusters is not searched."""
    frame = regression(ROWS, seed=1, **COLUMNS)
    (finding,) = found(frame, cluster="floor")
    assert finding.numbers["searched"] == 4 + 3 + 4 * 3


def test_many_rows_are_sampled(
    regression: Callable[..., pd.DataFrame], found: Findings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time is bounded."""
    monkeypatch.setattr(slices, "MOST_ROWS", 500)
    (finding,) = found(regression(ROWS, seed=1, **COLUMNS))
    assert float(finding.numbers["rows_1"] or 0) < 300


def test_nothing_to_search(regression: Callable[..., pd.DataFrame], found: Findings) -> None:
    """Without columns, without a champion, and where a prediction is missing."""
    plain, champion = (load(regression(100, seed=seed)) for seed in (1, 2))
    assert compare(Gate(Metric("rmse")), plain, champion).findings == ()
    frame = regression(ROWS, seed=1, **COLUMNS)
    assert compare(Gate(Metric("rmse")), load(frame), None).findings == ()
    frame.loc[3, "prediction"] = np.nan
    assert found(frame) == ()
