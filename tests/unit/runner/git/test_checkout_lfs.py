"""Pointer files of Git LFS, in real checkouts. git-lfs itself is not needed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from understudy.runner.git.checkout import CheckoutStore, Pointers
from understudy.runner.process.process import ProcessRunner
from understudy.runner.settings import Settings
from understudy.spec.git_address import parse

if TYPE_CHECKING:
    from tests.fixtures.git import Repository

pytestmark = pytest.mark.unit

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"


def found(folder: Path, repository: Repository, commit: str) -> Pointers:
    """Return the pointers of a commit, after they were looked for and when they were kept."""
    store = CheckoutStore(Settings(folder / "cache", folder / "s"), ProcessRunner())
    address = parse(repository.url)
    store.resolve(address, commit)
    with store.lease(address, commit) as first, store.lease(address, commit) as second:
        assert first.pointers == second.pointers
        return second.pointers


def test_pointers_are_counted_and_named(
    repository: Repository, other_repository: Repository, tmp_path: Path
) -> None:
    """In submodules too; content that was committed past LFS, and other files, are none."""
    other_repository.commit(_DOT_gitattributes="*.bin filter=lfs\n", deep_DOT_bin=POINTER)
    repository.git("submodule", "--quiet", "add", "../other", "vendor")
    files = {f"data__{i}_DOT_csv": POINTER for i in range(7)}
    commit = repository.commit(
        data___DOT_gitattributes="*.csv filter=lfs diff=lfs merge=lfs -text\n",
        data__real_DOT_csv="a,b\n1,2\n",
        elsewhere_DOT_csv=POINTER,
        **files,
    )
    pointers = found(tmp_path, repository, commit)
    assert pointers == Pointers(8, tuple(f"data/{i}.csv" for i in range(5)))
    assert "8 file(s)" in str(pointers)
    assert "data/4.csv, ..." in str(pointers)


def test_a_repository_without_lfs(repository: Repository, tmp_path: Path) -> None:
    """Nothing is said and nothing is kept."""
    pointers = found(tmp_path, repository, repository.commit(a="1"))
    assert pointers == Pointers()
    assert not list(tmp_path.rglob("*.lfs"))
