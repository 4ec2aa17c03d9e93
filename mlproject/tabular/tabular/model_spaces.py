"""What can be searched of each model: its spaces by name, what stays as it is. Touches nothing."""

from collections.abc import Mapping
from typing import Any

from shared.errors import ParameterError
from shared.search_space import Space, Value
from shared.space_reading import DEFAULT, GRID, NAMES, Searchable, read_fixed, read_space
from tabular import models, train
from tabular.declaration import Task

_NOT_SEARCHED = ("random_state", "monotone")
_EXAMPLE = '{"max_depth": [3, 6, 12], "min_samples_leaf": {"low": 1, "high": 20}}'
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


def space_of(text: str, fixed: str, model: str, task: Task, *, grid: bool) -> Space:
    """Return the space that a search for a model's parameters shall try.

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
    if not _names(model):
        raise ParameterError(
            f"model '{model}' has no parameter that could be searched",
            allowed=", ".join(name for name in models.MODELS if _names(name)),
            action="choose one of these as -P model=..., or train this one without a search",
        )
    options = {one.name: one for one in models.OPTIONS if one.name in _names(model)}
    named = {name: _named(name, model, task) for name in NAMES}
    space = read_space(text, values, Searchable(options, named, _EXAMPLE), grid=grid)
    for name, dimension in space.dimensions.items():
        for end in dimension.ends:
            models.choose(model, task, {**_defaults(), **values, name: end})
    return space


def _defaults() -> dict[str, Value]:
    return {option.name: option.default for option in models.OPTIONS}


def _names(model: str) -> list[str]:
    return [name for name in models.MODELS[model].parameters if name not in _NOT_SEARCHED]


def _named(name: str, model: str, task: Task) -> dict[str, Any]:
    declared = {**_SPACES[name], **_CRITERIA[task]}
    return {one: declared[one] for one in _names(model) if one in declared}


def _fixed(text: str, model: str) -> dict[str, Value]:
    """Return the parameters with one value; those of `train` that no model has go on to it."""
    options = {one.name: one for one in train.OPTIONS if one.name not in ("data", "model")}
    values = read_fixed(text, options, _EXAMPLE)
    if values.get("early_stopping_rounds"):
        raise ParameterError(
            f"fixed: early_stopping_rounds is {values['early_stopping_rounds']} in a search",
            allowed="0: the folds judge a number of rounds, they do not choose one",
            action="leave it out, and search n_estimators",
        )
    own = (*models.MODELS[model].parameters, *models.COMMON)
    return {
        name: value
        for name, value in values.items()
        # As for `train`: the default of another model's parameter is no harm.
        if name in own or value != options[name].default
    }
