"""McNemar's test against published values."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest

from understudy.evaluation import load
from understudy.evaluation.comparison import mcnemar, mid_p
from understudy.evaluation.pairing import paired


@pytest.mark.parametrize(
    ("b", "c", "p"),
    [
        pytest.param(1, 7, 0.0391, id="Fagerland and others 2013, airway responsiveness"),
        pytest.param(59, 6, 0.0, id="and complete response"),
        pytest.param(5, 5, 1.0, id="equal"),
        pytest.param(0, 0, 1.0, id="no difference at all"),
    ],
)
def test_the_mid_p_value(b: int, c: int, p: float) -> None:
    """Two-sided, and the same for the models swapped."""
    assert mid_p(b, c) == pytest.approx(p, abs=5e-5)
    assert mid_p(c, b) == mid_p(b, c)


def test_the_champions_rows_come_first(classification: Callable[..., pd.DataFrame]) -> None:
    """``b`` counts what only the champion got right."""
    frame = classification(10).assign(target="a", prediction="a")
    worse = frame.assign(prediction=["b"] * 3 + ["a"] * 7)
    pair = paired(load(worse), load(frame))
    assert pair.champion is not None
    assert mcnemar(pair.challenger, pair.champion) == {"b": 3, "c": 0, "p": pytest.approx(0.125)}
