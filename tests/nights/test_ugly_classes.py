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
    good={"model": "xgboost", "n_estimators": 40},
    similar={"model": "xgboost", "n_estimators": 40, "max_depth": 5},
    truth=bool,
)


class TestConditions(WholeNights):
    """XGBoost, which knows classes by number and takes missing cells as they are, after a tree."""
