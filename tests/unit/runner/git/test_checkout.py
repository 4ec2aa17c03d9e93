"""Mirrors and checkouts, with real Git repositories."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from understudy.errors import (
    ProjectError,
    RepositoryUnavailableError,
    SettingsError,
    UnderstudyError,
)
from understudy.runner.git import mirror
from understudy.runner.git.checkout import CheckoutStore
from understudy.runner.git.git import protocols
from understudy.runner.process.process import ProcessRunner
from understudy.runner.settings import Settings
from understudy.spec.git_address import parse

if TYPE_CHECKING:
    from tests.fixtures.git import Repository

pytestmark = pytest.mark.unit


@pytest.fixture
def store(tmp_path: Path) -> CheckoutStore:
    """Return a store with an empty cache."""
    settings = Settings(cache=tmp_path / "cache", scratch=tmp_path / "scratch", git_timeout=20)
    return CheckoutStore(settings, ProcessRunner())


def test_every_kind_of_version(store: CheckoutStore, repository: Repository) -> None:
    """Branch, tags, full and short ids and the default branch stand for one full commit id."""
    old = repository.commit(a="1")
    repository.git("tag", "light")
    repository.git("tag", "-a", "-m", "x", "annotated")
    repository.git("branch", "feature/x")
    new = repository.commit(a="2")
    address = parse(repository.url)
    wanted = {"": new, "main": new, "refs/heads/main": new, new: new, new[:9]: new, new[:4]: new}
    wanted |= dict.fromkeys(
        ["light", "annotated", "refs/tags/light", "feature/x", old[:7], old], old
    )
    assert {version: store.resolve(address, version) for version in wanted} == wanted


def test_a_branch_that_moved_and_one_that_was_rewritten(
    store: CheckoutStore, repository: Repository
) -> None:
    """Asking again asks the host again; the old commit stays usable."""
    first = repository.commit(a="1")
    address = parse(repository.url)
    assert store.resolve(address, "main") == first
    repository.git("commit", "--amend", "--quiet", "-m", "rewritten")
    assert store.resolve(address, "main") == repository.git("rev-parse", "HEAD")
    assert store.resolve(address, first) == first


def test_a_commit_outside_every_branch(store: CheckoutStore, repository: Repository) -> None:
    """As of a pull request: fetched by its full id."""
    repository.commit(a="1")
    hidden = repository.commit(a="hidden")
    repository.git("update-ref", "refs/pull/1/head", hidden)
    repository.git("reset", "--quiet", "--hard", "HEAD~1")
    assert store.resolve(parse(repository.url), hidden) == hidden


def test_a_known_commit_needs_no_host(store: CheckoutStore, repository: Repository) -> None:
    """Full and short ids, and their checkout, after the host is gone; a branch needs it."""
    commit = repository.commit(a="1")
    address = parse(repository.url)
    store.resolve(address, "main")
    repository.folder.rename(repository.folder.with_name("gone"))
    assert store.resolve(address, commit) == store.resolve(address, commit[:8]) == commit
    with store.lease(address, commit) as checkout:
        assert (checkout.folder / "a").read_text() == "1"
    with pytest.raises(UnderstudyError, match=r"main|repository"):
        store.resolve(address, "main")


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("mian", r"'mian' does not exist .*did you mean 'main'"),
        ("0" * 40, "does not exist"),
        ("deadbeef", "does not exist"),
        ("-x", "does not exist"),
        ("a..b", "does not exist"),
        ("main^", "does not exist"),
        ("@{-1}", "does not exist"),
        ("both", "names both a branch and a tag"),
    ],
)
def test_versions_that_cannot_be(
    store: CheckoutStore, repository: Repository, version: str, message: str
) -> None:
    """A sentence, with the nearest name."""
    repository.commit(a="1")
    repository.git("tag", "both")
    repository.commit(a="2")
    repository.git("branch", "both")
    with pytest.raises(ProjectError, match=message):
        store.resolve(parse(repository.url), version)


def test_an_empty_repository_and_a_headless_one(
    store: CheckoutStore, repository: Repository
) -> None:
    """No default branch is said so; other versions work."""
    with pytest.raises(ProjectError, match="no default branch"):
        store.resolve(parse(repository.url), "")
    commit = repository.commit(a="1")
    repository.git("symbolic-ref", "HEAD", "refs/heads/nowhere")
    with pytest.raises(ProjectError, match=r"no default branch.*'main'"):
        store.resolve(parse(repository.url), "")
    assert store.resolve(parse(repository.url), "main") == commit


def test_hosts_that_do_not_answer(store: CheckoutStore, tmp_path: Path) -> None:
    """An outage can be retried, a repository that is not there cannot."""
    with pytest.raises(RepositoryUnavailableError, match="did not answer"):
        store.resolve(parse("http://u:s3cret@127.0.0.1:9/r.git"), "main")
    with pytest.raises(ProjectError, match="no readable Git repository") as caught:
        store.resolve(parse(f"file://{tmp_path}/nowhere"), "main")
    assert not caught.value.can_retry


def test_the_checkout_is_read_only_and_made_once(
    store: CheckoutStore, repository: Repository
) -> None:
    """The same folder each time; no write bits; executables stay so; links stay links."""
    (repository.folder / "run.sh").write_text("x")
    (repository.folder / "run.sh").chmod(0o755)
    (repository.folder / "link").symlink_to("run.sh")
    commit = repository.commit(sub__a="1")
    address = parse(repository.url)
    store.resolve(address, "")
    with store.lease(address, commit) as first, store.lease(address, commit) as second:
        assert first.folder == second.folder
        assert first.folder.name == commit
        files = [path for path in first.folder.rglob("*") if ".git" not in path.parts]
        modes = {path.name: path.lstat().st_mode & 0o777 for path in files}
        assert not any(path.stat().st_mode & 0o222 for path in first.folder.rglob("*"))
    assert modes.pop("link") == 0o777
    assert modes == {"run.sh": 0o555, "sub": 0o555, "a": 0o444}
    assert not list(first.folder.parent.glob(".*"))


def test_no_file_of_a_checkout_is_compared_with_another(
    store: CheckoutStore, repository: Repository
) -> None:
    """As Git does for the smallest pack: ten files of 100 MB took more than fifteen minutes."""
    repository.git("config", "pack.window", "0")  # what the host has compared would be kept
    text = "".join(f"row {number}\n" for number in range(5_000))
    repository.commit(one=text)
    store.resolve(parse(repository.url), "main")
    commit = repository.commit(two=f"{text}more\n")
    with store.lease(parse(repository.url), commit) as checkout:
        (pack,) = checkout.folder.glob(".git/objects/pack/*.pack")
        listing = subprocess.check_output(["git", "verify-pack", "-v", pack], text=True)
    assert "non delta: 4 objects" in listing
    assert "chain length" not in listing


def test_a_checkout_that_was_changed_is_made_anew(
    store: CheckoutStore, repository: Repository
) -> None:
    """As root's programs can; also one of which it is not known how it was made."""
    commit = repository.commit(sub__a="1")
    address = parse(repository.url)
    store.resolve(address, "")
    with store.lease(address, commit) as checkout:
        folder = checkout.folder
    for spoil in (
        lambda: (folder / "sub/a").write_text("2"),
        lambda: (folder / "sub/new").write_text("2"),
        folder.with_name(f"{commit}.seal").unlink,
    ):
        for path in (folder / "sub", folder / "sub/a"):
            path.chmod(path.stat().st_mode | 0o200)
        spoil()
        with store.lease(address, commit) as checkout:
            content = {path.name: path.read_text() for path in folder.glob("sub/*")}
        assert content == {"a": "1"}


