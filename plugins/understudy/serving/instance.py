"""One version behind one or more of MLflow's servers, all in the environment that it records."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from understudy.contract import Tag
from understudy.errors import ServingError
from understudy.runner.environment.store import Environment, EnvironmentStore
from understudy.runner.process.process import OnLine, ProcessRunner
from understudy.runner.scratch import scratch_folder
from understudy.runner.settings import Settings
from understudy.serving.answers import Question, difference, shown
from understudy.serving.place import MANAGERS, OwnCopy, downloaded, environment_of
from understudy.serving.server import ModelServer, asking
from understudy.store.artifacts import found
from understudy.store.tracking import RunStore, refusals, tracking_errors

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

REHEARSAL: Final = "rehearsal"
QUESTIONS: Final = f"{REHEARSAL}/questions.json"
RECORD: Final = f"{REHEARSAL}/rehearsal.json"
"""Artifacts of a rehearsal's run, by which a version is known to answer rightly."""
# Seconds for one answer.
_SLOWEST: Final = 60.0


@dataclass(frozen=True, slots=True)
class ServingTerms:
    """How versions are served.

    Attributes:
        workers: Processes for one version.
        manager: What builds their environments; '' for what built that of the rehearsal, or uv.
        startup: Seconds that one may take to load.
    """

    workers: int = 1
    manager: str = ""
    startup: float = 300.0


class Instance:
    """A version that answers. Requests are counted, so that the last one can be waited for."""

    def __init__(self, version: str, servers: list[ModelServer], close: Callable[[], None]) -> None:
        self.version, self._close = version, close
        self._busy = dict.fromkeys(servers, 0)
        self._kept_free: set[ModelServer] = set()
        self._suspects: dict[ModelServer, int] = {}
        self._idle = threading.Condition()

    @property
    def alive(self) -> bool:
        """Whether one of its servers runs."""
        return any(server.alive for server in self._busy)

    @property
    def dead(self) -> list[ModelServer]:
        """Those of its servers that have ended."""
        return [server for server in self._busy if not server.alive]

    @contextmanager
    def answering(self, chosen: ModelServer | None = None) -> Iterator[ModelServer | None]:
        """Yield the server for a request, which counts as busy meanwhile; None where none is up.

        Args:
            chosen: The server; None for the least busy one.
        """
        # A model may take long for one request: the next one goes where fewest wait.
        with self._idle:
            server = chosen or self._least_busy()
            if server is not None:
                self._busy[server] += 1
        try:
            yield server
        finally:
            with self._idle:
                if server is not None:
                    self._busy[server] -= 1
                self._idle.notify_all()

    @contextmanager
    def kept_free(self) -> Iterator[ModelServer | None]:
        """Yield a server that is given no further request meanwhile; None where none is up."""
        with self._idle:
            server = self._least_busy()
            if server is not None:
                self._kept_free.add(server)
        try:
            yield server
        finally:
            with self._idle:
                self._kept_free -= {server}

    def is_idle(self, server: ModelServer) -> bool:
        """Whether a server answers nothing at the moment."""
        return not self._busy[server]

    def suspects(self, server: ModelServer) -> int:
        """Return how many requests a server held when its connections broke.

        Called by each of them before it is counted off; the server is given none from then on.
        """
        with self._idle:
            return self._suspects.setdefault(server, self._busy[server])

    def trust(self, server: ModelServer) -> None:
        """Give a server requests again: it runs, though it has let a connection go."""
        with self._idle:
            self._suspects.pop(server, None)

    def _least_busy(self) -> ModelServer | None:
        """Return a server that may be asked. Needs the lock."""
        up = [
            server
            for server in self._busy
            if server.alive and server not in self._kept_free and server not in self._suspects
        ]
        return min(up, key=self._busy.__getitem__, default=None)

    def close(self, patience: float = 0.0) -> None:
        """End its servers, after the requests that it is answering or some seconds."""
        with self._idle:
            self._idle.wait_for(lambda: not any(self._busy.values()), patience)
        self._close()


