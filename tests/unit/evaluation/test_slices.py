"""Groups that rules name: by value, by quantiles, with a minimum support."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from understudy.evaluation import compare, load
from understudy.evaluation.pairing import paired
from understudy.evaluation.slices import Cut, cut
from understudy.gate import Gate, Metric
from understudy.spec.rules import Slice


@pytest.fixture(scope="module")
def made(regression: Callable[..., pd.DataFrame]) -> Callable[..., Cut]:
    """Return what returns the groups of 200 rows with some columns."""

    def make(wanted: Slice, **columns: object) -> Cut:
        return cut(paired(load(regression(200, **columns)), None), wanted)

    return make


def sizes(found: Cut) -> dict[str, int]:
    """Return how many rows each group has."""
    return {group.name: len(group.rows) for group in found.groups}


def test_each_value_is_a_group(made: Callable[..., Cut]) -> None:
    """Those with too few rows are named and not judged; a missing value is one of its own."""
    region = ["north"] * 90 + ["south"] * 60 + [None] * 50 + ["west"] * 10
    found = made(Slice("region"), region=region[:200])
    assert sizes(found) == {"region=north": 90, "region=south": 60, "region is missing": 50}
    found = made(Slice("region", min_rows=60), region=region[:190] + ["west"] * 10)
    assert sizes(found) == {"region=north": 90, "region=south": 60}
    assert found.notes == (
        "slices with fewer than 60 rows are not judged: region=west (10), region is missing (40)",
    )


def test_whole_numbers_are_values_too(made: Callable[..., Cut]) -> None:
    """Without '.0'."""
    assert set(sizes(made(Slice("floor"), floor=[1, 2] * 100))) == {"floor=1", "floor=2"}


def test_quantiles_of_a_number(made: Callable[..., Cut]) -> None:
    """Groups of about equal size that leave no row out."""
    found = made(Slice("age", quantiles=4), age=np.arange(200.0))
    assert sizes(found) == {
        "age in [0, 49.75)": 50,
        "age in [49.75, 99.5)": 50,
        "age in [99.5, 149.25)": 50,
        "age in [149.25, 199]": 50,
    }


def test_quantiles_that_coincide(made: Callable[..., Cut]) -> None:
    """A number with few values has fewer groups; one with a single value has one."""
    many_zeros = [0.0] * 150 + list(range(1, 51))
    assert sum(sizes(made(Slice("n", quantiles=4, min_rows=2), n=many_zeros)).values()) == 200
    assert sizes(made(Slice("n", quantiles=4), n=5.0)) == {"n in [5, 5]": 200}
    assert sizes(made(Slice("n", quantiles=4), n=np.nan)) == {"n is missing": 200}


@pytest.mark.parametrize(
    ("wanted", "columns", "name"),
    [
        (Slice("nope"), {}, "nope (no such column)"),
        (Slice("n", quantiles=2), {"n": "x"}, "n (no numbers to cut into quantiles)"),
        (Slice("n", min_rows=500), {"n": "x"}, "n (no group of 500 rows)"),
        (Slice("n"), {"n": np.arange(200)}, "n (200 groups, more than 100)"),
    ],
)
def test_a_slice_that_the_data_lacks(
    made: Callable[..., Cut], wanted: Slice, columns: dict[str, object], name: str
) -> None:
    """It is a group without rows, which the judge takes for a failure."""
    assert sizes(made(wanted, **columns)) == {name: 0}


def test_rules_are_compared_on_each_group(regression: Callable[..., pd.DataFrame]) -> None:
    """With the rows, units and values of that group."""
    region = ["north", "south"] * 100
    challenger, champion = (
        load(regression(200, seed=s, region=region, day=np.arange(200) // 4)) for s in (1, 2)
    )
    gate = Gate(
        Metric("mae"), [Metric("r2", at_least=0.1)], slices=["region", "nope"], cluster="day"
    )
    found = compare(gate, challenger, champion).comparisons
    assert [(one.slice, one.metric, one.rows, one.groups) for one in found] == [
        ("", "mae", 200, 50),
        ("", "r2", 200, 50),
        ("region=north", "mae", 100, 50),
        ("region=north", "r2", 100, 50),
        ("region=south", "mae", 100, 50),
        ("region=south", "r2", 100, 50),
        ("nope (no such column)", "mae", 0, 0),
        ("nope (no such column)", "r2", 0, 0),
    ]
    frame = regression(200, seed=1)[::2]
    assert found[2].challenger == pytest.approx(abs(frame["target"] - frame["prediction"]).mean())
    assert found[6].challenger is None


def test_long_values_are_cut(made: Callable[..., Cut]) -> None:
    """A value of a megabyte would be in every reason."""
    assert set(sizes(made(Slice("n"), n="x" * 10_000))) == {"n=" + "x" * 60 + "..."}
