"""Frozen records that check all their fields together when they are made. Pure.

``@declared`` is a pydantic dataclass whose complaints are sentences for the author of a pipeline
file: every wrong field in one message, unknown names with the nearest known one. pydantic is
already loaded by Airflow, so this costs a Dag file nothing.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, dataclass_transform

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as pydantic_dataclass

from understudy.errors import DeclarationError, listed, nearest
from understudy.redact import secret_in

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

T = TypeVar("T")
_SHOWN = 80
"""Characters of a wrong value that a message repeats."""
# Strict: "3" is no 3, and True is no 1, in a file whose rules decide what production serves.
_CONFIG = ConfigDict(strict=True, extra="forbid", arbitrary_types_allowed=True, allow_inf_nan=False)


@dataclass_transform(frozen_default=True, field_specifiers=(Field, dataclasses.field))
def declared(cls: type[T]) -> type[T]:
    """Make ``cls`` a frozen record.

    Raises:
        DeclarationError: when a record is made, naming every field that is wrong.
    """
    record: Any = pydantic_dataclass(frozen=True, config=_CONFIG)(cls)
    checked_init = record.__init__

    @functools.wraps(checked_init)
    def init(self: object, *args: object, **kwargs: object) -> None:
        try:
            checked_init(self, *args, **kwargs)
        except ValidationError as error:
            # Without pydantic's error as the cause: it says the same in its own terms, with a link
            # to its site.
            raise _readable(record, error) from None

    record.__init__ = init
    return record  # type: ignore[no-any-return]


def to_json(kind: type[T], record: T) -> dict[str, Any]:
    """Return the fields of a record as JSON values; of a subclass only those that ``kind`` has."""
    found: dict[str, Any] = TypeAdapter(kind).dump_python(record, mode="json")
    return found


def from_json(kind: type[T], fields: Mapping[str, Any]) -> T:
    """Return the record whose ``to_json`` gave the fields.

    Raises:
        DeclarationError: naming every field that is wrong.
    """
    # As text: pydantic's strict mode takes a list for a tuple, or text for a timedelta, only there.
    try:
        made: T = TypeAdapter(kind).validate_json(json.dumps(dict(fields)))
    except ValidationError as error:
        raise _readable(kind, error) from None
    return made


def refuse_secrets(field: str, parameters: Mapping[str, object]) -> None:
    """Refuse parameters of a project with something secret in them.

    Raises:
        DeclarationError: naming the first.
    """
    for name, value in parameters.items():
        # An Airflow ``Param`` has its default in ``value``; here Airflow is not imported to ask
        # for its type.
        held = getattr(value, "value", value)
        # With its name, too: of "password" any value is one.
        if secret := secret_in(held) or secret_in({name: held}):
            raise DeclarationError(
                f"{field}[{name!r}] holds {secret}",
                allowed="values without secrets: parameters are stored and shown",
                action="give it by an environment variable that environment= names, or in ~/.netrc",
            )


def _readable(record: type, error: ValidationError) -> DeclarationError:
    names = [field.name for field in dataclasses.fields(record)]
    # Of this record a file calls the function that makes a Dag of it.
    word = "pipeline" if record.__name__ == "Pipeline" else record.__name__
    problems = [_problem(details, names) for details in error.errors(include_url=False)]
    return DeclarationError(
        f"{word}: {'; '.join(problems)}",
        allowed=f"the fields {listed(names)} of {word}",
        action=f"correct the call of {word}(...) in the pipeline file",
    )


def _problem(details: ErrorDetails, names: list[str]) -> str:
    if not details["loc"]:  # of no field: a check of ours came upon what Python refuses
        return details["msg"]
    field, given = _field(details["loc"], names), details["input"]
    if details["type"] in {"unexpected_keyword_argument", "unexpected_positional_argument"}:
        return f"unknown field {field!r}{nearest(field, names)}"
    if details["type"] in {"missing", "missing_argument"}:
        return f"{field!r} is missing"
    text = given.__name__ if inspect.isclass(given) else _written(given)
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
    # Where a check of ours raised, its own words say more than pydantic's frame around them.
    raised = details.get("ctx", {}).get("error")
    message = details["msg"][:1].lower() + details["msg"][1:]
    return f"{field!r} is {shown}: {message if raised is None else raised}"


def _written(given: object) -> str:
    try:
        return repr(given)
    except ValueError:
        # Python writes no whole number of more than 4,300 digits.
        return f"{type(given).__name__} that cannot be written"


def _field(place: tuple[int | str, ...], names: list[str]) -> str:
    """Name a place in the call: positional arguments by their field, items by their index."""
    first, *inner = place
    name = names[first] if isinstance(first, int) and first < len(names) else str(first)
    return name + "".join(f"[{part!r}]" for part in inner)
