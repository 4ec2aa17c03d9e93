"""``search``: workers on the night's one study; and the training with what they found.

Each worker ends only when the study has ended, so what any of them leaves is the whole study's.
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

from understudy.airflow.connections import study_storage
from understudy.airflow.night_context import SEARCH, pulled
from understudy.airflow.night_steps import NightStepOperator
from understudy.airflow.services import Services
from understudy.contract import BEST_PARAMETERS, STUDY_VARIABLE, DataTag
from understudy.errors import DecisionError, ProjectError, listed
from understudy.spec.entry_points import REFIT, Role, given_to
from understudy.spec.pipeline import NightSpec, Pipeline
from understudy.spec.search import FIXED, METRIC, STUDY, Search
from understudy.store.artifacts import read_text
from understudy.store.night import Night

if TYPE_CHECKING:
    from airflow.sdk import Context

# Characters of a pipeline's name in a study's.
_LONGEST_NAME = 150


class SearchOperator(NightStepOperator):
    """One of the workers on the night's study.

    A worker that is tried again, or cleared, goes on with the study, or finds that it has ended.

    Args:
        worker: Its number, for people.
    """

    def __init__(self, *, pipeline: Pipeline, worker: int, **kwargs: Any) -> None:
        super().__init__(pipeline=pipeline, step=Role.TRAIN, **kwargs)
        self.worker = worker

    def entry_point_of(self, spec: NightSpec) -> str:
        """Return the search's entry point, which takes what the training does; '' for none."""
        return "" if spec.search is None else spec.search.entry_point

    def inputs(self, context: Context, night: Night) -> dict[str, str]:
        """Return the rows, and what is searched how; what the form has, counts instead."""
        search = _search(night.spec)
        declared = {METRIC: night.spec.gate.primary.name, **search.values()}
        given = given_to(self.step, night.parameters)
        from_form = {name: text for name, text in declared.items() if name not in given}
        # The first part of the study's name; the project adds a digest of rows and settings. So the
        # same code on the same rows finds its study again, in a later night, too; a forced night
        # begins anew.
        study = f"{night.pipeline[:_LONGEST_NAME]}-{night.tree[:12]}"
        if night.force:
            study = f"{study}-{night.run_id[:12]}"
        filled = {STUDY: study, FIXED: self._fixed(context, night, search)}
        return {**super().inputs(context, night), **from_form, **filled}

    def run_title(self) -> str:
        """Return the name of the MLflow run."""
        return f"{self.entry_point} {self.worker}"

    def variables(self, spec: NightSpec) -> dict[str, str]:
        """Return the variables of the step: where the study is, with its password."""
        given = super().variables(spec)
        storage = study_storage(_search(spec)) if self.placement is None else ""
        return {**given, STUDY_VARIABLE: storage} if storage else given

    def _fixed(self, context: Context, night: Night, search: Search) -> str:
        """Return the night's parameters that only the training takes, and nobody searches."""
        services = Services.connect()
        training = self.takes(services, night, night.spec.steps.train)
        own = {*self.takes(services, night), *search.searched}
        fixed = self.given(context, services, night, {*training} - own)
        return json.dumps(fixed) if fixed else ""


class TrainOperator(NightStepOperator):
    """Trains with the best trial's parameters, where the night searches some."""

    def inputs(self, context: Context, night: Night) -> dict[str, str]:
        """Return the rows and the best trial's parameters.

        Raises:
            ProjectError: for a parameter that the training does not declare.
        """
        inputs = super().inputs(context, night)
        if night.spec.search is None:
            return inputs
        services = Services.connect()
        best = _best(context, services, night.spec.search.workers)
        declared = self.takes(services, night)
        if foreign := [name for name in best if name not in declared]:
            raise ProjectError(
                f"{BEST_PARAMETERS} has {listed(foreign)}, which {self.entry_point!r} lacks",
                allowed=listed(declared),
                action="let the search leave only parameters of the training",
            )
        self.log.info("Best parameters: %s", best)
        return {**inputs, **best}

    def finished(self, context: Context, services: Services, run_id: str) -> Any:  # noqa: ANN401
        """Return the run; refuse a model that has learned from the rows that are to judge it.

        Raises:
            ProjectError: when its training says so.
        """
        tags = services.runs.get(run_id).data.tags
        seen = tags.get(DataTag.HOLDOUT_TRAINED.value, "0")
        if seen != "0":
            raise ProjectError(
                f"The training learned from {seen} rows of the holdout, which are to judge it",
                allowed="a training that leaves the holdout alone until the verdict",
                action=f"take {REFIT!r} out of parameters; pipeline(..., refit=Refit()) trains on"
                " all rows after the verdict",
            )
        return super().finished(context, services, run_id)


def _best(context: Context, services: Services, workers: int) -> dict[str, str]:
    """Return what any worker that succeeded left: it is the whole study's.

    Raises:
        DecisionError: when none succeeded.
        ProjectError: when it left something else than parameters.
    """
    found = (pulled(context, SEARCH, one) for one in range(workers))
    run_id = next((str(one) for one in found if one is not None), "")
    if not run_id:
        raise DecisionError(
            "No worker of the search succeeded",
            allowed="a night in which one did",
            action=f"clear the task {SEARCH} of this Dag run",
        )
    text = read_text(services.client, services.runs.get(run_id), BEST_PARAMETERS)
    content: object = None
    # What is no JSON is refused like JSON of another kind, with the text in the message.
    with contextlib.suppress(ValueError):
        content = json.loads(text)
    if not isinstance(content, dict):
        raise ProjectError(
            f"{BEST_PARAMETERS} of the run {run_id} is {text[:100]!r}",
            allowed="a JSON object of parameters of the training",
            action="correct the project's search",
        )
    return {name: str(value) for name, value in content.items()}


def _search(spec: NightSpec) -> Search:
    """Return what the night searches, where it does."""
    if spec.search is None:
        raise AssertionError(spec.name)
    return spec.search
