"""How a night ended is read from this pass of its tasks, never from an earlier one."""

from __future__ import annotations

import pytest

from understudy.airflow.night_context import outcome_of
from understudy.contract import Outcome, Tag

RAN = {
    **dict.fromkeys(("pin", "download", "preprocess", "train", "validate_0", "gate"), "success"),
    "validate_1": "success",
    "approve": "success",
    "promote": "success",
    "report": "running",
}
STALE = {
    Tag.VERDICT: "PROMOTE",
    Tag.VERDICT_REASON: "better",
    Tag.OUTCOME: "PROMOTED",
    Tag.CHAMPION_AFTER: "7",
    Tag.SKIPPED_BECAUSE: "nothing new",
    Tag.HELD_BECAUSE: "Reject by ann",
}


@pytest.mark.parametrize(
    ("now", "tags", "outcome", "reason"),
    [
        pytest.param({}, {}, Outcome.PROMOTED, "better", id="promoted"),
        pytest.param(
            {"preprocess": "success", "train": "skipped", "gate": "skipped"},
            {},
            Outcome.FAILED,
            "these tasks failed: none",
            id="not the first step",
        ),
        pytest.param(
            {"approve": "skipped", "promote": "skipped"},
            {Tag.VERDICT: "REJECT", Tag.VERDICT_REASON: "worse"},
            Outcome.REJECTED,
            "worse",
            id="rejected",
        ),
        pytest.param(
            {"validate_1": "failed", "promote": "skipped"},
            {Tag.VERDICT: "HOLD", Tag.VERDICT_REASON: "unknown"},
            Outcome.HELD,
            "unknown",
            id="the champion's failed validation is a verdict, not a failure",
        ),
        pytest.param(
            {"promote": "skipped"},
            {},
            Outcome.HELD,
            "Reject by ann; verdict PROMOTE: better",
            id="held again by a retried report, although an earlier pass had promoted",
        ),
        pytest.param(
            {"validate_0": "failed", "gate": "failed", "promote": "upstream_failed"},
            {},
            Outcome.FAILED,
            "these tasks failed: gate, validate [challenger]",
            id="a mapped task by the name that Airflow shows, and not what never ran",
        ),
        pytest.param(
            {"train": "failed", "gate": "skipped", "promote": "skipped"},
            {},
            Outcome.FAILED,
            "these tasks failed: train",
            id="cleared and failed after it had promoted",
        ),
        pytest.param(
            {"rehearse": "failed", "promote": "upstream_failed"},
            {},
            Outcome.FAILED,
            "these tasks failed: rehearse",
            id="what never ran after a failed task is not named",
        ),
        pytest.param(
            {"download": "failed", "gate": "skipped", "promote": "skipped"},
            {},
            Outcome.FAILED,
            "these tasks failed: download",
            id="cleared and failed after it had skipped",
        ),
        pytest.param(
            {"download": "skipped", "gate": "skipped", "promote": "skipped"},
            {},
            Outcome.SKIPPED,
            "nothing new",
            id="skipped",
        ),
        pytest.param(
            {"approve": "skipped", "promote": "skipped"},
            {Tag.VERDICT: "REJECT", Tag.VERDICT_REASON: "worse", Tag.SHADOW: "shadow night 1 of 2"},
            Outcome.HELD,
            "shadow night 1 of 2: worse",
            id="in shadow whatever the verdict",
        ),
        pytest.param(
            {"rehearse": "success"},
            {Tag.UNASKED: "Nothing was asked"},
            Outcome.PROMOTED,
            "better; Nothing was asked",
            id="rehearsed without a question",
        ),
        pytest.param(
            {"rehearse": "skipped", "promote": "skipped"},
            {Tag.VERDICT: "HOLD", Tag.VERDICT_REASON: "even", Tag.UNASKED: "Nothing was asked"},
            Outcome.HELD,
            "even",
            id="an earlier pass had nothing to ask",
        ),
        pytest.param({}, {Tag.SHADOW: ""}, Outcome.PROMOTED, "better", id="out of the shadow"),
        pytest.param(
            {"promote": "failed"}, {}, Outcome.FAILED, "these tasks failed: promote", id="no move"
        ),
    ],
)
def test_outcome(now: dict[str, str], tags: dict[str, str], outcome: Outcome, reason: str) -> None:
    """Tags of an earlier pass are believed only where their task has run again."""
    assert outcome_of({**STALE, **tags}, {**RAN, **now}) == (outcome, reason)


@pytest.mark.parametrize("first", ["preprocess", "train"])
def test_the_first_step_that_there_is_ends_a_night_skipped(first: str) -> None:
    """A pipeline without a download is skipped, too."""
    now = {"pin": "success", first: "skipped", "gate": "skipped", "promote": "skipped"}
    assert outcome_of(STALE, now) == (Outcome.SKIPPED, "nothing new")
