"""The trigger form in Airflow's UI: what a person may want to set by hand. Pure but for Param."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from airflow.sdk import Param

from understudy.declaration import Pipeline, Promotion
from understudy.errors import DeclarationError

_TYPES: Final = {bool: "boolean", int: "integer", float: "number", str: "string"}
_RUN: Final = "This run"
_PROJECT: Final = "Parameters of the project"


def form(pipeline: Pipeline) -> dict[str, Param]:
    """Return the fields of the form: ours, then the project's parameters."""
    project = {name: _parameter(name, value) for name, value in pipeline.parameters.items()}
    return {**_own_fields(pipeline), **project}


def _own_fields(pipeline: Pipeline) -> dict[str, Param]:
    return {
        "version": Param(
            pipeline.project.version,
            type="string",
            title="Version",
            description="Branch, tag or commit of the project; empty for its default branch.",
            maxLength=250,
            pattern=r"^(?!-)[^\s~^:?*\[\\]*$",
            section=_RUN,
        ),
        "as_of": Param(
            None,
            type=["null", "string"],
            format="date-time",
            title="Data as of",
            description="Use what was there at this time (UTC); empty for the night's own time.",
            section=_RUN,
        ),
        "force": Param(
            default=False,
            type="boolean",
            title="Run although nothing changed",
            description="Train and judge even when code, data and parameters did not change.",
            section=_RUN,
        ),
        "promote": Param(
            Promotion(pipeline.promote).value,
            type="string",
            enum=[choice.value for choice in Promotion],
            title="Promote",
            description="auto: the verdict decides. ask: a person approves. never: only judge.",
            section=_RUN,
        ),
    }


def _parameter(name: str, value: object) -> Param:
    if isinstance(value, Param):
        return Param(value.value, value.description, **_schema(name, value.schema))
    for kind, word in _TYPES.items():
        if type(value) is kind:
            return Param(value, **_schema(name, {"type": word}))
    raise DeclarationError(
        f"Pipeline: the parameter {name!r} is {value!r}, a {type(value).__name__}",
        allowed="text, a number, True or False, or an airflow.sdk.Param of one of these",
        action=f"correct parameters[{name!r}] in the pipeline file",
    )


def _schema(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"title": name, "section": _PROJECT, **schema}
