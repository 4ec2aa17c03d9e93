"""What a project's symbolic links lead to belongs to it; nothing outside its repository does."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from understudy.backtest.replay import _digest
from understudy.errors import ProjectError
from understudy.runner.cluster.remote import pack
from understudy.runner.git.checkout import CheckoutStore
from understudy.runner.process.process import ProcessRunner
from understudy.runner.settings import Settings
from understudy.runner.sources import Sources
from understudy.spec.git_address import parse

if TYPE_CHECKING:
    from tests.fixtures.git import Repository

pytestmark = pytest.mark.unit


@pytest.fixture
def store(tmp_path: Path) -> CheckoutStore:
    """Return a store with an empty cache."""
    settings = Settings(cache=tmp_path / "cache", scratch=tmp_path / "scratch", git_timeout=20)
    return CheckoutStore(settings, ProcessRunner())


@pytest.fixture
def linking(repository: Repository) -> Repository:
    """Return a repository whose project ``a`` links to ``shared``, and that to ``deep``."""
    (repository.folder / "a").mkdir()
    (repository.folder / "shared").mkdir()
    link(repository, "a/shared", "../shared")
    link(repository, "shared/inner", "../deep/inner")
    repository.commit(
        a__MLproject="name: a", shared__s="1", shared__sub__t="1", deep__inner__d="1", other="1"
    )
    return repository


def link(repository: Repository, name: str, target: str) -> None:
    """Make a link in a working tree."""
    (repository.folder / name).symlink_to(target)


def tree(store: CheckoutStore, repository: Repository, folder: str = "#a") -> str:
    """Return what identifies a folder of the newest commit."""
    commit = store.resolve(parse(repository.url), "main")
    return store.tree(parse(f"{repository.url}{folder}"), commit)


@pytest.mark.parametrize("changed", ["shared/s", "shared/sub/t", "deep/inner/d", "a/MLproject"])
def test_a_change_behind_a_link_is_another_tree(
    store: CheckoutStore, linking: Repository, changed: str
) -> None:
    """Also behind a link in what a link leads to; other files of the repository do not count."""
    before = tree(store, linking)
    assert before != linking.git("rev-parse", "HEAD:a")
    linking.commit(other="2")
    assert tree(store, linking) == before
    linking.commit(**{changed.replace("/", "__"): "2"})
    assert tree(store, linking) != before
    linking.commit(**{changed.replace("/", "__"): "1" if changed != "a/MLproject" else "name: a"})
    assert tree(store, linking) == before


def test_a_link_to_another_folder_of_the_same_content(
    store: CheckoutStore, linking: Repository
) -> None:
    """The link's own text is part of the folder."""
    before = tree(store, linking)
    linking.git("mv", "shared", "moved")
    (linking.folder / "a/shared").unlink()
    link(linking, "a/shared", "../moved")
    linking.commit()
    assert tree(store, linking) != before


def test_two_folders_alike_whose_links_lead_elsewhere(
    store: CheckoutStore, repository: Repository
) -> None:
    """The same tree in two places: its links are relative to each."""
    for name in ("x", "y"):
        (repository.folder / name / "part").mkdir(parents=True)
        link(repository, f"{name}/part/inner", "../own")
    (repository.folder / "a").mkdir()
    link(repository, "a/x", "../x/part")
    link(repository, "a/y", "../y/part")
    repository.commit(x__own="1", y__own="1")
    before = tree(store, repository)
    repository.commit(y__own="2")
    middle = tree(store, repository)
    repository.commit(x__own="2", y__own="1")
    assert len({before, middle, tree(store, repository)}) == 3


