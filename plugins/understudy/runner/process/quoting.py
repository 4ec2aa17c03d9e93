"""Finds placeholders in a shell command where a quoted value would not stay one word. Pure.

MLflow puts shell-quoted values into an entry point's command with ``str.format``. Inside quotes,
back-ticks, comments or here-documents of the command, those quotes lose their meaning, and a value
such as ``$(rm x)`` would be run.
"""

from __future__ import annotations

import string
from collections.abc import Iterator

_BOUNDARY = " \t\n;&|()<>"


def placeholders(command: str) -> Iterator[tuple[str, str]]:
    """Yield (literal text before it, field) for each placeholder, then (rest, '').

    Raises:
        ValueError: for unbalanced braces.
    """
    for literal, name, spec, conversion in string.Formatter().parse(command):
        tail = (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "")
        yield literal, "" if name is None else f"{name}{tail}" or "{}"


def unsafe_placeholders(command: str) -> dict[str, str]:
    """Return the placeholders that stand where they must not, with the reason for each."""
    shell = _Shell()
    found: dict[str, str] = {}
    for literal, name in placeholders(command):
        shell.read(literal)
        if not name:
            continue
        if reason := shell.context():
            found[name] = reason
        # The value: MLflow quotes it, so it is one word whatever is in it.
        shell.read("x")
    return found


class _Shell:
    """Follows the quoting of bash(1), section QUOTING, as far as it matters here."""

    def __init__(self) -> None:
        self._quote = ""
        self._back_tick = self._comment = self._here_document = self._escaped = False
        self._previous = " "
        self._run = ""

    def read(self, text: str) -> None:
        """Go on through literal text."""
        for character in text:
            self._step(character)

    def context(self) -> str:
        """Return what the next character would be inside of, or ''."""
        if self._quote:
            return "quotes"
        checks = {
            "back-ticks": self._back_tick,
            "a comment": self._comment,
            "a here-document": self._here_document,
            "an escape": self._escaped,
        }
        return next((name for name, inside in checks.items() if inside), "")

    def _step(self, character: str) -> None:
        if self._comment:
            self._comment = character != "\n"
        elif self._escaped:
            self._escaped = False
        elif self._quote:
            # Inside single quotes a backslash is itself, bash(1): only double quotes know escapes.
            if character == "\\" and self._quote == '"':
                self._escaped = True
            elif character == self._quote:
                self._quote = ""
        else:
            self._bare(character)
        self._run = self._run + character if character == "<" else ""
        self._previous = character

    def _bare(self, character: str) -> None:
        if character == "\\":
            self._escaped = True
        elif character in "'\"":
            self._quote = character
        elif character == "`":
            self._back_tick = not self._back_tick
        # bash(1): # begins a comment only where a word could begin; a#b is a word.
        elif character == "#" and self._previous in _BOUNDARY:
            self._comment = True
        # <<< is a here-string: one word, in which a quoted value stays what it is.
        elif self._run == "<<" and character != "<":
            self._here_document = True
