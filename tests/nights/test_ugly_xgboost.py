"""Whole nights of XGBoost, which takes missing cells as they are: tests/fixtures/ugly_table.py."""

from __future__ import annotations

import pytest
from tests.fixtures import ugly_table
from tests.fixtures.played_nights import Table
from tests.nights.whole_nights import WholeNights

pytestmark = [
    pytest.mark.integration,
    pytest.mark.long("six nights, as test_ugly_classes.py, of another library"),
]

TABLE = Table(
    "ugly_xgboost",
    ugly_table.CONDITION,
    ugly_table.parquet,
    good={"model": "xgboost", "n_estimators": 40},
    similar={"model": "xgboost", "n_estimators": 40, "max_depth": 5},
    truth=bool,
)


class TestXGBoost(WholeNights):
    """Classes that XGBoost knows by numbers alone, one of them rare, after a tree."""

    # A minute and a half, to see what no library changes.
    test_a_backtest_goes_over_the_same_rows = None  # type: ignore[assignment]
