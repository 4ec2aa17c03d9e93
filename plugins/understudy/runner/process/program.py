"""Recognises entry points whose command is nothing but one Python program. Pure.

Such a program can be run by a process that is there already (``forkserver.py``), without a shell:
of every other command only bash knows what it means.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from understudy.runner.process.quoting import placeholders

_INERT = re.compile(r"[\w@%+=:,./ -]*")
"""Characters that mean nothing to a shell, wherever they stand between two words' first letters."""
_MODULE = re.compile(r"[A-Za-z_][\w.]*")
_INTERPRETERS = frozenset({"python", "python3"})


@dataclass(frozen=True, slots=True)
class Program:
    """A Python program: ``kind`` is "module" or "script", ``name`` what follows ``python [-m]``."""

    kind: str
    name: str
    arguments: tuple[str, ...]


def program_of(template: str, line: str) -> Program | None:
    """Return the program that an entry point's command runs, or None where it is more than that.

    Args:
        template: The command as the MLproject has it, with placeholders.
        line: The same with shell-quoted values in their places.
    """
    literals = [literal for literal, _ in placeholders(template.strip())]
    if not all(_INERT.fullmatch(literal) for literal in literals):
        return None
    interpreter, *words = shlex.split(line) or [""]
    if interpreter not in _INTERPRETERS:
        return None
    if words[:1] == ["-u"]:  # our output is unbuffered in any case
        del words[0]
    if len(words) > 1 and words[0] == "-m" and _MODULE.fullmatch(words[1]):
        return Program("module", words[1], tuple(words[2:]))
    if words and words[0].endswith(".py") and not words[0].startswith("-"):
        return Program("script", words[0], tuple(words[1:]))
    return None
