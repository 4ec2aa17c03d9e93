"""The gate's process: its Python, found or built; started, stoppable, bounded in time."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from understudy.errors import DecisionError, SettingsError
from understudy.gate import exchange
from understudy.gate.exchange import GateRequest, GateResult
from understudy.runner.environment.store import EnvironmentStore
from understudy.runner.process.habits import LastLines
from understudy.runner.process.process import Command, OnLine, ProcessRunner
from understudy.runner.process.variables import step_environment
from understudy.runner.projectfile import ProjectFile
from understudy.runner.scratch import Scratch
from understudy.runner.settings import Settings

PYTHON_VARIABLE: Final = "UNDERSTUDY_GATE_PYTHON"
"""Environment variable that names a Python with the extra ``gate``: nothing is built then."""
LIBRARIES: Final = ("numpy", "pandas", "pyarrow", "scipy", "sklearn")
USER: Final = "gate"
"""Whose environment it is, in the store."""
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
    if here := gate_python_here():
        yield GatePython(here)
    else:
        store = EnvironmentStore(settings, process_runner)
        # Not shared with projects that ask for the same packages: what their steps write into
        # theirs is not what judges them.
        with store.lease(project(), "uv", on_line, user=USER) as environment:
            folder = environment.bin or Path()
            yield GatePython(folder / "python", environment.locks)


def gate_python_here() -> Path | None:
    """Return the Python that is named or has the libraries; None where one has to be built.

    Raises:
        SettingsError: when the one that is named is not there.
    """
    if named := os.environ.get(PYTHON_VARIABLE):
        path = Path(named)
        if not os.access(path, os.X_OK):
            raise SettingsError(
                f"{PYTHON_VARIABLE} is {named!r}, which cannot be run",
                allowed="the path of a Python that has understudy's extra 'gate' installed",
                action="correct it where the worker is started, or unset it to have one built",
            )
        return path
    # Looked for and not imported: this is Airflow's process, which must not pay for numpy.
    return Path(sys.executable) if all(find_spec(name) for name in LIBRARIES) else None


def project() -> ProjectFile:
    """Return the gate's environment as a project that has nothing else."""
    return ProjectFile(_FOLDER, "gate", {}, "python_env", _FOLDER / "python_env.yaml")


TIMEOUT: Final = 3600.0
"""Seconds that the gate's process may take. Ten million rows take minutes."""
LAUNCH: Final = Path(__file__).with_name("launch.py")
"""Starts a module of ours, named first, on a Python that has the gate's libraries only."""
_CHILD: Final = "understudy.evaluation.child"


class GateProcess:
    """Has evidence gathered; ``stop`` ends the process that does it."""

    def __init__(self, settings: Settings, process_runner: ProcessRunner | None = None) -> None:
        self._settings = settings
        self._process_runner = process_runner or ProcessRunner()

    def run(
        self, requests: Sequence[GateRequest], scratch: Scratch, on_line: OnLine
    ) -> list[GateResult]:
        """Return what predictions say, an answer for each request.

        Args:
            requests: Files, rules, and who was compared before.
            scratch: Folders of this attempt.
            on_line: Takes each line that the process writes, and lines of our own.

        Raises:
            DecisionError: when the process fails or takes too long.
            EnvironmentBuildError: when its environment could not be built.
            StepStoppedError: when it was stopped.
        """
        requests_file, answers_file = (
            scratch.folder / "requests.json",
            scratch.folder / "answers.json",
        )
        exchange.write(requests_file, requests)
        last_lines = LastLines()

        def note(line: str) -> None:
            last_lines.hear(line)
            on_line(line)

        with gate_python(self._settings, self._process_runner, on_line) as python:
            command = self._command(python, (requests_file, answers_file), scratch)
            ending = self._process_runner.run(command, note)
        # A process that was stopped on purpose fails as well: that is no error of the comparison.
        self._process_runner.check()
        if not ending.ok:
            why = f"it took longer than {TIMEOUT:g} s" if ending.timed_out else str(last_lines)
            raise DecisionError(
                f"The gate's process ended with {ending}{ending.likely_cause}: {why}",
                allowed="a process that compares the predictions to its end",
                action="read its lines in this log; a metric of your own may have failed",
            )
        return exchange.read(answers_file, GateResult)

    def stop(self) -> None:
        """End the running process with all it started; safe in a signal handler."""
        self._process_runner.stop()

    def _command(self, python: GatePython, files: Sequence[Path], scratch: Scratch) -> Command:
        inherited = step_environment(os.environ, (), local=False)
        # It reads files and asks nobody: no address and no password of a server is its business.
        variables = {n: v for n, v in inherited.items() if not n.startswith("MLFLOW_")}
        return Command(
            # -P: what lies beside launch.py must not stand for modules of the same name.
            argv=(str(python.executable), "-P", str(LAUNCH), _CHILD, *map(str, files)),
            folder=scratch.folder,
            environment={
                **variables,
                "TMPDIR": str(scratch.temporary),
                "PYTHONUNBUFFERED": "1",
            },
            timeout=TIMEOUT,
            grace=self._settings.grace,
            held_descriptors=(scratch.lock, *python.locks),
            scratch=scratch.folder,
        )
