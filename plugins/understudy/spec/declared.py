"""Frozen records that check all their fields together when they are made. Pure.

``@declared`` is a pydantic dataclass whose complaints are sentences for the author of a pipeline
file: every wrong field in one message, unknown names with the nearest known one. pydantic is
already loaded by Airflow, so this costs a Dag file nothing.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from typing import TYPE_CHECKING, Any, TypeVar, dataclass_transform

from pydantic import ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass as pydantic_dataclass

from understudy.errors import DeclarationError, listed, nearest

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

T = TypeVar("T")
_SHOWN = 80  # characters of a wrong value that a message repeats
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
            raise _readable(record, error) from None

    record.__init__ = init
    return record  # type: ignore[no-any-return]


def _readable(record: type, error: ValidationError) -> DeclarationError:
    names = [field.name for field in dataclasses.fields(record)]
    problems = [_problem(details, names) for details in error.errors(include_url=False)]
    return DeclarationError(
        f"{record.__name__}: {'; '.join(problems)}",
        allowed=f"the fields {listed(names)} of {record.__name__}",
        action=f"correct the call of {record.__name__}(...) in the pipeline file",
    )


def _problem(details: ErrorDetails, names: list[str]) -> str:
    field, given = _field(details["loc"], names), details["input"]
    if details["type"] in {"unexpected_keyword_argument", "unexpected_positional_argument"}:
        return f"unknown field {field!r}{nearest(field, names)}"
    if details["type"] in {"missing", "missing_argument"}:
        return f"{field!r} is missing"
    return f"{field!r} is {_shown(given)}: {_plain(details)}"


def _plain(details: ErrorDetails) -> str:
    raised = details.get("ctx", {}).get("error")
    return str(raised) if raised is not None else details["msg"][:1].lower() + details["msg"][1:]


def _field(place: tuple[int | str, ...], names: list[str]) -> str:
    """Name a place in the call: positional arguments by their field, items by their index."""
    first, *inner = place
    name = names[first] if isinstance(first, int) and first < len(names) else str(first)
    return name + "".join(f"[{part!r}]" for part in inner)


def _shown(value: object) -> str:
    text = value.__name__ if inspect.isclass(value) else repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
