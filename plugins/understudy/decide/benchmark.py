"""What two models cost, measured in processes of their own on one machine in the same minutes.

Reads MLflow; builds environments, starts and ends processes.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from understudy.decide.candidates import (
    BenchmarkModel,
    Candidate,
    candidate,
    refuse_gone,
    training_run,
)
from understudy.errors import (
    DecisionError,
    RegistryError,
    StepStoppedError,
    TrackingUnavailableError,
    UnderstudyError,
)
from understudy.gate.budgets import Costs, Measurement, unmeasured
from understudy.redact import plain
from understudy.runner.environment.container import Surroundings
from understudy.runner.environment.store import Environment, EnvironmentStore
from understudy.runner.git.checkout import CheckoutStore
from understudy.runner.process.child import Children
from understudy.runner.process.habits import LastLines
from understudy.runner.process.process import Command, OnLine, ProcessRunner
from understudy.runner.scratch import Scratch, scratch_folder
from understudy.runner.settings import Settings
from understudy.runner.sources import Sources
from understudy.runner.step import Source
from understudy.serving.server import INSIDE

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient


_HERE: Final = Path(__file__).parent
_COORDINATOR: Final = _HERE / "benchmark_coordinator.py"
_WORKER: Final = INSIDE / "benchmark_worker.py"
_RESULT: Final = "measured.json"


@dataclass(frozen=True, slots=True)
class BenchmarkEffort:
    """How much is measured.

    Attributes:
        rounds: In each, either model predicts single rows and then many at once.
        calls: Predictions of single rows a round.
        seconds: After so many no further round begins.
        timeout: Seconds for everything, loading included.
    """

    rounds: int = 40
    calls: int = 20
    seconds: float = 60.0
    timeout: float = 900.0


@dataclass(frozen=True, slots=True)
class _ModelContext:
    """A project's code, environment and variables, while they are held."""

    source: Source
    environment: Environment
    variables: Mapping[str, str] = field(repr=False)


