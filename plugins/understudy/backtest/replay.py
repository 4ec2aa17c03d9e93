"""The whole of a backtest: workers run the nights, the gate's processes judge them; one result."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from understudy.backtest import plan as plans
from understudy.backtest.answers import answers
from understudy.backtest.place import ABOUT, BacktestFolder, made, write
from understudy.backtest.plan import HOLDOUT_DAYS, Fault, Plan
from understudy.backtest.workers import Task, TaskResult, WorkerPool
from understudy.contract import key_of
from understudy.errors import ProjectError, StepFailedError
from understudy.gate import Gate, Metric
from understudy.runner import projectfile
from understudy.runner.environment.prebuild import prebuild
from understudy.runner.filesystem import entries
from understudy.runner.git.checkout import CheckoutStore
from understudy.runner.process.process import OnLine, ProcessRunner
from understudy.runner.settings import Settings
from understudy.spec import git_address
from understudy.spec.entry_points import REFIT, Role

_SHARES: Final = 20
"""How many lines there are where no terminal is, beside those of failures."""
_MINUTE: Final = 60


class Progress:
    """Counts nights.

    Args:
        total: How many there are to be.
        there: How many of them an earlier start has finished.
        on_line: Takes lines.
    """

    def __init__(self, total: int, there: int, on_line: OnLine) -> None:
        self._total, self._there, self._on_line = total, there, on_line
        self._done, self._begun = 0, time.monotonic()
        if there:
            on_line(f"{there} of {total} nights are there already")

    def done(self, night: str, failed: str) -> None:
        """Count a night."""
        self._done += 1
        if failed:
            self._on_line(f"{night} has no model: {failed}")
        line = self._line(night)
        if sys.stderr.isatty():
            # One line that is written over: back to its start, and the rest of it erased (ECMA-48).
            sys.stderr.write(f"\r\x1b[K{line}" + ("\n" if self._left == 0 else ""))
            sys.stderr.flush()
        elif self._left % max(self._total // _SHARES, 1) == 0:
            self._on_line(line)

    @property
    def _left(self) -> int:
        return self._total - self._there - self._done

    def _line(self, night: str) -> str:
        spent = time.monotonic() - self._begun
        # Nights of an earlier start are left out: they took no time of this one.
        rest = spent / self._done * self._left
        to_go = f"{rest:.0f} s to go" if rest < _MINUTE else f"{rest / _MINUTE:.0f} min to go"
        made = self._there + self._done
        return f"{made}/{self._total} nights, {night}; {spent / self._done:.1f} s each, {to_go}"


# History, and what running or checking code leaves behind: they change while the code does not.
_NOT_CODE = frozenset({".git", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache"})


@dataclass(frozen=True, slots=True)
class ReplayedSource:
    """A project at one state.

    Attributes:
        commit: Full commit id; '' for a folder.
        code: Identity of the code and its environment.
        entry_points: Names of the parameters by entry point.
    """

    commit: str
    code: str
    entry_points: Mapping[str, tuple[str, ...]]


def find(project: str, version: str, env_manager: str, on_line: OnLine) -> ReplayedSource:
    """Return what is to be replayed; its code is here and its environment built afterwards.

    Raises:
        ProjectError: if repository, version or MLproject is wrong.
        RepositoryUnavailableError: if the host does not answer.
        EnvironmentBuildError: if the environment cannot be built.
    """
    address = git_address.parse(project)
    if address.is_folder:
        folder, commit = Path(address.repository, address.subdirectory), ""
        # The MLproject first: without one, all files of a wrong folder would be read in vain.
        declared = _declared(folder, str(folder))
        digest = _digest(folder)
    else:
        checkouts = CheckoutStore(Settings.from_environment(), ProcessRunner())
        commit = checkouts.resolve(address, version)
        with checkouts.lease(address, commit) as checkout:
            declared = _declared(checkout.folder / address.subdirectory, str(address))
        # A tree and not the commit: a commit that changes other folders leaves the nights valid.
        digest = checkouts.tree(address, commit)
    built = prebuild(project, commit, env_manager, on_line=on_line)
    return ReplayedSource(commit, key_of(digest, built.digest or built.installed), declared)


def _declared(folder: Path, where: str) -> Mapping[str, tuple[str, ...]]:
    entry_points = projectfile.load(folder, where).entry_points
    return {name: tuple(one.parameters) for name, one in entry_points.items()}


def _digest(folder: Path) -> str:
    """Return the SHA-256 of all names and contents that may be code, wherever links lead."""
    digest = hashlib.sha256()
    for name, path in entries(folder, Path("/"), _NOT_CODE):
        # What a link leads to has an entry of its own. Sizes are part of the digest, so that no two
        # trees with their bytes at other places are the same text.
        if path.is_symlink():
            digest.update(f"{name}\0{path.readlink()}\0".encode())
        elif path.is_file():
            digest.update(f"{name}\0{path.stat().st_size}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


SCHEMA: Final = "understudy/backtest/1"
_SHOWN_LINES: Final = 12


@dataclass(frozen=True, slots=True)
class BacktestRequest:
    """What is to be replayed, and the rules to judge it by.

    Attributes:
        project: Address of the project, a folder as an absolute one.
        version: Branch, tag or commit; '' for the default branch.
        parameters: For the project's entry points.
        nights: How many.
        every: Time between two of them.
        until: The moment as of which the last served rows are there; '' for the newest there are.
        holdout_days: Length of the newest window, where the project has one.
        env_manager: What makes the project's environment.
        rules: Rule sets by their name.
        metric: What serving is counted by.
        faults: Of which faults the nights are replayed once more, each on which share of them.
        refit: Whether each night is trained once more, on all of its rows.
    """

    project: str
    version: str
    parameters: Mapping[str, str]
    nights: int
    every: timedelta
    until: str
    holdout_days: float
    env_manager: str
    rules: Mapping[str, Gate]
    metric: Metric
    faults: Mapping[Fault, float] = field(default_factory=dict)
    refit: bool = False


def backtest(
    request: BacktestRequest, place: BacktestFolder, jobs: int, on_line: OnLine
) -> dict[str, Any]:
    """Replay what is not there yet, judge it, and return the whole answer.

    Args:
        request: What to replay.
        place: Where everything is kept; the same request continues where it ended.
        jobs: How many nights, or rule sets, in parallel.
        on_line: Takes lines about the progress.

    Raises:
        UnderstudyError: any of the tree in understudy.errors.
    """
    with place.alone() as lock:
        plan = _planned(request, place, lock, on_line)
        failures = _replayed(plan, place, (jobs, lock), on_line)
        faults = _faults(request, plan, place)
        without = _injected(plan, place, faults, (jobs, lock, on_line)) if faults else {}
        if request.refit:
            _refitted(plan, place, (jobs, lock, on_line))
        on_line(f"Judging by {len(request.rules)} rule sets")
        by = request.metric, request.rules
        found = answers(plan, place, by, jobs)
        if faults:
            spoilt = answers(plan, place, by, jobs, faults)
            found["faults"] = {**spoilt, "injected": faults, "failures": without}
        if request.refit:
            found["refit"] = answers(plan, place, by, jobs, dict.fromkeys(plan.nights, REFIT))
    return {
        "schema": SCHEMA,
        "plan": json.loads(plan.to_json()),
        "metric": request.metric.to_dict(),
        "failures": failures,
        **found,
    }


def _planned(request: BacktestRequest, place: BacktestFolder, lock: int, on_line: OnLine) -> Plan:
    found = find(request.project, request.version, request.env_manager, on_line)
    plans.check(found.entry_points, request.parameters, refit=request.refit)
    windowed = HOLDOUT_DAYS in found.entry_points[plans.STEPS.by_role[Role.PREPROCESS]]
    # The pool needs a longer window than the nights, so each night fills this parameter in.
    parameters = {n: v for n, v in request.parameters.items() if n != HOLDOUT_DAYS}
    draft = Plan(
        project=request.project,
        commit=found.commit,
        code=found.code,
        parameters=parameters,
        nights=(),
        end="",
        holdout_days=request.holdout_days if windowed else None,
        env_manager=request.env_manager,
    )
    end = plans.moment(request.until) if request.until else _end_of_data(draft, place, lock)
    nights = plans.nights_until(end, request.nights, request.every)
    return replace(draft, nights=nights, end=plans.written(end))


def _end_of_data(draft: Plan, place: BacktestFolder, lock: int) -> datetime:
    """Ask the project's download for the time of its newest row."""
    # A worker reads the plan when it starts; this one needs no more than project and parameters.
    _write_plan(place, draft)
    with WorkerPool(place, 1, lock) as pool:
        answer = pool.ask(Task("newest"))
    if answer.failed:
        raise _step_failed("The download", answer)
    if not answer.done:
        raise ProjectError(
            "The project's download does not say how new its newest row is (tag data.newest)",
            allowed="a download that sets the tag, or an end that you name",
            action="add --until DATE",
        )
    return plans.day_after(str(answer.done))


