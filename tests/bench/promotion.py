"""What faults do to promotions: the fault table, and how long a long history takes to read.

    make bench BENCH=promotion
        [BENCH_ARGS='--races 200 --by-hand 50 --restarts 100 --moves 10000 --json FILE']

Starts an MLflow server of its own on SQLite, in a temporary folder that it removes. Every fault is
made for real: kill -9 after each single answer of the server, answers lost on the way, racing
processes, moves by hand, a server that is killed and started again, files that cannot grow. After
each the same is checked: one complete champion, which is the one on record; every move that was
reported is on record, once; each begins where the one before ended.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from mlflow.entities import Param
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from tests.fixtures.loopback import first_time, lossy
from tests.fixtures.model_registry import calls_of, move_and_die, promoter, race, started

from bench.tracking_server import TrackingServer
from understudy.cli.terminal import render
from understudy.contract import CHAMPION, PREVIOUS
from understudy.errors import TrackingUnavailableError
from understudy.registry import history_log
from understudy.registry.alias_store import AliasStore
from understudy.registry.history import History, Move, MoveCause, MoveEnding, State
from understudy.registry.promoter import ChampionChangedError, MoveRequest
from understudy.registry.versions import Registry, TrainedModel
from understudy.store.tracking import RunStore

_CALLS = ("runs/create", "runs/log-parameter", "registered-models/alias", "set-tag")


@dataclass(frozen=True)
class Fault:
    """One line of the table: what was done, how often, what was lost, and how long it took."""

    name: str
    times: int
    lost: int
    note: str
    seconds: float


class Model:
    """A registered model with versions."""

    def __init__(self, uri: str, versions: int) -> None:
        self.uri, self.client = uri, MlflowClient(uri)
        self.name = f"model {uuid.uuid4().hex}"
        self.client.create_registered_model(self.name)
        self.run_id = self.client.create_run("0").info.run_id
        for _ in range(versions):
            self.client.create_model_version(self.name, f"runs:/{self.run_id}/model", self.run_id)

    def wanted(self, after: str, before: str | None) -> MoveRequest:
        """Return a move that is wanted."""
        return MoveRequest(self.name, after, before, f"to {after}")

    def lost(self, made: Sequence[str] = ()) -> int:
        """Return how much is wrong: with the champion, with the record, with what was reported."""
        history = promoter(self.uri, patience=0).settle(self.name).history
        whole = promoter(self.uri).history(self.name)
        found = self.client.get_registered_model(self.name).aliases
        after = [entry.move.after for entry in whole.moves]
        return sum(
            (
                str(found.get(CHAMPION)) != str(history.champion),
                history.previous is not None and str(found.get(PREVIOUS)) != history.previous,
                sum(one.move.after != two.move.before for one, two in pairwise(whole.moves)),
                sum(after.count(version) != 1 for version in made),
            )
        )


def killed(uri: str, *, by_others: bool) -> Fault:
    """Kill a promotion after each single answer of the server."""
    model, began = Model(uri, 40), time.monotonic()
    promoter(uri).move(model.wanted("1", None))
    calls, lost = calls_of(uri, model.wanted("2", "1")), 0
    champion = "2"
    for number in range(1, calls + 1):
        wanted = model.wanted(str(number + 2), champion)
        process = started(move_and_die, uri, wanted, number)
        process.join()
        aliases = model.client.get_registered_model(model.name).aliases
        lost += str(aliases.get(CHAMPION)) not in {champion, wanted.version}
        if by_others:
            champion = str(promoter(uri, patience=0).settle(model.name).champion)
        else:
            promoter(uri).move(wanted)
            champion = wanted.version
        lost += model.lost()
    who = "somebody else looks next" if by_others else "the same attempt is made again"
    seconds = time.monotonic() - began
    return Fault(f"kill -9 after each of {calls} calls, {who}", calls, lost, "", seconds)


def lost_answers(uri: str) -> Fault:
    """Drop an answer after the server did the work; the client repeats the call."""
    began, lost = time.monotonic(), 0
    for call in _CALLS:
        model = Model(uri, 1)
        with lossy(uri, first_time(call)) as address:
            promoter(address).move(model.wanted("1", None))
        lost += model.lost(["1"])
    return Fault("an answer lost on the way", len(_CALLS), lost, "", time.monotonic() - began)


def races(uri: str, promotions: int) -> Fault:
    """Promote from four processes at once; each judges again where the champion changed."""
    model, began = Model(uri, promotions), time.monotonic()
    every = [str(version) for version in range(1, promotions + 1)]
    racers = [
        started(race, uri, model.name, every[first::4], f"racer {first}") for first in range(4)
    ]
    for racer in racers:
        racer.join()
    seconds = time.monotonic() - began
    failed = sum(racer.exitcode != 0 for racer in racers)
    note = f"{promotions / seconds:.1f} moves a second"
    return Fault(
        "racing promotions, 4 processes", promotions, model.lost(every) + failed, note, seconds
    )


def by_hand(uri: str, times: int) -> Fault:
    """Move the alias by hand at any moment of a promotion."""
    model, began, noticed = Model(uri, 3), time.monotonic(), 0
    promoter(uri).move(model.wanted("1", None))
    for number in range(times):
        champion = promoter(uri).look(model.name).champion
        timer = threading.Timer(
            0.02 * number, model.client.set_registered_model_alias, (model.name, CHAMPION, "3")
        )
        timer.start()
        with contextlib.suppress(ChampionChangedError):
            promoter(uri).move(MoveRequest(model.name, "2", champion, f"night {number}"))
        timer.join()
        promoter(uri).settle(model.name)
        moves = promoter(uri).history(model.name).moves[-3:]
        noticed += any(entry.move.cause is MoveCause.OUTSIDE for entry in moves)
        champion = promoter(uri).look(model.name).champion
        promoter(uri).move(MoveRequest(model.name, "1", champion, f"back {number}"))
    note = f"{noticed} of {times} noticed; the others fell into the moment of our own call"
    return Fault("a move by hand during one of ours", times, model.lost(), note, _since(began))


def restarts(server: TrackingServer, promotions: int) -> Fault:
    """Kill the server and start it again, while promotions go on."""
    uri, over = server.address, threading.Event()
    model, began, count = Model(uri, promotions), time.monotonic(), 0

    def trouble() -> None:
        nonlocal count
        while not over.wait(3):
            server.kill()
            server.start()
            count += 1

    thread = threading.Thread(target=trouble)
    thread.start()
    for version in range(1, promotions + 1):
        before = str(version - 1) if version > 1 else None
        _again(lambda: promoter(uri).move(model.wanted(str(version), before)))  # noqa: B023
    over.set()
    thread.join()
    every = [str(version) for version in range(1, promotions + 1)]
    note = f"the server was killed {count} times"
    return Fault("server killed and restarted", promotions, model.lost(every), note, _since(began))


def full_disk(server: TrackingServer, times: int) -> Fault:
    """Let the server's files not grow while a version is registered and promoted."""
    uri, began, refused, lost = server.address, time.monotonic(), 0, 0
    model = Model(uri, 0)
    trained = TrainedModel(f"runs:/{model.run_id}/model", model.run_id)
    registry = Registry(model.client)

    def promote(number: int) -> str:
        version = registry.register(model.name, trained, f"key {number}")
        before = str(int(version) - 1) if int(version) > 1 else None
        promoter(uri, patience=0).move(model.wanted(version, before))
        return version

    for number in range(times):
        server.fill_disk()
        try:
            promote(number)
        except (TrackingUnavailableError, MlflowException):
            refused += 1
        finally:
            server.free_disk()
        lost += promote(number) != str(number + 1)
    every = [str(version) for version in range(1, times + 1)]
    note = f"{refused} attempts failed meanwhile, and were finished afterwards"
    return Fault("a disk that is full", times, lost + model.lost(every), note, _since(began))


