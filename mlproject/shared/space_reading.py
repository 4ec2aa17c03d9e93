"""Reads the space of a search from JSON, or takes it by name, and checks it as a whole.

A parameter is searched over a list of values, `[1, 2, 5]`, or a range,
`{"low": 0.001, "high": 10, "log": true}` or `{"low": 2, "high": 20, "step": 2}`, both ends
included. Every end and every choice must be a value that `train` would take. Touches nothing.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.commandline import Option, together
from shared.errors import ParameterError, nearest
from shared.search_space import Choices, Dimension, Range, Space, Value

DEFAULT, GRID = "default", "grid"
NAMES = (DEFAULT, GRID)
"""The spaces that a project has by name: ranges, and values for a grid."""

MOST_POINTS = 10_000
"""Points of a grid; more are a mistake rather than a plan for a night."""

_RANGE_KEYS = ("low", "high", "log", "step")
_WRITE = 'write a list of values, or {"low": ..., "high": ..., "log": true or "step": ...}'


@dataclass(frozen=True)
class Searchable:
    """What a project lets be searched.

    Attributes:
        options: the parameters that a space may name.
        named: the spaces that it has by name, those of `NAMES`, as JSON values.
        example: a space as JSON, for messages.
    """

    options: Mapping[str, Option]
    named: Mapping[str, Mapping[str, Any]]
    example: str


def read_space(
    text: str, fixed: Mapping[str, Value], searchable: Searchable, *, grid: bool
) -> Space:
    """Return the space that a search shall try.

    Args:
        text: a name of `NAMES`, or a JSON object; '' for the default.
        fixed: parameters with one value in all trials.
        searchable: what may be searched.
        grid: whether every point is to be tried.

    Raises:
        ParameterError: for a space that is empty or wrong, naming everything that is.
    """
    if text in ("", *NAMES):
        named = searchable.named[text or (GRID if grid else DEFAULT)]
        given = {name: one for name, one in named.items() if name not in fixed}
    else:
        given = _object(text, "space", searchable.example)
    if not given:
        raise ParameterError(
            "the search space is empty",
            allowed=f"one or more of {', '.join(searchable.options)}",
            action=_WRITE,
        )
    space = Space(_dimensions(given, fixed, searchable.options), fixed)
    if grid:
        _check_grid(space)
    return space


def read_fixed(text: str, options: Mapping[str, Option], example: str) -> dict[str, Value]:
    """Return the parameters that have one value in all trials.

    Args:
        text: a JSON object; '' for none.
        options: those that there are.
        example: such an object, for messages.

    Raises:
        ParameterError: naming everything that is wrong.
    """
    values, problems = dict[str, Value](), list[ParameterError]()
    for name, value in (_object(text, "fixed", example) if text else {}).items():
        try:
            values[name] = _read(_option(name, "fixed", options), value, "fixed")
        except ParameterError as problem:
            problems.append(problem)
    if problems:
        raise together(problems)
    return values


def _object(text: str, what: str, example: str) -> dict[str, Any]:
    """Return a JSON object in which no key stands twice."""
    try:
        value = json.loads(text, object_pairs_hook=_once)
    except ValueError as error:
        raise ParameterError(
            f"parameter '{what}' is {text[:200]!r}{nearest(text, NAMES)}: {error}",
            allowed=f"a JSON object such as {example}"
            + (f", or {', '.join(NAMES)}" if what == "space" else ""),
            action=f"correct -P {what}=..., with single quotes around it in a shell",
        ) from error
    if not isinstance(value, dict):
        raise ParameterError(
            f"parameter '{what}' is JSON, but no object: {text[:200]!r}",
            allowed=f"an object such as {example}",
            action=f"correct -P {what}=...",
        )
    return value


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        message = f"{', '.join(twice)} stands there twice"
        raise ValueError(message)
    return dict(pairs)


def _dimensions(
    given: Mapping[str, Any], fixed: Mapping[str, Value], options: Mapping[str, Option]
) -> dict[str, Dimension]:
    found, problems = dict[str, Dimension](), list[ParameterError]()
    for name, value in given.items():
        try:
            option = _option(name, "space", options)
            _refuse_fixed(name, fixed)
            found[name] = _dimension(option, value)
        except ParameterError as problem:
            problems.append(problem)
    if problems:
        raise together(problems)
    if all(len(set(dimension.ends)) == 1 for dimension in found.values()):
        raise ParameterError(
            "the search space has one point only",
            allowed="a space with something to choose",
            action="add values, or train with these parameters without a search",
        )
    return found


def _option(name: str, what: str, options: Mapping[str, Option]) -> Option:
    if name not in options:
        raise ParameterError(
            f"{what}: '{name}' is no parameter here{nearest(name, options)}",
            allowed=", ".join(options),
            action="correct the name or leave it out",
        )
    return options[name]


def _refuse_fixed(name: str, fixed: Mapping[str, Value]) -> None:
    if name in fixed:
        raise ParameterError(
            f"space: '{name}' is searched, and has one value in 'fixed'",
            allowed="one of the two",
            action=f"take {name} out of space or fixed",
        )


def _read(option: Option, value: object, what: str) -> Value:
    """Return a JSON value as the parameter's own type, if `train` would take it."""
    text = isinstance(option.default, str)
    try:
        if isinstance(value, bool) or isinstance(value, str) != text:
            raise option.refused(str(value))
        return option.read(str(value))
    except ParameterError as problem:
        raise ParameterError(
            f"{what}: {problem.found}", allowed=problem.allowed, action=f"correct {what}"
        ) from problem