def _write_plan(place: BacktestFolder, plan: Plan) -> None:
    write(place.plan, json.loads(plan.to_json()))


def _replayed(
    plan: Plan, place: BacktestFolder, jobs_and_lock: tuple[int, int], on_line: OnLine
) -> dict[str, str]:
    """Run every night that is missing; return why some have no model."""
    _write_plan(place, plan)
    missing = [n for n in plan.nights if not place.night(plan.night(n)).is_dir()]
    failures: dict[str, str] = {}
    progress = Progress(len(plan.nights), len(plan.nights) - len(missing), on_line)
    jobs, lock = jobs_and_lock

    def note(answer: TaskResult) -> None:
        night = answer.task.arguments[0]
        if answer.failed:
            failures[night] = answer.failed
            with made(place.failure(plan.night(night))) as folder:
                write(folder / ABOUT, {"failed": answer.failed, "said": list(answer.said)})
        progress.done(night, answer.failed)

    # The rows as of the end tell what the last night's model served.
    if missing or not place.rows(plan.rows(plan.end)).is_dir():
        with WorkerPool(place, min(jobs, max(len(missing), 1)), lock) as pool:
            _prepare_pool(plan, place, pool)
            pool.ask_all((Task("night", (night,)) for night in missing), note)
    return failures


