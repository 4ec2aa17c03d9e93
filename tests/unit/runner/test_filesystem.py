"""Rights, copies, changes and removal of whole folders."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from understudy.runner.filesystem import (
    changed_since,
    copy_tree,
    fingerprint,
    make_read_only,
    remove_tree,
)

pytestmark = pytest.mark.unit


def test_remove_tree_removes_what_is_read_only(tmp_path: Path) -> None:
    """As a user without root's powers."""
    (tmp_path / "x/y").mkdir(parents=True)
    (tmp_path / "x/y/z").write_text("")
    for path in (tmp_path / "x/y", tmp_path / "x"):
        path.chmod(0o555)
    remove_tree(tmp_path / "x")
    assert not (tmp_path / "x").exists()


def nothing() -> None:
    """Let a copy go on."""


@pytest.fixture(params=["same disk", "other disk"])
def target(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """Return where a copy goes; between two disks the kernel cannot share or copy blocks."""
    if request.param == "same disk":
        yield tmp_path / "copy"
        return
    memory = Path("/dev/shm")  # noqa: S108 - a disk in memory, on every Linux
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second disk here")
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder, "copy")


def test_a_copy_is_its_owners(tmp_path: Path, target: Path) -> None:
    """Contents, empty and large, times, links and the right to execute; nothing is shared."""
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    contents = {"a": b"", "sub/large": os.urandom(3 << 20), "run": b"#!/bin/sh\n"}
    for name, content in contents.items():
        (source / name).write_bytes(content)
    (source / "run").chmod(0o755)
    (source / "link").symlink_to("sub/large")
    (source / "broken").symlink_to("nowhere")
    make_read_only(source)
    before = fingerprint(source)
    copy_tree(source, target, nothing)
    assert {name: (target / name).read_bytes() for name in contents} == contents
    assert (target / "link").readlink() == Path("sub/large")
    assert (target / "broken").is_symlink()
    assert (target / "a").stat().st_mtime == (source / "a").stat().st_mtime
    assert [name for name in contents if (target / name).stat().st_mode & 0o100] == ["run"]
    for path in (target / "sub/large", target / "link"):
        assert path.stat().st_mode & 0o200
        with path.open("r+b") as file:
            file.write(b"other")
    assert (source / "sub/large").read_bytes() == contents["sub/large"]
    assert fingerprint(source) == before


def test_a_copy_can_be_stopped(tmp_path: Path) -> None:
    """Between two files, and within a large one."""
    (tmp_path / "source").mkdir()
    for name in ("a", "b"):
        (tmp_path / "source" / name).touch()
    asked = 0

    def stop() -> None:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy_tree(tmp_path / "source", tmp_path / "copy", stop)
    assert len(list((tmp_path / "copy").iterdir())) == 1


def put(folder: Path) -> None:
    """Add a file."""
    (folder / "new").touch()


def append(folder: Path) -> None:
    """Write to a file."""
    with (folder / "a").open("a") as file:
        file.write("x")


def overwrite(folder: Path) -> None:
    """Write as many bytes to a file as it had."""
    (folder / "a").write_text("2")


def remove(folder: Path) -> None:
    """Take a file away."""
    (folder / "a").unlink()


def unlock(folder: Path) -> None:
    """Change rights."""
    (folder / "a").chmod(0o666)


@pytest.mark.parametrize("change", [put, append, overwrite, remove, unlock])
def test_a_fingerprint_shows_a_change(tmp_path: Path, change: Callable[[Path], None]) -> None:
    """Also in the second in which the folder was made; and it is what the folder has elsewhere."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a").write_text("1")
    make_read_only(folder)
    before = fingerprint(folder)
    folder = folder.rename(tmp_path / "elsewhere")
    assert fingerprint(folder) == before
    # As root may without this.
    (folder / "a").chmod(0o644)
    change(folder)
    if change is not unlock and (folder / "a").exists():
        (folder / "a").chmod(0o444)
    assert fingerprint(folder) != before


def test_what_was_changed_since(tmp_path: Path) -> None:
    """New and changed files, whatever time they claim; not what was there, nor compiled code."""
    for name in ("old", "changed", "sub/x"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("1")
    time.sleep(0.02)  # the kernel's clock for files has ticks of up to 10 ms
    (tmp_path / "mark").touch()
    moment = (tmp_path / "mark").stat().st_ctime_ns
    time.sleep(0.02)
    (tmp_path / "changed").write_text("12")
    os.utime(tmp_path / "changed", (1, 1))
    (tmp_path / "sub/__pycache__").mkdir()
    (tmp_path / "sub/__pycache__/x.pyc").write_text("compiled")
    (tmp_path / "sub/new").write_text("123")
    assert changed_since(tmp_path, moment) == [("changed", 2), ("sub/new", 3)]
