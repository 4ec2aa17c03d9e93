"""A search that no project could do is refused while the pipeline file is read."""

from __future__ import annotations

from typing import Any

import pytest

from understudy.errors import DeclarationError
from understudy.gate import Gate, Metric
from understudy.spec.pipeline import Pipeline, Project
from understudy.spec.search import Search

pytestmark = pytest.mark.unit

PROJECT = Project("https://example.com/x.git")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"worker": 2}, r"did you mean 'workers'\?"),
        ({"workers": 0}, "'workers' is 0"),
        ({"trials": -1}, "'trials' is -1"),
        ({"sampler": "gird"}, r"sampler is 'gird' \(did you mean 'grid'\?\)"),
        ({"space": {}}, "space is empty"),
        ({"space": {"max_depth": []}}, r"space\['max_depth'\] is \[\]: no value"),
        ({"space": {"max_depth": 3}}, "neither a list nor a range"),
        ({"space": {"max_depth": {"low": 1, "hihg": 2}}}, r"unknown \(did you mean 'high'"),
        ({"space": {"max_depth": {"low": 1}}}, "there is no 'high'"),
        ({"space": {"max_depth": {"low": "1", "high": 2}}}, "low and high are no numbers"),
        ({"space": {"max_depth": {"low": 2, "high": 2}}}, "low is not below high"),
    ],
)
def test_a_wrong_search_is_refused(fields: dict[str, Any], message: str) -> None:
    """With what was found, what is allowed, and what to do."""
    with pytest.raises(DeclarationError, match=message) as caught:
        Search(**fields)
    assert caught.value.allowed
    assert caught.value.action


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"parameters": {"max_depth": 3}}, "parameters and search have 'max_depth'"),
        ({"parameters": {"study": "x"}}, "parameters has 'study'"),
    ],
)
def test_a_search_and_the_parameters_do_not_contradict(
    fields: dict[str, Any], message: str
) -> None:
    """A parameter has a value or is searched; what nights fill in, nobody sets."""
    search = Search(space={"max_depth": [1, 2]})
    with pytest.raises(DeclarationError, match=message):
        Pipeline("wine", PROJECT, Gate(Metric("rmse")), search=search, **fields)


def test_what_the_entry_point_is_asked_for() -> None:
    """Only what the pipeline says; the rest is the project's to decide."""
    assert Search().values() == {}
    asked = Search(trials=7, minutes=1.5, space={"a": [1, 2]}, sampler="random", metric="mae")
    assert asked.values() == {
        "space": '{"a": [1, 2]}',
        "sampler": "random",
        "metric": "mae",
        "trials": "7",
        "minutes": "1.5",
    }
    assert Search(workers=3).recipe == Search().recipe != asked.recipe
