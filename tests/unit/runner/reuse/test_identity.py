"""Two steps have one key only if nothing differs that can change the result."""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.fixtures.examples import examples

from understudy.contract import key_of
from understudy.runner.projectfile import EntryPoint, Parameter, Value, values
from understudy.runner.reuse.identity import StepIdentity

pytestmark = pytest.mark.unit

TEXT = st.text(max_size=20)
PARAMETERS = st.dictionaries(TEXT, TEXT, max_size=4)
INPUTS = st.dictionaries(TEXT, st.tuples(TEXT, TEXT) | st.tuples(TEXT, TEXT, TEXT), max_size=3)
IDENTITIES = st.builds(
    StepIdentity,
    tree=TEXT,
    entry_point=TEXT,
    environment=TEXT,
    parameters=PARAMETERS,
    inputs=INPUTS,
)
COMPONENTS = [field.name for field in fields(StepIdentity)]
PLAIN = StepIdentity("tree", "train", "environment", {"a": "1"}, {"data": ("artifact", "d", "x")})


@given(IDENTITIES, IDENTITIES)
def test_one_key_for_one_identity_and_no_other(one: StepIdentity, other: StepIdentity) -> None:
    """Equal keys exactly for equal identities."""
    assert (one.key() == other.key()) == (one == other)


@given(IDENTITIES, st.sampled_from(COMPONENTS), st.data())
@examples(300)
def test_any_single_difference_changes_the_key(
    one: StepIdentity, component: str, data: st.DataObject
) -> None:
    """Component by component, the others equal."""
    kinds = {"parameters": PARAMETERS, "inputs": INPUTS, "variables": PARAMETERS}
    other: Any = data.draw(kinds.get(component, TEXT))
    assume(other != getattr(one, component))
    assert replace(one, **{component: other}).key() != one.key()


@given(st.dictionaries(TEXT, TEXT, min_size=1, max_size=4), st.data())
def test_any_difference_in_one_parameter_changes_the_key(
    parameters: dict[str, str], data: st.DataObject
) -> None:
    """Its value, its name, or that it is there at all."""
    name = data.draw(st.sampled_from(sorted(parameters)))
    rest = {key: value for key, value in parameters.items() if key != name}
    value, new = data.draw(TEXT), data.draw(TEXT)
    assume(value != parameters[name])
    assume(new not in parameters)
    changed = [rest, {**rest, name: value}, {**rest, new: parameters[name]}]
    keys = [replace(PLAIN, parameters=given).key() for given in (parameters, *changed)]
    assert len(set(keys)) == 4


@given(st.lists(st.tuples(TEXT, TEXT), max_size=5, unique_by=lambda pair: pair[0]), st.randoms())
def test_the_order_of_parameters_does_not_matter(
    pairs: list[tuple[str, str]],
    random: Any,  # noqa: ANN401 - random.Random
) -> None:
    """A mapping has no order that a step could see."""
    shuffled = random.sample(pairs, len(pairs))
    one, other = replace(PLAIN, parameters=dict(pairs)), replace(PLAIN, parameters=dict(shuffled))
    assert one.key() == other.key()


@given(st.text(min_size=1, max_size=6), st.integers(0, 6), st.integers(0, 6))
def test_text_cannot_move_from_one_component_into_the_next(text: str, i: int, j: int) -> None:
    """However it is cut, between components, between name and value, between parameters."""
    assume(text[:i] != text[:j])
    for left, right in pairwise(("tree", "entry_point", "environment")):
        cuts = [replace(PLAIN, **{left: text[:at], right: text[at:]}).key() for at in (i, j)]
        assert cuts[0] != cuts[1]
    pairs = [replace(PLAIN, parameters={text[:at]: text[at:]}).key() for at in (i, j)]
    assert pairs[0] != pairs[1]
    inputs = [replace(PLAIN, inputs={"x": (text[:at], text[at:])}).key() for at in (i, j)]
    assert inputs[0] != inputs[1]


def test_a_parameter_is_no_input_and_no_variable() -> None:
    """The same name with the same text, handed over in another way."""
    identities = [
        replace(PLAIN, parameters={"x": "y"}, inputs={}),
        replace(PLAIN, parameters={}, inputs={"x": "y"}),
        replace(PLAIN, parameters={}, inputs={"x": ("y",)}),
        replace(PLAIN, parameters={}, inputs={}, variables={"x": "y"}),
        replace(PLAIN, parameters={'{"x": "y"}': ""}, inputs={}),
    ]
    assert len({identity.key() for identity in identities}) == len(identities)


def handed_over(given: dict[str, Value], default: str | None = None) -> str:
    """Return the key of a step with one parameter."""
    point = EntryPoint("train", {"x": Parameter("x", "string", default)}, "")
    texts = values(point, given, None)
    return replace(PLAIN, parameters=texts).key()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [(1, "1", True), (1, 1.0, False), (1.0, "1.0", True), (True, "true", True), (True, 1, False)],
)
def test_values_count_as_they_are_handed_over(one: Value, other: Value, same: bool) -> None:  # noqa: FBT001
    """A step sees text: 1 and "1" are one text, 1 and 1.0 are two."""
    assert (handed_over({"x": one}) == handed_over({"x": other})) is same


def test_a_default_that_is_given_is_the_default() -> None:
    """The step gets the same text either way."""
    assert handed_over({}, default="3") == handed_over({"x": 3}, default="3")
    assert handed_over({}, default="3") != handed_over({"x": 4}, default="3")


def test_variables_are_sealed() -> None:
    """Their values count and are not shown; a guess costs a scrypt, not a hash."""
    secret = replace(PLAIN, variables={"TOKEN": "hunter2"})
    assert secret.key() not in {PLAIN.key(), key_of(PLAIN.key(), "hunter2")}
    assert secret.key() == replace(PLAIN, variables={"TOKEN": "hunter2"}).key()
    assert secret.key() != replace(PLAIN, variables={"TOKEN": "hunter3"}).key()
    assert "hunter2" not in repr(secret)
