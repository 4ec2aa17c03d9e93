"""File locks that die with their holder. Creates and locks files; removes none.

``flock(2)`` belongs to the open file, so the kernel releases it when the last process that has the
descriptor is gone, kill -9 included; and a child that inherits the descriptor keeps the lock. The
library ``filelock`` has the first property, but neither shared locks nor a descriptor to pass on.
Who holds a lock exclusively may remove its file: who waited for that file then takes the next one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from understudy.errors import SettingsError
from understudy.runner.filesystem import make_private

_PAUSE_S = 0.05
_FULL = {errno.ENOSPC, errno.EDQUOT}
"""Whoever fills a disk says so himself."""


def _proceed() -> None:
    """Keep waiting for a lock."""


class UnusableLockError(SettingsError, OSError):
    """A folder is read-only, or its file system refuses locks."""


class FileLock:
    """A lock on a file: many may hold it shared, or one exclusively. Hold it by ``with``."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextlib.contextmanager
    def exclusive(self, proceed: Callable[[], None] = _proceed) -> Iterator[int]:
        """Hold the lock alone; yields a descriptor that keeps the lock wherever it is inherited.

        Args:
            proceed: Called again and again while waiting; ends the wait by raising.
        """
        with self._held(fcntl.LOCK_EX, proceed) as descriptor:
            yield descriptor

    @contextlib.contextmanager
    def shared(self, proceed: Callable[[], None] = _proceed) -> Iterator[int]:
        """Hold the lock beside other readers, see ``exclusive``."""
        with self._held(fcntl.LOCK_SH, proceed) as descriptor:
            yield descriptor

    @contextlib.contextmanager
    def exclusive_if_free(self) -> Iterator[int | None]:
        """Hold the lock alone if nobody has it; yields None if somebody does, or just had it."""
        with self._if_free(fcntl.LOCK_EX) as descriptor:
            yield descriptor

    @contextlib.contextmanager
    def shared_if_free(self) -> Iterator[int | None]:
        """Hold the lock beside other readers; yields None if somebody has it alone."""
        with self._if_free(fcntl.LOCK_SH) as descriptor:
            yield descriptor

    @contextlib.contextmanager
    def _if_free(self, kind: int) -> Iterator[int | None]:
        descriptor = self._open()
        try:
            free = self._try(descriptor, kind) and self._is_current(descriptor)
            yield descriptor if free else None
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def _held(self, kind: int, proceed: Callable[[], None]) -> Iterator[int]:
        descriptor = self._locked(kind, proceed)
        try:
            yield descriptor
        finally:
            # Closing, not unlocking: a child that inherited the descriptor keeps the lock.
            os.close(descriptor)

    def _locked(self, kind: int, proceed: Callable[[], None]) -> int:
        while True:
            descriptor = self._open()
            try:
                # Polled: a flock that waits in the kernel could not be ended by `proceed`.
                while not self._try(descriptor, kind):
                    proceed()
                    time.sleep(_PAUSE_S)
                if self._is_current(descriptor):
                    return descriptor
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)

    def _is_current(self, descriptor: int) -> bool:
        """Whether the file that was locked is still the one at the lock's path."""
        # Its holder may have removed it while we waited: two processes would then hold "the" lock,
        # on two files of one name.
        try:
            return os.path.samestat(os.fstat(descriptor), self._path.stat())
        except FileNotFoundError:
            return False

    def _try(self, descriptor: int, kind: int) -> bool:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            raise self._unusable(error) from error
        return True

    def _open(self) -> int:
        try:
            make_private(self._path.parent)
            return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            if error.errno in _FULL:
                raise
            raise self._unusable(error) from error

    def _unusable(self, error: OSError) -> UnusableLockError:
        return UnusableLockError(
            f"The lock {self._path} cannot be had: {error.strerror}",
            allowed="a folder that this user may write to, on a file system that has flock(2):"
            " what is only read is locked, too, so that nobody removes it meanwhile",
            action="set UNDERSTUDY_CACHE, or TMPDIR, to such a folder, or make this one writable",
        )
