"""Whole nights of prices, from a CSV file as people have it: tests/fixtures/ugly_table.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.fixtures import ugly_table
from tests.fixtures.played_nights import Table
from tests.nights.whole_nights import WholeNights

if TYPE_CHECKING:
    from tests.fixtures.played_nights import Nights

pytestmark = pytest.mark.integration

TABLE = Table(
    "ugly_price",
    ugly_table.PRICE,
    ugly_table.csv,
    good={"model": "random_forest", "n_estimators": 20},
    similar={"model": "random_forest", "n_estimators": 20, "random_state": 7},
    truth=str,
    constant={"model": "elastic_net", "alpha": 1e9},
)


class TestPrices(WholeNights):
    """A forest, whose texts get a column each, after a tree."""

    def test_a_model_that_says_the_same_of_every_row_is_told(self, ugly_nights: Nights) -> None:
        """By a guard, beside the rules, which let no such first model through either."""
        night = ugly_nights.of("constant")
        assert night.data.tags["understudy.champion.after"] == ""
        record = ugly_nights.strict(night, "decision/decision.json")
        (found,) = [one for one in record["evidence"]["findings"] if one["guard"] == "constant"]
        assert (found["result"], found["level"]) == ("failed", "block")
        assert "predicts one value" in found["reason"]
