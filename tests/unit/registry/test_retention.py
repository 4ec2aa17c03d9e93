"""What may go and what stays: nothing that is used, recent, pinned, or needed by what stays."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.errors import DeclarationError
from understudy.registry.retention import (
    Inventory,
    Keep,
    OldNight,
    OldVersion,
    RetentionPlan,
    plan,
)

pytestmark = pytest.mark.unit
NOW = datetime(2026, 7, 1, tzinfo=UTC)
KEEP = Keep(age=timedelta(days=30), nights=1, versions=2, moves=2)


def night(name: str, days: int = 100, **facts: object) -> OldNight:
    """Return a night of one run and one step, so many days old."""
    runs = frozenset({name, f"{name} train"})
    plain = OldNight(name, f"night {name}", NOW - timedelta(days=days), runs)
    return replace(plain, **facts)  # type: ignore[arg-type]


def version(number: int, days: int = 100, **facts: object) -> OldVersion:
    """Return a version that night ``n<number>`` trained."""
    runs = frozenset({f"n{number} train"})
    plain = OldVersion(str(number), NOW - timedelta(days=days), runs)
    return replace(plain, **facts)  # type: ignore[arg-type]


NEWEST = night("newest", days=99)
FILLERS = (version(98), version(99))
"""The last night and the last two versions, which stay by count."""


def planned(*things: OldNight | OldVersion, **more: object) -> RetentionPlan:
    """Return the plan for some things beside what stays by count."""
    nights = tuple(one for one in things if isinstance(one, OldNight))
    versions = tuple(one for one in things if isinstance(one, OldVersion))
    inventory = Inventory((*nights, NEWEST), (*versions, *FILLERS))
    return plan(replace(inventory, **more), KEEP, NOW)  # type: ignore[arg-type]


def test_what_a_refit_was_judged_by_stays_with_it() -> None:
    """No later night could compare with the champion otherwise; it goes with it, too."""
    refit = version(2, aliases=frozenset({"champion"}), refit_of="1")
    found = planned(night("n1"), night("n2"), version(1), refit)
    assert not found.versions
    assert found.reasons["version 1"] == "version 2, its refit, stays"
    assert found.reasons["night n1"] == "version 1 needs it"
    gone = planned(version(1), replace(refit, aliases=frozenset()))
    assert [one.number for one in gone.versions] == ["1", "2"]


def test_what_nothing_needs_goes() -> None:
    """Old, not among the last, used by nobody; the reasons say so."""
    found = planned(night("n1"), version(1))
    assert [one.run_id for one in found.nights] == ["n1"]
    assert [one.number for one in found.versions] == ["1"]
    assert found.reasons["night n1"] == "older than 30 days, and nothing needs it"
    assert found.reasons["night newest"] == "one of the last 1 nights"
    assert "goes   version 1: older than 30 days, and nothing needs it" in list(
        found.summary_lines()
    )


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (version(1, aliases=frozenset({"champion"})), "it is champion"),
        (version(1, aliases=frozenset({"previous", "blue"})), "it is blue, previous"),
        (version(1, pinned="for the audit"), "pinned: for the audit"),
        (version(1, days=30), "it is not older than 30 days"),
        (night("n1", pinned="yes"), "pinned: yes"),
        (night("n1", days=30), "it is not older than 30 days"),
        (night("n1", alive=True), "it is running"),
    ],
)
def test_what_stays_by_itself(one: OldNight | OldVersion, reason: str) -> None:
    """Each for its own reason."""
    found = planned(one)
    assert one not in (*found.nights, *found.versions)
    assert reason in found.reasons.values()


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"days": 100, "delay": 60}, "its targets come late: it is seen again by 2026-07-21"),
        ({"days": 100, "delay": 60, "matured": True}, ""),
        ({"days": 100, "delay": 80, "matured": True}, "it is not older than 30 days"),
        ({"days": 100, "delay": 49}, ""),
        ({"days": 100, "delay": 0}, ""),
    ],
    ids=["awaited", "seen, long ago", "seen just now", "too old to be seen", "without delay"],
)
def test_a_night_whose_targets_come_late(facts: dict[str, int], reason: str) -> None:
    """It stays until it was seen, with what is judged then, and grows old from then on."""
    late = night(
        "n1",
        facts["days"],
        delay=timedelta(days=facts["delay"]),
        matured="matured" in facts,
        needed=frozenset({"2"}),
    )
    found = planned(late, version(1), version(2), version(3))
    assert ("n1" in {one.run_id for one in found.nights}) == (not reason)
    assert found.reasons["night n1"].startswith(reason or "older than 30 days")
    awaited = reason.startswith("its targets")
    stays = {"1", "2", "3"} - {one.number for one in found.versions}
    assert stays == ({"1", "2"} if awaited else set())


def test_what_the_champions_last_moves_name_stays() -> None:
    """Versions, and the nights that decided."""
    found = planned(night("n1"), version(1), named={"1": "a move"}, decided=frozenset({"n1"}))
    assert found.reasons["version 1"] == "a move"
    assert "moves of the champion" in found.reasons["night n1"]


def test_a_version_that_stays_keeps_the_night_that_trained_it() -> None:
    """Its decision's, too."""
    found = planned(night("n1"), night("n2"), version(1, aliases=frozenset({"champion"})))
    assert [one.run_id for one in found.nights] == ["n2"]
    assert found.reasons["night n1"] == "version 1 needs it"


