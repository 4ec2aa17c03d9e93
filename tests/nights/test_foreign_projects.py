"""Nights of projects that were not written for this: other entry points, other names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from understudy.gate import replay

if TYPE_CHECKING:
    from tests.fixtures.airflow import Installation

pytestmark = pytest.mark.integration


def test_a_project_of_one_entry_point(installation: Installation) -> None:
    """Nothing of it was written for us: the numbers of its trainings decide; the record says so."""
    for run_id, alpha in (("a", "0.4"), ("b", "0.45"), ("c", "0.8")):
        installation.trigger("single", run_id, alpha=alpha)
        assert installation.wait("single", run_id) == "success"
    nights = installation.nights("single")
    assert installation.outcomes("single") == ["PROMOTED", "REJECTED", "PROMOTED"]
    assert [tags["understudy.champion.after"] for tags in nights] == ["1", "1", "2"]
    assert set(installation.tasks("single", "a")) == {
        *("pin", "train", "gate", "approve", "promote", "report"),
    }
    for run in installation.runs("single", "tags.`understudy.verdict` = 'REJECT'"):
        stored = installation.record(run)
        assert replay(stored).to_json() == stored
        assert "metrics that the training runs logged" in stored
    installation.check_ended("single")


def test_a_project_with_names_of_its_own(installation: Installation) -> None:
    """Its steps get what they need under their names, down to the registered model."""
    installation.trigger("renamed", "a")
    assert installation.wait("renamed", "a") == "success"
    assert installation.outcomes("renamed") == ["PROMOTED"]
    assert installation.champion("renamed") == "1"


def test_a_champion_whose_version_was_deleted_holds(installation: Installation) -> None:
    """Between the beginning of a night and its validation somebody cleans up."""
    model, client = "single", installation.client
    version = installation.champion(model)
    trained = client.get_model_version(model, version).run_id
    client.delete_run(trained)
    try:
        installation.trigger(model, "deleted", alpha="0.1")
        assert installation.wait(model, "deleted") == "success"
    finally:
        client.restore_run(trained)
    night = installation.nights(model)[-1]
    assert night["understudy.outcome"] == "HELD"
    assert "deleted" in night["understudy.champion.unscored"]
    assert installation.champion(model) == version
