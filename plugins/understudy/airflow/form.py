"""The trigger form in Airflow's UI: what a person may want to set by hand. Pure but for Param."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from airflow.sdk import Param

from understudy.errors import DeclarationError
from understudy.spec.pipeline import Pipeline, Promotion

_TYPES: Final = {bool: "boolean", int: "integer", float: "number", str: "string"}
_PROJECT: Final = "Parameters of the project"
_PLAIN_HELP: Final = "Handed to every step that declares it in the MLproject."
_PROMOTE: Final = {
    Promotion.AUTO: "if the gate says so",
    Promotion.ASK: "if the gate says so and a person approves",
    Promotion.NEVER: "only judge",
}
_BOUNDS: Final = {
    "minimum": "at least {0}",
    "exclusiveMinimum": "more than {0}",
    "maximum": "at most {0}",
    "exclusiveMaximum": "less than {0}",
}


def form(pipeline: Pipeline) -> dict[str, Param]:
    """Return the fields of the form: ours, then the project's parameters."""
    project = {name: _parameter(name, value) for name, value in pipeline.parameters.items()}
    return {**_own_fields(pipeline), **project}


def _own_fields(pipeline: Pipeline) -> dict[str, Param]:
    """Return our fields, without a section: only the unnamed one is open from the beginning."""
    return {
        "version": Param(
            pipeline.project.version or None,
            type=["null", "string"],
            title="Version",
            description="Branch, tag or commit of the project; empty for its default branch.",
            # What Git allows in a name, without a leading dash: it would be an option of Git's.
            maxLength=250,
            pattern=r"^(?!-)[^\s~^:?*\[\\]*$",
        ),
        "as_of": Param(
            None,
            type=["null", "string"],
            format="date-time",
            title="Data as of",
            description="Use what had arrived by then; empty for the night's own moment.",
        ),
        "force": Param(
            default=False,
            type="boolean",
            title="Run although nothing changed",
            description="Run every step anew, and judge, even where code, data, parameters and "
            "rules are those of an earlier night, which otherwise ends the night SKIPPED.",
        ),
        "promote": Param(
            Promotion(pipeline.promote).value,
            type="string",
            enum=[choice.value for choice in Promotion],
            values_display={choice.value: f"{choice} - {_PROMOTE[choice]}" for choice in Promotion},
            title="Promote",
            description="Whether a challenger that passes the gate becomes the champion.",
        ),
    }


def _parameter(name: str, value: object) -> Param:
    if isinstance(value, Param):
        schema, text = _schema(name, value.value, value.schema), value.description
        # Airflow's form enforces the bounds of a number but does not show them (3.3).
        if bounds := [bound.format(schema[key]) for key, bound in _BOUNDS.items() if key in schema]:
            stated = " and ".join(bounds)
            text = " ".join(filter(None, (text, f"{stated[0].upper()}{stated[1:]}.")))
        return Param(value.value, text, **schema)
    for kind, word in _TYPES.items():
        if type(value) is kind:
            return Param(value, _PLAIN_HELP, **_schema(name, value, {"type": word}))
    raise DeclarationError(
        f"Pipeline: the parameter {name!r} is {value!r}, a {type(value).__name__}",
        allowed="text, a number, True or False, or an airflow.sdk.Param of one of these",
        action=f"correct parameters[{name!r}] in the pipeline file",
    )


def _schema(name: str, value: object, schema: Mapping[str, Any]) -> dict[str, Any]:
    full = {"title": name, "section": _PROJECT, **schema}
    if value == "" and full.get("type") == "string":
        # Airflow's form lets nobody trigger while a field of one type is empty.
        full["type"] = ["null", "string"]
    return full
