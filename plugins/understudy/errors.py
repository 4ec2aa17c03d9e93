"""Every error that Understudy raises, each in three parts, without secrets.

::

    UnderstudyError
    |-- DeclarationError            a pipeline file is wrong (found while Airflow parses it)
    |-- SettingsError               a setting of this machine, an environment variable, is wrong
    |-- ProjectError                repository, version, subdirectory or MLproject is wrong
    |   `-- ParameterError          a parameter does not fit the MLproject
    |-- RepositoryUnavailableError  the Git host does not answer                (a retry can help)
    |-- EnvironmentBuildError       an environment could not be built           (a retry can help)
    |-- StepFailedError             the entry point ended with an exit code or a signal
    |   `-- StepUnfitError          what it does can succeed in no run of ours
    |-- StepStoppedError            the entry point was stopped: time-out, clear, mark, shutdown
    |-- ClusterError                a cluster refuses a job, or cannot be used as it is set up
    |   `-- ClusterUnavailableError it does not answer                        (a retry can help)
    |-- TrackingUnavailableError    the tracking server does not answer         (a retry can help)
    |-- TrackingRefusedError        it answers: there is no such thing, or not for this user
    |-- RegistryError               the registry holds something that cannot be right
    |-- ServingError                a version does not start, or answers wrongly or too slowly
    `-- DecisionError               a decision record cannot be made, read or obeyed

Only at the operators' edge does one become Airflow's own "retry" or "fail now".
"""

from __future__ import annotations

import difflib
import re
import sys
import sysconfig
import warnings
from collections.abc import Iterable
from pathlib import Path
from types import FrameType
from typing import ClassVar, Final

from understudy.redact import plain_lines

EXIT_USAGE = 64
"""Exit code (sysexits.h EX_USAGE) by which an entry point says: called wrongly."""
EXIT_BAD_DATA = 65
"""Exit code (sysexits.h EX_DATAERR) by which an entry point says: the input is bad."""
# Other codes say nothing about the cause: what failed by chance may succeed when tried again.
_FINAL_EXIT_CODES = frozenset({EXIT_USAGE, EXIT_BAD_DATA})


