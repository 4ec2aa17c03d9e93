"""What can go wrong in a step, and the exit status that tells the caller whether a retry can help.

    StepError                    1   (never raised itself)
    |-- ParameterError          65   a parameter is wrong
    |-- DataError               65   the data is wrong
    |-- TrainingError           65   the training did not end in numbers
    |-- UnavailableError        69   something outside did not answer; a retry may help
        `-- StorageError        69   no room to write

The numbers are EX_DATAERR and EX_UNAVAILABLE of sysexits.h. Touches nothing.
"""

import difflib
from collections.abc import Iterable
from typing import ClassVar


class StepError(Exception):
    """An error whose message has three parts.

    Args:
        found: what was met, with the offending value.
        allowed: what would have been accepted.
        action: what to do next.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, found: str, *, allowed: str, action: str) -> None:
        super().__init__(found, allowed, action)
        self.found = found
        self.allowed = allowed
        self.action = action

    def __str__(self) -> str:
        return f"{self.found}. Allowed: {self.allowed}. Next: {self.action}."


class ParameterError(StepError):
    """A parameter that cannot be used; the same call fails again."""

    exit_code = 65


class DataError(StepError):
    """Data that cannot be used; the same data fails again."""

    exit_code = 65


class TrainingError(StepError):
    """A training that did not end in numbers; the same one fails again."""

    exit_code = 65


class UnavailableError(StepError):
    """A server or file store that did not answer as it should; a retry may help."""

    exit_code = 69


class StorageError(UnavailableError):
    """A disk without room for what has to be written."""


def short(text: str, most: int = 300) -> str:
    """Return the first line of a library's message, cut between words where it is too long."""
    line = (text.strip().splitlines() or [""])[0]
    if len(line) <= most:
        return line
    return f"{line[:most].rpartition(' ')[0] or line[:most]} ..."


def nearest(name: str, known: Iterable[str]) -> str:
    """Return " (did you mean 'x'?)" for the known name nearest to `name`, or '' if none is near."""
    lowered = {candidate.lower(): candidate for candidate in known}
    matches = difflib.get_close_matches(name.lower(), lowered, n=1)
    return f" (did you mean '{lowered[matches[0]]}'?)" if matches else ""