class Opener:
    """Brings versions up, one after the other.

    Args:
        client: Of the tracking server.
        terms: How they are served.
        on_line: Takes the servers' lines, and ours.
        settings: Where environments and temporary files are.
    """

    def __init__(
        self, client: MlflowClient, terms: ServingTerms, on_line: OnLine, settings: Settings
    ) -> None:
        self._client, self._runs, self._terms = client, RunStore(client), terms
        self._on_line, self._settings = on_line, settings
        self._process_runner = ProcessRunner()
        self._starting: list[ModelServer] = []

    def open(self, model: str, version: str) -> Instance:
        """Return a version that has loaded, and answers as it did in its rehearsal.

        Raises:
            ServingError: when it does not.
            RegistryError: when its files or its record of an environment are missing.
            EnvironmentBuildError: when its environment cannot be built.
            TrackingUnavailableError: when the tracking server does not answer.
        """
        with ExitStack() as stack, refusals():
            scratch = stack.enter_context(scratch_folder(self._settings.scratch))
            folder = downloaded(self._client, model, version, scratch.inputs)
            rehearsed = self._rehearsed(model, version, scratch.inputs)
            loaded = self._loaded(stack, version, folder, rehearsed, scratch.temporary)
        try:
            self.copy_of(model).keep(version, folder, asdict(rehearsed))
        except OSError as error:
            self._on_line(
                f"WARNING no copy of version {version} is kept for a later start: {error}"
            )
        return loaded

    def open_kept(self, model: str) -> tuple[Instance, float] | None:
        """Return the champion that was last served here, from this machine's own copy.

        Returns:
            It, and how many seconds ago the registry last said that it is champion; None where
            there is no copy.

        Raises:
            UnderstudyError: as ``open`` does.
        """
        if (kept := self.copy_of(model).found()) is None:
            return None
        with ExitStack() as stack:
            scratch = stack.enter_context(scratch_folder(self._settings.scratch))
            # The next champion's copy takes the place of this one, whose server may read it again.
            folder = shutil.copytree(kept.folder, scratch.inputs / "model")
            questions = tuple(Question(**one) for one in kept.about["questions"])
            rehearsed = _Rehearsed(questions, kept.about["tolerance"], kept.about["manager"])
            return self._loaded(stack, kept.version, folder, rehearsed, scratch.temporary), kept.age

    def copy_of(self, model: str) -> OwnCopy:
        """Return where this machine keeps its copy of a model's champion."""
        return OwnCopy(self._settings.cache, self._client.tracking_uri, model)

    def _loaded(
        self, stack: ExitStack, version: str, folder: Path, rehearsed: _Rehearsed, scratch: Path
    ) -> Instance:
        """Return a version that answers as it did; what the stack holds is the instance's then."""
        # An environment built by the manager of the rehearsal is the one that has answered.
        manager = MANAGERS.get(rehearsed.manager, rehearsed.manager)
        store = EnvironmentStore(self._settings, self._process_runner)
        lease = store.lease(environment_of(folder, manager), manager, self._on_line)
        environment = stack.enter_context(lease)
        servers = self._started(stack, folder, environment, scratch)
        for server in servers:
            server.await_ready(self._terms.startup)
            _ask(server, rehearsed)
        # A server that is being stopped still answers what it was asked.
        self._process_runner.check()
        # Until here an error closes everything; from here on the instance does, when it ends.
        return Instance(version, servers, stack.pop_all().close)

    def stop(self) -> None:
        """End what is being built or loaded; nothing is opened afterwards."""
        self._process_runner.stop()
        for server in self._starting:
            server.stop()

    def _started(
        self, stack: ExitStack, folder: Path, environment: Environment, scratch: Path
    ) -> list[ModelServer]:
        servers = [
            ModelServer(folder, environment, scratch, self._on_line)
            for _ in range(self._terms.workers)
        ]
        # Known to `stop` first, and only then checked: a stop in between reaches one or the other.
        self._starting = servers
        self._process_runner.check()
        for server in servers:
            stack.callback(server.stop)
            server.start()
        return servers

    def _rehearsed(self, model: str, version: str, into: Path) -> _Rehearsed:
        """Return what is kept of the version's rehearsal."""
        with tracking_errors():
            tags = self._client.get_model_version(model, version).tags
        run_id = tags.get(Tag.REHEARSAL_RUN.value, "")
        run = self._runs.found(run_id) if run_id else None
        documents: dict[str, dict[str, Any]] = {RECORD: {}, QUESTIONS: {}}
        # Of a version without a rehearsal, or whose rehearsal was deleted, nothing is asked: it has
        # become champion all the same, by a person's hand or under rules without one.
        for name in documents:
            file = None if run is None else found(self._client, run, name, into)
            if file is not None:
                documents[name] = json.loads(file.read_text(encoding="utf-8"))
        record = documents[RECORD]
        return _Rehearsed(
            questions=tuple(Question(**one) for one in documents[QUESTIONS].get("questions", [])),
            tolerance=record.get("terms", {}).get("tolerance", 0.0),
            manager=self._terms.manager or record.get("manager", "uv"),
        )


@dataclass(frozen=True, slots=True)
class _Rehearsed:
    """What is kept of a version's rehearsal: nothing is asked of one that had none."""

    questions: tuple[Question, ...]
    tolerance: float
    manager: str


def _ask(server: ModelServer, rehearsed: _Rehearsed) -> None:
    """Ask a server what its version was asked in its rehearsal, with the tolerance of then.

    Raises:
        ServingError: when it does not answer, or answers something else.
    """
    with asking(server.address, _SLOWEST) as client:
        for question in rehearsed.questions:
            answer = server.ask(client, question)
            if wrong := difference(question, answer, rehearsed.tolerance):
                raise ServingError(
                    f"The version does not answer as in its rehearsal: {wrong}; asked"
                    f" {shown(question.body)}",
                    allowed="the answers that it gave before it became champion",
                    action="read the server's lines above; roll back if the champion is broken",
                )
