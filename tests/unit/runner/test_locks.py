"""File locks: shared, exclusive, gone with their holder, kept by who inherits them."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from understudy.errors import SettingsError
from understudy.runner.locks import FileLock

pytestmark = pytest.mark.unit

HOLD = """
import sys, time
from pathlib import Path
from understudy.runner.locks import FileLock
with FileLock(Path(sys.argv[1])).exclusive():
    print("held", flush=True)
    time.sleep(60)
"""


def is_free(path: Path) -> bool:
    """Whether nobody holds the lock."""
    with FileLock(path).exclusive_if_free() as lock:
        return lock is not None


def test_readers_share_and_keep_a_writer_out(tmp_path: Path) -> None:
    """Two shared holders; exclusive only when both are gone."""
    path = tmp_path / "below" / "x.lock"
    with FileLock(path).shared(), FileLock(path).shared():
        assert not is_free(path)
    assert is_free(path)


def test_waiting_can_be_ended(tmp_path: Path) -> None:
    """What ``proceed`` raises ends the wait."""

    class GivenUpError(Exception):
        pass

    def give_up() -> None:
        raise GivenUpError

    path = tmp_path / "x.lock"
    with (
        FileLock(path).exclusive(),
        pytest.raises(GivenUpError),
        FileLock(path).exclusive(give_up),
    ):
        pytest.fail("the lock was taken twice")


def test_kill_9_releases_it(tmp_path: Path) -> None:
    """The kernel takes the lock from a dead holder."""
    path = tmp_path / "x.lock"
    argv = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, env={"PYTHONPATH": ":".join(sys.path)}
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"held\n"
        assert not is_free(path)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert is_free(path)


def test_a_child_with_the_descriptor_keeps_it(tmp_path: Path) -> None:
    """A builder that dies while its uv goes on leaves the lock with uv."""
    path = tmp_path / "x.lock"
    with FileLock(path).exclusive() as descriptor:
        child = subprocess.Popen(["sleep", "60"], pass_fds=[descriptor])
    assert not is_free(path)
    child.kill()
    child.wait()
    assert is_free(path)


def test_a_lock_whose_file_was_removed_is_taken_anew(tmp_path: Path) -> None:
    """Who waited for it does not hold what nobody else would meet."""
    path = tmp_path / "lock"
    order: list[str] = []

    def wait() -> None:
        with FileLock(path).shared():
            order.append("waiter")
            with FileLock(path).exclusive_if_free() as lock:
                assert lock is None

    with FileLock(path).exclusive():
        waiter = threading.Thread(target=wait)
        waiter.start()
        time.sleep(0.2)
        path.unlink()
        order.append("remover")
    waiter.join(5)
    assert order == ["remover", "waiter"]


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """As some network file systems answer: words, and for who expects an OSError, one."""

    def refuse(_descriptor: int, _kind: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with (
        pytest.raises(SettingsError, match=r"cannot be had: .*flock\(2\)") as caught,
        FileLock(tmp_path / "x").shared(),
    ):
        pytest.fail("it was locked")
    assert isinstance(caught.value, OSError)


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    """Here because it is none; a read-only one answers in the same place."""
    (tmp_path / "file").write_text("")
    lock = FileLock(tmp_path / "file" / "x.lock")
    with pytest.raises(SettingsError, match=r"cannot be had.* Allowed: "), lock.shared():
        pytest.fail("it was locked")


def test_what_is_made_for_a_lock_is_this_user_s_alone(tmp_path: Path) -> None:
    """The cache and its folders: what others may write there, this user would run."""
    with FileLock(tmp_path / "cache" / "environments" / "x.lock").exclusive(lambda: None):
        for folder in (tmp_path / "cache", tmp_path / "cache" / "environments"):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