class BenchmarkRunner:
    """Measures one or two models; ``stop`` ends it."""

    def __init__(
        self, tracking_uri: str, settings: Settings, effort: BenchmarkEffort | None = None
    ) -> None:
        self._settings, self._effort = settings, effort or BenchmarkEffort()
        self._process_runner = ProcessRunner()
        checkouts = CheckoutStore(settings, self._process_runner)
        self._sources = Sources(checkouts, settings.git_access)
        self._environments = EnvironmentStore(settings, self._process_runner)
        self._children = Children(tracking_uri, settings)

    def measure(
        self,
        challenger: Candidate,
        champion: Candidate | None,
        rows: Sequence[Path],
        on_line: OnLine,
    ) -> Measurement:
        """Return what both models cost; a model that cannot be measured says why.

        Args:
            challenger: The model that this night trained.
            champion: The one in production; None where there is none.
            rows: Parquet files: the holdout, whose first rows are predicted, and the challenger's
                predictions where there are some; empty for the challenger's example.
            on_line: Takes what the processes print, and lines of our own.

        Raises:
            DecisionError: when measuring itself fails or takes too long.
            StepStoppedError: when it was stopped.
            TrackingUnavailableError: when the tracking server does not answer.
        """
        candidates = [one for one in (challenger, champion) if one is not None]
        source = tuple(str(file.absolute()) for file in rows) or (challenger.uri,)
        with (
            contextlib.ExitStack() as held,
            scratch_folder(self._settings.scratch) as scratch,
        ):
            contexts = [
                self._context(held, one, (source, scratch.folder / f"code-{number}"), on_line)
                for number, one in enumerate(candidates)
            ]
            costs = self._measured(candidates, contexts, (source, scratch), on_line)
        return Measurement(costs[0], costs[1] if champion is not None else None)

    def stop(self) -> None:
        """End what runs, with all its processes; safe in a signal handler."""
        self._process_runner.stop()

    def _context(
        self,
        held: contextlib.ExitStack,
        one: Candidate,
        where: tuple[Sequence[str], Path],
        on_line: OnLine,
    ) -> _ModelContext | str:
        """Return where a model can run, or why it cannot; its code is copied to a folder."""
        rows, folder = where
        try:
            source = held.enter_context(self._sources.lease(one.project, one.version))
            environment = held.enter_context(
                self._environments.lease(source.project, one.env_manager, on_line, one.environment)
            )
        except StepStoppedError:
            raise
        except UnderstudyError as error:
            return f"its environment cannot be had: {error}"
        if environment.manager == "docker":
            return "it runs in an image, whose times are not this machine's"
        # A model may write where it stands, and so does Python, which compiles the project's code.
        source = self._sources.private_copy(source, folder, self._process_runner.check)
        variables = self._children.variables(environment, one.environment, (one.uri, *rows))
        return _ModelContext(source, environment, variables)

    def _measured(
        self,
        candidates: Sequence[Candidate],
        contexts: Sequence[_ModelContext | str],
        where: tuple[Sequence[str], Scratch],
        on_line: OnLine,
    ) -> list[Costs]:
        ready = [i for i, context in enumerate(contexts) if not isinstance(context, str)]
        measured: list[dict[str, Any]] = [
            {"error": context if isinstance(context, str) else ""} for context in contexts
        ]
        workers, locks = [], list[int]()
        with contextlib.ExitStack() as inside:
            for i in ready:
                context = contexts[i]
                # The locks of environments are inherited by the coordinator: if this process dies,
                # nobody removes them under a model that is still predicting.
                if not isinstance(context, str):
                    workers.append(_worker(inside, context, candidates[i].uri, where))
                    locks += context.environment.locks
            if workers:
                self._run(workers, locks, where[1], on_line)
        results = json.loads((where[1].folder / _RESULT).read_text()) if workers else []
        for i, result in zip(ready, results, strict=True):
            measured[i] = result
        return [costs_of(one.name, said) for one, said in zip(candidates, measured, strict=True)]

    def _run(
        self,
        workers: Sequence[dict[str, Any]],
        locks: Sequence[int],
        scratch: Scratch,
        on_line: OnLine,
    ) -> None:
        effort, plan = self._effort, scratch.folder / "plan.json"
        terms = {"rounds": effort.rounds, "calls": effort.calls, "seconds": effort.seconds}
        # A worker's variables may be secrets: the file's mode is set before anything is in it.
        plan.touch(mode=0o600)
        plan.write_text(json.dumps({"workers": workers, **terms}), encoding="utf-8")
        command = Command(
            # -I -S: the coordinator needs the standard library only, starts in milliseconds so, and
            # imports nothing that lies in a folder of the project.
            argv=(sys.executable, "-I", "-S", str(_COORDINATOR), str(plan)),
            folder=scratch.folder,
            environment={"PATH": os.environ.get("PATH", os.defpath), "PYTHONUNBUFFERED": "1"},
            timeout=effort.timeout,
            grace=self._settings.grace,
            held_descriptors=(scratch.lock, *dict.fromkeys(locks)),
            scratch=scratch.folder,
        )
        last_lines = LastLines()

        def note(line: str) -> None:
            last_lines.hear(plain(line))
            on_line(plain(line))

        ending = self._process_runner.run(command, note)
        self._process_runner.check()
        if not ending.ok:
            how = "took too long" if ending.timed_out else f"ended with {ending}"
            raise _failed(f"{how}{ending.likely_cause}", str(last_lines))


def _worker(
    inside: contextlib.ExitStack,
    context: _ModelContext,
    uri: str,
    where: tuple[Sequence[str], Scratch],
) -> dict[str, Any]:
    """Return how a model's process is started, in whatever its environment needs around it."""
    source, scratch = where
    folder, environment = context.source.project.folder, context.environment
    python = str(environment.bin / "python") if environment.bin else "python"
    variables = {**context.variables, "TMPDIR": str(scratch.temporary)}
    bare = Command((python, str(_WORKER), uri, *source), folder, variables)
    around = Surroundings(code=folder, scratch=scratch.folder)
    command = inside.enter_context(environment.enter(bare, around))
    return {
        "argv": list(command.argv),
        "folder": str(command.folder),
        "variables": dict(command.environment),
    }