def _faults(request: BacktestRequest, plan: Plan, place: BacktestFolder) -> dict[str, Fault]:
    """Return which nights go wrong: of those that have a model without a fault."""
    there = [n for n in plan.nights if place.night(plan.night(n)).is_dir()]
    return plans.spoilt_nights(there, request.faults)


def _injected(
    plan: Plan,
    place: BacktestFolder,
    faults: Mapping[str, Fault],
    how: tuple[int, int, OnLine],
) -> dict[str, str]:
    """Run each night with a fault that is missing; return why some of them have no model.

    Raises:
        StepFailedError: when a fault cannot be injected into this project's rows.
    """
    jobs, lock, on_line = how
    missing = [(n, f) for n, f in faults.items() if not place.night(plan.night(n, f)).is_dir()]
    if not missing:
        return {}
    on_line(f"{len(faults)} nights with faults: {', '.join(f'{n} {f}' for n, f in faults.items())}")
    progress = Progress(len(faults), len(faults) - len(missing), on_line)
    failures: dict[str, str] = {}

    def note(answer: TaskResult) -> None:
        night, fault = answer.task.arguments
        if answer.failed:
            raise _step_failed(f"Injecting the fault {fault} as of {night}", answer)
        if answer.done:
            failures[night] = str(answer.done)
        progress.done(f"{night} with the fault {fault}", str(answer.done))

    with WorkerPool(place, min(jobs, len(missing)), lock) as pool:
        pool.ask_all((Task("faulty", one) for one in missing), note)
    return failures


def _refitted(plan: Plan, place: BacktestFolder, how: tuple[int, int, OnLine]) -> None:
    """Train each night that has a model once more, on all of its rows.

    Raises:
        StepFailedError: when that fails in one of them.
    """
    jobs, lock, on_line = how
    there = [n for n in plan.nights if place.night(plan.night(n)).is_dir()]
    missing = [n for n in there if not place.night(plan.night(n, REFIT)).is_dir()]
    if not missing:
        return
    progress = Progress(len(there), len(there) - len(missing), on_line)

    def note(answer: TaskResult) -> None:
        night = answer.task.arguments[0]
        if answer.failed:
            raise _step_failed(f"Training on all rows as of {night}", answer)
        progress.done(f"{night} on all rows", "")

    with WorkerPool(place, min(jobs, len(missing)), lock) as pool:
        pool.ask_all((Task("refit", (night,)) for night in missing), note)


def _prepare_pool(plan: Plan, place: BacktestFolder, pool: WorkerPool) -> None:
    """Prepare what all nights need: without it none of them can be scored."""
    tasks = []
    if not place.pool(plan.pool).is_dir():
        tasks.append(Task("pool"))
    if not place.rows(plan.rows(plan.end)).is_dir():
        tasks.append(Task("rows", (plan.end,)))
    for task in tasks:
        answer = pool.ask(task)
        if answer.failed:
            raise _step_failed("Preparing the rows that every model is scored on", answer)


def _step_failed(what: str, answer: TaskResult) -> StepFailedError:
    lines = "\n".join(answer.said[-_SHOWN_LINES:])
    return StepFailedError(
        f"{what} failed: {answer.failed}\n{lines}".rstrip(),
        allowed="steps that come to their end",
        action="read the lines above; a shorter backtest (--nights) asks for less of the past",
    )
