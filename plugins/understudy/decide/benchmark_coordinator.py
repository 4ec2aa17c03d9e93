"""Has one or two models predict by turns, each in a process and an environment of its own.

Started as ``python -I -S benchmark_coordinator.py PLAN``; PLAN is a JSON file (see ``measured``),
and the result is written beside it. While one model predicts, the other one waits for its turn; who
begins changes from round to round, so that neither has the better half of a machine that slows
down. Standard library only.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

# The first calls import, compile and allocate; they are made by turns like all others, and thrown
# away.
_WARM_UP_CALLS = 3


class LostError(Exception):
    """A worker has ended, or said why it cannot go on."""


class ModelProcess:
    """The process of one model, and what it answered so far."""

    def __init__(self, argv: list[str], folder: str, variables: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            argv,
            cwd=folder,
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.costs: dict[str, Any] = {"single": [], "batch": []}

    def ready(self) -> None:
        """Wait until the model is loaded."""
        self.costs.update(self._answer())

    def predict(self, first: int, calls: int, *, counts: bool = True) -> None:
        """Have it predict: some single rows, then many at once."""
        stdin = self._process.stdin
        if stdin is None or self._process.poll() is not None:
            raise LostError(self._why())
        print(json.dumps({"first": first, "calls": calls}), file=stdin, flush=True)
        answer = self._answer()
        if counts:
            self.costs["single"].append(answer["single"])
            self.costs["batch"].append(answer["batch"])

    def end(self) -> None:
        """Let it end; what does not end by itself is ended by the supervisor of this process."""
        # Leaving the context closes both its pipes, and waits for its end.
        with contextlib.suppress(BrokenPipeError), self._process:
            pass

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line.strip():
            raise LostError(self._why())
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            self.costs["unreachable"] = answer.get("unreachable", False)
            raise LostError(answer["error"])
        return answer

    def _why(self) -> str:
        return f"its process ended with exit code {self._process.wait()}"


def main(plan_file: str) -> int:
    """Measure what a plan says."""
    path = Path(plan_file)
    result = measured(json.loads(path.read_text(encoding="utf-8")))
    path.with_name("measured.json").write_text(json.dumps(result), encoding="utf-8")
    return 0


def measured(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the costs of each worker of a plan, in its order.

    Args:
        plan: ``workers``, each with ``argv``, ``folder`` and ``variables``; how many ``rounds``
            there are, of how many single ``calls``, and after how many ``seconds`` no further
            round begins.
    """
    all_workers = [ModelProcess(**worker) for worker in plan["workers"]]
    # They load at the same time, which is not measured; a list, as every one has to be waited for.
    workers = [worker for worker in all_workers if _kept(worker, worker.ready)]
    began = time.monotonic()
    # Round -1 is the warm-up. The clock is read between rounds only, so that both models make the
    # same number of predictions.
    for number in range(-1, plan["rounds"]):
        if not workers or time.monotonic() - began > plan["seconds"]:
            break
        workers = _round(workers, number, plan["calls"])
    for worker in workers:
        worker.end()
    return [worker.costs for worker in all_workers]


def _round(workers: list[ModelProcess], number: int, calls: int) -> list[ModelProcess]:
    """Let each predict, the first one first in every other round; return who goes on."""
    ordered = workers if number % 2 else workers[::-1]
    warm_up = number < 0
    share = _WARM_UP_CALLS if warm_up else calls
    lost = [
        worker
        for worker in ordered
        if not _kept(
            worker,
            lambda worker=worker: worker.predict(max(number, 0) * calls, share, counts=not warm_up),
        )
    ]
    return [worker for worker in workers if worker not in lost]


def _kept(worker: ModelProcess, step: Any) -> bool:  # noqa: ANN401 -- a callable without arguments
    try:
        step()
    except (LostError, BrokenPipeError) as error:
        worker.costs["error"] = str(error) or "its process has ended"
        worker.end()
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