def long_history(uri: str, moves: int) -> list[tuple[str, float]]:
    """Return how long a history of so many moves takes to read."""
    model = Model(uri, 2)
    promoter(uri).move(model.wanted("1", None))
    _fill(model, moves - 1)
    timings = []
    for name, act in (
        ("the champion, settled", lambda: promoter(uri).settle(model.name)),
        (f"the whole history, {moves} moves", lambda: promoter(uri).history(model.name)),
        ("one more move", lambda: promoter(uri).move(model.wanted("2", "1"))),
    ):
        began = time.monotonic()
        act()
        timings.append((name, time.monotonic() - began))
    whole = promoter(uri).history(model.name)
    if len(whole.entries) != moves + 1:
        raise AssertionError(len(whole.entries))
    _ask(whole)
    return timings


def _ask(history: History) -> None:
    middle = history.entries[len(history.entries) // 2]
    if history.at(datetime.fromisoformat(middle.move.at), datetime.now(UTC)) != ("1",):
        raise AssertionError(middle)


def _fill(model: Model, moves: int) -> None:
    """Put moves on record that lead from version 1 to version 1, many in one call."""
    runs = RunStore(model.client)
    aliases, keeper = AliasStore(model.client, runs), history_log.HistoryLog(model.client, runs)
    while moves:
        tail = aliases.alias_state(model.name).tail
        first, at = tail.history.next_number, aliases.now_text()
        run_id = keeper._chapter_of(tail, first)
        count = min(moves, history_log.CHAPTER - (first - 1) % history_log.CHAPTER, 50)
        lines = []
        for number in range(first, first + count):
            move = Move(
                number, at, "1", "1", MoveCause.NIGHT, "wine night", "rmse 4.1 beats 4.2", "k"
            )
            ended = MoveEnding(State.MOVED, at).to_json()
            lines += [Param(f"{number:08}", move.to_json()), Param(f"{number:08}.ended", ended)]
        model.client.log_batch(run_id, params=lines)
        keeper._open(model.name, run_id)
        moves -= count


def _again(act: Callable[[], object]) -> None:
    while True:
        try:
            act()
        except TrackingUnavailableError:
            time.sleep(0.2)
        else:
            return


def _since(began: float) -> float:
    return time.monotonic() - began


def _faults(server: TrackingServer, options: argparse.Namespace) -> Iterator[Fault]:
    uri = server.address
    yield killed(uri, by_others=False)
    yield killed(uri, by_others=True)
    yield lost_answers(uri)
    yield races(uri, options.races)
    yield by_hand(uri, options.by_hand)
    yield full_disk(server, 20)
    yield restarts(server, options.restarts)


def main(arguments: Sequence[str] | None = None) -> int:
    """Make all faults, print the table; exit code 1 if anything was lost."""
    parser = argparse.ArgumentParser(prog="bench promotion", description="What is lost?")
    parser.add_argument("--races", type=int, default=200)
    parser.add_argument("--by-hand", type=int, default=50)
    parser.add_argument("--restarts", type=int, default=100)
    parser.add_argument("--moves", type=int, default=10_000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    logging.getLogger("mlflow").setLevel(logging.WARNING)  # else a line per version
    os.environ.update(MLFLOW_HTTP_REQUEST_BACKOFF_JITTER="0", MLFLOW_HTTP_REQUEST_MAX_RETRIES="4")
    with tempfile.TemporaryDirectory(prefix="bench-promotion-") as place:
        server = TrackingServer(Path(place))
        server.start()
        try:
            faults = []
            for fault in _faults(server, options):
                faults.append(fault)
                sys.stdout.write(f"{fault.name}: {fault.times} times, {fault.lost} lost\n")
            timings = long_history(server.address, options.moves)
        finally:
            server.kill()
    rows = [
        [one.name, str(one.times), str(one.lost), f"{one.seconds:.0f} s", one.note]
        for one in faults
    ]
    sys.stdout.write(f"\n{render(['fault', 'times', 'lost', 'took', 'note'], rows)}\n\n")
    sys.stdout.write("".join(f"{name}: {seconds:.2f} s\n" for name, seconds in timings))
    if options.json:
        document = {"faults": [asdict(one) for one in faults], "history": dict(timings)}
        options.json.write_text(json.dumps(document, indent=2), encoding="utf-8")
    return int(any(fault.lost for fault in faults))