def test_what_a_killed_fetch_and_checkout_left_is_no_obstacle(
    store: CheckoutStore, repository: Repository
) -> None:
    """Stale lock files, half packs and half checkouts are removed."""
    commit = repository.commit(a="1")
    address = parse(repository.url)
    store.resolve(address, "")
    folder = next(store._root.glob("*/mirror.git"))
    for leftover in (
        "packed-refs.lock",
        "refs/remotes/origin/main.lock",
        "objects/pack/tmp_pack_x",
        "objects/pack/pack-x.keep",
    ):
        (folder / leftover).parent.mkdir(parents=True, exist_ok=True)
        (folder / leftover).write_text("")
    half = folder.parent / "commits" / f".{commit}-half"
    half.mkdir(parents=True)
    later = repository.commit(a="2")
    assert store.resolve(address, "main") == later
    assert not list(folder.glob("objects/pack/*.keep"))
    with store.lease(address, commit):
        assert not half.exists()


def empty_objects(folder: Path) -> None:
    """Leave what a power cut leaves: files with names and no content."""
    for path in folder.glob("objects/pack/*"):
        path.chmod(0o600)
        path.write_bytes(b"")


def halve_packs(folder: Path) -> None:
    """Leave the first half of what was fetched."""
    for path in folder.glob("objects/pack/*.pack"):
        path.chmod(0o600)
        os.truncate(path, path.stat().st_size // 2)


def lose_head(folder: Path) -> None:
    """Leave a folder that is no repository any more."""
    (folder / "HEAD").write_bytes(b"")


def break_refs(folder: Path) -> None:
    """Leave refs that name nothing."""
    for path in folder.glob("refs/**/*"):
        if path.is_file():
            path.write_bytes(b"")


def test_what_a_damaged_host_says_is_text(store: CheckoutStore, repository: Repository) -> None:
    """Its last words end with a NUL."""
    commit = repository.commit(a="1")
    blob = repository.git("rev-parse", f"{commit}:a")
    (repository.folder / ".git/objects" / blob[:2] / blob[2:]).unlink()
    with pytest.raises(RepositoryUnavailableError, match="corruption on the remote side") as caught:
        store.resolve(parse(repository.url), "main")
    assert str(caught.value).isprintable()
    assert "x00" not in str(caught.value)


@pytest.mark.parametrize("damage", [empty_objects, halve_packs, lose_head, break_refs])
def test_a_damaged_mirror_is_fetched_anew(
    repository: Repository, damage: Callable[[Path], None]
) -> None:
    """Also where the cache lies in a repository of the user's, which is not touched."""
    store = CheckoutStore(
        Settings(repository.folder / ".state/cache", repository.folder / ".state/s"),
        ProcessRunner(),
    )
    (repository.folder / ".gitignore").write_text(".state\n")
    commit = repository.commit(a="1")
    address = parse(repository.url)
    store.resolve(address, "main")
    damage(next(store._root.glob("*/mirror.git")))
    repository.git("branch", "other")
    before = repository.git("for-each-ref")
    assert store.resolve(address, "main") == store.resolve(address, "other") == commit
    with store.lease(address, commit) as checkout:
        assert (checkout.folder / "a").read_text() == "1"
    assert repository.git("for-each-ref") == before


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "of-an-earlier-version"])
def test_a_mirror_whose_damage_a_checkout_finds(
    store: CheckoutStore,
    repository: Repository,
    packed: bool,  # noqa: FBT001
) -> None:
    """The commit is here, a file's content is not: a retry helps."""
    content = os.urandom(3_000).hex()
    commit = repository.commit(a=content)
    address = parse(repository.url)
    store.resolve(address, "main")
    (pack,) = store._root.glob("*/mirror.git/objects/pack/*.pack")
    pack.chmod(0o600)
    whole = pack.read_bytes()
    pack.write_bytes(whole[:-2_000] + bytes(1_000) + whole[-1_000:])
    if not packed:
        pack.unlink()
        pack.with_suffix(".idx").unlink()
        objects = pack.parents[1]
        subprocess.run(["git", "unpack-objects", "-q"], cwd=objects.parent, input=whole, check=True)
        blob = repository.git("rev-parse", "HEAD:a")
        damaged = objects / blob[:2] / blob[2:]
        damaged.chmod(0o600)
        damaged.write_bytes(b"")
    with pytest.raises(RepositoryUnavailableError, match="damaged"), store.lease(address, commit):
        pass
    with store.lease(address, commit) as checkout:
        assert (checkout.folder / "a").read_text() == content


