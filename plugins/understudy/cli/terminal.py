"""What commands share of a terminal: arguments, progress, tables, the end by a signal.

It loads nothing but the standard library: ``cache`` and others start without MLflow.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import signal
import sys
import textwrap
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, zip_longest
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn, TextIO, TypeVar

from understudy.redact import plain, plain_lines, plain_text
from understudy.runner.process.supervisor import descendants

_T = TypeVar("_T")
INTERRUPTED: Final = 130
"""A shell's own status for a program that Ctrl-C ended: 128 and the number of SIGINT."""
# Seconds from Ctrl-C to the end by force: what ends in good order needs at most one, and a person
# who waits longer than two presses again.
_PATIENCE_S: Final = 1.5
_LEAST_ROOM: Final = 20
"""Characters of a table's last column, below which it is no longer beside the others."""


def parsed_by(parse: Callable[[str], _T]) -> Callable[[str], _T]:
    """Return a type for an argument, made of a parser that raises ValueError."""

    def typed(text: str) -> _T:
        try:
            return parse(text)
        except ValueError as error:
            # Of a ValueError argparse shows the parser's name only: "invalid duration value".
            raise argparse.ArgumentTypeError(str(error)) from error

    return typed


def absolute(project: str) -> str:
    """Return a folder that exists here as an absolute one; everything else as it is."""
    folder, separator, subdirectory = project.partition("#")
    # `mlflow run` takes a path that exists for a folder, also one with a colon; a URL has "://".
    is_folder = "://" not in folder and Path(folder).is_dir()
    return f"{Path(folder).absolute()}{separator}{subdirectory}" if is_folder else project


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add the option of every command that prints a table."""
    parser.add_argument(
        "--json", action="store_true", help="print a JSON document per row in place of the table"
    )


def print_json(rows: Iterable[Mapping[str, object]]) -> None:
    """Print each row as one line of JSON."""
    for row in rows:
        print(json.dumps(row))


def to_stderr(line: str) -> None:
    """Write a line about the progress; stdout holds the answer alone."""
    sys.stderr.write(f"{plain_lines(line)}\n")
    sys.stderr.flush()


class PlainStream(io.TextIOBase):
    """A stream that shows what is written as text without secrets and without what is not seen.

    Args:
        stream: Where it goes.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write text; return how much was given."""
        self._stream.write(plain_text(text))
        return len(text)

    def flush(self) -> None:
        """Flush the stream."""
        self._stream.flush()

    def fileno(self) -> int:
        """Return the stream's own."""
        return self._stream.fileno()

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        return self._stream.isatty()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The stream's own."""
        return self._stream.encoding


def leave(_number: int, _frame: FrameType | None) -> NoReturn:
    """End the process as a handler of SIGTERM: ``finally`` blocks run, and the exit code is 0."""
    raise SystemExit(0)


@contextlib.contextmanager
def ended_by_interrupt() -> Iterator[None]:
    """Let Ctrl-C end this process within 2 s, and all that it has started."""
    # Behind `nohup ... &` a shell has SIGINT ignored, and in a thread nobody can handle it.
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    end_soon()
    raise KeyboardInterrupt


def end_soon() -> None:
    """Leave 1.5 s to what ends in good order, then kill what this process started, and end."""
    # A thread: code that catches KeyboardInterrupt, or waits for a server, must not hold it up.
    force = threading.Timer(_PATIENCE_S, _end_by_force)
    force.daemon = True
    force.start()


def _end_by_force() -> NoReturn:
    try:
        for pid in descendants(os.getpid()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        to_stderr("understudy: interrupted; what had not ended by then was killed")
    finally:
        os._exit(INTERRUPTED)


def render(titles: Sequence[str], rows: Sequence[Sequence[str]], width: int = 120) -> str:
    """A table whose last column is wrapped so that no line is longer than `width` characters.

    Where the others leave it too little room, what does not fit stands below each row.

    Args:
        titles: One title per column.
        rows: One text per column each.
        width: Characters per line.
    """
    rows = [[plain(cell) for cell in row] for row in rows]
    sizes = [max(len(row[index]) for row in (titles, *rows)) for index in range(len(titles))]
    room = width - sum(sizes[:-1]) - 2 * (len(sizes) - 1)
    if room < min(sizes[-1], _LEAST_ROOM):
        return "\n".join(_stacked(titles, rows, sizes, width))
    sizes[-1] = min(sizes[-1], room)
    rule = ["-" * size for size in sizes]
    return "\n".join(line for row in (titles, rule, *rows) for line in _lines(row, sizes))


def _stacked(
    titles: Sequence[str], rows: Sequence[Sequence[str]], sizes: Sequence[int], width: int
) -> Iterator[str]:
    """Yield a narrow table: the columns that fit beside each other, the others below each row."""
    ends = accumulate(size + 2 for size in sizes)
    beside = max(sum(end - 2 <= width for end in ends), 1)
    head = sizes[:beside]
    for row in (titles, ["-" * size for size in head]):
        yield from _lines(row[:beside], head)
    for row in rows:
        yield from _lines(row[:beside], head)
        for title, cell in zip(titles[beside:], row[beside:], strict=True):
            said = textwrap.wrap(f"{title}: {cell}" if cell else "", max(width, _LEAST_ROOM) - 4)
            yield from (f"    {line}" for line in said)


def _lines(row: Sequence[str], sizes: Sequence[int]) -> Iterator[str]:
    last = textwrap.wrap(row[-1], sizes[-1]) or [""]
    for index, (cells, end) in enumerate(zip_longest([row[:-1]], last, fillvalue=None)):
        start = cells if index == 0 and cells is not None else [""] * (len(row) - 1)
        padded = [cell.ljust(size) for cell, size in zip(start, sizes, strict=False)]
        yield "  ".join([*padded, end or ""]).rstrip()
