"""The trigger form in Airflow's UI: what a person may want to set by hand, and what was set."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from airflow.sdk import Param

from understudy.airflow.schedule import moment
from understudy.errors import DeclarationError, ParameterError
from understudy.spec.pipeline import Pipeline, Promotion

if TYPE_CHECKING:
    from airflow.sdk import Context

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


def chosen(context: Context, pipeline: Pipeline) -> dict[str, Any]:
    """Return what a Dag run's form says, as fields of a night.

    Raises:
        ParameterError: when ``as_of`` is no time.
    """
    params, as_of = context["params"], moment(context)
    if given := params["as_of"]:
        as_of = as_of_time(str(given))
    values = {name: params[name] for name in pipeline.parameters}
    return {
        "version": str(params["version"] or ""),
        "as_of": as_of.isoformat(timespec="seconds"),
        # The form sends null for a text that was emptied.
        "parameters": {name: "" if value is None else value for name, value in values.items()},
        "promote": _promotion(context).value,
        "force": bool(params["force"]) or not pipeline.skip_unchanged,
    }


def as_of_time(text: str) -> datetime:
    """Return the time that a person wrote; without a time zone it is UTC.

    Raises:
        ParameterError: when it is no ISO 8601 date or time. Airflow's form lets any text pass.
    """
    try:
        given = datetime.fromisoformat(text)
    except ValueError as error:
        raise ParameterError(
            f"as_of is {text!r}",
            allowed="an ISO 8601 date or time, such as 2026-01-31 or 2026-01-31T03:00:00+00:00",
            action="trigger the Dag again with such a time, or leave as_of empty",
        ) from error
    return (given if given.tzinfo else given.replace(tzinfo=UTC)).astimezone(UTC)


def _promotion(context: Context) -> Promotion:
    """Return who obeys the verdict; a backfill moves nothing unless that was asked for."""
    dag_run = context["dag_run"]
    # `conf` has only what was given by hand, `params` the declared defaults as well.
    is_explicit = "promote" in (dag_run.conf or {})
    if dag_run.run_type == "backfill" and not is_explicit:
        return Promotion.NEVER
    return Promotion(context["params"]["promote"])


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
