"""Whole nights of classes, one of them rare, from a Parquet file: tests/fixtures/ugly_table.py."""

from __future__ import annotations

import pytest
from tests.fixtures import ugly_table
from tests.fixtures.played_nights import Table
from tests.nights.whole_nights import WholeNights

pytestmark = pytest.mark.integration

TABLE = Table(
    "ugly_condition",
    ugly_table.CONDITION,
    ugly_table.parquet,
    good={"model": "hist_gradient_boosting", "n_estimators": 40},
    similar={"model": "hist_gradient_boosting", "n_estimators": 40, "max_depth": 6},
    truth=bool,
)


class TestConditions(WholeNights):
    """Boosting, whose texts are codes, after a tree."""
