"""One MLflow scoring server for one model, on loopback. Starts, asks and ends a process tree."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from understudy.errors import ServingError
from understudy.runner.environment.container import Surroundings
from understudy.runner.environment.store import Environment
from understudy.runner.process.habits import LastLines
from understudy.runner.process.process import Command, Ending, OnLine, ProcessRunner
from understudy.runner.process.variables import step_environment
from understudy.serving.answers import Question, complaint, shown

if TYPE_CHECKING:
    import httpx

INSIDE: Final = Path(__file__).with_name("inside")
_LOOPBACK: Final = "127.0.0.1"
_PAUSE: Final = 0.05
_REAPED_S: Final = 5.0
"""Seconds in which a server that has let a connection go is known to have ended."""
_FROM_OUTSIDE: Final = frozenset({signal.SIGKILL, signal.SIGTERM})
"""Signals that a model does not send itself, such as the kernel's when memory is short."""
_SECRET: Final = ("MLFLOW_TRACKING_", "MLFLOW_S3_", "MLFLOW_GATEWAY_")
"""Variables that a model does not need to predict."""


class ModelServer:
    """MLflow's server for one model, in its environment; ended with all that it started.

    Args:
        model: The model's folder.
        environment: Its environment, held for as long as the server lives.
        scratch: A folder of the server's own.
        on_line: Takes each line that it writes, from another thread.
    """

    def __init__(
        self, model: Path, environment: Environment, scratch: Path, on_line: OnLine
    ) -> None:
        self._model, self._environment, self._scratch = model, environment, scratch
        self._on_line, self._process_runner = on_line, ProcessRunner()
        self._last_lines = LastLines()
        self._thread = threading.Thread(target=self._run, name="model server", daemon=True)
        # Bound here and inherited: a free port that is only looked up may be taken before the
        # server starts. On loopback only, as the server knows no user and no password.
        self._socket = socket.create_server((_LOOPBACK, 0), backlog=2048)
        self._ending: Ending | None = None
        self._began = 0.0
        self.address = f"http://{_LOOPBACK}:{self._socket.getsockname()[1]}"

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self._thread.is_alive()

    @property
    def end(self) -> str:
        """How its process ended, and what is likely to have ended it."""
        ending = self._ending
        return f"{ending}{ending.likely_cause}" if ending else "no exit code"

    @property
    def last_lines(self) -> str:
        """What its process said of its end, or at last."""
        return str(self._last_lines)

    @property
    def was_ended(self) -> bool:
        """Whether something else than the model has ended it, the kernel for one."""
        return self._ending is not None and self._ending.signal in _FROM_OUTSIDE

    @property
    def ran_out_of_memory(self) -> bool:
        """Whether the kernel is known to have ended it for lack of memory."""
        return self.was_ended and self._ending is not None and self._ending.out_of_memory

    def start(self) -> None:
        """Start it; it answers later, see ``await_ready``."""
        self._began = time.monotonic()
        self._thread.start()

    def await_ready(self, seconds: float) -> float:
        """Wait until the model is loaded and the server answers; return how long that took.

        Raises:
            ServingError: when it ends instead, or takes longer than so many seconds.
        """
        deadline = self._began + seconds
        with asking(self.address, timeout=1.0) as client:
            while time.monotonic() < deadline:
                if not self.alive:
                    raise ServingError(
                        f"The model was to be loaded and served, and {self._end}",
                        allowed="a model that MLflow can load and serve in the environment that it"
                        " records",
                        action="correct what the last lines of the server's log name, and train"
                        " again",
                        can_retry=self.was_ended,
                    )
                # The server's own copy of the socket is enough. While this one is open, connections
                # to a server that has died would hang instead of being refused.
                if _answers(client):
                    self._socket.close()
                    return time.monotonic() - self._began
                time.sleep(_PAUSE)
        raise ServingError(
            f"The model's server did not answer within {seconds:g} s of its start",
            allowed="a server that has loaded its model by then",
            action="read its log; give it more time, or make the model quicker to load",
            can_retry=True,
        )

    def ask(self, client: httpx.Client, question: Question) -> object:
        """Return what it answers to a question.

        Args:
            client: Of ``asking``, for this server.
            question: What is posted.

        Raises:
            ServingError: naming question and answer, when there is no prediction.
        """
        import httpx

        headers = {"content-type": "application/json"}
        try:
            body = json.dumps(question.body, allow_nan=False)
            answer = client.post("/invocations", content=body, headers=headers)
            if answer.is_success:
                return json.loads(answer.text)
        except httpx.RequestError as error:
            # A broken connection usually means that the process died: its exit code says more than
            # the error, and is there once it was waited for. After a timeout it still computes.
            self._thread.join(0 if isinstance(error, httpx.TimeoutException) else _REAPED_S)
            if not self.alive:
                reason = f"no answer: {self._end}"
                raise _refused(question, reason, can_retry=self.was_ended) from error
            reason = f"no answer, {type(error).__name__}: {error}"
            raise _refused(question, reason, can_retry=True) from error
        # NaN in the question, or no JSON in the answer.
        except ValueError as error:
            raise _refused(question, f"that is no JSON: {error}") from error
        raise _refused(question, f"{answer.status_code}: {complaint(answer.text)}")

    def stop(self) -> None:
        """End it; requests that it is answering are answered first."""
        self._process_runner.stop()
        if self._thread.ident is not None:
            self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        """Run the process to its end, in a thread of ours."""
        script = INSIDE / "serve_model.py"
        descriptor = self._socket.fileno()
        command = command_in(
            self._environment,
            (str(script), str(self._model), str(descriptor)),
            self._scratch,
            (descriptor,),
        )
        around = Surroundings(code=self._model, scratch=self._scratch)

        def note(line: str) -> None:
            self._last_lines.hear(line)
            self._on_line(line)

        with self._environment.enter(command, around) as inside:
            self._ending = self._process_runner.run(inside, note)

    @property
    def _end(self) -> str:
        return f"its server ended with {self.end}: {self.last_lines or 'it said nothing'}"