def _dimension(option: Option, value: object) -> Dimension:
    if isinstance(value, list):
        return _choices(option, value)
    if isinstance(value, dict):
        return _range(option, value)
    raise ParameterError(
        f"space: '{option.name}' is {value!r}",
        allowed="a list of values, or a range",
        action=f"{_WRITE}; a parameter with one value belongs into 'fixed'",
    )


def _choices(option: Option, given: Sequence[object]) -> Choices:
    values = tuple(_read(option, value, "space") for value in given)
    if not values or len(set(values)) < len(values):
        raise ParameterError(
            f"space: the list of '{option.name}' {'has a value twice' if values else 'is empty'}",
            allowed="one or more different values",
            action=_WRITE,
        )
    return Choices(values)


def _range(option: Option, given: Mapping[str, object]) -> Range:
    _check_keys(option, given)
    low, high = (_read(option, given[key], "space") for key in ("low", "high"))
    log, step = given.get("log", False), given.get("step", 0)
    whole = isinstance(option.default, int)
    problem = _range_problem(low, high, log, step)
    if not problem and whole and (step != int(step) or isinstance(step, float)):  # type: ignore[call-overload]
        problem = f"a step of {step} between whole numbers"
    if problem:
        raise ParameterError(
            f"space: '{option.name}' has {problem}",
            allowed="low < high, low above 0 with log, a step above 0 and not with log",
            action=_WRITE,
        )
    return Range(low, high, bool(log), step or (1 if whole else 0))  # type: ignore[arg-type]


def _check_keys(option: Option, given: Mapping[str, object]) -> None:
    if isinstance(option.default, str):
        raise ParameterError(
            f"space: '{option.name}' is a text and has a range",
            allowed=f"a list; {option.allowed}",
            action="write a list of values",
        )
    unknown = [key for key in given if key not in _RANGE_KEYS]
    lacking = [key for key in ("low", "high") if key not in given]
    if unknown or lacking:
        wrong = f"no '{lacking[0]}'" if lacking else f"'{unknown[0]}'"
        hint = nearest(unknown[0], _RANGE_KEYS) if unknown else ""
        raise ParameterError(
            f"space: the range of '{option.name}' has {wrong}{hint}",
            allowed=", ".join(_RANGE_KEYS),
            action=_WRITE,
        )


def _range_problem(low: Any, high: Any, log: object, step: Any) -> str:  # noqa: ANN401 - as written
    """Return what is wrong with a range whose ends are values of its parameter; '' for nothing."""
    if low >= high:
        return f"low {low} and high {high}"
    if not isinstance(log, bool):
        return f"log {log!r}, which is neither true nor false"
    if log and low <= 0:
        return f"log and low {low}"
    if isinstance(step, bool) or not isinstance(step, int | float) or not 0 <= step < math.inf:
        return f"step {step!r}"
    return "log and step" if log and step else ""


def _check_grid(space: Space) -> None:
    endless = [name for name, dimension in space.dimensions.items() if not dimension.grid]
    if endless:
        raise ParameterError(
            f"sampler 'grid' would try every value of {', '.join(endless)}, without end",
            allowed="lists, whole numbers, and ranges with a step",
            action="write such a space, or choose sampler 'random' or 'tpe'",
        )
    if space.size is not None and space.size > MOST_POINTS:
        raise ParameterError(
            f"the grid has {space.size:,} points",
            allowed=f"at most {MOST_POINTS:,}",
            action="leave values out, or choose sampler 'random' or 'tpe'",
        )
