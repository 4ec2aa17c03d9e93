"""The references: hindsight beats every path that could have been walked, and is one of them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fixtures.examples import examples

from understudy.backtest import evaluation
from understudy.backtest.evaluation import CostTable

pytestmark = pytest.mark.unit

some = examples(60)


@st.composite
def tables(draw: st.DrawFn, most: int = 6) -> CostTable:
    """Draw what every choice would have cost; the first night has a model, others may not."""
    nights = draw(st.integers(1, most))
    has_model = (True, *draw(st.tuples(*[st.booleans()] * (nights - 1))))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kinds = [random.random((nights, nights)), random.integers(0, 3, (nights, nights)) * 1.0]
    costs = np.where(random.random((nights, nights)) < draw(st.floats(0, 0.3)), np.inf, kinds[0])
    costs = np.where(draw(st.booleans()), costs, kinds[1])
    known = np.tri(nights, dtype=bool) & np.array(has_model)
    return CostTable(np.where(known, costs, np.nan), has_model)


def feasible(table: CostTable, path: evaluation.Path) -> bool:
    """Return whether somebody who promotes or keeps once a night can walk a path."""
    if path[0] != 0:
        return False
    steps = zip(range(1, len(table)), itertools.pairwise(path), strict=True)
    return all(b == a or (b == night and table.has_model[b]) for night, (a, b) in steps)


def every_path(table: CostTable) -> list[evaluation.Path]:
    """Return all paths, by trying every sequence of choices."""
    return [
        evaluation.walked(table, lambda night, _, chosen=chosen: chosen[night - 1])
        for chosen in itertools.product([False, True], repeat=len(table) - 1)
    ]


@some
@given(tables())
def test_hindsight_is_the_best_of_all_paths(table: CostTable) -> None:
    """Tried against every sequence of choices."""
    best = evaluation.hindsight(table)
    assert feasible(table, best)
    everybody = [table.along(path).sum() for path in every_path(table)]
    assert table.along(best).sum() == pytest.approx(min(everybody))


@some
@given(tables(most=12), st.integers(0, 2**12 - 1))
def test_nobody_beats_hindsight(table: CostTable, decided: int) -> None:
    """Whatever is decided, it is a path, and none of them costs less."""
    rule = evaluation.walked(table, lambda night, _: bool(decided >> night & 1))
    for path in (rule, evaluation.frozen(table), evaluation.always(table)):
        assert feasible(table, path)
        assert table.along(evaluation.hindsight(table)).sum() <= table.along(path).sum() + 1e-9


def test_the_references_on_nights_that_one_can_check_by_hand() -> None:
    """Four nights: the second model is the best one but for the last night of point."""
    nan = float("nan")
    costs = np.array([
        [5.0, nan, nan, nan],
        [5.0, 1.0, nan, nan],
        [5.0, 2.0, 9.0, nan],
        [5.0, 2.0, 9.0, 4.0],
    ])  # fmt: skip
    table = CostTable(costs, (True, True, True, True))
    assert evaluation.frozen(table) == (0, 0, 0, 0)
    assert evaluation.always(table) == (0, 1, 2, 3)
    assert evaluation.hindsight(table) == (0, 1, 1, 1)
    scores = {(1, 1): 1, (1, 0): 2, (2, 2): 1, (2, 1): 1, (3, 3): 3, (3, 1): 4}
    point = evaluation.point(table, lambda night, model: scores[night, model])
    assert point == (0, 1, 1, 3), "an equal number is not better"
    assert evaluation.promotions(point) == 2


def test_a_night_without_a_model_keeps_what_serves() -> None:
    """There is nothing to promote."""
    table = CostTable(np.array([[1.0, np.nan], [1.0, np.nan]]), (True, False))
    assert evaluation.always(table) == evaluation.hindsight(table) == (0, 0)
