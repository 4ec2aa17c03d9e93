"""The record of which processes a stack started: one JSON file, replaced whole at each change."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from understudy.devstack.errors import StackError
from understudy.devstack.identity import Identity


@dataclass(frozen=True)
class Record:
    """What was started.

    Attributes:
        mark: The word that every process of the stack carries in its environment.
        processes: The leaders of the sessions, by component.
    """

    mark: str = field(default_factory=lambda: secrets.token_hex(16))
    processes: Mapping[str, Identity] = field(default_factory=dict)

    def with_process(self, name: str, identity: Identity) -> Record:
        """The record with one more process."""
        return replace(self, processes={**self.processes, name: identity})

    def alive(self) -> dict[str, bool]:
        """Whether each component's process lives."""
        return {name: identity.alive() for name, identity in self.processes.items()}


def read(path: Path) -> Record | None:
    """The record; None when nothing was started.

    Raises:
        StackError: the file is not one that this program wrote.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
        processes = {name: Identity(**value) for name, value in content["processes"].items()}
        return Record(content["mark"], processes)
    except FileNotFoundError:
        return None
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise StackError(
            f"{path} is not a record of a stack ({error})",
            allowed="the file as it was written",
            action="end what still runs by hand, then remove the file",
        ) from error


def write(path: Path, record: Record) -> None:
    """Writes the record so that it is whole or not there, even if the power fails."""
    processes = {
        name: {"pid": process.pid, "birth": process.birth}
        for name, process in record.processes.items()
    }
    draft = path.with_suffix(".draft")
    with draft.open("w", encoding="utf-8") as handle:
        json.dump({"mark": record.mark, "processes": processes}, handle, indent=2)
        handle.flush()
        os.fsync(handle.fileno())
    draft.replace(path)


@contextmanager
def exclusively(path: Path) -> Iterator[None]:
    """Holds the stack's lock, so that it is not started and ended at the same time.

    Raises:
        StackError: another program holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StackError(
                f"Another make is starting or ending this stack (it holds {path})",
                allowed="one at a time",
                action="wait until it is done, or end it, then run this again",
            ) from error
        yield
