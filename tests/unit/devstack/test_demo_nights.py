"""What a demo has to have shown."""

from dataclasses import replace

import pytest

from understudy.devstack.demo import NightReport, as_table, missing

NIGHT = NightReport("2026-01-01", 100, "rmse", 60.0, None, "PROMOTED", "first", "", "1")
GOOD = [
    NIGHT,
    replace(NIGHT, champion=60.0, challenger=55.0, champion_before="1", champion_after="2"),
    replace(NIGHT, outcome="REJECTED", champion_before="2", champion_after="2"),
    replace(NIGHT, outcome="SKIPPED", rows=None, champion_before="2", champion_after="2"),
]


def test_a_demo_with_every_outcome_lacks_nothing() -> None:
    """First champion, replacement, no promotion, skip."""
    assert missing(GOOD, "2") == []


@pytest.mark.parametrize(
    ("index", "lacking"),
    [
        (0, "a first champion"),
        (1, "a champion that a better challenger replaced"),
        (2, "a night whose challenger was not promoted"),
        (3, "a night that was skipped because nothing had changed"),
    ],
)
def test_each_outcome_is_asked_for(index: int, lacking: str) -> None:
    """Without one of the nights the demo has not shown everything."""
    nights = GOOD[:index] + GOOD[index + 1 :]
    assert missing(nights, nights[-1].champion_after) == [lacking]


@pytest.mark.parametrize("champion", [None, "1"])
def test_the_alias_must_name_the_last_champion(champion: str | None) -> None:
    """The registry, not the tags of the runs, says who serves."""
    assert missing(GOOD, champion) == ["an alias in the registry that names the last champion"]


@pytest.mark.parametrize("outcome", ["", "FAILED"])
def test_an_open_or_failed_night_is_no_good_end(outcome: str) -> None:
    """Every night has to end well."""
    nights = [*GOOD[:3], replace(GOOD[2], outcome=outcome), GOOD[3]]
    assert missing(nights, "2") == ["an outcome for every night"]


def test_no_nights_at_all_lack_everything() -> None:
    """An empty experiment is not a success."""
    assert "a first champion" in missing([], None)


def test_the_table_says_what_is_not_there() -> None:
    """No number becomes an empty cell, no outcome says open."""
    table = as_table([replace(NIGHT, rows=None, outcome="", champion_after="")], 120)
    assert "(open)" in table
    assert "none" in table
    assert "None" not in table
