"""What differs between two records is found, and rounding and words are not taken for it."""

from __future__ import annotations

import pytest

from understudy.judging.replaying import differences

RECORD = {
    "verdict": "PROMOTE",
    "champion": None,
    "checks": [{"gain": 1.5, "reason": "better", "interval": {"low": 0.5}}],
    "evidence": {"blockers": [], "rows": 20},
    "notes": ["words"],
    "software": {"numpy": "2.0"},
}


@pytest.mark.parametrize(
    ("changed", "place"),
    [
        ({"verdict": "HOLD"}, "verdict"),
        ({"champion": {"model": "3"}}, "champion"),
        ({"checks": [{**RECORD["checks"][0], "gain": 1.6}]}, "checks[0].gain"),  # type: ignore[index]
        ({"checks": [{**RECORD["checks"][0], "interval": None}]}, "checks[0].interval"),  # type: ignore[index]
        ({"checks": []}, "checks"),
        ({"evidence": {"blockers": ["rows differ"], "rows": 20}}, "evidence.blockers"),
        ({"evidence": {"blockers": [], "rows": 20, "more": 1}}, "evidence.more"),
    ],
)
def test_a_difference_is_named_by_its_place(changed: dict[str, object], place: str) -> None:
    """With both values, as they stand in the documents."""
    (found,) = differences(RECORD, {**RECORD, **changed})
    assert found.place == place
    assert " then, " in str(found)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"checks": [{**RECORD["checks"][0], "gain": 1.5 + 1e-12}]},  # type: ignore[index]
        {"checks": [{**RECORD["checks"][0], "reason": "beats it"}]},  # type: ignore[index]
        {"notes": ["other words"]},
        {"software": {"numpy": "3.0"}},
    ],
)
def test_rounding_words_and_versions_are_no_differences(changed: dict[str, object]) -> None:
    """A release that says things better does not turn every old record into a finding."""
    assert not list(differences(RECORD, {**RECORD, **changed}))
