"""What the end of a step's process means: lines for the log, and the error that it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from understudy.contract import Tag
from understudy.errors import StepFailedError, StepStoppedError, StepUnfitError
from understudy.runner.filesystem import changed_since
from understudy.runner.process.habits import Advice, missing_program
from understudy.runner.process.process import Ending
from understudy.runner.step import Attempt
from understudy.spec.quantities import size_text

if TYPE_CHECKING:
    from mlflow.entities import Run


_SHOWN: Final = 10
_LINES: Final = "read the lines above; exit codes 64 and 65 mean that a retry cannot help"
# What shells and env(1) end with where there is no such program (POSIX).
_NO_PROGRAM: Final = 127
_MEMORY: Final = (
    "look for 'oom' in the system's log; then give the step more memory, or fewer rows or columns"
)


def leftovers(ending: Ending) -> Iterator[str]:
    """Yield lines for the log about processes that the command left behind."""
    if ending.leftovers and not (ending.stopped or ending.timed_out):
        yield f"The command left {ending.leftovers} process(es) behind, which were ended"
    if ending.survivors:
        yield f"{ending.survivors} process(es) of the command could not be ended"


def what_it_left(attempt: Attempt) -> Iterator[str]:
    """Yield a line for the log about the files that a step left in the folder of its own."""
    code, scratch = attempt.source.code, attempt.scratch
    if code != scratch.code:
        return
    # The command's script is written after the copy and before the command.
    found = changed_since(code, scratch.command.stat().st_ctime_ns)
    shown = [f"{name} ({size_text(size)})" for name, size in found[:_SHOWN]]
    if len(found) > _SHOWN:
        shown.append(f"{len(found) - _SHOWN} more")
    if shown:
        yield f"Files that the step made or changed, which go with its folder: {', '.join(shown)}"


def refuse_failure(
    attempt: Attempt, ending: Ending, run: Run, last_lines: str, advice: Advice | None = None
) -> None:
    """Check that a step has succeeded.

    Args:
        attempt: The step.
        ending: How its process ended.
        run: Its MLflow run, as it is now: the step may have set its status to FAILED itself.
        last_lines: What its output says of its end; the run's own error text is preferred.
        advice: What its author has to change, where that is known.

    Raises:
        StepFailedError: if it has not.
        StepStoppedError: if it took longer than it may.
    """
    name, run_id = attempt.request.entry_point, attempt.run.info.run_id
    if ending.timed_out:
        raise StepStoppedError(
            f"The step {name!r} took longer than its time-out and was ended",
            allowed=f"at most {attempt.request.timeout:g} s",
            action="give it more time, or less to do",
            run_id=run_id,
        )
    detail = run.data.tags.get(Tag.ERROR.value) or last_lines
    if advice is not None and not ending.ok:
        raise StepUnfitError(
            f"The step {name!r} ended with {ending}: {advice.found}",
            allowed=advice.allowed,
            action=advice.action,
            run_id=run_id,
            exit_code=ending.exit_code,
        )
    if not ending.ok:
        raise _failed(attempt, ending, f"{ending}{ending.likely_cause}", detail)
    # A program can end its own run as FAILED and still exit with 0, where it catches its errors.
    if run.info.status in {"FAILED", "KILLED"}:
        raise _failed(attempt, ending, f"exit code 0, but with its run {run.info.status}", detail)


def _failed(attempt: Attempt, ending: Ending, how: str, detail: str) -> StepFailedError:
    # A missing program or module is the likely end of a step whose environment lacks something.
    lacking = attempt.environment.lacking
    allowed, action = "exit code 0", _LINES
    if ending.exit_code == _NO_PROGRAM and (program := missing_program(detail)):
        where = "in its image" if attempt.environment.manager == "docker" else "on its PATH"
        detail = f"there is no program {program!r} {where}"
        allowed = f"programs that are {where}"
        action = f"install {program} there, or give the project a docker_env whose image has it"
    return StepFailedError(
        f"The step {attempt.request.entry_point!r} ended with {how}: {detail or 'it said nothing'}",
        allowed=allowed,
        action=_MEMORY if ending.likely_cause else "; ".join(filter(None, (action, lacking))),
        run_id=attempt.run.info.run_id,
        exit_code=-ending.signal if ending.signal else ending.exit_code,
    )
