"""The gate's process: reads predictions and rows, writes evidence and findings. Touches files only.

It has no credentials, no tracking server and no network to ask: what it needs lies on the disk.
"""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from understudy.errors import DecisionError
from understudy.evaluation import Predictions, compare, load, moved
from understudy.evaluation.predictions import TIME, other_values
from understudy.evaluation.units import within
from understudy.gate import Evidence, Gate, Slice, exchange
from understudy.gate.exchange import GateRequest, GateResult, RowFiles
from understudy.spec.quantities import size_text

if TYPE_CHECKING:
    from understudy.evaluation.guards import Absent, Profile

MOST_SEARCHED: Final = 40_000_000
"""Values (320 MB) of further columns beyond which only those that the rules name are searched for
groups of rows that are served worse."""
OUT_OF_MEMORY: Final = 71
"""Exit code (EX_OSERR of sysexits.h) of a comparison that needs more memory than it may have."""
_LIMITS: Final = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
_PACKAGES: Final = ("numpy", "pandas", "pyarrow", "scikit-learn", "scipy")


@dataclass(frozen=True, slots=True)
class _Compared:
    """Evidence from two files of predictions, and what pictures are drawn from."""

    evidence: Evidence
    unusable: str = ""
    summary: dict[str, Any] = field(default_factory=dict)


def main(arguments: list[str]) -> int:
    """Answer the requests in the first file in the second one."""
    requests, answers = map(Path, arguments)
    most = limit_memory()
    try:
        found = [answered(request) for request in exchange.read(requests, GateRequest)]
    except MemoryError:
        # A file of a megabyte may hold a hundred million rows.
        sys.stderr.write(f"MemoryError: the rows need more than the {size_text(most)} allowed\n")
        return OUT_OF_MEMORY
    exchange.write(answers, found)
    return 0


def limit_memory() -> int:
    """Let this process have at most three quarters of the machine's memory; return the bytes.

    So a file that is too large ends the comparison, and not what else runs here.
    """
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    most = min(machine, *_container_limits()) * 3 // 4
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    return most


def _container_limits() -> Iterator[int]:
    """Yield the bytes that this process's container may have, in either version of cgroups."""
    yield sys.maxsize
    for file in _LIMITS:
        # "max", or no such file: no limit.
        with contextlib.suppress(OSError, ValueError):
            yield int(file.read_text(encoding="ascii"))


def answered(request: GateRequest) -> GateResult:
    """Return the evidence and the findings for one request."""
    # Appended: what is installed wins over a user's module of the same name.
    sys.path.extend(path for path in request.search_path if path not in sys.path)
    gate = Gate.from_dict(request.rules)
    if request.refit:
        return _refitted(gate, request)
    found = _compared(gate, request)
    evidence, profile = _guarded(gate, found.evidence, request.rows)
    return GateResult(evidence, found.unusable, software(), found.summary, profile)


def _refitted(gate: Gate, request: GateRequest) -> GateResult:
    """Return how far predictions have moved, or why they cannot be used."""
    nothing = Evidence((), seed=gate.seed)
    try:
        pair = [load(file, others=set()) for file in (request.challenger, request.champion)]
        return GateResult(nothing, software=software(), moved=moved(*pair))
    except DecisionError as error:
        return GateResult(nothing, unusable=error.found, software=software())


def _compared(gate: Gate, request: GateRequest) -> _Compared:
    if not request.challenger:
        return _Compared(Evidence((), seed=gate.seed))
    slices = {one.column for one in gate.slices if isinstance(one, Slice)}
    named = (slices | {gate.cluster, TIME if gate.time_block else ""}) - {""}
    champion, unusable = None, ""
    try:
        challenger = _loaded(gate, request, request.challenger, named)
    except DecisionError as error:
        blocked = f"the challenger's predictions cannot be used: {error}"
        return _Compared(Evidence((), seed=gate.seed, blockers=(blocked,)))
    try:
        # Rows are cut and joined by the challenger's columns: the champion's are not read.
        champion = _loaded(gate, request, request.champion, set()) if request.champion else None
    except DecisionError as error:
        unusable = str(error)
    evidence = compare(gate, challenger, champion, earlier=request.earlier)
    return _Compared(evidence, unusable, _summary(challenger, champion))


def _loaded(gate: Gate, request: GateRequest, file: str, named: set[str]) -> Predictions:
    """Return predictions with the columns that are needed, of the rows that count."""
    # A metric of the user's may look at any column, of either model. Columns that no rule names
    # are read to search them for the groups that are served worst, unless there is too much.
    every = any(metric.function for metric in (gate.primary, *gate.guardrails)) or (
        file == request.challenger
        and gate.worst_slices
        and bool(request.champion)
        and other_values(request.challenger) <= MOST_SEARCHED
    )
    columns = named | ({TIME} if request.span else set())
    found = load(file, others=None if every else columns, keep=columns)
    return found if request.span is None else within(found, *request.span)


def _summary(challenger: Predictions, champion: Predictions | None) -> dict[str, Any]:
    """Return what pictures are drawn from; where that fails, why: the evidence is there."""
    from understudy.evaluation.summary import empty, summary_of
    from understudy.report.words import undrawn

    try:
        return summary_of(challenger, champion)
    except Exception as error:  # noqa: BLE001 -- whatever it is, the page says it
        return {**empty(len(challenger)), "undrawn": undrawn("The predictions", error)}


def _guarded(gate: Gate, evidence: Evidence, rows: RowFiles | None) -> tuple[Evidence, str]:
    """Return the evidence with what the guards found, and the profile of the current data."""
    if gate.guards is None or rows is None:
        return evidence, ""
    from understudy.evaluation.guards import find

    found = find(gate.guards, Path(rows.folder), _before(rows), as_of=rows.as_of)
    profile = found.profile.to_json() if found.profile is not None else ""
    return replace(evidence, findings=(*evidence.findings, *found.findings)), profile


def _before(rows: RowFiles) -> Profile | Absent | None:
    """Return what the champion was trained on; why that is not known; None without a champion."""
    from understudy.evaluation.guards import Absent, Profile, profile_of

    try:
        if rows.profile:
            return Profile.from_json(Path(rows.profile).read_text(encoding="utf-8"))
        if rows.before:
            return profile_of(Path(rows.before))
    except DecisionError as error:
        return Absent(error.found)
    return Absent(rows.absent) if rows.absent else None


def software() -> dict[str, str]:
    """Return the versions of what the numbers are computed with, Python's among them."""
    python = ".".join(map(str, sys.version_info[:3]))
    return {"python": python, **{name: metadata.version(name) for name in _PACKAGES}}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
