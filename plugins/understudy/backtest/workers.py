"""Worker processes, and the queue of tasks for them. Starts processes, and ends them all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Final, Self

from understudy.backtest.place import BacktestFolder
from understudy.decide.gate_process import LAUNCH
from understudy.errors import StepFailedError, UnderstudyError
from understudy.runner.filesystem import remove_tree

THREADS: Final = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"
)
"""Nights run in parallel, so each one computes on one core, unless the user's variables differ."""
_WORKER: Final = "understudy.backtest.worker"
# Seconds: a worker whose stdin is closed ends its step before itself.
_GRACE_S: Final = 15.0
# Characters of a log's end that an error shows.
_SHOWN: Final = 600


@dataclass(frozen=True, slots=True)
class Task:
    """What a worker is to do: the name of a method, and its arguments."""

    do: str
    arguments: tuple[str, ...] = ()

    def to_json(self) -> str:
        """Return the question."""
        return json.dumps({"do": self.do, "with": self.arguments})


@dataclass(frozen=True, slots=True)
class TaskResult:
    """What became of a task: ``failed`` is empty where it was done."""

    task: Task
    done: Any = None
    failed: str = ""
    said: tuple[str, ...] = ()


class WorkerProcess:
    """One worker process."""

    def __init__(self, place: BacktestFolder, number: int, locks: Sequence[int]) -> None:
        work = place.work(number)
        # What an earlier worker of this number left is worth nothing: its store, and its log.
        if work.is_dir():
            remove_tree(work)
        work.mkdir(parents=True)
        self._log = work / "log.txt"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", LAUNCH, _WORKER, place.folder.absolute(), str(number)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                encoding="utf-8",
                env={**THREADS, **os.environ, "PYTHONUNBUFFERED": "1"},
                pass_fds=locks,
                # Ctrl-C of a terminal reaches the backtest alone, which ends its workers in order.
                start_new_session=True,
            )

    def ask(self, task: Task) -> TaskResult:
        """Do a task, and wait for its result.

        Raises:
            StepFailedError: when the worker ended without an answer.
        """
        process = self._process
        if process.stdin is None or process.stdout is None:
            raise ValueError(task)
        line = ""
        try:
            process.stdin.write(task.to_json() + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        # It is gone; or it was dismissed, which closes the file: a ValueError in Python.
        except (BrokenPipeError, ValueError):
            line = ""
        if not line:
            code = process.wait()
            end = self._log.read_text(encoding="utf-8", errors="replace")[-_SHOWN:].strip()
            raise StepFailedError(
                f"A worker ended with exit code {code}: {end or 'it said nothing'}",
                allowed="workers that live as long as the backtest",
                action="read the lines above, then start the backtest again: it goes on",
            )
        answer = json.loads(line)
        said = tuple(answer.get("said", ()))
        return TaskResult(task, answer.get("done"), answer.get("failed", ""), said)

    def dismiss(self) -> None:
        """Ask the worker to end, with all that it runs."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.close()

    def wait(self) -> None:
        """Wait for the worker's end; do not wait for ever."""
        try:
            self._process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


class WorkerPool:
    """Several workers; leave the ``with`` block and they are gone."""

    def __init__(self, place: BacktestFolder, size: int, lock: int) -> None:
        self._place, self._size, self._lock = place, size, lock
        self._workers: list[WorkerProcess] = []

    def __enter__(self) -> Self:
        self._workers = [WorkerProcess(self._place, i, (self._lock,)) for i in range(self._size)]
        return self

    def __exit__(self, *_: object) -> None:
        # All of them first: they stop their steps at the same time.
        for worker in self._workers:
            worker.dismiss()
        for worker in self._workers:
            worker.wait()

    def ask(self, task: Task) -> TaskResult:
        """Do one task on the first worker."""
        return self._workers[0].ask(task)

    def ask_all(self, tasks: Iterable[Task], on_answer: Callable[[TaskResult], None]) -> None:
        """Do tasks in parallel; ``on_answer`` takes each result as it comes, in this thread.

        Raises:
            UnderstudyError: when a worker was lost.
        """
        waiting: SimpleQueue[Task] = SimpleQueue()
        for task in tasks:
            waiting.put(task)
        answers: SimpleQueue[TaskResult | UnderstudyError | None] = SimpleQueue()
        for worker in self._workers:
            # Daemons: after an error nobody waits for threads whose workers are in a step.
            threading.Thread(target=_serve, args=(worker, waiting, answers), daemon=True).start()
        busy = len(self._workers)
        while busy:
            answer = answers.get()
            if isinstance(answer, UnderstudyError):
                raise answer
            if answer is None:
                busy -= 1
            else:
                on_answer(answer)


def _serve(
    worker: WorkerProcess,
    waiting: SimpleQueue[Task],
    answers: SimpleQueue[TaskResult | UnderstudyError | None],
) -> None:
    """Keep one worker busy; None means that no task is left."""
    try:
        while True:
            answers.put(worker.ask(waiting.get_nowait()))
    except Empty:
        answers.put(None)
    except UnderstudyError as error:
        answers.put(error)
