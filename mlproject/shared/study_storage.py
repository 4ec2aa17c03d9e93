"""Where a study is kept: a file on this machine, or a database that several machines reach.

A journal file is what Optuna advises for several processes that share a file: every change is
appended at once, so that a killed process loses nothing that it told. Touches that file, or the
database, and the environment variable OPTUNA_STORAGE, which Optuna's own commands read, too.
"""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from shared.errors import ParameterError, UnavailableError, short

VARIABLE = "OPTUNA_STORAGE"
FROM_ENVIRONMENT = "env:"
DATABASES = ("sqlite", "postgresql", "mysql")
SUFFIX = ".journal"
BUSY_SECONDS = 60  # for which a writer waits for another one of the same SQLite file


def address_of(given: str, project: str) -> str:
    """Return where studies are kept: what was given, the environment's, or this user's folder.

    Args:
        given: parameter `storage`.
        project: name of the project, whose studies have a folder of their own.

    Raises:
        ParameterError: for a password in a parameter, a variable that is not set, or a database
            of another kind.
    """
    if given.startswith(FROM_ENVIRONMENT):
        name = given.removeprefix(FROM_ENVIRONMENT)
        address = os.environ.get(name, "")
        if not address:
            raise ParameterError(
                f"storage is '{given}' and the step has no variable {name}",
                allowed="the name of an environment variable that the step is given",
                action=f"set {name} where the step runs",
            )
    else:
        _refuse_password(given)
        base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
        own = Path(base) / project / "studies"
        address = given or os.environ.get(VARIABLE, "") or str(own)
    scheme, colon, _ = address.partition("://")
    if colon and scheme.partition("+")[0] not in DATABASES:
        raise ParameterError(
            f"storage is of the kind '{scheme}'",
            allowed=f"a folder, a file, or a URL that begins with {', '.join(DATABASES)}",
            action="correct -P storage=...",
        )
    return address


def _refuse_password(address: str) -> None:
    parts = urlsplit(address)
    if parts.password or (parts.scheme and "password" in parse_qs(parts.query)):
        raise ParameterError(
            f"storage holds a password: {without_password(address)}",
            allowed="an address without one (parameters are stored and shown)",
            action=f"set the environment variable {VARIABLE} to the address, and leave storage out",
        )


def without_password(address: str) -> str:
    """Return an address that may be shown."""
    if "://" not in address:
        return address
    parts = urlsplit(address)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()


def open_storage(address: str, study: str) -> BaseStorage:
    """Return the storage at an address; it is made where there is none.

    Args:
        address: what `address_of` returned.
        study: name of the study, which has a file of its own in a folder.

    Raises:
        UnavailableError: if the database does not answer, or the file cannot be written.
    """
    try:
        if "://" in address:
            return _database(address)
        return _journal(Path(address).expanduser(), study)
    except Exception as error:  # noqa: BLE001 - each driver has errors of its own
        raise UnavailableError(
            f"the study's storage {without_password(address)} cannot be used: "
            f"{_first_line(error, address)}",
            allowed="a folder that can be written, or a database that answers",
            action=f"start the database, or correct storage (or the variable {VARIABLE})",
        ) from None  # the database's own error names the password


def _first_line(error: Exception, address: str) -> str:
    text = short(str(error).replace(address, without_password(address)))
    return text or type(error).__name__


def _database(address: str) -> RDBStorage:
    if not address.startswith("sqlite"):
        # A connection that the server has closed meanwhile is opened anew.
        return RDBStorage(address, engine_kwargs={"pool_pre_ping": True})
    path = Path(address.partition(":///")[2] or "studies.db")
    with _held(path.with_name(f"{path.name}.setup")):  # two that make tables at once would fail
        return RDBStorage(address, engine_kwargs={"connect_args": {"timeout": BUSY_SECONDS}})


def _journal(path: Path, study: str) -> JournalStorage:
    file = path / f"{study}{SUFFIX}" if path.is_dir() or not path.suffix else path
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = _FileLock(file)
    with _held(lock.path):
        _heal(file)
    return JournalStorage(_JournalFile(file, lock))


def _heal(file: Path) -> None:
    """Cut off a last line that a machine without power did not finish: nobody was told of it."""
    if not file.exists():
        return
    content = file.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        os.truncate(file, whole)


class _FileLock(JournalFileOpenLock):
    """A lock of the kernel's, which goes with its process; Optuna's own would stay for 30 s."""

    def __init__(self, file: Path) -> None:
        super().__init__(str(file))
        self.path = file.with_name(f"{file.name}.lock")
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Wait for the lock."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Give it back."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class _JournalFile(JournalFileBackend):
    """Optuna's journal, synced to the disk when a trial ends, not at every step towards that.

    A killed process loses nothing in either case. A machine without power may lose the trials that
    were being done, which are done again; and a trial has some ten entries, each sync of which
    takes milliseconds.
    """

    def __init__(self, file: Path, lock: _FileLock) -> None:
        super().__init__(str(file), lock_obj=lock)
        self._file, self._own_lock = file, lock

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append entries, as one piece."""
        content = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        self._own_lock.acquire()
        try:
            with self._file.open("ab", buffering=0) as opened:
                opened.write(content.encode())
                if any("datetime_complete" in log for log in logs):
                    os.fsync(opened.fileno())
        finally:
            self._own_lock.release()


@contextlib.contextmanager
def _held(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
