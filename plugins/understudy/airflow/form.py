"""The trigger form in Airflow's UI: what a person may want to set by hand, and what was set."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from airflow.sdk import Param
from airflow.sdk.log import redact  # type: ignore[attr-defined]  # imported there
from jinja2 import TemplateError

from understudy.airflow.schedule import moment
from understudy.errors import DeclarationError, ParameterError, listed
from understudy.spec import quantities
from understudy.spec.entry_points import (
    ARTIFACT_URI,
    METRICS,
    PARAMS,
    RUN_ID,
    Part,
    Role,
    Steps,
    as_template,
    split_key,
)
from understudy.spec.pipeline import Pipeline, Promotion

if TYPE_CHECKING:
    from airflow.sdk import Context

Render = Callable[[str, Any], object]
"""Fills in a template's text with what a context has, such as ``BaseOperator.render_template``."""

_TYPES: Final = {bool: "boolean", int: "integer", float: "number", str: "string"}
_PROJECT: Final = "Parameters of the project"
_PLAIN_HELP: Final = "Handed to every step that declares it in the MLproject."
_OWN_HELP: Final = "Handed to the step {0} alone."
_TEMPLATE_HELP: Final = (
    " This template of the pipeline file is filled in when the night begins; what you write in its"
    " place is handed over as it is."
)
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


def chosen(context: Context, pipeline: Pipeline, render: Render) -> dict[str, Any]:
    """Return what a Dag run's form says, as fields of a night.

    Args:
        context: Airflow's context of a task.
        pipeline: What the pipeline file declares.
        render: Fills a template in, as Airflow's operators do.

    Raises:
        ParameterError: when ``as_of`` is no time, or a template cannot be filled in.
    """
    params, as_of = context["params"], moment(context)
    if given := params["as_of"]:
        as_of = as_of_time(str(given))
    # The form sends null for a text that was emptied.
    values = {n: "" if params[n] is None else params[n] for n in pipeline.parameters}
    handed = {}
    for name, declared in pipeline.parameters.items():
        text = _template(declared)
        # Only the pipeline file's own text is ever a template. What a person has filled in is
        # handed over as it is: a template would read every connection and variable of Airflow.
        if text and values[name] == text:
            parts = _filled_in(text, context, pipeline.steps, render)
            values[name] = as_template(parts)
            if any(not isinstance(part, str) for part in parts):
                handed[name] = parts
    return {
        "version": str(params["version"] or ""),
        "as_of": as_of.isoformat(timespec="seconds"),
        "parameters": values,
        "handed": handed,
        "promote": _promotion(context).value,
        "force": bool(params["force"]) or not pipeline.skip_unchanged,
    }


def as_of_time(text: str) -> datetime:
    """Return the time that a person wrote; without a time zone it is UTC.

    Raises:
        ParameterError: when it is no ISO 8601 date or time. Airflow's form lets any text pass.
    """
    try:
        return quantities.moment(text)
    except ValueError as error:
        raise ParameterError(
            f"as_of is {text!r}",
            allowed="an ISO 8601 date or time, such as 2026-01-31 or 2026-01-31T03:00:00+00:00, of"
            " the years 1700 to 2199",
            action="trigger the Dag again with such a time, or leave as_of empty",
        ) from error


def _promotion(context: Context) -> Promotion:
    """Return who obeys the verdict; a backfill moves nothing unless that was asked for."""
    dag_run = context["dag_run"]
    # `conf` has only what was given by hand, `params` the declared defaults as well.
    is_explicit = "promote" in (dag_run.conf or {})
    if dag_run.run_type == "backfill" and not is_explicit:
        return Promotion.NEVER
    return Promotion(context["params"]["promote"])


def _template(value: object) -> str:
    """Return the template that a parameter is in the pipeline file; '' for any other value."""
    text = value.value if isinstance(value, Param) else value
    return text if isinstance(text, str) and ("{{" in text or "{%" in text) else ""


class _Mark:
    """Stands in a template for what a step will leave: it can be written there, and no more."""

    def __init__(self, text: str, written: list[str]) -> None:
        self._text, self._written = text, written

    def __str__(self) -> str:
        self._written.append(self._text)
        return self._text

    def _too_early(self, *_: object) -> Any:  # noqa: ANN401 - it never returns
        raise _not_yet_known()

    __bool__ = __len__ = __iter__ = __float__ = __int__ = __round__ = __getitem__ = _too_early
    __eq__ = __lt__ = __gt__ = __le__ = __ge__ = _too_early
    __hash__ = None  # type: ignore[assignment]


