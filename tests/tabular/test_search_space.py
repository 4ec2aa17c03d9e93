"""The space of a search: every wrong one is refused at once, every model has one of its own."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from shared.errors import ParameterError
from shared.search_space import Choices, Range, Space
from tabular.declaration import Task
from tabular.model_spaces import space_of
from tabular.models import MODELS

pytestmark = pytest.mark.unit

PAIRS = [
    (name, task)
    for name, model in MODELS.items()
    for task in model.tasks
    if {*model.parameters} - {"random_state"}
]


def read(space: object, model: str = "decision_tree", fixed: str = "", **more: Any) -> Space:
    """Return a space for regression, given as JSON values or as text."""
    text = space if isinstance(space, str) else json.dumps(space)
    return space_of(text, fixed, model, "regression", **{"grid": False, **more})


@pytest.mark.parametrize(("name", "task"), PAIRS)
@pytest.mark.parametrize("grid", [False, True])
def test_every_model_has_a_space(name: str, task: Task, grid: bool) -> None:  # noqa: FBT001 - parametrized
    """Ranges for random and TPE, a number of points for a grid."""
    space = space_of("", "", name, task, grid=grid)
    assert {*space.dimensions} <= {*MODELS[name].parameters}
    assert (space.size or 0) > 1 if grid else space.distributions()


def test_values_ranges_and_what_stays() -> None:
    """Lists are choices, ends are included, what has one value is not searched."""
    space = read(
        {"alpha": {"low": 0.1, "high": 1.0, "step": 0.1}, "l1_ratio": [0, 0.5]},
        "elastic_net",
        '{"max_iter": 500, "max_depth": 0}',
        grid=True,
    )
    assert space.dimensions["alpha"] == Range(0.1, 1.0, log=False, step=0.1)
    assert space.dimensions["l1_ratio"] == Choices((0.0, 0.5))
    assert space.fixed == {"max_iter": 500}
    assert space.size == len(list(space.points())) == 20
    assert [point["alpha"] for point in space.points()][-1] == 1.0
    assert {point["alpha"] for point in space.points()} >= {0.3, 0.7}


def test_what_has_one_value_leaves_the_default_space() -> None:
    """A pipeline that sets a parameter does not have it searched."""
    assert "max_depth" in read("").dimensions
    assert "max_depth" not in read("", fixed='{"max_depth": 5}').dimensions


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ({}, "the search space is empty"),
        ("nonsense", "parameter 'space' is 'nonsense'"),
        ("defualt", "(did you mean 'default'?)"),
        ([1, 2], "is JSON, but no object"),
        ('{"max_depth": [1, 2], "max_depth": [3]}', "max_depth stands there twice"),
        ({"max_dept": [1, 2]}, "'max_dept' is no parameter here (did you mean 'max_depth'?)"),
        ({"alpha": [1, 2]}, "'alpha' is no parameter here"),
        ({"random_state": [1, 2]}, "'random_state' is no parameter here"),
        ({"max_depth": 3}, "'max_depth' is 3. Allowed: a list of values, or a range"),
        ({"max_depth": []}, "the list of 'max_depth' is empty"),
        ({"max_depth": [3, 3]}, "'max_depth' has a value twice"),
        ({"max_depth": [3]}, "has one point only"),
        ({"max_depth": [2.5, 3]}, "'max_depth' is '2.5'"),
        ({"max_depth": ["3", 4]}, "'max_depth' is '3'"),
        ({"max_depth": [True, 4]}, "'max_depth' is 'True'"),
        ({"max_depth": [-1, 4]}, "a whole number >= 0"),
        ('{"max_depth": [NaN, 4]}', "'max_depth' is 'nan'"),
        ({"max_depth": {"low": 3}}, "has no 'high'"),
        ({"max_depth": {"low": 3, "hihg": 4}}, "has no 'high'"),
        ({"max_depth": {"low": 3, "high": 4, "stepp": 1}}, "(did you mean 'step'?)"),
        ({"max_depth": {"low": 5, "high": 3}}, "low 5 and high 3"),
        ({"max_depth": {"low": 0, "high": 3, "log": True}}, "log and low 0"),
        ({"max_depth": {"low": 1, "high": 3, "log": "yes"}}, "log 'yes'"),
        ({"max_depth": {"low": 1, "high": 9, "step": -1}}, "step -1"),
        ({"max_depth": {"low": 1, "high": 9, "step": 0.5}}, "a step of 0.5 between whole numbers"),
        ({"max_depth": {"low": 1, "high": 9, "step": 2, "log": True}}, "log and step"),
        ({"criterion": {"low": 1, "high": 2}}, "'criterion' is a text and has a range"),
        ({"criterion": ["gini", "poisson"]}, "criterion 'gini' does not fit regression"),
        ({"max_depth": [], "criterion": ["ginni"]}, "is empty; space: parameter 'criterion'"),
    ],
)
def test_a_wrong_space_is_refused(space: object, words: str) -> None:
    """Before any trial, with what was found, what is allowed and what to do."""
    with pytest.raises(ParameterError, match=re.escape(words)) as caught:
        read(space)
    assert caught.value.allowed
    assert caught.value.action


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"space": "", "model": "linear_regression"}, "has no parameter that could be searched"),
        ({"space": "", "model": "decision_treee"}, "did you mean 'decision_tree'?"),
        ({"space": "", "model": "logistic_regression"}, "cannot do regression"),
        ({"space": {"max_depth": [1, 2]}, "fixed": '{"max_depth": 1}'}, "one value in 'fixed'"),
        ({"space": "", "fixed": '{"max_dept": 1}'}, "fixed: 'max_dept' is no parameter"),
        ({"space": "", "fixed": '{"alpha": 3}'}, "does not use alpha"),
        ({"space": "", "fixed": "[1]"}, "'fixed' is JSON, but no object"),
        ({"space": "default", "model": "elastic_net", "grid": True}, "without end"),
        (
            {"space": {"max_depth": {"low": 1, "high": 20000}}, "grid": True},
            "the grid has 20,000 points",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(given: dict[str, Any], words: str) -> None:
    """Model, task, sampler, fixed values and space are checked as a whole."""
    with pytest.raises(ParameterError, match=re.escape(words)):
        read(**given)
