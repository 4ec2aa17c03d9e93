"""``understudy history``: every move of a model's champion, or what was in production when."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

from understudy.cli.arguments import client, known_model, mlflow_errors, moment
from understudy.cli.terminal import add_json, print_json, render
from understudy.redact import plain
from understudy.registry.history import Entry, History, State

_TITLES = ("move", "when (UTC)", "from", "to", "cause", "who", "why")
_UNDER_WAY = "under way"
# Characters of the drawing: wider, and the eye loses the line.
_WIDEST = 120
# Characters of a line that no terminal shows: all columns are beside each other.
_OF_A_FILE = 240


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Shows every move of the alias champion: when, from which version to which, why and by "
        "whom. Changes nothing in MLflow: permission to read is enough."
    )
    parser.add_argument("model", help="the registered model")
    parser.add_argument(
        "--at",
        type=moment,
        metavar="MOMENT",
        help="only say what was in production then: an ISO date or time, UTC unless it says",
    )
    parser.add_argument(
        "--last", type=int, default=20, metavar="N", help="how many moves to show; 0 for all"
    )
    add_json(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from understudy.registry.promoter import Promoter
    from understudy.store.tracking import RunStore

    made = client()
    with mlflow_errors():
        promoter = Promoter(made, RunStore(made))
        history = promoter.look(options.model).history
        # A model that was deleted or renamed still has its history.
        if not history.entries:
            known_model(made, options.model)
        # A look reads the newest part of the history only; all of it is read where that is short.
        if options.at is not None or not 0 < options.last <= len(history.entries):
            history = promoter.history(options.model)
    if options.at is not None:
        versions = [_version(version) for version in history.at(options.at, datetime.now(UTC))]
        # MLflow keeps no time of an alias's move (3.17): one that was made there lies between two
        # looks at the alias, and in that time either version may have been in production.
        later = f", or already {versions[1]}: the move was noticed later" if versions[1:] else ""
        print(f"{versions[0]}{later}")
        return 0
    shown = history.entries[-options.last :] if options.last else history.entries
    if options.json:
        print_json(
            {**asdict(one.move), "ending": None if one.ending is None else asdict(one.ending)}
            for one in shown
        )
        return 0
    print(plain(f"{history.model}: {_state(history)}"))
    if shown:
        for_eyes = sys.stdout.isatty()
        width = min(shutil.get_terminal_size().columns, _WIDEST) if for_eyes else _OF_A_FILE
        print(render(list(_TITLES), [_row(entry) for entry in shown], width))
        # A program reads the table, or --json.
        if for_eyes:
            print(timeline(shown, datetime.now(UTC), width))
    return 0


def timeline(entries: Sequence[Entry], now: datetime, width: int) -> str:
    """Draw who was champion when, as two lines: the reigns to scale, and the days at the ends.

    Args:
        entries: Moves, the earliest first; those that came to nothing are left out.
        now: The end of the last reign.
        width: Characters of a line.
    """
    moved = [one.move for one in entries if one.moved]
    begins = [datetime.fromisoformat(move.at) for move in moved]
    if not begins:
        return ""
    # However short a reign was, its version is read: those that are too short borrow from the rest.
    names = [f"|{move.after or '-'} " for move in moved]
    room = max(width - sum(map(len, names)) - 1, 0)
    ends = [*begins[1:], max(now, begins[-1])]
    whole = max((ends[-1] - begins[0]).total_seconds(), 1.0)
    shares = [
        (end - begin) / timedelta(seconds=whole) for begin, end in zip(begins, ends, strict=True)
    ]
    bar = "".join(name + "=" * int(share * room) for name, share in zip(names, shares, strict=True))
    first, last = f"{begins[0]:%Y-%m-%d}", f"{ends[-1]:%Y-%m-%d}"
    return f"\n{bar}|\n{first}{last.rjust(max(len(bar) + 1 - len(first), len(last) + 1))}"


def _state(history: History) -> str:
    if not history.moves:
        return "no champion, and none on record"
    last = history.moves[-1].move
    return f"{_version(last.after)} is champion since {last.at[:19].replace('T', ' ')}"


def _row(entry: Entry) -> list[str]:
    move, ending = entry.move, entry.ending
    state = _UNDER_WAY if ending is None else str(ending.state)
    why = move.why if state == State.MOVED else f"{state}: {ending.why if ending else move.why}"
    since = f"{_time(move.since)} .. " if move.since else ""
    return [
        str(move.number),
        f"{since}{_time(move.at)}",
        move.before or "-",
        move.after or "-",
        move.cause,
        move.actor or "-",
        why,
    ]


def _time(text: str) -> str:
    # Histories of earlier versions have times by the clock of whichever machine made the move.
    is_ahead = datetime.fromisoformat(text) > datetime.now(UTC) + timedelta(minutes=1)
    return text[:19].replace("T", " ") + (" (a clock that was ahead)" if is_ahead else "")


def _version(version: str | None) -> str:
    return "no version" if version is None else f"version {version}"
