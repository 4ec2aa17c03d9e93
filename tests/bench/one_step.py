"""Runs one step as an Airflow task does, in this very process: what a fault is injected into.

python -m bench.one_step PROJECT ENTRY_POINT EXPERIMENT ATTEMPT_OF [NAME=VALUE ...]
"""

from __future__ import annotations

import sys
import uuid

from understudy.contract import Tag
from understudy.errors import UnderstudyError
from understudy.runner.runner import Settings, StepRequest, StepRunner
from understudy.store import tracking
from understudy.store.tracking import RunStore


def main(arguments: list[str]) -> int:
    """Run it; return 1 if it failed, with the reason as the last line."""
    project, entry_point, experiment, attempt, *pairs = arguments
    client = tracking.client()
    runs = RunStore(client)
    experiment_id = runs.experiment(experiment)
    runs.end_abandoned(experiment_id, Tag.ATTEMPT_OF, attempt)
    request = StepRequest(
        project=project,
        version="",
        entry_point=entry_point,
        parameters=dict(pair.split("=", 1) for pair in pairs),
        experiment_id=experiment_id,
        key=uuid.uuid4().hex,
        name=entry_point,
        tags={Tag.ATTEMPT_OF.value: attempt},
    )
    try:
        StepRunner(runs, client, Settings.from_environment()).run(request, _say)
    except UnderstudyError as error:
        _say(str(error))
        return 1
    return 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
