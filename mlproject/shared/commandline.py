"""Reads a step's parameters from its command line: typed, bounded, all of them checked together.

MLflow passes parameters on as text, without checking their types or names, so the check is here.
Touches nothing.
"""

import argparse
import datetime as dt
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from shared.errors import ParameterError, nearest

_OF_COURSES = {"data_path": "source", "input_file": "source"}
"""Parameters of well-known courses, and what they are called here."""


@dataclass(frozen=True)
class Option:
    """One parameter of an entry point.

    Attributes:
        name: as in MLproject; on the command line `--name=value`.
        default: the value where none is given; its type (str, int or float) is the option's type.
        help: one line for people.
        minimum, maximum: inclusive bounds of a number; None means unbounded.
        above: exclusive lower bound of a number; None means none.
        below: exclusive upper bound of a number; None means none.
        choices: the only values that a text may have; empty means any.
        required: whether an empty text is refused.
        logged: whether it is a folder that a step logged: a path, or `runs:/<run id>/<folder>`.
    """

    name: str
    default: str | int | float
    help: str
    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    below: float | None = None
    choices: tuple[str, ...] = ()
    required: bool = False
    logged: bool = False

    @property
    def allowed(self) -> str:
        """What the option accepts, in words."""
        if isinstance(self.default, str):
            return f"one of {', '.join(map(repr, self.choices))}" if self.choices else "a text"
        kind = "a whole number" if isinstance(self.default, int) else "a finite number"
        bounds = [
            f"{sign} {bound:g}"
            for sign, bound in (
                (">=", self.minimum),
                (">", self.above),
                ("<=", self.maximum),
                ("<", self.below),
            )
            if bound is not None
        ]
        return " ".join([kind, " and ".join(bounds)]).strip()

    def read(self, text: str) -> str | int | float:
        """Return the value of `text`.

        Raises:
            ParameterError: if the text has another type or is out of bounds.
        """
        if isinstance(self.default, str):
            return self._text(text)
        try:
            value = int(text) if isinstance(self.default, int) else float(text)
        except ValueError:
            raise self.refused(text) from None
        if not math.isfinite(value) or not self._within(value):
            raise self.refused(text)
        return value

    def _text(self, text: str) -> str:
        if self.required and not text:
            raise ParameterError(
                f"parameter '{self.name}' is missing",
                allowed=self.help,
                action=f"pass -P {self.name}=...",
            )
        if self.choices and text not in self.choices:
            raise self.refused(text)
        return text

    def _within(self, value: float) -> bool:
        return (
            (self.minimum is None or value >= self.minimum)
            and (self.maximum is None or value <= self.maximum)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def refused(self, text: str) -> ParameterError:
        """Return the error for a text that is no value of this option."""
        return ParameterError(
            f"parameter '{self.name}' is {text!r}{nearest(text, self.choices)}",
            allowed=self.allowed,
            action=f"pass -P {self.name}=... with such a value",
        )


RAW = Option(
    "raw",
    "",
    "the artifact folder that download logged, runs:/<run id>/raw",
    required=True,
    logged=True,
)
DATA = Option(
    "data",
    "",
    "the artifact folder that preprocess logged, runs:/<run id>/data",
    required=True,
    logged=True,
)


class _Parser(argparse.ArgumentParser):
    """argparse that raises instead of printing its usage and leaving with status 2."""

    def error(self, message: str) -> NoReturn:
        raise ParameterError(
            f"the command line was not understood: {message}",
            allowed="--name=value for each parameter",
            action="run with --help to see the parameters",
        )


def read_options(step: str, options: Sequence[Option], argv: Sequence[str]) -> Mapping[str, Any]:
    """Return the value of every option, given or default.

    Args:
        step: name of the entry point, for messages.
        options: what the step accepts.
        argv: the command line without the program's name.

    Raises:
        ParameterError: naming everything that is wrong, not only the first thing.
    """
    parser = _Parser(prog=step, allow_abbrev=False)
    for option in options:
        text = f"{option.help} ({option.allowed}; default: {option.default!r})"
        parser.add_argument(f"--{option.name}", help=text.replace("%", "%%"))
    given, unknown = parser.parse_known_args(argv)
    problems = [_unknown(word, step, options) for word in unknown if word.startswith("--")]
    values: dict[str, Any] = {}
    for option in options:
        text = getattr(given, option.name)
        try:
            values[option.name] = option.read(str(option.default) if text is None else text)
        except ParameterError as problem:
            problems.append(problem)
    if problems:
        raise together(problems)
    if unknown:
        parser.error(f"{unknown[0]!r} belongs to no parameter")
    return values


def _unknown(word: str, step: str, options: Sequence[Option]) -> ParameterError:
    name = word[2:].partition("=")[0]
    known = [option.name for option in options]
    here = _OF_COURSES.get(name)
    meant = f" (here it is '{here}')" if here in known else nearest(name, known)
    return ParameterError(
        f"'{step}' has no parameter '{name}'{meant}",
        allowed=", ".join(known),
        action="correct the name or leave it out",
    )


def passing(name: str, value: object) -> str:
    """Return the option of `mlflow run` that passes a parameter, to be pasted into a shell."""
    return f"-P {shlex.quote(f'{name}={value}')}"


def together(problems: Sequence[ParameterError]) -> ParameterError:
    """Merge several problems into one error; a single one stays as it is."""
    if len(problems) == 1:
        return problems[0]
    return ParameterError(
        "; ".join(problem.found for problem in problems),
        allowed="; ".join(problem.allowed for problem in problems),
        action="correct all of these and run again",
    )


_YEARS = (1700, 2200)


def read_as_of(text: str) -> dt.datetime | None:
    """Return the moment that the parameter `as_of` names, in UTC; None for '' (everything).

    Raises:
        ParameterError: if it is no ISO 8601 date or time.
    """
    if not text:
        return None
    try:
        moment = dt.datetime.fromisoformat(text)
        # A time at an end of the calendar has no equal in UTC, and none a window before it: these
        # are the years that data frames can count in nanoseconds.
        usable = _YEARS[0] <= moment.year < _YEARS[1]
    except ValueError:
        usable = False
    if not usable:
        raise ParameterError(
            f"parameter 'as_of' is {text!r}",
            allowed="'' or an ISO 8601 date or time, such as 2026-01-31 or 2026-01-31T06:00:00Z",
            action="correct -P as_of=...",
        )
    return moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)
