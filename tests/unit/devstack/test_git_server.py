"""The local git server hands out the commits of this clone, and nothing that lies beside them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.fixtures.loopback import await_port, free_port

from understudy.devstack import components
from understudy.devstack.components import Setting
from understudy.devstack.place import StackPlace
from understudy.devstack.settings import repository_url

if TYPE_CHECKING:
    from tests.fixtures.git import Repository

pytestmark = pytest.mark.unit


def head(url: str) -> str:
    """Return the commit that a server says is a repository's newest; '' for no answer."""
    command = ["git", "ls-remote", url, "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.partition("\t")[0]


@contextmanager
def served(checkout: Path, state: Path) -> Iterator[str]:
    """Yield the address of a checkout that the stack's own server serves."""
    place = StackPlace(state, checkout)
    place.git.mkdir(parents=True)
    place.logs.mkdir()
    components.link_repository(place)
    ports = dict.fromkeys(components.PORTS, free_port())
    program = components.program("git", Setting(place, ports, dict(os.environ)))
    with subprocess.Popen(program.argv, stderr=subprocess.DEVNULL, process_group=0) as daemon:
        await_port(ports["git"])
        try:
            yield repository_url(ports)
        finally:
            # git starts the server itself as a child of its own.
            os.killpg(daemon.pid, 15)


def test_what_lies_below_the_clone_is_not_served(repository: Repository, tmp_path: Path) -> None:
    """Mirrors of private repositories are kept in .state, where a path below the clone led to."""
    commit = repository.commit(a="1")
    mirror = ".state/cache/git/1/mirror.git"
    repository.git("clone", "--quiet", "--mirror", ".", mirror)
    with served(repository.folder, tmp_path / "state") as url:
        assert head(url) == commit
        assert head(f"{url}/{mirror}") == ""
        assert head(f"{url}/.") == ""
        # A night sees what was committed a moment ago.
        assert repository.commit(a="2") != commit
        assert head(url) == repository.git("rev-parse", "HEAD")


def test_a_worktree_is_served_with_its_own_commit(repository: Repository, tmp_path: Path) -> None:
    """Its .git is a file, and its HEAD another one than the clone's."""
    first = repository.commit(a="1")
    repository.git("worktree", "add", "--quiet", "-b", "side", str(tmp_path / "tree"))
    repository.commit(a="2")
    with served(tmp_path / "tree", tmp_path / "state") as url:
        assert head(url) == first
