"""Movers of one alias, in every order up to a bound and in many by lot: no promise is broken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import pytest
from tests.fixtures.examples import examples
from tests.fixtures.interleaving import (
    PATIENCE,
    SET,
    Actor,
    Chooser,
    World,
    at_random,
    by_lot,
    every_order,
    faults,
    lot,
    made_time,
    scripted,
)

from understudy.contract import CHAMPION, PREVIOUS
from understudy.registry.history import Entry, MoveCause, State

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

pytestmark = pytest.mark.unit
NEVER = 1e9
"""Seconds of patience after which nobody gives anything up."""


@pytest.fixture(autouse=True)
def _time(monkeypatch: pytest.MonkeyPatch) -> None:
    made_time(monkeypatch)


def two(choose: Chooser) -> World:
    """Return two movers who decided against the same champion."""
    world = World(choose, patience=0.15)
    world.mover(Actor("ann"), "2")
    world.mover(Actor("ben"), "3")
    return world


def two_and_a_person(choose: Chooser, act: Callable[[MlflowClient], object]) -> World:
    """Return two movers, and a person in MLflow's UI."""
    world = two(choose)
    world.person("by hand", act)
    return world


def _sets(ui: MlflowClient) -> None:
    ui.set_registered_model_alias("wine", CHAMPION, "6")


def _deletes(ui: MlflowClient) -> None:
    ui.delete_model_version("wine", "1")


def three(choose: Chooser) -> World:
    """Return three movers."""
    world = two(choose)
    world.mover(Actor("cem"), "4")
    return world


def twins(choose: Chooser) -> World:
    """Return two tries of one attempt at the same time, and another mover."""
    world = World(choose, patience=0.15)
    world.twins([Actor("ann"), Actor("twin")], "2")
    world.mover(Actor("ben"), "3")
    return world


SCENES: dict[str, Callable[[Chooser], World]] = {
    "two": two,
    "alias set by hand": partial(two_and_a_person, act=_sets),
    "champion deleted": partial(two_and_a_person, act=_deletes),
    "three": three,
    "two tries of one attempt": twins,
}


def check_orders(scene: Callable[[Chooser], World], bound: int, most: int) -> int:
    """Check every order with so many interruptions; return how many there were."""

    def explore(choose: Chooser) -> None:
        world = scene(choose)
        world.run()
        assert not faults(world), world.trail

    return every_order(explore, bound, most)


@pytest.mark.parametrize("scene", SCENES)
def test_every_order_with_one_interruption(scene: str) -> None:
    """Wherever a mover is interrupted, and for however long: at most 1,158 orders of a scene."""
    assert check_orders(SCENES[scene], bound=1, most=examples(1_500).max_examples) > 40


@pytest.mark.long("five thousand orders of each scene")
@pytest.mark.parametrize("scene", SCENES)
def test_every_order_with_two_interruptions(scene: str) -> None:
    """Up to five thousand orders of each scene."""
    assert check_orders(SCENES[scene], bound=2, most=5_000) > 800


def check_lots(seeds: Sequence[int]) -> None:
    """Check orders by lot, with lost calls, deaths, clocks that are off, and people."""
    for seed in seeds:
        world = by_lot(seed, World)
        world.run()
        assert not faults(world), (seed, world.trail)


def test_orders_by_lot() -> None:
    """Two hundred."""
    check_lots(range(examples(200).max_examples))


@pytest.mark.long("three thousand orders")
def test_three_thousand_orders_by_lot() -> None:
    """Each is named by its seed when it fails."""
    check_lots(range(200, 3_200))


def test_whoever_is_not_given_up_overwrites_only_what_it_saw() -> None:
    """Where no mover stalls past the patience, and nobody moves the alias by hand."""
    for seed in range(examples(100).max_examples):
        world = World(at_random(lot(seed)), patience=NEVER)
        for name, versions in (("ann", "24"), ("ben", "35"), ("cem", "26")):
            world.mover(Actor(name), *versions)
        world.run()
        assert not faults(world), (seed, world.trail)
        assert not world.blind


def test_a_refused_move_crowns_nobody() -> None:
    """One stalls, another gives it up and stalls, too, and the first one overwrites the alias.

    Each was told that the champion had changed, and the version of the second, whose own move was
    given up, became champion by a repair.
    """
    world = two(scripted(("ann", SET, 2), ("ben", SET, 2)))
    world.run()
    assert not faults(world), world.trail
    assert world.champion() == "2"
    assert sorted(world.told.values()) == ["no", "yes"]


def test_a_late_call_is_put_right() -> None:
    """Another's move was made meanwhile: its champion comes back, and the history says why."""
    world = two(scripted(("ann", SET, 2), ("ben", "", 0)))
    world.run()
    assert not faults(world), world.trail
    assert world.told == {"ann 1 to 2": "no", "ben 1 to 3": "yes"}
    causes = [(entry.move.after, entry.move.cause) for entry in record(world)[-3:]]
    assert causes == [
        ("3", MoveCause.NIGHT),
        ("2", MoveCause.OUTSIDE),
        ("3", MoveCause.REPAIR),
    ]


@pytest.mark.parametrize("years", [-1, 1])
def test_a_clock_that_is_a_year_off_decides_nothing(years: int) -> None:
    """Its mover is waited for like any other, and the times on record are the server's."""
    world = World(at_random(lot(1)))
    world.mover(Actor("ann", clock=timedelta(365 * years)), "2")
    world.run()
    world.mover(Actor("ben"), "3")
    world.run()
    assert not faults(world)
    assert {entry.move.at[:10] for entry in record(world)} == {"2026-01-01"}
    world.mover(Actor("cem", clock=timedelta(365 * years), losses={9: "last"}), "4")
    world.run()
    assert record(world)[-1].ending is None
    began = world.now
    world.mover(Actor("dia"), "5")
    world.run()
    assert world.now - began > PATIENCE
    ending = record(world)[-2].ending
    assert ending is not None
    assert ending.state is State.ABANDONED
    assert ending.why == "it was watched for 0.25 s, and its mover did not go on"


def test_reading_changes_nothing() -> None:
    """Not where somebody moved the alias, deleted the history, nor where there is none yet."""
    world, actor = World(at_random(lot(1))), Actor("reader")
    reader, client = world.mover_of(actor), world.client
    client.set_registered_model_alias(world.model, CHAMPION, "2")
    client.delete_registered_model_alias(world.model, PREVIOUS)
    for run_id in (run.info.run_id for run in client.search_runs(["1"])):
        client.delete_run(run_id)
    for hinted in (True, False):
        if not hinted:
            client.delete_registered_model_tag(world.model, "understudy.history")
        world.trail.clear()
        assert reader.look(world.model).champion == "2"
        assert reader.history(world.model).champion == "2"
        assert reader.lost(world.model) is None
        assert reader.history("nobody's").champion is None
        assert {step.split()[1].split("_")[0] for step in world.trail} == {"get", "search"}
    world.mover(Actor("ann"), "3")
    world.run()
    assert not faults(world)


def record(world: World) -> Sequence[Entry]:
    """Return what is on record."""
    return world.mover_of(Actor("reader")).history(world.model).entries
