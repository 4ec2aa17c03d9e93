"""Finds the Python of the gate's process: one that is named, ours, or one built for it."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from understudy.errors import SettingsError
from understudy.runner.environment.environment import EnvironmentStore
from understudy.runner.process.process import OnLine, ProcessRunner
from understudy.runner.projectfile import ProjectFile
from understudy.runner.settings import Settings

PYTHON_VARIABLE: Final = "UNDERSTUDY_GATE_PYTHON"
"""Environment variable that names a Python with the extra ``gate``: nothing is built then."""
LIBRARIES: Final = ("numpy", "pandas", "pyarrow", "scipy", "sklearn")
_FOLDER: Final = Path(__file__).with_name("environment")


@dataclass(frozen=True, slots=True)
class GatePython:
    """A Python that has what the gate's statistics need, and the locks that keep it."""

    executable: Path
    locks: tuple[int, ...] = ()


@contextlib.contextmanager
def gate_python(
    settings: Settings, process_runner: ProcessRunner, on_line: OnLine
) -> Iterator[GatePython]:
    """Yield the Python of the gate's process, built if need be, that stays as long as it is held.

    Raises:
        SettingsError: when the one that is named is not there.
        EnvironmentBuildError: if it could not be built.
    """
    if named := os.environ.get(PYTHON_VARIABLE):
        yield GatePython(_checked(named))
    elif all(find_spec(name) for name in LIBRARIES):
        yield GatePython(Path(sys.executable))
    else:
        store = EnvironmentStore(settings, process_runner)
        with store.hold(project(), "uv", on_line) as environment:
            folder = environment.bin or Path()
            yield GatePython(folder / "python", environment.locks)


def project() -> ProjectFile:
    """Return the gate's environment as a project that has nothing else."""
    return ProjectFile(_FOLDER, "gate", {}, "python_env", _FOLDER / "python_env.yaml")


def _checked(named: str) -> Path:
    path = Path(named)
    if not os.access(path, os.X_OK):
        raise SettingsError(
            f"{PYTHON_VARIABLE} is {named!r}, which cannot be run",
            allowed="the path of a Python that has understudy's extra 'gate' installed",
            action="correct it where the worker is started, or unset it to have one built",
        )
    return path