def test_a_mirror_is_packed_now_and_then(
    store: CheckoutStore, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many nights leave no thousands of files, and packing loses nothing."""
    monkeypatch.setattr(mirror, "_PACKS", 2)
    address = parse(repository.url)
    commits = []
    for night in range(4):
        commits.append(repository.commit(a=str(night)))
        store.resolve(address, "main")
        packs = list(store._root.glob("*/mirror.git/objects/pack/*.pack"))
        assert len(packs) == (1, 2, 1, 2)[night]
    assert [store.resolve(address, commit) for commit in commits] == commits


def test_many_at_once(store: CheckoutStore, repository: Repository) -> None:
    """Eight threads, one cold cache: one mirror, one checkout, no error."""
    repository.commit(**{f"f{i}": "x" * 1000 for i in range(50)})
    address = parse(repository.url)
    seen: list[Path] = []

    def work() -> None:
        stores = CheckoutStore(Settings(store._root.parent, store._root), ProcessRunner())
        with stores.lease(address, stores.resolve(address, "main")) as checkout:
            assert len([one for one in checkout.folder.iterdir() if one.name != ".git"]) == 50
            seen.append(checkout.folder)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 8
    assert len(set(seen)) == 1


def test_submodules(
    store: CheckoutStore, repository: Repository, other_repository: Repository
) -> None:
    """With a relative URL, at the commit that the repository names, offline the second time."""
    pinned = other_repository.commit(lib="1")
    repository.git("submodule", "--quiet", "add", "../other", "vendor/lib")
    repository.git("-C", "vendor/lib", "checkout", "--quiet", pinned)
    commit = repository.commit(a="1")
    other_repository.commit(lib="2")
    address = parse(repository.url)
    store.resolve(address, "")
    with store.lease(address, commit) as checkout:
        assert (checkout.folder / "vendor/lib/lib").read_text() == "1"


def test_a_submodule_cannot_read_local_files_for_a_remote_repository() -> None:
    """Only a file:// repository may have file:// submodules."""
    assert "file" not in protocols(parse("https://host/r.git"))["GIT_ALLOW_PROTOCOL"].split(":")


def test_trees(store: CheckoutStore, repository: Repository) -> None:
    """The tree's id is Git's; a file or nothing at the subdirectory is refused."""
    commit = repository.commit(sub__dir__a="1", file="x")
    store.resolve(parse(repository.url), "")
    assert store.tree(parse(repository.url), commit) == repository.git("rev-parse", "HEAD^{tree}")
    inner = parse(f"{repository.url}#sub/dir")
    assert store.tree(inner, commit) == repository.git("rev-parse", "HEAD:sub/dir")
    for wrong in ("sub/dri", "file", "sub/dir/a"):
        with pytest.raises(ProjectError, match="does not exist"):
            store.tree(parse(f"{repository.url}#{wrong}"), commit)


def test_nothing_of_the_users_setting_runs_in_a_checkout(
    store: CheckoutStore, repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No hook, no filter, and GIT_DIR of a calling hook points nowhere."""
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    (hooks / "post-checkout").write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    (hooks / "post-checkout").chmod(0o755)
    (tmp_path / "config").write_text(f"[core]\nhooksPath = {hooks}\nautocrlf = true\n")
    commit = repository.commit(a="1\n", _DOT_gitattributes="* filter=lfs\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "config"))
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    address = parse(repository.url)
    store.resolve(address, "")
    with store.lease(address, commit) as checkout:
        assert (checkout.folder / "a").read_bytes() == b"1\n"
    assert not (tmp_path / "ran").exists()


def test_the_state_of_a_plain_folder(
    store: CheckoutStore, repository: Repository, tmp_path: Path
) -> None:
    """Read, never written."""
    commit = repository.commit(a="1")
    index = (repository.folder / ".git/index").read_bytes()
    os.utime(repository.folder / "a", (1, 1))
    assert store.state(repository.folder).commit == commit
    assert not store.state(repository.folder).dirty
    (repository.folder / "a").write_text("2")
    assert store.state(repository.folder).dirty
    assert (repository.folder / ".git/index").read_bytes() == index
    (tmp_path / "plain").mkdir()
    assert store.state(tmp_path / "plain").commit == ""


def test_the_mirror_holds_no_password(store: CheckoutStore, repository: Repository) -> None:
    """Nor does any file below the cache."""
    repository.commit(a="1")
    store.resolve(parse(repository.url), "")
    done = subprocess.run(["grep", "-rl", "s3cret", store._root], check=False, capture_output=True)
    assert done.stdout == b""


@pytest.mark.skipif(os.geteuid() != 0, reason="a small disk needs the right to mount one")
def test_a_full_disk_is_named(repository: Repository, tmp_path: Path) -> None:
    """Git only says that it cannot write; with room again the checkout succeeds."""
    disk = tmp_path / "disk"
    disk.mkdir()
    commit = repository.commit(large="x" * (1 << 20))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=True)
    try:
        settings = Settings(cache=disk / "cache", scratch=tmp_path / "scratch", git_timeout=20)
        store = CheckoutStore(settings, ProcessRunner())
        address = parse(repository.url)
        store.resolve(address, commit)
        with pytest.raises(SettingsError, match="No space left on the disk of"):
            store.lease(address, commit).__enter__()
        subprocess.run(["mount", "-o", "remount,size=9m", disk], check=True)
        with store.lease(address, commit) as checkout:
            assert (checkout.folder / "large").stat().st_size == 1 << 20
    finally:
        subprocess.run(["umount", disk], check=True)
