"""Tutorials as programs: the blocks of a Markdown file, run from top to bottom in one shell.

A block of `sh` is run by bash, a block of `python` by the `python` that is on the shell's path at
that point. A block of `text` after one of these is what it must have printed: its lines in that
order, where `...` stands for anything; other lines may stand between them.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_BLOCK = re.compile(r"^```(sh|python|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ANYTHING = re.compile(r"(?:\\\.){3}(?!\\\.)")
"""Three dots as `re.escape` writes them; of four the last three: 0.... is 0. and anything."""
_MARK = "-----block "


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        place: File and line, for messages.
        language: `sh` or `python`.
        code: What is run.
        printed: What it must print, line by line; `...` for anything.
    """

    place: str
    language: str
    code: str
    printed: tuple[str, ...] = ()

    @property
    def script(self) -> str:
        """What bash runs; the last line of Python's here-document is not in any tutorial."""
        if self.language == "sh":
            return self.code
        return f"python - <<'END OF THE BLOCK'\n{self.code}END OF THE BLOCK\n"

    def missing(self, output: str) -> str:
        """Return the first expected line that the output lacks, '' if it has all in this order."""
        lines = iter(output.splitlines())
        for expected in self.printed:
            pattern = _ANYTHING.sub(".*", re.escape(expected))
            if not any(re.fullmatch(pattern, line.rstrip()) for line in lines):
                return expected
        return ""


def blocks(path: Path) -> list[Block]:
    """Return the blocks of a Markdown file that are run."""
    text = path.read_text(encoding="utf-8")
    found: list[Block] = []
    for match in _BLOCK.finditer(text):
        language, code = match.groups()
        place = f"{path.name}:{text[: match.start()].count(chr(10)) + 1}"
        if language != "text":
            found.append(Block(place, language, code))
        elif found:
            last = found[-1]
            printed = tuple(line.rstrip() for line in code.splitlines())
            found[-1] = Block(last.place, last.language, last.code, printed)
    return found


def run(
    tutorial: Sequence[Block],
    folder: Path,
    replaced: Mapping[str, str],
    variables: Mapping[str, str],
) -> str:
    """Run blocks in an empty folder; end what they left running; return what went wrong, or ''.

    Args:
        tutorial: Blocks in order.
        folder: Where the shell starts.
        replaced: Public addresses and fixed ports, to what stands in for them on loopback.
        variables: The shell's environment.
    """
    lines = ["set -euo pipefail"]
    for number, block in enumerate(tutorial):
        lines += [
            f"{{ date +%T; times; }} >> times.log; echo; echo '{_MARK}{number}'",
            block.script,
        ]
    public = re.compile("|".join(map(re.escape, replaced)))
    script = public.sub(lambda match: replaced[match[0]], "\n".join(lines))
    (folder / "tutorial.sh").write_text(script, encoding="utf-8")
    with (folder / "tutorial.log").open("wb") as log:
        status = _shell(folder, variables, log)
    return _judged(tutorial, (folder / "tutorial.log").read_text(errors="replace"), status)


def _shell(folder: Path, variables: Mapping[str, str], log: BinaryIO) -> int:
    """Run the script; end what it left running; return its exit status.

    It prints into a pipe, as into a terminal: `tee /dev/stderr` would cut a file off at its begin.
    """
    with subprocess.Popen(
        ["bash", "tutorial.sh"],
        cwd=folder,
        env=dict(variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as shell:
        copier = threading.Thread(target=shutil.copyfileobj, args=(shell.stdout, log))
        copier.start()
        try:
            return shell.wait()
        finally:
            with contextlib.suppress(ProcessLookupError):  # nothing was left running
                os.killpg(shell.pid, signal.SIGKILL)
            copier.join()


def _judged(tutorial: Sequence[Block], log: str, status: int) -> str:
    """Return what is wrong with the blocks' outputs, or ''."""
    outputs = log.split(_MARK)[1:]
    for block, output in zip(tutorial, outputs, strict=False):
        if expected := block.missing(output):
            return f"{block.place} did not print {expected!r} but: {output[-3000:]}"
    if status:
        return f"{tutorial[len(outputs) - 1].place} ended with {status}: {outputs[-1][-3000:]}"
    return ""
