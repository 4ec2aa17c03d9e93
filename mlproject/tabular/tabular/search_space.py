"""The space that a search tries: read from JSON or taken by name, and checked as a whole.

A parameter is searched over a list of values, `[1, 2, 5]`, or a range,
`{"low": 0.001, "high": 10, "log": true}` or `{"low": 2, "high": 20, "step": 2}`, both ends
included. Every end and every choice must be a value that `train` would take. Touches nothing.
"""

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tabular import models, train
from tabular.commandline import Option, together
from tabular.declaration import Task
from tabular.errors import ParameterError, nearest

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Value = str | int | float

DEFAULT, GRID = "default", "grid"
NAMES = (DEFAULT, GRID)
"""The spaces that every model with parameters has: ranges, and values for a grid."""

MOST_POINTS = 10_000
"""Points of a grid; more are a mistake rather than a plan for a night."""

_RANGE_KEYS = ("low", "high", "log", "step")
_NOT_SEARCHED = ("random_state", "monotone")
_WRITE = 'write a list of values, or {"low": ..., "high": ..., "log": true or "step": ...}'
_TENTHS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]

_SPACES: Mapping[str, Mapping[str, Any]] = {
    DEFAULT: {
        "alpha": {"low": 1e-4, "high": 10.0, "log": True},
        "l1_ratio": {"low": 0.0, "high": 1.0},
        "C": {"low": 1e-3, "high": 1e3, "log": True},
        "n_estimators": {"low": 10, "high": 300, "log": True},
        "max_depth": {"low": 1, "high": 20},
        "min_samples_split": {"low": 2, "high": 20},
        "min_samples_leaf": {"low": 1, "high": 20},
        "learning_rate": {"low": 0.01, "high": 0.3, "log": True},
        "max_leaf_nodes": {"low": 4, "high": 128, "log": True},
        "l2_regularization": {"low": 0.0, "high": 10.0},
        "min_child_weight": {"low": 0.1, "high": 10.0, "log": True},
        "subsample": {"low": 0.5, "high": 1.0},
        "colsample_bytree": {"low": 0.5, "high": 1.0},
        "reg_alpha": {"low": 1e-3, "high": 10.0, "log": True},
        "reg_lambda": {"low": 1e-3, "high": 10.0, "log": True},
    },
    GRID: {
        "alpha": _TENTHS,
        "l1_ratio": _TENTHS,
        "C": [0.001, 0.01, 0.1, 1.0, 10.0, 100.0, 1000.0],
        "n_estimators": [50, 200],
        "max_depth": [3, 6, 12],
        "min_samples_leaf": [1, 5, 20],
        "learning_rate": [0.03, 0.1, 0.3],
        "max_leaf_nodes": [15, 31, 63],
    },
}
_CRITERIA: Mapping[Task, Mapping[str, Any]] = {
    "regression": {},  # the others are slow, or want no target below zero
    "classification": {"criterion": ["gini", "entropy"]},
}


@dataclass(frozen=True)
class Choices:
    """A parameter that takes one of some values."""

    values: tuple[Value, ...]

    @property
    def ends(self) -> tuple[Value, ...]:
        """The values that stand for all when they are checked."""
        return self.values

    @property
    def grid(self) -> tuple[Value, ...]:
        """Every value."""
        return self.values

    def distribution(self) -> "BaseDistribution":
        """Return the same in Optuna's words."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.values)


@dataclass(frozen=True)
class Range:
    """A number between two ends, both included.

    Attributes:
        low, high: the ends; whole numbers where the parameter is one.
        log: whether equal ratios are equally likely, instead of equal differences.
        step: distance of the values from each other, counted from `low`; 0 means any number.
    """

    low: float
    high: float
    log: bool = False
    step: float = 0

    @property
    def ends(self) -> tuple[Value, ...]:
        """The values that stand for all when they are checked."""
        return (self.low, self.high)

    @property
    def grid(self) -> tuple[Value, ...]:
        """Every value; empty where there is no end of them."""
        if self.log or not self.step:
            return ()
        count = math.floor((self.high - self.low) / self.step + 1e-9) + 1
        # 0.1 + 2 * 0.1 shall be 0.3, as it was written.
        return tuple(
            round(self.low + i * self.step, 12)
            if isinstance(self.low, float)
            else self.low + i * self.step
            for i in range(count)
        )

    def distribution(self) -> "BaseDistribution":
        """Return the same in Optuna's words."""
        from optuna.distributions import FloatDistribution, IntDistribution

        if isinstance(self.low, float):
            return FloatDistribution(self.low, self.high, log=self.log, step=self.step or None)
        return IntDistribution(int(self.low), int(self.high), log=self.log, step=int(self.step))


Dimension = Choices | Range


