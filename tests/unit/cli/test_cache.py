"""The command ``understudy cache`` as people call it, on a cache with real content."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from understudy.runner.git.checkout import CheckoutStore
from understudy.runner.process.process import ProcessRunner
from understudy.runner.reuse.cache import inventory, pruner
from understudy.runner.settings import Settings
from understudy.spec.git_address import parse

if TYPE_CHECKING:
    from tests.fixtures.git import Repository

pytestmark = pytest.mark.unit

Understudy = Callable[..., tuple[int, str]]


@pytest.fixture
def cache(tmp_path: Path, repository: Repository) -> Path:
    """Return a cache with a mirror, a checkout, both long unused, and a young environment."""
    settings, address = Settings(tmp_path / "cache", tmp_path / "s"), parse(repository.url)
    commit, store = repository.commit(a="1"), CheckoutStore(settings, ProcessRunner())
    with store.lease(address, commit):
        pass
    for item in inventory(settings.cache):
        os.utime(item.lock, (1, 1))
    (settings.cache / "environments" / ("e" * 32)).mkdir(parents=True)
    return settings.cache


@pytest.fixture
def understudy(cache: Path) -> Understudy:
    """Return what calls the command; it returns the exit code and all that was said."""

    def call(*arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            (sys.executable, "-m", "understudy", *arguments),
            env={**os.environ, "UNDERSTUDY_CACHE": str(cache)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout

    return call


def test_the_list(understudy: Understudy, repository: Repository) -> None:
    """Each item with what people know it by, then the sum."""
    code, listing = understudy("cache", "list")
    assert code == 0
    assert f"{repository.git('rev-parse', 'HEAD')[:12]} of {repository.url}" in listing
    assert [line.split()[0] for line in listing.splitlines()[:-1]] == [
        *("checkout", "mirror", "environment"),
    ]
    code, listing = understudy("cache", "list", "--json")
    kinds = [json.loads(line)["kind"] for line in listing.splitlines()]
    assert (code, kinds) == (0, ["checkout", "mirror", "environment"])


def test_pruning(understudy: Understudy, cache: Path) -> None:
    """A dry run says the same as what follows; the rest stays."""
    prune = ("cache", "prune", "--older-than", "30d")
    code, said = understudy(*prune, "--dry-run")
    assert (code, said.count("would go")) == (0, 2)
    assert len(inventory(cache)) == 3
    code, said = understudy(*prune)
    assert (code, said.count("removed")) == (0, 2)
    assert understudy("cache", "prune", "--larger-than", "20GB") == (0, "0 B were freed\n")
    assert len(inventory(cache)) == 1


def test_what_is_refused(understudy: Understudy, cache: Path) -> None:
    """Nonsense as argparse does; a second prune in a sentence."""
    code, said = understudy("cache", "prune", "--older-than", "soon")
    assert (code, "'soon' is no duration" in said) == (2, True)
    assert understudy("cahce")[0] == understudy("cache")[0] == understudy()[0] == 2
    with pruner(cache):
        code, said = understudy("cache", "prune")
    assert (code, "Another process prunes" in said) == (1, True)
    assert len(inventory(cache)) == 3


def test_it_starts_without_airflow_and_mlflow() -> None:
    """And so at once: the modules are not even looked for."""
    code = (
        "import sys; from understudy.cli.main import main\n"
        "try: main(['cache', 'list', '--help'])\n"
        "except SystemExit: print(sorted({m.split('.')[0] for m in sys.modules}))\n"
    )
    done = subprocess.run((sys.executable, "-c", code), check=True, capture_output=True, text=True)
    loaded = done.stdout.splitlines()[-1]
    assert "'understudy'" in loaded
    assert not [name for name in ("airflow", "mlflow", "pydantic") if f"'{name}'" in loaded]
