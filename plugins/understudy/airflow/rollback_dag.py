"""A Dag with a form by which a person takes a champion back. Reads no clock, file or server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from airflow.sdk import DAG, AssetAlias, BaseOperator, Param

from understudy.airflow.assets import champion_asset
from understudy.airflow.exceptions import airflow_errors
from understudy.airflow.form import as_of_time
from understudy.airflow.links import MlflowRunLink, run_address
from understudy.airflow.services import Services
from understudy.airflow.step import airflow_tags, task_key
from understudy.contract import Tag
from understudy.errors import warn_of_old_name
from understudy.registry.history import Scope

if TYPE_CHECKING:
    from airflow.sdk import Context

    from understudy.registry.rehearsal import Rehearser
    from understudy.registry.rollback import Done, RollbackRequest
    from understudy.spec.pipeline import Rehearsal

ROLLBACKS: Final = "champions that were rolled back"
"""Asset alias under which a rollback changes the champion's asset."""
_SCOPES: Final = {
    Scope.VERSION: "the version, and what is trained from the same code, data and parameters",
    Scope.COMMIT: "whatever is trained from its commit",
    Scope.MODEL: "any night's model",
}
_DOCS: Final = """\
Makes an earlier version of a model champion again. The version is served and asked first, as before
a promotion; then the alias `champion` moves, with your name and reason in `understudy history`.
The version that was champion does not return by itself: nights that arrive at it end HELD. A better
one remains eligible.
"""


def rollback_dag(dag_id: str = "rollback", *, models: Sequence[str] = ()) -> DAG:
    """Return a Dag that a person triggers to take a champion back.

    Args:
        dag_id: The Dag's id.
        models: The registered models that the form offers; none to let the person write the name.
    """
    with DAG(
        dag_id,
        description="Makes an earlier version of a model champion again",
        doc_md=_DOCS,
        schedule=None,
        catchup=False,
        params=_form(models),
        # By the second one the pages find it.
        tags={"understudy", "understudy-rollback"},
    ) as dag:
        # A person waits for the answer, and decides whether to try again.
        RollbackOperator(task_id="rollback", doc_md=_DOCS, retries=0)
    return dag


class RollbackOperator(BaseOperator):
    """Rehearses the version that the form names, and makes it champion."""

    operator_extra_links = (MlflowRunLink(),)
    ui_color = "#ffebee"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(outlets=[AssetAlias(ROLLBACKS)], **kwargs)
        self.mlflow_address = ""
        self._rehearser: Rehearser | None = None

    def execute(self, context: Context) -> dict[str, str]:
        """Return model, champion and what it replaced."""
        from understudy.registry.rehearsal import Rehearser
        from understudy.registry.rollback import Rollbacks

        with airflow_errors():
            services = Services.connect()

            # The terms are known when the earlier rehearsal was read; kept, so that `on_kill` can
            # stop what serves the version.
            def casting(terms: Rehearsal) -> Rehearser:
                self._rehearser = Rehearser(services.client, services.runs, terms)
                return self._rehearser

            rollbacks = Rollbacks(services.client, services.runs, services.promoter, casting)
            done = rollbacks.make(_request(context), partial(self.log.info, "%s"))
            if done.rehearsal_run:
                run = services.runs.get(done.rehearsal_run)
                self.mlflow_address = run_address(run.info.experiment_id, done.rehearsal_run)
        _announce(context, done)
        self.log.info("%s version %s is champion again", done.model, done.version)
        return {"model": done.model, "champion": done.version, "replaced": done.replaced or ""}

    def on_kill(self) -> None:
        """End the server with all its processes; Airflow gives this five seconds."""
        if self._rehearser is not None:
            self._rehearser.stop()


def _form(models: Sequence[str]) -> dict[str, Param]:
    choice = {"enum": list(models)} if models else {"minLength": 1}
    return {
        "model": Param(type="string", title="Model", description="The registered model.", **choice),
        "why": Param(
            type="string", title="Why", description="The reason, for the history.", minLength=1
        ),
        "to": Param(
            None,
            type=["null", "string"],
            title="To version",
            description="Empty for the champion before this one.",
            pattern=r"^[0-9]*$",
        ),
        "block": Param(
            Scope.VERSION.value,
            type="string",
            enum=[scope.value for scope in Scope],
            values_display={scope.value: f"{scope} - {_SCOPES[scope]}" for scope in Scope},
            title="What may not return by itself",
        ),
        "until": Param(
            None,
            type=["null", "string"],
            format="date-time",
            title="Until",
            description="When it may return; empty for never.",
        ),
        "rehearse": Param(
            default=True,
            type="boolean",
            title="Rehearse",
            description="Serve and ask the version first; not for models that MLflow cannot serve.",
        ),
    }


def _block(params: Mapping[str, Any]) -> str:
    """Return what may not return by itself; the form of 0.1 called that ``hold``."""
    if former := params.get("hold"):
        warn_of_old_name("The parameter 'hold'", "'block'")
        return str(former)
    return str(params["block"])


def _request(context: Context) -> RollbackRequest:
    from understudy.registry.rollback import RollbackRequest

    params, tags = context["params"], airflow_tags(context)
    tags.pop(Tag.KIND.value)
    until = params["until"]
    return RollbackRequest(
        model=params["model"],
        why=params["why"],
        actor=context["dag_run"].triggering_user_name or "unknown",
        key=task_key(context),
        to=params["to"] or "",
        scope=Scope(_block(params)),
        until=as_of_time(str(until)).isoformat() if until else "",
        rehearse=bool(params["rehearse"]),
        tags=tuple(tags.items()),
    )


def _announce(context: Context, done: Done) -> None:
    """Let the champion's asset change, for the Dags that wait for it."""
    extra: dict[str, Any] = {
        "model": done.model,
        "version": done.version,
        "previous": done.replaced,
        "run_id": done.run_id,
        "decision_run_id": "",
    }
    # By an alias: which model's asset changes is known only when the form was filled in.
    events = context["outlet_events"][AssetAlias(ROLLBACKS)]
    events.add(champion_asset(done.model), extra=extra)