def test_links_that_end_at_no_object(
    store: CheckoutStore, linking: Repository, tmp_path: Path
) -> None:
    """Round in a circle, to nothing, into a submodule, of a name of two lines: all files count."""
    other = type(linking)(tmp_path / "other")
    other.folder.mkdir()
    other.git("init", "--quiet")
    other.commit(x="1")
    linking.git("submodule", "--quiet", "add", other.url, "sub")
    seen = {tree(store, linking)}
    for name, target in {
        "up": "../a",
        "self": "self",
        "none": "none at all",
        "odd": "s/MLproject/x",
        "two\nlines": "../other",
        "module": "../sub/x",
    }.items():
        link(linking, f"a/{name}", target)
        linking.commit()
        seen.add(tree(store, linking))
    assert len(seen) == 7
    linking.commit(other="3")
    assert tree(store, linking) not in seen


@pytest.mark.parametrize("target", ["/etc/hostname", "../../outside", "../shared/out"])
def test_a_link_out_of_the_repository_is_refused(
    store: CheckoutStore, linking: Repository, target: str
) -> None:
    """Also by way of another link; one of the repository that is not the project's is not seen."""
    link(linking, "out", "/etc")
    linking.commit()
    tree(store, linking)
    link(linking, "shared/out", "/etc/hostname")
    link(linking, "a/out", target)
    linking.commit()
    with pytest.raises(ProjectError, match=r"The link '\S*out' .* leads out of its repository, to"):
        tree(store, linking)


def test_an_archive_holds_what_links_lead_to(
    store: CheckoutStore, linking: Repository, tmp_path: Path
) -> None:
    """As files; a link that stays is a link; nothing from outside the checkout goes along."""
    (tmp_path / "secret").write_text("secret")
    for name, target in {
        "a/kept": "MLproject",
        "a/up": "..",
        "a/out": str(tmp_path / "secret"),
        "a/none": "nowhere",
        "shared/near": "sub/t",
    }.items():
        link(linking, name, target)
    commit = linking.commit()
    store.resolve(parse(linking.url), "main")
    with store.lease(parse(linking.url), commit) as checkout:
        archive = pack(checkout.folder / "a", checkout.folder, tmp_path)
        again = pack(checkout.folder / "a", checkout.folder, checkout.folder.parent)
        assert archive.read_bytes() == again.read_bytes()
    folder = tmp_path / "job"
    folder.mkdir()
    # Not extractall: its filter came with Python 3.11.4, and is asked for from 3.12 on.
    subprocess.run(["tar", "-xzf", str(archive), "-C", str(folder)], check=True)
    assert not (folder / "shared").is_symlink()
    assert [(folder / name).read_text() for name in ("shared/s", "shared/near")] == ["1", "1"]
    assert (folder / "shared/inner/d").read_text() == "1"
    assert (folder / "kept").readlink() == Path("MLproject")
    assert (folder / "up/a/shared/s").read_text() == "1"
    assert (folder / "out").is_symlink()
    assert (folder / "none").readlink() == Path("nowhere")


def test_the_folder_of_a_backtest(linking: Repository) -> None:
    """Its digest covers what links lead to, and what leads back into it ends."""
    before = _digest(linking.folder / "a")
    (linking.folder / "deep/inner/d").write_text("2")
    changed = _digest(linking.folder / "a")
    assert changed != before
    link(linking, "deep/inner/back", "../../a")
    assert _digest(linking.folder / "a") not in {before, changed}


def test_a_plain_folder_knows_what_its_links_lead_to(
    store: CheckoutStore, linking: Repository, tmp_path: Path
) -> None:
    """A container sees it, and a change in it makes the folder differ from its commit."""
    top = linking.folder.resolve()
    link(linking, "a/out", str(tmp_path))
    linking.commit()
    state = store.state(linking.folder / "a")
    assert (state.linked, state.dirty) == ((top / "shared", top / "deep/inner"), False)
    (linking.folder / "other").write_text("2")
    assert not store.state(linking.folder / "a").dirty
    (linking.folder / "deep/inner/d").write_text("2")
    assert store.state(linking.folder / "a").dirty
    with Sources(store, None).lease(str(linking.folder / "a"), "") as source:
        assert (source.code, source.linked) == (linking.folder / "a", state.linked)