def _not_yet_known() -> ParameterError:
    return ParameterError(
        "A template changes or compares what a step will leave, which is known only once the step"
        " has ended",
        allowed="{{ steps.<step>... }} as a whole, without filters, comparisons or arithmetic",
        action="hand it over as it is, and let the entry point do the rest",
    )


class _Names:
    """Metrics or parameters of a step, of which every name may be there later."""

    def __init__(self, mark: Callable[[str], _Mark]) -> None:
        self._mark = mark

    def __getitem__(self, name: str) -> _Mark:
        return self._mark(name)


class _Leavings:
    """What the steps of a night will leave, as a template sees it under the name ``steps``."""

    def __init__(self, steps: Iterable[str]) -> None:
        # Random, so that no value that comes from elsewhere can be taken for a mark.
        self._nonce = secrets.token_hex(16)
        self._seen: list[list[str]] = []
        self._written: list[str] = []
        self.steps = {
            step: {
                RUN_ID: self._mark(step, RUN_ID, ""),
                ARTIFACT_URI: self._mark(step, ARTIFACT_URI, ""),
                METRICS: _Names(partial(self._mark, step, METRICS)),
                PARAMS: _Names(partial(self._mark, step, PARAMS)),
            }
            for step in steps
        }

    def _mark(self, step: str, what: str, name: str) -> _Mark:
        self._seen.append([step, what, name])
        return _Mark(f"{self._nonce}:{len(self._seen) - 1}:", self._written)

    def parts(self, rendered: str) -> list[Part]:
        """Return the pieces of a rendered text; a piece of text is never empty.

        Raises:
            ParameterError: where a mark did not arrive as it was.
        """
        found: list[Part] = []
        if rendered.count(self._nonce) != len(self._written):
            raise _not_yet_known()
        # At the odd places of what `split` returns stand the numbers of the marks between them.
        for place, piece in enumerate(re.split(rf"{self._nonce}:(\d+):", rendered)):
            if place % 2:
                found.append(self._seen[int(piece)])
            elif piece:
                found.append(piece)
        return found


def _filled_in(text: str, context: Context, steps: Steps, render: Render) -> list[Part]:
    """Return the pieces of a template's text: filled in, but for what steps will leave.

    Raises:
        ParameterError: where a name is not defined, or what it means is secret.
    """
    earlier = [str(role) for role in steps.by_role if role is not Role.VALIDATE]
    leavings = _Leavings(earlier)
    try:
        rendered = str(render(text, {**context, "steps": leavings.steps}))
    # Filters and macros raise what Python raises.
    except (TemplateError, TypeError, ValueError, LookupError, AttributeError) as error:
        raise ParameterError(
            f"The parameter {text!r} is a template and cannot be filled in: {error}",
            allowed=f"Airflow's own names, and of {listed(earlier)} as steps.<step>: {RUN_ID}, "
            f"{ARTIFACT_URI}, {METRICS}.<name>, {PARAMS}.<name>",
            action="correct it in the pipeline file; ds and logical_date are not there in every "
            "run: dag_run.run_after | ds is",
        ) from error
    if redact(rendered) != rendered:
        raise ParameterError(
            f"The parameter {text!r} is a template and means something that Airflow masks",
            allowed="no secrets: parameters are stored and shown",
            action="give it by an environment variable that environment= names",
        )
    return leavings.parts(rendered)


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
            role, _ = split_key(name)
            text = _PLAIN_HELP if role is None else _OWN_HELP.format(role)
            text += _TEMPLATE_HELP if _template(value) else ""
            return Param(value, text, **_schema(name, value, {"type": word}))
    raise DeclarationError(
        f"pipeline: the parameter {name!r} is {value!r}, a {type(value).__name__}",
        allowed="text, a number, True or False, or an airflow.sdk.Param of one of these",
        action=f"correct parameters[{name!r}] in the pipeline file",
    )


def _schema(name: str, value: object, schema: Mapping[str, Any]) -> dict[str, Any]:
    full = {"title": name, "section": _PROJECT, **schema}
    if value == "" and full.get("type") == "string":
        # Airflow's form lets nobody trigger while a field of one type is empty.
        full["type"] = ["null", "string"]
    return full
