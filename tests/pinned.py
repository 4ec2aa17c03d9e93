"""What a night pins, for tests that need one without a pipeline's task ``pin``."""

from __future__ import annotations

from typing import Any

from understudy.night import Night


def pinned_night(run_id: str, experiment: str, **fields: Any) -> Night:
    """Return a night of a pipeline that has the experiment's name, unless said otherwise."""
    plain: dict[str, Any] = {
        "pipeline": experiment,
        "model": experiment,
        "repository": "repository",
        "subdirectory": "",
        "version": "main",
        "commit": "c0ffee",
        "tree": "7ree",
        "champion": "3",
        "as_of": "2026-01-01T00:00:00+00:00",
        "parameters": {},
        "promote": "auto",
        "force": False,
        "rules": {},
        "recipe": (),
    }
    return Night(run_id=run_id, experiment_id=experiment, **{**plain, **fields})