_NOT_THE_USER_S: Final = (
    "<",
    *(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")),
    str(Path(__file__).parent),
)
"""How the names of files begin that are ours, Python's or of an installed package."""
# One blank alone, so that a program's megabyte of blanks is looked through once.
_ALLOWED, _NEXT = re.compile(r"\sAllowed: "), re.compile(r"\sNext: ")
# As Python shows a name or a value. An apostrophe within a word opens nothing.
_QUOTED = re.compile(r"""(?<!\w)(?:'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*")(?!\w)""")


class UnderstudyError(Exception):
    """The base of all. ``found``, ``allowed`` and ``action`` stay readable as attributes.

    Args:
        found: What was found, with the offending value. Where another error of three parts is in
            it, its *Allowed* and *Next* count: who knows the cause knows best what to do. Words
            in quotes do not: a column's name would give advice.
        allowed: What would have been right.
        action: What the reader does next.
    """

    retryable: ClassVar[bool] = False

    def __init__(self, found: str, *, allowed: str, action: str) -> None:
        found, *advice = three_parts(found)
        if advice:
            allowed, action = advice
        # They hold what data, projects and servers said, and go to logs, tags and messages.
        self.found, self.allowed, self.action = map(plain_lines, (found, allowed, action))
        super().__init__(
            f"{_sentence(self.found)} Allowed: {_sentence(self.allowed)}"
            f" Next: {_sentence(self.action)}"
        )

    @property
    def can_retry(self) -> bool:
        """Whether the same attempt, made again later, may succeed."""
        return self.retryable


def three_parts(text: str) -> list[str]:
    """Return the three parts of an error in a text; the text alone where there is none."""
    unquoted = _QUOTED.sub(lambda quoted: "-" * len(quoted[0]), text)
    allowed = _ALLOWED.search(unquoted)
    following = _NEXT.search(unquoted, allowed.end()) if allowed else None
    if allowed is None or following is None:
        return [text]
    again = _ALLOWED.search(unquoted, following.end())
    action = text[following.end() : again.start() if again else len(text)]
    found, permitted = text[: allowed.start()], text[allowed.end() : following.start()]
    return [part.rstrip() for part in (found, permitted, action)]


def sentences(reason: str) -> list[str]:
    """Return the sentences of a reason, which semicolons set apart; a three-part error is one."""
    apart = reason.split("; ")
    found: list[str] = []
    for piece in apart:
        if found and _is_open(found[-1]):
            found[-1] += f"; {piece}"
        else:
            found.append(piece)
    # What ends before its third part was cut off, or is no such error.
    return apart if _is_open(found[-1]) else found


def _is_open(text: str) -> bool:
    return len(three_parts(text)) == 1 and bool(_ALLOWED.search(text))


class DeclarationError(UnderstudyError):
    """A pipeline file does not declare a pipeline that can run; the message names its line."""

    def __init__(self, found: str, *, allowed: str, action: str) -> None:
        super().__init__(f"{_line_of_user()}{found}", allowed=allowed, action=action)


def _line_of_user() -> str:
    """Return ``"wine.py, line 12: "`` for the user's line that is being run; '' for none.

    Airflow shows an import error's last lines only, and those are ours.
    """
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 -- Python has no other way
    while frame is not None:
        file = frame.f_code.co_filename
        # `__main__` is a program: a command line, or a worker in which nobody's file is read.
        if frame.f_globals.get("__name__") == "__main__":
            return ""
        if not file.startswith(_NOT_THE_USER_S):
            return f"{Path(file).name}, line {frame.f_lineno}: "
        frame = frame.f_back
    return ""


class SettingsError(UnderstudyError):
    """An environment variable that sets something holds what cannot be."""


class ProjectError(UnderstudyError):
    """A repository, version, subdirectory or MLproject does not exist or cannot be used."""


class ParameterError(ProjectError):
    """A parameter is unknown, missing or of the wrong type for the MLproject."""


class RepositoryUnavailableError(UnderstudyError):
    """The Git host does not answer, and the commit is not on this machine."""

    retryable = True


class EnvironmentBuildError(UnderstudyError):
    """The environment of a project could not be built."""

    retryable = True


class StepFailedError(UnderstudyError):
    """An entry point ended badly. Exit codes 64 and 65 say that a retry cannot help."""

    def __init__(
        self,
        found: str,
        *,
        allowed: str,
        action: str,
        run_id: str = "",
        exit_code: int | None = None,
    ) -> None:
        super().__init__(found, allowed=allowed, action=action)
        self.run_id, self.exit_code = run_id, exit_code

    @property
    def can_retry(self) -> bool:
        """False where the entry point itself said that its input is bad."""
        return self.exit_code not in _FINAL_EXIT_CODES


class StepUnfitError(StepFailedError):
    """An entry point does what can succeed in no run of ours, and has to be changed."""

    @property
    def can_retry(self) -> bool:
        """Never: the same program does the same."""
        return False


class StepStoppedError(UnderstudyError):
    """An entry point was stopped from outside: time-out, clear, mark-failed or shutdown."""

    def __init__(self, found: str, *, allowed: str, action: str, run_id: str = "") -> None:
        super().__init__(found, allowed=allowed, action=action)
        self.run_id = run_id


class ClusterError(UnderstudyError):
    """A cluster refuses a job, or cannot be used as it is set up."""


class ClusterUnavailableError(ClusterError):
    """A cluster does not answer."""

    retryable = True


class TrackingUnavailableError(UnderstudyError):
    """The MLflow tracking server does not answer, or not as it should."""

    retryable = True


class TrackingRefusedError(UnderstudyError):
    """The MLflow server has no such run, model or artifact, or does not let this user have it."""


class RegistryError(UnderstudyError):
    """The model registry holds something that cannot be right, or refuses a move."""


class ServingError(UnderstudyError):
    """A version of a model does not serve as it must. Only what is slow may be tried again."""

    def __init__(self, found: str, *, allowed: str, action: str, can_retry: bool = False) -> None:
        super().__init__(found, allowed=allowed, action=action)
        self._can_retry = can_retry

    @property
    def can_retry(self) -> bool:
        """Whether it was a matter of time."""
        return self._can_retry


class DecisionError(UnderstudyError):
    """A decision record cannot be made, read, or obeyed."""


class ArtifactChangedError(DecisionError):
    """An artifact is not the one whose digest is on record.

    Args:
        artifact: Its address, ``runs:/<run id>/<path>`` or that of a model.
        what: How it differs.
    """

    def __init__(self, artifact: str, what: str) -> None:
        super().__init__(
            f"{artifact} has changed since its digest was noted: {what}",
            allowed="what was there when its digest was put on record",
            action="look who wrote to MLflow's store and restore it, or clear the task that made it"
            " and those after it; what was decided stays on record",
        )


def warn_of_old_name(old: str, write: str) -> None:
    """Warn a person that a name of the version before goes in the next one."""
    # As of `__main__`: Python shows a DeprecationWarning of any other module to nobody.
    message = f"{old} has a new name: write {write}"
    warnings.warn_explicit(message, DeprecationWarning, "understudy", 1, module="__main__")


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``" (did you mean 'x'?)"`` for the known name nearest to ``name``, or ``""``."""
    matches = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {matches[0]!r}?)" if matches else ""


def listed(names: Iterable[str]) -> str:
    """Return names sorted, quoted and joined for a message; ``"nothing"`` for none."""
    return ", ".join(repr(str(name)) for name in sorted(names)) or "nothing"


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."
