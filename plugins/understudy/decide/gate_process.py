"""Runs the gate's process and takes its answer. Starts a process, stoppable, bounded in time."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from understudy.decide.interpreter import GatePython, gate_python
from understudy.errors import DecisionError
from understudy.evaluation import exchange
from understudy.evaluation.exchange import Answer, Request
from understudy.redact import redacted
from understudy.runner.process.process import Command, Ending, OnLine, ProcessRunner
from understudy.runner.process.variables import step_environment
from understudy.runner.scratch import Scratch
from understudy.runner.settings import Settings

TIMEOUT: Final = 3600.0
"""Seconds that the gate's process may take. Ten million rows take minutes."""
LAUNCH: Final = Path(__file__).with_name("launch.py")
"""Starts a module of ours, named first, on a Python that has the gate's libraries only."""
_CHILD: Final = "understudy.evaluation.child"
_SHOWN_LINES: Final = 12


class Gatherer:
    """Has evidence gathered; ``stop`` ends the process that does it."""

    def __init__(self, settings: Settings, process_runner: ProcessRunner | None = None) -> None:
        self._settings = settings
        self._process_runner = process_runner or ProcessRunner()

    def gather(
        self, requests: Sequence[Request], scratch: Scratch, on_line: OnLine
    ) -> list[Answer]:
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
        asked, answered = scratch.folder / "requests.json", scratch.folder / "answers.json"
        exchange.write(asked, requests)
        said: deque[str] = deque(maxlen=_SHOWN_LINES)

        def note(line: str) -> None:
            said.append(line)
            on_line(line)

        with gate_python(self._settings, self._process_runner, on_line) as python:
            command = self._command(python, (asked, answered), scratch)
            ending = self._process_runner.run(command, note)
        self._process_runner.check()
        if not ending.ok:
            raise _failed(ending, said)
        return exchange.read(answered, Answer)

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


def _failed(ending: Ending, said: deque[str]) -> DecisionError:
    why = f"it took longer than {TIMEOUT:g} s" if ending.timed_out else redacted("\n".join(said))
    return DecisionError(
        f"The gate's process ended with {ending}{ending.likely_cause}: {why}",
        allowed="a process that compares the predictions to its end",
        action="read its lines in this log; a metric of your own may have failed",
    )
