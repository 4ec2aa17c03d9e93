"""Temporary folders of attempts: private, short-lived, swept after the dead."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from understudy.errors import ProjectError, SettingsError
from understudy.runner.locks import FileLock
from understudy.runner.scratch import scratch_folder, sweep

pytestmark = pytest.mark.unit


def test_it_goes_with_the_attempt(tmp_path: Path) -> None:
    """Also when the attempt fails, and when files in it are read-only."""
    root = tmp_path / "s"

    def attempt() -> None:
        with scratch_folder(root) as scratch:
            assert root.stat().st_mode & 0o777 == 0o700
            (scratch.temporary / "x").mkdir()
            (scratch.temporary / "x").chmod(0o500)
            assert scratch.script("echo").read_text() == "echo\n"
            raise RuntimeError

    with pytest.raises(RuntimeError):
        attempt()
    assert list(root.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="a small disk needs the right to mount one")
def test_a_full_disk_is_named(tmp_path: Path) -> None:
    """Whoever writes there, and before anything could be made; afterwards there is room again."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", tmp_path], check=True)

    def attempt() -> None:
        with scratch_folder(tmp_path / "s") as scratch:
            (scratch.inputs / "large").write_bytes(bytes(2 << 20))

    try:
        for _ in range(2):
            with pytest.raises(SettingsError, match=r"No space left on the disk of .*TMPDIR"):
                attempt()
        with scratch_folder(tmp_path / "s") as scratch:
            (scratch.inputs / "small").write_bytes(bytes(1 << 19))
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_the_dead_are_swept_and_the_living_are_not(tmp_path: Path) -> None:
    """A folder whose lock is free has no owner."""
    dead, living, new, old = (tmp_path / name for name in ("dead", "living", "new", "old"))
    for folder in (dead, living, new, old):
        folder.mkdir()
    (dead / ".lock").touch()
    os.utime(old, (1, 1))
    with FileLock(living / ".lock").exclusive():
        assert sweep(tmp_path) == 2
        assert sorted(tmp_path.iterdir()) == [living, new]


def test_a_root_that_is_a_link_is_refused(tmp_path: Path) -> None:
    """Somebody else may have put it there."""
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(ProjectError, match="another user"), scratch_folder(tmp_path / "link"):
        pass
