"""Pruning of real mirrors and checkouts, also while they are used."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from understudy.errors import SettingsError
from understudy.runner.git.checkout import CheckoutStore
from understudy.runner.locks import FileLock
from understudy.runner.process.process import ProcessRunner
from understudy.runner.reuse.cache import (
    ItemKind,
    Pruned,
    PruningTerms,
    inventory,
    prune,
    prune_daily,
    pruner,
)
from understudy.runner.settings import CacheLimits, Settings
from understudy.spec.git_address import parse

if TYPE_CHECKING:
    from tests.fixtures.git import Repository

pytestmark = pytest.mark.unit

DAY = 86_400.0
EVERYTHING = CacheLimits(age=0.0)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Return an empty cache."""
    return tmp_path / "cache"


@pytest.fixture
def store(cache: Path, tmp_path: Path) -> CheckoutStore:
    """Return its mirrors and checkouts."""
    return CheckoutStore(Settings(cache, tmp_path / "s"), ProcessRunner())


def used(store: CheckoutStore, url: str, commit: str, days_ago: float = 0) -> Path:
    """Use a checkout, so many days ago; return its folder."""
    address = parse(url)
    store.resolve(address, commit)
    with store.lease(address, commit) as checkout:
        folder = checkout.folder
    when = time.time() - days_ago * DAY
    for lock in (folder.with_name(f"{commit}.lock"), store._root / f"{address.digest}.lock"):
        os.utime(lock, (when, when))
    return folder


def environment(cache: Path, name: str, days_ago: float, size: int = 100_000) -> Path:
    """Make what looks like an environment that was used so many days ago."""
    folder = cache / "environments" / name
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").write_bytes(b"x" * size)
    folder.with_name(f"{name}.modules.json").write_text("{}")
    folder.with_name(f"{name}.lock").touch()
    when = time.time() - days_ago * DAY
    os.utime(folder.with_name(f"{name}.lock"), (when, when))
    return folder


def kinds(done: Pruned) -> list[ItemKind]:
    """Return the kinds of what was removed, in order."""
    return [item.kind for item in done.removed]


def test_by_age(
    cache: Path, store: CheckoutStore, repository: Repository, other_repository: Repository
) -> None:
    """What was not used for so long goes, with its lock and what lies beside it; no more."""
    old, new = repository.commit(a="1"), repository.commit(a="2")
    used(store, repository.url, old, days_ago=40)
    used(store, other_repository.url, other_repository.commit(a="1"), days_ago=40)
    young = used(store, repository.url, new, days_ago=1)
    environment(cache, "a" * 32, days_ago=31)
    environment(cache, "b" * 32, days_ago=29)
    done = prune(cache, PruningTerms(CacheLimits(age=30 * DAY)))
    assert sorted(kinds(done)) == [
        ItemKind.CHECKOUT,
        ItemKind.CHECKOUT,
        ItemKind.ENVIRONMENT,
        ItemKind.MIRROR,
    ]
    assert done.freed > 100_000
    names = {path.name for path in (cache / "environments").iterdir()}
    assert names == {"b" * 32, f"{'b' * 32}.lock", f"{'b' * 32}.modules.json"}
    assert {path.name for path in young.parent.iterdir()} == {new, f"{new}.lock", f"{new}.seal"}
    assert [item.kind for item in inventory(cache)] == [*sorted([ItemKind.ENVIRONMENT]), 0, 2]
    assert not list((cache / "trash").iterdir())
    with store.lease(parse(repository.url), old) as again:  # from the mirror, which stayed
        assert (again.folder / "a").read_text() == "1"


def test_by_size(cache: Path) -> None:
    """The longest unused go until the rest fits; what was used today is spared, but counts."""
    for name, days_ago in (("a", 3.0), ("b", 2.0), ("c", 1.0), ("d", 0.1)):
        environment(cache, name, days_ago)
    each = inventory(cache)[0].size()
    assert prune(cache, PruningTerms(CacheLimits(size=4 * each))).removed == []
    done = prune(cache, PruningTerms(CacheLimits(size=2 * each)))
    assert [item.title for item in done.removed] == ["a", "b"]
    assert done.freed == 2 * each
    done = prune(cache, PruningTerms(CacheLimits(size=0), spare=DAY / 2))
    assert [item.title for item in done.removed] == ["c"]


def test_never_while_in_use(cache: Path, store: CheckoutStore, repository: Repository) -> None:
    """A held checkout, its mirror, a held environment; a child that inherits the lock holds it."""
    commit = repository.commit(a="1")
    address = parse(repository.url)
    store.resolve(address, commit)
    environment(cache, "a", days_ago=99)
    with FileLock(cache / "environments" / "a.lock").shared() as held:
        child = subprocess.Popen(("sleep", "60"), pass_fds=[held])
    try:
        with store.lease(address, commit) as checkout:
            done = prune(cache, PruningTerms(EVERYTHING))
            assert kinds(done) == []
            assert sorted(item.kind for item in done.kept) == sorted(ItemKind)
            assert (checkout.folder / "a").read_text() == "1"
        assert kinds(prune(cache, PruningTerms(EVERYTHING))) == [
            *(ItemKind.CHECKOUT, ItemKind.MIRROR),
        ]
    finally:
        child.kill()
        child.wait()
    assert kinds(prune(cache, PruningTerms(EVERYTHING))) == [ItemKind.ENVIRONMENT]
    assert not list((cache / "git").iterdir())


