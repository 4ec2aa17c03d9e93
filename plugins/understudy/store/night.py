"""One night of a pipeline as MLflow sees it: opened once, pinned, skipped or closed. No Airflow.

The parent run is the night's one record. What it pinned lies beside it as ``night.json``; every
later task, retry and clear reads that instead of asking Git or the registry again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Final

from understudy.contract import ENV_MANAGERS, Kind, Outcome, Tag, key_of
from understudy.errors import sentences
from understudy.spec.declared import from_json, to_json
from understudy.spec.entry_points import INPUTS, Part, Role
from understudy.spec.pipeline import NightSpec
from understudy.store.artifacts import log_sealed, read_text
from understudy.store.tracking import RUNNING, RunSpec, RunStore, tracking_errors

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

_PINNED: Final = "night.json"
_SETTLED: Final = frozenset({Outcome.PROMOTED.value, Outcome.REJECTED.value})
_TURNED_DOWN: Final = "Reject"
# Nights; what one page of a search holds.
_LONGEST_SERIES: Final = 1000


@dataclass(frozen=True, slots=True)
class Night:
    """What one night pinned.

    Attributes:
        run_id: The parent MLflow run.
        experiment_id: Its experiment.
        repository: The project's repository, without credentials.
        subdirectory: Where in it the MLproject lies; empty for its top.
        version: The branch, tag or commit that was asked for.
        commit: The full commit that it meant.
        tree: Git's id of the project's files in that commit.
        champion: The champion's version when the night began, or None.
        as_of: ISO time (UTC) of the data that the night sees.
        parameters: The project's parameters, by name, or by step and name as ``train.alpha``.
        promote: ``auto``, ``ask`` or ``never``.
        force: Whether the night runs although nothing changed.
        spec: What of the pipeline file its tasks obey.
        dag_version: The commit of the Dag file, where Airflow has it from Git; else ''.
        handed: Of which pieces those parameters are made that hold what earlier steps leave.
    """

    run_id: str
    experiment_id: str
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
    spec: NightSpec
    dag_version: str = ""
    handed: Mapping[str, Sequence[Part]] = field(default_factory=dict)

    @property
    def pipeline(self) -> str:
        """The Dag's id."""
        return self.spec.name

    @property
    def model(self) -> str:
        """The registered model."""
        return self.spec.model

    @property
    def validated(self) -> bool:
        """Whether a step of their own scores the models; otherwise their trainings do."""
        return self.spec.steps.validate is not None

    def to_dict(self) -> dict[str, Any]:
        """Return the night as JSON values."""
        plain = {one.name: getattr(self, one.name) for one in fields(self)}
        return {**plain, "spec": to_json(NightSpec, self.spec)}

    @classmethod
    def of(cls, document: Mapping[str, Any], declared: NightSpec | None = None) -> Night:
        """Return the night whose ``to_dict`` gave the document, in this version or the one before.

        Args:
            document: What the night pinned.
            declared: What the pipeline file says today. It counts where the version before, whose
                tasks looked there, pinned nothing; None where that does not matter.

        Raises:
            DeclarationError: naming what in the document is wrong.
        """
        rest = dict(document)
        spec = rest.pop("spec", None)
        if spec is None:
            spec = _spec_of_0_1(rest, declared)
        return cls(**rest, spec=from_json(NightSpec, spec))

    def fingerprint(self, raw_sha256: str) -> str:
        """Return the identity of a night's input: code, data, parameters, rules, how it is run."""
        rules, recipe = self.spec.gate.identity, self.spec.recipe
        chosen = [dict(self.parameters), rules, recipe, self.model]
        return key_of(self.tree, raw_sha256, json.dumps(chosen, sort_keys=True, default=str))

    def summary_lines(self) -> tuple[str, ...]:
        """Return what was pinned, for a log."""
        return (
            f"Commit {self.commit} of {self.repository}; parent run {self.run_id}",
            f"Champion: {self.champion or 'none'}; data as of {self.as_of}",
        )

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
            **({"dag_version": self.dag_version} if self.dag_version else {}),
        }


def _spec_of_0_1(pinned: dict[str, Any], declared: NightSpec | None) -> dict[str, Any]:
    """Take what 0.1 pinned of a pipeline file out of a document; return it in today's form."""
    repository, subdirectory = pinned["repository"], pinned["subdirectory"]
    uri = f"{repository}#{subdirectory}" if subdirectory else repository
    fixed = {"name": pinned.pop("pipeline"), "model": pinned.pop("model")}
    how = {"gate": pinned.pop("rules"), **_run_by(pinned.pop("recipe"))}
    # The recipe says these, too.
    for name in ("model_artifact", "data_artifact", "validated"):
        pinned.pop(name, None)
    today = {"project": {"uri": uri}} if declared is None else to_json(NightSpec, declared)
    return {**today, **fixed, **how}