def costs_of(name: str, measured: dict[str, Any]) -> Costs:
    """Return what was measured of a model, or why nothing was.

    Raises:
        TrackingUnavailableError: when its files could not be fetched, though they are there.
    """
    if measured.get("unreachable"):
        reason = plain(measured["error"])[:500]
        raise TrackingUnavailableError(
            f"The files of the model {name} could not be fetched: {reason}",
            allowed="a tracking server that has them, and answers",
            action="check the server and its log; the task may simply be run again",
        )
    if measured.get("error"):
        return Costs(name, error=plain(measured["error"]))
    return Costs.from_dict({"model": name, **measured})


def _failed(how: str, last_lines: str) -> DecisionError:
    return DecisionError(
        f"Measuring what the models cost {how}: {last_lines or 'it said nothing'}",
        allowed="models that load and predict in the time there is",
        action="read the lines above, or leave out the gate's budgets",
    )


EFFORT: Final = BenchmarkEffort()
"""How much is measured at a gate."""
_NO_RUN: Final = "no run says which model its predictions are of"


@dataclass(frozen=True, slots=True)
class BenchmarkModels:
    """Both models of a comparison.

    Attributes:
        challenger: The challenger.
        champion: The champion; None without one.
        environment: Variables that their projects' processes are given; values may be secrets.
    """

    challenger: BenchmarkModel
    champion: BenchmarkModel | None
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)


class Benchmark:
    """Measures what models cost; ``stop`` ends it."""

    def __init__(self, client: MlflowClient, settings: Settings) -> None:
        self._client = client
        self._runner = BenchmarkRunner(client.tracking_uri, settings, EFFORT)

    def measure(
        self, models: BenchmarkModels, rows: Sequence[Path], on_line: OnLine
    ) -> Measurement:
        """Return what both models cost; where one cannot be measured, why.

        Args:
            models: Which ones.
            rows: As ``BenchmarkRunner.measure`` takes them.
            on_line: Takes what the processes print, and lines of our own.

        Raises:
            StepStoppedError: when it was stopped.
            TrackingUnavailableError: when the server does not answer.
        """
        challenger = self._found(models.challenger, models.environment)
        named = None if models.champion is None else models.champion.name
        found = (
            None if models.champion is None else self._found(models.champion, models.environment)
        )
        # The champion's costs alone decide nothing: budgets bind the challenger.
        if isinstance(challenger, Costs):
            alone = None if named is None else Costs(named, error="it would be alone")
            return Measurement(challenger, alone)
        champion = found if isinstance(found, Candidate) else None
        beside = f" beside {champion.name}" if champion else ""
        on_line(
            f"Measuring what {challenger.name} costs{beside}: about a minute, after their"
            " environments."
        )
        # What fails here is measuring, which is no fault of a model: its budgets stay undecided.
        # Stopped, or without a server, the task itself is to be tried again.
        try:
            measured = self._runner.measure(challenger, champion, rows, on_line)
        except (StepStoppedError, TrackingUnavailableError):
            raise
        except UnderstudyError as error:
            return unmeasured(challenger.name, named, error.found)
        return Measurement(measured.challenger, found) if isinstance(found, Costs) else measured

    def stop(self) -> None:
        """End what runs; safe in a signal handler."""
        self._runner.stop()

    def _found(self, model: BenchmarkModel, environment: Mapping[str, str]) -> Candidate | Costs:
        """Return what can be measured, or why it cannot."""
        if not model.uri:
            return Costs(model.name, error=_NO_RUN)
        try:
            run_id = training_run(self._client, model.uri)
            refuse_gone(self._client, model.uri)
            return candidate(self._client, model.name, model.uri, run_id, environment)
        except RegistryError as error:
            return Costs(model.name, error=error.found)
