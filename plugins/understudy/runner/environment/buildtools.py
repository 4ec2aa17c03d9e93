"""Runs the tools that build environments: uv, pip, conda, docker. Starts processes, stoppable.

They see the variables of a build and nothing of Airflow's, start outside every project, and hold
the locks of what they build: a tool whose worker was killed cannot meet the next builder.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from understudy.errors import EnvironmentBuildError
from understudy.redact import redacted
from understudy.runner.process.process import Command, Ending, OnLine, ProcessRunner
from understudy.runner.process.variables import build_environment

_KEPT_LINES = 30
_SHOWN_LINES = 8
_QUIET = {
    "UV_PYTHON_DOWNLOADS": "never",
    "UV_NO_PROGRESS": "1",
    "NO_COLOR": "1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_NO_INPUT": "1",
    "CONDA_ALWAYS_YES": "true",
    "MAMBA_ALWAYS_YES": "true",
}


@dataclass(frozen=True, slots=True)
class BuildTools:
    """Runs commands for one build.

    Attributes:
        process_runner: Ends the running command when the step is stopped.
        timeout: Seconds that one command may take.
        on_line: Takes what there is to tell of the build.
        locks: Descriptors of locks that the commands keep.
        variables: Further environment variables for the commands.
    """

    process_runner: ProcessRunner
    timeout: float
    on_line: OnLine
    locks: tuple[int, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)

    def run(self, *argv: str | Path, hint: str) -> str:
        """Run a command; return the last lines that it wrote.

        Args:
            argv: The command.
            hint: What would have been right, for the message of an error.

        Raises:
            EnvironmentBuildError: if it fails or takes too long.
            StepStoppedError: if the step was stopped.
        """
        return self._run(tuple(map(str, argv)), deque(maxlen=_KEPT_LINES), hint)

    def ask(self, *argv: str | Path) -> str:
        """Run a command that only looks; return all that it wrote. Raises as ``run`` does."""
        return self._run(tuple(map(str, argv)), deque(), "an environment that can be asked")

    def _run(self, argv: tuple[str, ...], said: deque[str], hint: str) -> str:
        command = Command(
            argv=argv,
            folder=Path(os.sep),  # paths are absolute; no other project's settings apply
            environment={**build_environment(os.environ), **_QUIET, **self.variables},
            timeout=self.timeout,
            grace=1.0,
            held_descriptors=self.locks,
        )
        ending = self._started(command, said)
        self.process_runner.check()
        if not ending.ok:
            raise _failed(argv[0], ending, list(said), hint)
        return "\n".join(said)

    def _started(self, command: Command, said: deque[str]) -> Ending:
        try:
            return self.process_runner.run(command, said.append)
        except OSError as error:
            raise EnvironmentBuildError(
                f"{command.argv[0]} cannot be started: {error.strerror}",
                allowed="a program that this worker's user may run",
                action="repair or remove it",
            ) from error


def _failed(tool: str, ending: Ending, said: list[str], hint: str) -> EnvironmentBuildError:
    why = "it took too long" if ending.timed_out else redacted("\n".join(said[-_SHOWN_LINES:]))
    return EnvironmentBuildError(
        f"The project's environment could not be built ({Path(tool).name}: {ending}): {why}",
        allowed=hint,
        action="correct what the project asks for, or try again if an index did not answer",
    )