def _refused(question: Question, answer: str, *, can_retry: bool = False) -> ServingError:
    advice = question.advice or "correct the model's signature or its predict for such a row"
    return ServingError(
        f"The served model gave no prediction for {question.name}: asked {shown(question.body)}, it"
        f" answered {answer}",
        allowed="an answer to every row that the model may be asked, also one with missing cells",
        action=f"{advice}, and train again; the whole request is in questions.json of the"
        " rehearsal's run, the server's words are in its server.log",
        can_retry=can_retry,
    )


@contextlib.contextmanager
def asking(address: str, timeout: float) -> Iterator[httpx.Client]:
    """Yield a client of a server on this machine, which no proxy of the environment is asked for.

    Args:
        address: Where the server is.
        timeout: Seconds for one answer.
    """
    import httpx

    with httpx.Client(base_url=address, timeout=timeout, trust_env=False) as client:
        yield client


def command_in(
    environment: Environment,
    arguments: tuple[str, ...],
    folder: Path,
    descriptors: tuple[int, ...] = (),
) -> Command:
    """Return the command that runs Python with some arguments in a model's environment.

    Args:
        environment: Which, held meanwhile.
        arguments: A script and what it is given.
        folder: Where it runs, and where its temporary files are.
        descriptors: Descriptors that it inherits.
    """
    # In an environment without a folder of its own, PATH finds the Python.
    python = environment.bin / "python" if environment.bin else Path("python")
    return Command(
        argv=(str(python), *arguments),
        folder=folder,
        environment=_variables(environment, folder),
        held_descriptors=(*environment.locks, *descriptors),
    )


def _variables(environment: Environment, folder: Path) -> Mapping[str, str]:
    """Return what a model needs to predict: no address of the tracking server, no password."""
    # A model runs code of its project's making for as long as it serves: it gets no credentials.
    inherited: dict[str, Any] = step_environment(os.environ, (), local=environment.is_on_path)
    kept = {name: value for name, value in inherited.items() if not name.startswith(_SECRET)}
    return {
        **kept,
        **environment.variables(kept.get("PATH", "")),
        "TMPDIR": str(folder),
        "PYTHONUNBUFFERED": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


def _answers(client: httpx.Client) -> bool:
    import httpx

    try:
        return client.get("/ping").is_success
    except httpx.TransportError:
        return False
