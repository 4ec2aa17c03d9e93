"""A champion that somebody deletes in MLflow's UI between two nights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.fixtures.airflow import Installation

pytestmark = pytest.mark.integration


def test_the_next_night_holds_and_says_what_happened(installation: Installation) -> None:
    """The alias has gone with the version; there was a champion all the same."""
    for day in (1, 2):
        asked = {"as_of": f"2026-01-0{day}", "promote": "auto"}
        installation.trigger("bereft", f"night_{day}", **asked)
        assert installation.wait("bereft", f"night_{day}") == "success"
        if day == 1:
            assert installation.champion("bereft") == "1"
            installation.client.delete_model_version("bereft", "1")
    assert installation.outcomes("bereft") == ["PROMOTED", "HELD"]
    reason = installation.nights("bereft")[1]["understudy.reason"]
    assert "the champion 1 could not be scored: somebody deleted it in MLflow" in reason
    assert "no former champion is left" in reason
    assert "Version 1 was the champion" in installation.log("bereft", "night_2", "pin")
    assert installation.tasks("bereft", "night_2")["validate[1]"] == "skipped"
    assert not installation.client.get_registered_model("bereft").latest_versions
    installation.check_ended("bereft")
