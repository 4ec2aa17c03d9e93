"""Cuts a byte stream of any kind into lines fit for a log, in bounded memory. Pure."""

from __future__ import annotations

import codecs
import time
from collections.abc import Callable, Iterator

LINE_LIMIT = 32_768
"""Longest line, in characters, that is passed on in one piece."""
PROGRESS_EVERY = 5.0
"""Seconds between two states of a progress bar that are passed on."""

_TAB, _ESCAPE = 0x09, 0x1B
_UNPRINTABLE = {code: "�" for code in (*range(0x20), 0x7F) if code not in {_TAB, _ESCAPE}}


class LineCutter:
    r"""Turns chunks of bytes into lines of text.

    Text is UTF-8, with U+FFFD for what is not and for control characters; tab and escape (colours)
    stay. A line ends at ``\n`` or ``\r\n``, or at LINE_LIMIT. After a lone ``\r`` the next text
    overwrites: of such a progress bar the last state is passed on, and one every PROGRESS_EVERY
    seconds.

    Args:
        clock: Returns seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._clock = clock
        self._rest = ""
        self._shown_at = clock()

    def feed(self, chunk: bytes, *, final: bool = False) -> Iterator[str]:
        """Yield the lines that ``chunk`` completes; with ``final``, also what is left over."""
        *complete, self._rest = (self._rest + self._decoder.decode(chunk, final)).split("\n")
        for line in complete:
            yield from _pieces(_last_state(line))
        yield from self._progress()
        yield from self._overlong()
        if final and self._rest:
            rest, self._rest = self._rest, ""
            yield from _pieces(_last_state(rest))

    def _progress(self) -> Iterator[str]:
        """Drop the overwritten states of an unfinished line; now and then show the newest one."""
        *overwritten, newest = self._rest.rsplit("\r", 2)
        if not overwritten or not self._rest.strip("\r"):
            return
        if newest == "":  # a "\r" at the very end may be half of "\r\n"
            state, self._rest = overwritten[-1], overwritten[-1] + "\r"
        else:
            state, self._rest = overwritten[-1], newest
        if state and self._clock() - self._shown_at >= PROGRESS_EVERY:
            self._shown_at = self._clock()
            yield from _pieces(state.rpartition("\r")[2])

    def _overlong(self) -> Iterator[str]:
        while len(self._rest) > LINE_LIMIT:
            piece, self._rest = self._rest[:LINE_LIMIT], self._rest[LINE_LIMIT:]
            yield piece.translate(_UNPRINTABLE)


def _last_state(line: str) -> str:
    return line.rstrip("\r").rpartition("\r")[2]


def _pieces(line: str) -> Iterator[str]:
    for start in range(0, len(line) or 1, LINE_LIMIT):
        yield line[start : start + LINE_LIMIT].translate(_UNPRINTABLE)