def _run_by(recipe: Sequence[str]) -> dict[str, Any]:
    """Return steps and environment manager, which ``NightSpec.recipe`` gives as text."""
    named = dict(zip(map(str, Role), recipe, strict=False))
    steps: dict[str, Any] = {role: name or None for role, name in named.items()}
    inputs, manager = {}, {}
    for part in recipe[len(Role) :]:
        ours, _, theirs = part.partition(":")
        artifact, _, name = part.partition("=")
        if part in ENV_MANAGERS:
            manager = {"env_manager": part}
            break  # a search may follow, whose tasks looked into the file
        if ours in INPUTS:
            inputs[ours] = theirs
        else:
            steps[artifact] = name
    return {"steps": {**steps, "inputs": inputs}, **manager}


class NightBook:
    """Opens, finds and closes the nights of pipelines on one tracking server."""

    def __init__(self, client: MlflowClient, runs: RunStore) -> None:
        self._client, self._runs = client, runs

    def opened(self, run_id: str, declared: NightSpec | None = None) -> Night | None:
        """Return what the parent run pinned earlier, or None where it did not come that far."""
        run = self._runs.get(run_id)
        # The tag is written after the file: a try that was killed in between pinned nothing.
        if Tag.COMMIT.value not in run.data.tags:
            return None
        return Night.of(json.loads(read_text(self._client, run, _PINNED)), declared)

    def open(self, experiment_id: str, key: str, name: str, tags: Mapping[str, str]) -> str:
        """Return the id of the night's parent run; the same key gives the same run."""
        kind = {Tag.KIND.value: Kind.NIGHT.value}
        return self._runs.ensure(RunSpec(experiment_id, key, name, {**tags, **kind}))

    def reopen(self, run_id: str) -> None:
        """Let a night that is run again say RUNNING, and no outcome in its name."""
        name = plain_name(self._runs.get(run_id))
        with tracking_errors():
            self._client.update_run(run_id, status="RUNNING", name=name)

    def pin(self, night: Night) -> None:
        """Store what a night pinned; the commit's tag makes it valid, and comes last."""
        run = self._runs.get(night.run_id)
        log_sealed(self._client, run, {_PINNED: json.dumps(night.to_dict(), indent=2)})
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
        chosen = {name: str(value) for name, value in night.parameters.items()}
        self._runs.log_parameters(run, chosen, {tag.value: text for tag, text in tags.items()})

    def give_up(self, run_id: str, reason: str) -> None:
        """End the run of a night that was never pinned, and so moved nothing."""
        self._end(run_id, Outcome.FAILED, reason, "The alias champion did not move.")

    def latest(self, experiment_id: str, night_of: str) -> str | None:
        """Return the parent run that was opened last for a Dag run, or None."""
        tags = {Tag.ATTEMPT_OF: night_of, Tag.KIND: Kind.NIGHT.value}
        found = self._runs.search(experiment_id, tags, limit=1)
        return str(found[0].info.run_id) if found else None

    def sweep(
        self,
        experiment_id: str,
        pipeline: str,
        is_over: Callable[[str], bool],
        let_go: Callable[[Run], None] = lambda _run: None,
    ) -> list[str]:
        """End what nights that are over left RUNNING; return those run ids.

        Args:
            experiment_id: Where the pipeline's runs are.
            pipeline: Its name.
            is_over: Whether a Dag run of that id is known and has ended.
            let_go: Ends what a run has elsewhere, before the run: what fails is found again.
        """
        alive = self._runs.search(experiment_id, {Tag.PIPELINE: pipeline}, also=RUNNING)
        owners = [run.data.tags.get(Tag.DAG_RUN_ID.value, "") for run in alive]
        over = {dag_run for dag_run in set(owners) if dag_run and is_over(dag_run)}
        dead = [run for run, owner in zip(alive, owners, strict=True) if owner in over]
        # A dead night's steps would say RUNNING for ever: MLflow ends no run whose process was
        # killed (3.17), and the worker that could have done it is gone.
        for run in dead:
            let_go(run)
            reason = "abandoned: its night was over and it was not ended"
            self._runs.end(run.info.run_id, "KILLED", reason)
            self._runs.end_nested(run, "KILLED")
        return [str(run.info.run_id) for run in dead]

    def same_input(self, night: Night, fingerprint: str) -> Run | None:
        """Return an earlier night that settled the same input, or None.

        Settled means that it was judged, obeyed, and left the champion that is in production now:
        a verdict that nobody let pass, a rollback or another champion makes the night worth
        running. Without a champion there is no reason to skip.
        """
        if night.champion is None or night.force:
            return None
        tags = {
            Tag.FINGERPRINT: fingerprint,
            Tag.PIPELINE: night.pipeline,
            Tag.CHAMPION_AFTER: night.champion,
        }
        judged = f"tags.`{Tag.OUTCOME}` != '{Outcome.SKIPPED}'"
        for run in self._runs.search(night.experiment_id, tags, also=judged):
            # Settled: its verdict was obeyed, or a person turned it down. A night that was held or
            # failed may end otherwise on the same input, and is run again.
            turned_down = run.data.tags.get(Tag.APPROVAL.value, "").startswith(_TURNED_DOWN)
            settled = run.data.tags.get(Tag.OUTCOME.value) in _SETTLED or turned_down
            if run.info.run_id != night.run_id and settled:
                return run
        return None

    def note_less_seen(self, night: Night) -> str:
        """Note on a night that the one before it saw later data; return the words, '' for none."""
        tags = {Tag.PIPELINE: night.pipeline, Tag.KIND: Kind.NIGHT.value}
        # Nights that failed before they were pinned saw nothing.
        pinned = f"tags.`{Tag.AS_OF}` != ''"
        last = self._runs.search(night.experiment_id, tags, also=pinned, limit=2)
        before = next((run for run in last if run.info.run_id != night.run_id), None)
        seen = "" if before is None else before.data.tags.get(Tag.AS_OF.value, "")
        if before is None or seen <= night.as_of:
            return ""
        words = f"it saw data as of {night.as_of}, and {plain_name(before)} before it of {seen}"
        self._runs.tag(night.run_id, {Tag.SAW_LESS: words})
        return words

    def skips_in_a_row(self, night: Night) -> int:
        """Return how many nights before this one ended SKIPPED without another outcome between."""
        tags = {Tag.PIPELINE: night.pipeline, Tag.KIND: Kind.NIGHT.value}
        nights = self._runs.search(night.experiment_id, tags, limit=_LONGEST_SERIES)
        earlier = [run for run in nights if run.info.run_id != night.run_id]
        skipped = (run.data.tags.get(Tag.OUTCOME) == Outcome.SKIPPED for run in earlier)
        return len(list(takewhile(bool, skipped)))

    def first_to_find_stale(self, night: Night, version: str) -> bool:
        """Note on a night that a champion is too old; return whether no night did so before."""
        tags = {Tag.STALE: version, Tag.PIPELINE: night.pipeline}
        earlier = self._runs.search(night.experiment_id, tags, limit=1)
        self._runs.tag(night.run_id, {Tag.STALE: version})
        return all(run.info.run_id == night.run_id for run in earlier)

    def stored_fingerprint(self, night: Night) -> str:
        """Return the identity of the night's input; '' where its download names no content."""
        return str(self._runs.get(night.run_id).data.tags.get(Tag.FINGERPRINT.value, ""))

    def approval(self, night: Night) -> str:
        """Return what a person said about the night's challenger, and who; '' for nothing."""
        return str(self._runs.get(night.run_id).data.tags.get(Tag.APPROVAL.value, ""))

    def close(self, night: Night, outcome: Outcome, reason: str, champion: str | None) -> None:
        """Write how the night ended, and end its run."""
        self._runs.tag(night.run_id, {Tag.CHAMPION_AFTER: champion or ""})
        self._end(night.run_id, outcome, reason, alias_said(night.champion, champion))

    def _end(self, run_id: str, outcome: Outcome, reason: str, alias: str) -> None:
        # Outcome and reason before the status: who waits for the run's end reads both with it.
        reasons = "\n".join(f"* {line}" for line in sentences(reason[:5000]))
        tags = {
            Tag.OUTCOME: outcome.value,
            Tag.REASON: reason[:5000],
            Tag.DESCRIPTION: f"**{outcome}**: {alias}\n\n{reasons}",
        }
        self._runs.tag(run_id, tags)
        # MLflow's lists cut names off at their end, and show no tag unless one asks.
        name = f"{outcome}: {plain_name(self._runs.get(run_id))}"
        with tracking_errors():
            self._client.update_run(run_id, name=name)
        failed = outcome is Outcome.FAILED
        self._runs.end(run_id, "FAILED" if failed else "FINISHED", reason if failed else "")


def alias_said(before: str | None, after: str | None) -> str:
    """Return as a sentence what became of the alias ``champion`` in a night."""
    if before == after:
        stays = f"version {after} is still champion" if after else "there is still none"
        return f"The alias champion did not move: {stays}."
    went = f"from version {before}" if before else "for the first time"
    return f"The alias champion moved {went} to {f'version {after}' if after else 'none'}."


def plain_name(run: Run) -> str:
    """Return a night's name without the outcome that ``close`` put before it."""
    name = str(run.info.run_name or run.info.run_id)
    outcome, colon, rest = name.partition(": ")
    return rest if colon and outcome in set(Outcome) else name
