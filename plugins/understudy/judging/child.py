"""The gate's process: reads two files of predictions, writes what they say. Touches files only.

It has no credentials, no tracking server and no network to ask: what it needs lies on the disk.
"""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path
from typing import Final

from understudy.errors import DecisionError
from understudy.evidence import Predictions, compare, load
from understudy.evidence.frames import TIME
from understudy.gate import Evidence, Gate, Slice
from understudy.judging import exchange
from understudy.judging.exchange import Answer, Request

_TOLD: Final = ("numpy", "pandas", "pyarrow", "scikit-learn", "scipy")


def main(arguments: list[str]) -> int:
    """Answer the requests in the first file in the second one."""
    requests, answers = map(Path, arguments)
    exchange.write(answers, [answered(request) for request in exchange.read(requests, Request)])
    return 0


def answered(request: Request) -> Answer:
    """Return what the predictions say."""
    sys.path.extend(path for path in request.search_path if path not in sys.path)
    gate, champion, unusable = Gate.from_dict(request.rules), None, ""
    # A metric of the user's may look at any column, of either model.
    open_ended = any(metric.function for metric in (gate.primary, *gate.guardrails))
    named = _named_columns(gate)
    try:
        challenger = load(request.challenger, others=None if open_ended else named, keep=named)
    except DecisionError as error:
        blocked = f"the challenger's predictions cannot be used: {error}"
        return Answer(Evidence((), seed=gate.seed, blockers=(blocked,)), software=software())
    try:
        others = None if open_ended else ()
        champion = load(request.champion, others=others) if request.champion else None
    except DecisionError as error:
        unusable = str(error)
    return Answer(_compared(gate, challenger, champion, request), unusable, software())


def _named_columns(gate: Gate) -> set[str]:
    """Return the columns that the rules cut or join rows by."""
    slices = {one.column for one in gate.slices if isinstance(one, Slice)}
    return (slices | {gate.cluster, TIME if gate.time_block else ""}) - {""}


def _compared(
    gate: Gate, challenger: Predictions, champion: Predictions | None, request: Request
) -> Evidence:
    before = request.earlier.get(challenger.rows_sha256, 0)
    return compare(gate, challenger, champion, judged_before=before)


def software() -> dict[str, str]:
    """Return the versions of what the numbers are computed with, Python's among them."""
    python = ".".join(map(str, sys.version_info[:3]))
    return {"python": python, **{name: metadata.version(name) for name in _TOLD}}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