@dataclass(frozen=True)
class Space:
    """What is tried, and what stays as it is.

    Attributes:
        dimensions: the searched parameters, in the order in which they were written.
        fixed: parameters with one value in all trials.
    """

    dimensions: Mapping[str, Dimension]
    fixed: Mapping[str, Value]

    @property
    def size(self) -> int | None:
        """How many points there are; None for no end of them."""
        sizes = [len(dimension.grid) for dimension in self.dimensions.values()]
        return math.prod(sizes) if all(sizes) else None

    def distributions(self) -> dict[str, "BaseDistribution"]:
        """Return the dimensions in Optuna's words."""
        return {name: dimension.distribution() for name, dimension in self.dimensions.items()}

    def points(self) -> Iterator[dict[str, Value]]:
        """Yield every point of a grid, the last parameter changing first."""
        for values in itertools.product(*(one.grid for one in self.dimensions.values())):
            yield dict(zip(self.dimensions, values, strict=True))

    def to_dict(self) -> dict[str, Any]:
        """Return the space as JSON values."""
        return {
            "dimensions": {name: asdict(one) for name, one in self.dimensions.items()},
            "fixed": dict(self.fixed),
        }


def read_space(text: str, fixed: str, model: str, task: Task, *, grid: bool) -> Space:
    """Return the space that a search shall try.

    Args:
        text: a name of `NAMES`, or a JSON object; '' for the model's default.
        fixed: a JSON object of parameters with one value in all trials; '' for none.
        model: kind of model.
        task: what to predict.
        grid: whether every point is to be tried.

    Raises:
        ParameterError: for a space that is empty or wrong, naming everything that is.
    """
    models.choose(model, task, _defaults())
    values = _fixed(fixed, model)
    if text in ("", *NAMES):
        given = _named(text or (GRID if grid else DEFAULT), model, task)
        given = {name: one for name, one in given.items() if name not in values}
    else:
        given = _object(text, "space")
    _refuse_empty(given, model)
    space = Space(_dimensions(given, values, model), values)
    for name, dimension in space.dimensions.items():
        for end in dimension.ends:
            models.choose(model, task, {**_defaults(), **values, name: end})
    if grid:
        _check_grid(space)
    return space


def _defaults() -> dict[str, Value]:
    return {option.name: option.default for option in models.OPTIONS}


def _searchable(model: str) -> list[str]:
    return [name for name in models.MODELS[model].parameters if name not in _NOT_SEARCHED]


def _named(name: str, model: str, task: Task) -> dict[str, Any]:
    declared = {**_SPACES[name], **_CRITERIA[task]}
    return {one: declared[one] for one in _searchable(model) if one in declared}


def _object(text: str, what: str) -> dict[str, Any]:
    """Return a JSON object in which no key stands twice."""
    example = '{"max_depth": [3, 6, 12], "min_samples_leaf": {"low": 1, "high": 20}}'
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


def _refuse_empty(given: Mapping[str, Any], model: str) -> None:
    searchable = _searchable(model)
    if not searchable:
        raise ParameterError(
            f"model '{model}' has no parameter that could be searched",
            allowed=", ".join(name for name in models.MODELS if _searchable(name)),
            action="choose one of these as -P model=..., or train this one without a search",
        )
    if not given:
        raise ParameterError(
            "the search space is empty",
            allowed=f"one or more of {', '.join(searchable)}",
            action=_WRITE,
        )


def _fixed(text: str, model: str) -> dict[str, Value]:
    """Return the parameters with one value; those of `train` that no model has go on to it."""
    options = {one.name: one for one in train.OPTIONS if one.name not in ("data", "model")}
    values, problems = dict[str, Value](), list[ParameterError]()
    for name, value in (_object(text, "fixed") if text else {}).items():
        try:
            option = _option(name, "fixed", options, list(options))
            values[name] = _read(option, value, "fixed")
        except ParameterError as problem:
            problems.append(problem)
    if problems:
        raise together(problems)
    _refuse_early_stop(values)
    own = (*models.MODELS[model].parameters, *models.COMMON)
    unused = [name for name in values if name not in own]
    for name in unused:
        if values[name] == options[name].default:
            del values[name]  # as for `train`: the default of another model's parameter is no harm
    return values


def _refuse_early_stop(values: Mapping[str, Value]) -> None:
    if values.get("early_stopping_rounds"):
        raise ParameterError(
            f"fixed: early_stopping_rounds is {values['early_stopping_rounds']} in a search",
            allowed="0: the folds judge a number of rounds, they do not choose one",
            action="leave it out, and search n_estimators",
        )


def _dimensions(
    given: Mapping[str, Any], fixed: Mapping[str, Value], model: str
) -> dict[str, Dimension]:
    options, found, problems = _options(), dict[str, Dimension](), list[ParameterError]()
    for name, value in given.items():
        try:
            option = _option(name, "space", options, _searchable(model))
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


def _options() -> dict[str, Option]:
    return {option.name: option for option in models.OPTIONS}


def _option(name: str, what: str, options: Mapping[str, Option], allowed: Sequence[str]) -> Option:
    if name not in allowed:
        known = "is no parameter of this model" if name in options else "is no parameter"
        raise ParameterError(
            f"{what}: '{name}' {known}{nearest(name, allowed)}",
            allowed=", ".join(allowed),
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
