"""Takes a champion back: an earlier version, rehearsed, and what it replaces kept out. MLflow only.

The version that is rolled back to is asked the questions of its own earlier rehearsal, on the terms
of that; one that was never rehearsed is asked its input example. Then the alias moves as it does
for a promotion, with what it keeps from returning in the same entry of the history.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from understudy.contract import Kind, Tag
from understudy.errors import RegistryError
from understudy.registry.alias_store import AliasState
from understudy.registry.history import MoveCause, ReturnBlock, Scope, Trained
from understudy.registry.history_log import EXPERIMENT
from understudy.registry.promoter import MoveRequest, Promoter
from understudy.registry.rehearsal import RECORD, RehearsalCandidate, Rehearser
from understudy.registry.rehearsal_cases import RehearsalCases
from understudy.registry.rehearsal_report import RehearsalReport
from understudy.registry.versions import version_of
from understudy.runner.process.process import OnLine
from understudy.spec.pipeline import Rehearsal
from understudy.store.artifacts import read_text
from understudy.store.tracking import RunSpec, RunStore, tracking_errors

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient


@dataclass(frozen=True, slots=True)
class RollbackRequest:
    """A rollback that a person asks for.

    Attributes:
        model: The registered model.
        why: The reason in words.
        actor: Who asks for it.
        key: Identity of the attempt: made again, it is the same rollback.
        to: The version to return to; '' for the one before the present one.
        scope: What may not return by itself.
        until: ISO time (UTC) when it may; '' for never.
        rehearse: False for models that MLflow cannot serve.
        tags: Further tags of the rehearsal's MLflow run.
    """

    model: str
    why: str
    actor: str
    key: str
    to: str = ""
    scope: Scope = Scope.VERSION
    until: str = ""
    rehearse: bool = True
    tags: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Done:
    """A rollback that was made.

    Attributes:
        model: The registered model.
        version: Its champion now.
        replaced: The champion until then; None for none.
        run_id: The training run of the champion, or ''.
        rehearsal_run: The MLflow run with the rehearsal, or ''.
    """

    model: str
    version: str
    replaced: str | None
    run_id: str
    rehearsal_run: str


Casting = Callable[[Rehearsal], Rehearser]
"""Makes a rehearser for some terms."""


class Rollbacks:
    """Makes rollbacks.

    Args:
        client: Of the tracking server.
        runs: Of the same.
        promoter: Of the same.
        casting: Makes what rehearses.

    Raises:
        TrackingUnavailableError: from every method, when the server does not answer.
    """

    def __init__(
        self, client: MlflowClient, runs: RunStore, promoter: Promoter, casting: Casting
    ) -> None:
        self._client, self._runs, self._promoter, self._casting = client, runs, promoter, casting

    def make(self, request: RollbackRequest, on_line: OnLine) -> Done:
        """Rehearse and move.

        Raises:
            RegistryError: when there is nothing to return to, or the version does not exist.
            ServingError: when it does not serve as it must.
            ChampionChangedError: when somebody else moved the alias meanwhile.
        """
        # Read once, before the rehearsal, which takes minutes: if the champion changes meanwhile,
        # `move` refuses, because it is expected to be this one.
        alias_state = self._promoter.look(request.model)
        target = self._target(alias_state, request, on_line)
        version = self._version(request.model, target)
        rehearsed = self._rehearsed(request, version, on_line) if request.rehearse else ""
        block = None
        if alias_state.champion is not None:
            facts = self._trained(request.model, alias_state.champion)
            block = ReturnBlock(request.scope, facts, request.until)
        # Move and block are one entry of the history: there is no moment in which the version is
        # rolled back and a night could already bring it back.
        move = MoveRequest(
            model=request.model,
            version=target,
            expected=alias_state.champion,
            key=request.key,
            cause=MoveCause.ROLLBACK,
            actor=request.actor,
            why=request.why,
            rehearsal_run=rehearsed,
            block=block,
        )
        self._promoter.move(move)
        return Done(
            request.model, target, alias_state.champion, str(version.run_id or ""), rehearsed
        )

    def _target(self, alias_state: AliasState, request: RollbackRequest, on_line: OnLine) -> str:
        last = alias_state.history.moves[-1].move if alias_state.history.moves else None
        # This very rollback, made by a try that died afterwards. Resolved anew, "the champion
        # before" would now be the version that was rolled back from.
        if last is not None and last.key == request.key:
            return str(last.after)
        target = request.to or self._former(request.model, alias_state, on_line)
        if target == alias_state.champion:
            raise RegistryError(
                f"Version {target} of {request.model} is the champion",
                allowed="another version to return to",
                action="look at `understudy history`; nothing has to be done if it is right",
            )
        return target

    def _former(self, model: str, alias_state: AliasState, on_line: OnLine) -> str:
        """Return the last former champion that nobody has deleted."""
        former = alias_state.history.former
        for version in former:
            if version_of(self._client, model, version) is not None:
                return version
            on_line(f"Version {version} of {model} was champion before, and somebody deleted it")
        deleted = f" that is still there: {', '.join(former)} were deleted" if former else ""
        raise RegistryError(
            f"{model} has had no other champion than {alias_state.champion}{deleted}",
            allowed="a model whose champion has replaced another version",
            action="name the version to return to",
        )

    def _version(self, model: str, version: str) -> ModelVersion:
        found = version_of(self._client, model, version)
        if found is None:
            raise RegistryError(
                f"There is no version {version!r} of {model}",
                allowed="the number of a version that is in the registry",
                action="choose one in MLflow, or train again",
            )
        return found

    def _trained(self, model: str, version: str) -> Trained:
        """Return what is known of how a version was made; its runs may be gone."""
        found = self._version(model, version)
        trained_in = str(found.run_id or "")
        training = self._tags(trained_in)
        # The night's own commit comes first: a training that it reused may be of an earlier one.
        night = self._tags(found.tags.get(Tag.DECISION_RUN.value, ""))
        return Trained(
            version,
            run_id=trained_in,
            commit=night.get(Tag.COMMIT.value) or training.get(Tag.COMMIT.value, ""),
            fingerprint=night.get(Tag.FINGERPRINT.value, ""),
        )

    def _tags(self, run_id: str) -> dict[str, str]:
        run = self._runs.found(run_id) if run_id else None
        return {} if run is None else dict(run.data.tags)

    def _rehearsed(self, request: RollbackRequest, version: ModelVersion, on_line: OnLine) -> str:
        """Rehearse a version as it was rehearsed before; return the run."""
        earlier = str(version.tags.get(Tag.REHEARSAL_RUN.value, ""))
        record = self._record(earlier)
        terms = RehearsalReport.terms_of(record) if record else Rehearsal()
        candidate = RehearsalCandidate(
            request.model,
            str(version.version),
            manager=record.get("manager", "uv"),
            cases=RehearsalCases(rehearsal=earlier if record else ""),
        )
        # In the experiment that the version was trained in, for whoever looks at that model; the
        # history's own where the training run is gone.
        trained = self._runs.found(str(version.run_id)) if version.run_id else None
        experiment = (
            self._runs.experiment(EXPERIMENT) if trained is None else trained.info.experiment_id
        )
        tags = {Tag.KIND.value: Kind.REHEARSAL.value, Tag.MODEL.value: request.model}
        spec = RunSpec(
            experiment,
            f"rehearsal {request.key}",
            f"rehearse version {version.version} for a rollback",
            {**tags, **dict(request.tags)},
        )
        for line in self._casting(terms).rehearse(candidate, spec, on_line).summary_lines():
            on_line(line)
        return str(self._runs.tagged(spec.experiment_id, Tag.KEY, spec.key)[-1].info.run_id)

    def _record(self, run_id: str) -> dict[str, Any]:
        """Return the record of an earlier rehearsal; empty where it is gone."""
        run = self._runs.found(run_id) if run_id else None
        if run is None:
            return {}
        # Listed first: a download of what is not there is retried by MLflow's client for long, and
        # fails like an outage.
        folder = RECORD.rpartition("/")[0]
        with tracking_errors():
            if all(item.path != RECORD for item in self._client.list_artifacts(run_id, folder)):
                return {}
        found: dict[str, Any] = json.loads(read_text(self._client, run, RECORD))
        return found
