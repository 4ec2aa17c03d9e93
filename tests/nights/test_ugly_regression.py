"""Whole nights of prices, from a CSV file as people have it: tests/fixtures/ugly_table.py."""

from __future__ import annotations

import pytest
from tests.fixtures import ugly_table
from tests.fixtures.played_nights import Table
from tests.nights.whole_nights import WholeNights

pytestmark = pytest.mark.integration

TABLE = Table(
    "ugly_price",
    ugly_table.PRICE,
    ugly_table.csv,
    good={"model": "random_forest", "n_estimators": 20},
    similar={"model": "random_forest", "n_estimators": 20, "random_state": 7},
    truth=str,
)


class TestPrices(WholeNights):
    """A forest, whose texts get a column each, after a tree."""
