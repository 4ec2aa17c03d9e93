"""One night of a pipeline as MLflow sees it: opened once, pinned, skipped or closed. No Airflow.

The parent run is the night's one record. What it pinned lies beside it as ``night.json``; every
later task, retry and clear reads that instead of asking Git or the registry again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from understudy.contract import Kind, Outcome, Tag, key_of
from understudy.gate import Verdict
from understudy.tracking import RunSpec, RunStore, tracking_errors

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

_PINNED: Final = "night.json"
_SETTLED: Final = frozenset({Verdict.PROMOTE.value, Verdict.REJECT.value})
_JUDGED: Final = frozenset({Outcome.PROMOTED.value, Outcome.HELD.value, Outcome.REJECTED.value})


@dataclass(frozen=True, slots=True)
class Night:
    """What one night pinned.

    Attributes:
        run_id: The parent MLflow run.
        experiment_id: Its experiment.
        pipeline: The Dag's id.
        model: The registered model.
        repository: The project's repository, without credentials.
        subdirectory: Where in it the MLproject lies; empty for its top.
        version: The branch, tag or commit that was asked for.
        commit: The full commit that it meant.
        tree: Git's id of the project's files in that commit.
        champion: The champion's version when the night began, or None.
        as_of: ISO time (UTC) of the data that the night sees.
        parameters: The project's parameters, by name.
        promote: ``auto``, ``ask`` or ``never``.
        force: Whether the night runs although nothing changed.
        rules: The gate's rules, as ``Gate.to_dict`` gives them.
    """

    run_id: str
    experiment_id: str
    pipeline: str
    model: str
    repository: str
    subdirectory: str
    version: str
    commit: str
    tree: str
    champion: str | None
    as_of: str
    parameters: Mapping[str, Any]
    promote: str
    force: bool
    rules: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return the night as JSON values."""
        return asdict(self)

    def fingerprint(self, raw_sha256: str) -> str:
        """Return the identity of a night's input: code, data, parameters and rules."""
        parameters = json.dumps(dict(self.parameters), sort_keys=True, default=str)
        rules = json.dumps(dict(self.rules), sort_keys=True)
        return key_of(self.tree, raw_sha256, parameters, rules)

    def context(self) -> dict[str, str]:
        """Return who judged what, as the decision record names it."""
        return {
            "pipeline": self.pipeline,
            "model": self.model,
            "night": self.run_id,
            "as_of": self.as_of,
            "repository": self.repository,
            "commit": self.commit,
            "tree": self.tree,
        }


class NightBook:
    """Opens, finds and closes the nights of pipelines on one tracking server."""

    def __init__(self, client: MlflowClient, runs: RunStore) -> None:
        self._client, self._runs = client, runs

    def opened(self, run_id: str) -> Night | None:
        """Return what the parent run pinned earlier, or None where it did not come that far."""
        if Tag.COMMIT.value not in self._runs.get(run_id).data.tags:
            return None
        with tracking_errors():
            path = self._client.download_artifacts(run_id, _PINNED)
        return Night(**json.loads(Path(path).read_text(encoding="utf-8")))

    def open(self, experiment_id: str, key: str, name: str, tags: Mapping[str, str]) -> str:
        """Return the id of the night's parent run; the same key gives the same run."""
        kind = {Tag.KIND.value: Kind.NIGHT.value}
        return self._runs.ensure(RunSpec(experiment_id, key, name, {**tags, **kind}))

    def pin(self, night: Night) -> None:
        """Store what a night pinned; the commit's tag comes last and makes it valid."""
        with tracking_errors():
            self._client.log_dict(night.run_id, night.to_dict(), _PINNED)
        tags = {
            Tag.REPOSITORY: night.repository,
            Tag.SUBDIRECTORY: night.subdirectory,
            Tag.VERSION: night.version,
            Tag.TREE: night.tree,
            Tag.AS_OF: night.as_of,
            Tag.MODEL: night.model,
            Tag.CHAMPION_BEFORE: night.champion or "",
            Tag.COMMIT: night.commit,
        }
        self._runs.tag(night.run_id, tags)

    def sweep(self, experiment_id: str, pipeline: str, alive: str) -> list[str]:
        """End what earlier nights of the pipeline left RUNNING; return those run ids."""
        return self._runs.end_abandoned(experiment_id, Tag.PIPELINE, pipeline, keep=alive)

    def same_input(self, night: Night, fingerprint: str) -> Run | None:
        """Return an earlier night that settled the same input, or None.

        A night that could not decide settles nothing, and without a champion there is no reason
        to skip.
        """
        if night.champion is None or night.force:
            return None
        for run in self._runs.tagged(night.experiment_id, Tag.FINGERPRINT, fingerprint):
            tags = run.data.tags
            judged = tags.get(Tag.OUTCOME) in _JUDGED and tags.get(Tag.VERDICT) in _SETTLED
            if judged and run.info.run_id != night.run_id:
                return run
        return None

    def skips_in_a_row(self, night: Night) -> int:
        """Return how many nights before this one ended SKIPPED without another outcome between."""
        count = 0
        for run in self._runs.tagged(night.experiment_id, Tag.PIPELINE, night.pipeline):
            if run.data.tags.get(Tag.KIND) != Kind.NIGHT or run.info.run_id == night.run_id:
                continue
            if run.data.tags.get(Tag.OUTCOME) != Outcome.SKIPPED:
                break
            count += 1
        return count

    def close(self, night: Night, outcome: Outcome, reason: str, champion: str | None) -> None:
        """Write how the night ended, and end its run."""
        tags = {
            Tag.OUTCOME: outcome.value,
            Tag.REASON: reason[:5000],
            Tag.CHAMPION_AFTER: champion or "",
        }
        self._runs.tag(night.run_id, tags)
        failed = outcome is Outcome.FAILED
        self._runs.end(night.run_id, "FAILED" if failed else "FINISHED", reason if failed else "")
