"""Nights whose challengers are trained again on all rows: what is promoted, and compared later."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from understudy.gate import replay

if TYPE_CHECKING:
    from tests.fixtures.airflow import Installation

pytestmark = [
    pytest.mark.integration,
    pytest.mark.long("two nights, each of which trains, validates and serves two models"),
]

NIGHT = "scheduled__2026-01-{:02}T00:00:00+00:00"


def test_the_refit_is_promoted_and_what_was_judged_is_compared_with(
    installation: Installation,
) -> None:
    """Each night has two versions; the alias has the second, the next night scores the first."""
    installation.trigger("deaf", "first")
    installation.unpause("refitting")
    for day in (2, 3):
        assert installation.wait("refitting", NIGHT.format(day), 600) == "success"
    assert installation.outcomes("refitting") == ["PROMOTED"] * 2
    nights = installation.runs("refitting", "tags.`understudy.kind` = 'night'")
    after = [run.data.tags["understudy.champion.after"] for run in nights]
    assert after == ["2", "4"]
    client = installation.client
    versions = {n: client.get_model_version("refitting", str(n)) for n in range(1, 5)}
    judged = {n: one.tags.get("understudy.refit_of", "") for n, one in versions.items()}
    assert judged == {1: "", 2: "1", 3: "", 4: "3"}
    for night, (first, second) in zip(nights, ((1, 2), (3, 4)), strict=True):
        trained, again = (client.get_run(versions[n].run_id) for n in (first, second))
        holdout = int(again.data.tags["data.holdout.trained"])
        assert "data.holdout.trained" not in trained.data.tags
        # The recipe is the same, but for the word to take all rows.
        given = [json.loads(run.data.tags["understudy.parameters"]) for run in (trained, again)]
        assert given[0] | {"refit": "yes"} == given[1]
        assert f"{holdout:,} of the holdout included" in night.data.tags["understudy.reason"]
        assert 0 < night.data.metrics["refit_change"] <= 0.5
        assert f"{holdout:,} of the holdout" in str(versions[second].description)
    record = replay(installation.record(nights[-1]))
    assert record.champion is not None
    assert record.champion.model == "2"
    validated = client.get_run(record.champion.run_id)
    given = json.loads(validated.data.tags["understudy.parameters"])
    assert given["model_uri"] == "models:/refitting/1"
    assert "version 1, which was judged then, was scored" in record.context["stand_in"]
    # What was scored has seen no row of the holdout: the guard that looks for them says so.
    assert record.evidence is not None
    leaks = [one for one in record.evidence.findings if one.guard == "leakage"]
    assert {one.result for one in leaks} == {"passed"}
    assert any("the champion was trained on" in one.reason for one in leaks)
    rehearsed = installation.runs("refitting", "tags.`understudy.kind` = 'rehearsal'")
    assert len(rehearsed) == 2
    installation.check_ended("refitting")


def test_a_project_that_knows_no_refit_is_refused_at_once(installation: Installation) -> None:
    """Before its first step, with what to do."""
    assert installation.wait("deaf", "first") == "failed"
    assert installation.tasks("deaf", "first")["download"] == "upstream_failed"
    log = installation.log("deaf", "first", "pin")
    assert "no parameter 'refit'" in log