def test_a_version_that_the_last_nights_compared_with_stays() -> None:
    """Their verdicts can be explained."""
    last = replace(NEWEST, champions=frozenset({"1"}))
    found = plan(Inventory((last,), (version(1), *FILLERS)), KEEP, NOW)
    assert found.reasons["version 1"] == "one of the last 1 nights compared with it"


def test_reused_results_are_followed_to_their_end() -> None:
    """A night that stays keeps those whose runs it was given instead of running."""
    first, second = night("n1"), night("n2", reused=frozenset({"n1 train"}))
    last = replace(NEWEST, reused=frozenset({"n2 train", "gone long ago"}))
    found = plan(Inventory((first, second, night("n3"), last), ()), KEEP, NOW)
    assert [one.run_id for one in found.nights] == ["n3"]
    assert found.reasons["night n1"] == "night n2 reused its results"


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (night("n1", shadow=True), "the gate counts the nights that were in shadow"),
        (night("n1", holdout="rows"), "the gate counts who was judged on the rows of today"),
        (night("n1", holdout="others"), ""),
    ],
)
def test_what_the_gate_counts_stays(one: OldNight, reason: str) -> None:
    """Else a pipeline would be in shadow again, or its tests on one holdout seem fewer."""
    found = plan(Inventory((one, night("newest", days=99, holdout="rows")), FILLERS), KEEP, NOW)
    assert [gone.run_id for gone in found.nights] == ([] if reason else ["n1"])
    assert reason in found.reasons["night n1"]


ids = st.integers(0, 7)


@st.composite
def inventories(draw: st.DrawFn) -> Inventory:
    """Draw some nights that reuse each other, and versions of some."""
    nights = tuple(
        night(
            f"n{number}",
            days=draw(st.integers(0, 60)),
            reused=frozenset(f"n{other} train" for other in draw(st.sets(ids, max_size=2))),
            pinned=draw(st.sampled_from(["", "", "", "yes"])),
        )
        for number in range(8)
    )
    versions = tuple(
        version(
            number,
            days=draw(st.integers(0, 60)),
            aliases=frozenset(draw(st.sampled_from([[], [], ["champion"]]))),
        )
        for number in sorted(draw(st.sets(ids)))
    )
    return Inventory(nights, versions)


@given(inventories())
def test_nothing_that_stays_needs_what_goes(inventory: Inventory) -> None:
    """Whatever reuses whatever."""
    found = plan(inventory, KEEP, NOW)
    gone = {run for one in found.nights for run in one.runs}
    for one in inventory.nights:
        assert (one in found.nights) or not one.reused & gone
    for kept in inventory.versions:
        assert (kept in found.versions) or not kept.runs & gone
    assert not any(one.aliases for one in found.versions)
    assert len(found.reasons) == len(inventory.nights) + len(inventory.versions)


def test_a_rule_that_would_keep_nothing_is_refused() -> None:
    """The message names the field."""
    with pytest.raises(DeclarationError, match="'nights' is 0"):
        Keep(nights=0)
