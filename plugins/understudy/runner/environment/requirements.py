"""Writes down what an environment holds, so that the same one can be made again. Pure.

The record is a requirements file: one exact version, URL or commit per line, with the hashes that
the project's lock files know. ``uv pip install --no-deps -r`` on the Python of its first lines
makes the same environment again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from understudy.redact import redacted

_PINNED = re.compile(r"(?P<name>[\w.-]+)\s*(\[[^]]*\])?\s*==\s*(?P<version>[^\s;\\]+)")
_HASH = re.compile(r"--hash[=\s]+(\S+)")
_SSH = re.compile(r"ssh://[^/:@\s]+@")
_CONTINUED = re.compile(r"\\\n\s*")


def record(about: Mapping[str, str], frozen: str, locks: Iterable[str] = ()) -> str:
    """Return the text of a requirements file.

    Args:
        about: What to say in its first lines, such as {"Python": "3.11.7"}; empty values are left
            out.
        frozen: What ``pip freeze`` printed.
        locks: Texts of requirements files in which the hashes of packages may be.
    """
    said = [f"# {name} {value}" for name, value in about.items() if value]
    lines = [without_secrets(line) for line in frozen.splitlines() if line.strip()]
    return "\n".join((*said, *_with_hashes(lines, _hashes(locks)), ""))


def without_secrets(text: str) -> str:
    """Return requirement lines without the passwords of their URLs; ``ssh://git@`` is none."""
    return "\n".join(line if _SSH.search(line) else redacted(line) for line in text.split("\n"))


def _with_hashes(lines: list[str], known: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Add hashes where every line has some: pip refuses a file in which only some lines do."""
    hashes = [known.get(_identity(line), ()) for line in lines]
    if not all(hashes):
        return lines
    return [
        " ".join((line, *(f"--hash={digest}" for digest in digests)))
        for line, digests in zip(lines, hashes, strict=True)
    ]


def _hashes(locks: Iterable[str]) -> dict[str, tuple[str, ...]]:
    known: dict[str, tuple[str, ...]] = {}
    for text in locks:
        for line in _CONTINUED.sub(" ", text).splitlines():
            if (digests := tuple(_HASH.findall(line))) and (identity := _identity(line)):
                known[identity] = digests
    return known


def _identity(line: str) -> str:
    """Return ``name==version`` with the name as PEP 503 normalizes it, '' for other lines."""
    matched = _PINNED.match(line.strip())
    if not matched:
        return ""
    name = re.sub(r"[-_.]+", "-", matched["name"]).lower()
    return f"{name}=={matched['version']}"
