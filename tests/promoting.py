"""Promotions in processes of their own, which can be killed after any call to MLflow."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from typing import Any

from mlflow.tracking import MlflowClient

from understudy.promotion import ledger
from understudy.promotion.mover import ChampionChangedError, Mover, Wanted
from understudy.tracking import RunStore

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["mlflow.tracking", "understudy.promotion.mover"])


def mover(uri: str, patience: float = 60) -> Mover:
    """Return a mover with a client of its own."""
    client = MlflowClient(uri)
    return Mover(client, RunStore(client), patience)


def started(target: Callable[..., None], *arguments: Any) -> Any:  # noqa: ANN401 -- a Process
    """Start a function of a module in a process of its own."""
    process = _CONTEXT.Process(target=target, args=arguments)
    process.start()
    return process


def move_and_die(uri: str, wanted: Wanted, calls: int, chapter: int = ledger.CHAPTER) -> None:
    """Move the alias, but die by kill -9 right after that many answers of the server.

    Args:
        uri: Of the server.
        wanted: The move.
        calls: How many answers.
        chapter: How many moves one run of the history takes.
    """
    ledger.CHAPTER = chapter  # type: ignore[misc]
    _after_each_answer(lambda number: number == calls and os.kill(os.getpid(), signal.SIGKILL))
    mover(uri).move(wanted)


def calls_of(uri: str, wanted: Wanted) -> int:
    """Move the alias; return how many calls that takes."""
    seen: list[int] = []
    undo = _after_each_answer(seen.append)
    try:
        mover(uri).move(wanted)
    finally:
        undo()
    return len(seen)


def race(uri: str, model: str, versions: list[str], name: str) -> None:
    """Promote one version after the other; where the champion changed, judge again."""
    racer = mover(uri)
    for version in versions:
        while True:
            champion = racer.look(model).champion
            try:
                racer.move(Wanted(model, version, champion, f"{name} {version}", actor=name))
            except ChampionChangedError:
                continue
            break


def _after_each_answer(act: Callable[[int], object]) -> Callable[[], None]:
    """Call ``act`` with the number of each answer that comes to this process; return the undo."""
    from requests.adapters import HTTPAdapter

    send, count = HTTPAdapter.send, iter(range(1, 10**9))

    def counted(*arguments: Any, **more: Any) -> Any:  # noqa: ANN401 -- as it is called
        answer = send(*arguments, **more)
        act(next(count))
        return answer

    HTTPAdapter.send = counted  # type: ignore[method-assign]

    def undo() -> None:
        HTTPAdapter.send = send  # type: ignore[method-assign]

    return undo