def test_a_dry_run_says_the_same_and_touches_nothing(
    cache: Path, store: CheckoutStore, repository: Repository
) -> None:
    """Mirrors included, whose checkouts would be gone by then."""
    used(store, repository.url, repository.commit(commits__a="1"), days_ago=2)
    before = sorted(cache.rglob("*"))
    would = prune(cache, PruningTerms(EVERYTHING, dry=True))
    assert [path for path in before if not path.exists()] == []
    done = prune(cache, PruningTerms(EVERYTHING))
    assert kinds(would) == kinds(done) == [ItemKind.CHECKOUT, ItemKind.MIRROR]
    assert would.freed == done.freed > 0


def test_steps_and_prunes_at_the_same_time(cache: Path, repository: Repository) -> None:
    """Prunes that take everything they can, between users of two commits: each finds its files."""
    commits = [repository.commit(a=str(number)) for number in range(2)]
    address = parse(repository.url)
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for _ in range(6):
                mine = CheckoutStore(Settings(cache, cache), ProcessRunner())
                commit = mine.resolve(address, commits[number % 2])
                with mine.lease(address, commit) as checkout:
                    assert (checkout.folder / "a").read_text() == str(number % 2)
                    time.sleep(0.01)
                    assert (checkout.folder / "a").read_text() == str(number % 2)
        except BaseException as error:  # noqa: BLE001 - told to the thread that waits
            errors.append(error)

    removed = 0
    workers = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        removed += len(prune(cache, PruningTerms(EVERYTHING)).removed)
    assert errors == []
    assert removed > 3


def test_what_a_killed_prune_left(cache: Path) -> None:
    """Its trash is emptied; only a lock that is left of a failed build goes, too."""
    (cache / "trash" / "x" / "y").mkdir(parents=True)
    (cache / "environments").mkdir()
    (cache / "environments" / "a.lock").touch()
    (cache / "environments" / ".a-half").mkdir()
    assert [item.title for item in prune(cache, PruningTerms(EVERYTHING)).removed] == ["a"]
    assert not (cache / "trash" / "x").exists()
    assert not list((cache / "environments").iterdir())


def test_an_end_in_the_middle(cache: Path) -> None:
    """What was not measured is not judged; what is too old goes first."""
    for name in ("a", "b", "c"):
        environment(cache, name, days_ago=5)
    answers = iter([True, False])
    done = prune(cache, PruningTerms(CacheLimits(age=DAY, size=0), go_on=lambda: next(answers)))
    assert (len(done.removed), done.complete) == (1, False)


# Once a day


def daily(cache: Path, limits: CacheLimits) -> list[str]:
    """Prune as a step does at its end; return what it said."""
    said: list[str] = []
    prune_daily(Settings(cache, cache, cache_limits=limits), said.append)
    return said


def test_once_a_day_and_by_one(cache: Path) -> None:
    """The second step of a day does nothing; nor does one beside a prune."""
    cache.mkdir()
    environment(cache, "a", days_ago=99)
    limits = CacheLimits(age=30 * DAY, size=0)
    with pruner(cache):
        assert daily(cache, limits) == []
    assert daily(cache, CacheLimits()) == []
    said = daily(cache, limits)
    assert len(said) == 1
    assert "1 item(s)" in said[0]
    environment(cache, "b", days_ago=99)
    environment(cache, "c", days_ago=0.5)
    assert daily(cache, limits) == []
    os.utime(cache / "last-prune", (1, 1))
    assert len(daily(cache, limits)) == 1
    assert [item.title for item in inventory(cache)] == ["c"]


def test_a_prune_that_fails_is_told_and_does_not_fail_the_step(cache: Path) -> None:
    """Nor is it tried again by every step of the day."""
    cache.mkdir()
    environment(cache, "a", days_ago=99)
    (cache / "trash").write_text("not a folder")
    said = daily(cache, CacheLimits(age=DAY))
    assert len(said) == 1
    assert "could not be pruned" in said[0]
    assert daily(cache, CacheLimits(age=DAY)) == []


def test_the_settings(tmp_path: Path) -> None:
    """Thirty days and 50 GB unless told otherwise; nonsense is named."""
    env = {"UNDERSTUDY_CACHE": str(tmp_path)}
    limits = Settings.from_environment(env).cache_limits
    assert limits == CacheLimits(30 * DAY, 50 * 10**9)
    env |= {"UNDERSTUDY_CACHE_MAX_AGE": "never", "UNDERSTUDY_CACHE_MAX_SIZE": "1TB"}
    assert Settings.from_environment(env).cache_limits == CacheLimits(None, 10**12)
    env["UNDERSTUDY_CACHE_MAX_AGE"] = "30"
    with pytest.raises(SettingsError, match=r"UNDERSTUDY_CACHE_MAX_AGE: '30' is no duration"):
        Settings.from_environment(env)
