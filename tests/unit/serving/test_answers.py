"""What counts as the same answer, in the forms that MLflow gives predictions."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.serving.answers import (
    Question,
    complaint,
    difference,
    quantile,
    refusal,
    shown,
)

pytestmark = pytest.mark.unit


def differs(expected: dict[str, Any], predictions: object, tolerance: float = 1e-6) -> str:
    """Return how an answer differs."""
    return difference(Question("row 7", {}, expected), {"predictions": predictions}, tolerance)


@pytest.mark.parametrize(
    ("expected", "predictions"),
    [
        ({"prediction": 3.0}, [3.0000001]),
        ({"prediction": 1e9}, [1e9 + 1]),
        ({"prediction": "3"}, [3]),
        ({"prediction": "3"}, [3.0]),
        ({"prediction": "red"}, ["red"]),
        ({"prediction": "True"}, [True]),
        ({"prediction": float("nan")}, [None]),
        ({"prediction": 3.0}, [[3.0]]),
        ({"prediction": 3.0}, [{"prediction": 3.0, "spread": 1.0}]),
        ({"prediction": 3.0}, [{"0": 3.0}]),
        ({"prediction": "b", "probabilities": [0.2, 0.8]}, [[0.2, 0.8]]),
        ({"prediction": "b", "probabilities": [0.2, 0.8]}, [{"a": 0.2, "b": 0.8}]),
        ({"prediction": "b", "probabilities": [0.2, 0.8]}, ["b"]),
        (
            {"prediction": "b", "probabilities": [0.2, 0.8]},
            [{"prediction": "b", "probability_a": 0.2, "probability_b": 0.8}],
        ),
        ({"predictions": [1.0, {"a": [2.0]}]}, [1.0, {"a": [2.0]}]),
    ],
)
def test_the_same_in_another_form(expected: dict[str, Any], predictions: object) -> None:
    """A label is a label, whole numbers included; a row may come in lists and records."""
    assert not differs(expected, predictions)


@pytest.mark.parametrize(
    ("expected", "predictions"),
    [
        ({"prediction": 3.0}, [3.001]),
        ({"prediction": "3"}, [4]),
        ({"prediction": "red"}, ["Red"]),
        ({"prediction": 3.0}, [None]),
        ({"prediction": 3.0}, ["three"]),
        ({"prediction": 3.0}, [3.0, 3.0]),
        ({"prediction": "b", "probabilities": [0.2, 0.8]}, [[0.8, 0.2]]),
        ({"prediction": "b", "probabilities": [0.2, 0.8]}, [[0.2, 0.3, 0.5]]),
        (
            {"prediction": "b", "probabilities": [0.2, 0.8]},
            [{"prediction": "b", "probability_a": 0.3, "probability_b": 0.7}],
        ),
        (
            {"prediction": "b", "probabilities": [0.2, 0.8]},
            [{"prediction": "a", "probability_a": 0.2, "probability_b": 0.8}],
        ),
        ({"predictions": [1.0, 2.0]}, [1.0]),
        ({"predictions": [{"a": 1.0}]}, [{"b": 1.0}]),
    ],
)
def test_another_answer(expected: dict[str, Any], predictions: object) -> None:
    """The message names the row and both values."""
    assert differs(expected, predictions).startswith("row 7: served ")


def test_an_answer_of_another_protocol() -> None:
    """What is not of MLflow's form is shown, cut."""
    found = difference(Question("row 7", {}, {"prediction": 1}), {"outputs": "x" * 500}, 0)
    assert found.startswith("row 7: the answer has no 'predictions'")
    assert len(found) < 200


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(0, 1))
def test_a_number_is_like_itself(value: float, tolerance: float) -> None:
    """Whatever the tolerance."""
    assert not differs({"prediction": value}, [value], tolerance)


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1))
def test_a_quantile_is_a_value_that_enough_do_not_exceed(values: list[float], share: float) -> None:
    """The smallest such."""
    found = quantile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values)
    assert sum(value < found for value in values) < share * len(values)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"message": "no", "stack_trace": "Trace:\\n  x\\nOSError: gone\\n"}', "no OSError: gone"),
        ('{"message": "no"}', "no"),
        ('{"detail": "not found"}', '{"detail": "not found"}'),
        ("[1]", "[1]"),
        ("<html>", "<html>"),
        ("x" * 9999, "x" * 500),
    ],
)
def test_what_an_error_says(text: str, said: str) -> None:
    """Its message and its cause, or as much of it as can be shown."""
    assert complaint(text) == said


FAILED = "Encountered an unexpected error while evaluating the model. Verify that it is."


@pytest.mark.parametrize(
    ("document", "found", "allowed"),
    [
        (
            {
                "message": "Failed to predict data '   size\n0  1'. \nError: Failed to enforce"
                " schema of data '   size\n0  1' with schema '['whole': long (required)]'. Error:"
                " Model is missing inputs ['whole']."
            },
            "Found: Model is missing inputs ['whole']. ",
            "Allowed: rows with ['whole': long (required)]. ",
        ),
        (
            {"message": "Ensure that it is JSON. Error: 'x'\nInput: \nAda Lovelace\n"},
            "Found: Ensure that it is JSON. Error: 'x'. ",
            'Allowed: JSON as {"dataframe_split": ',
        ),
        (
            {"message": FAILED, "stack_trace": 'Trace:\n  File "m.py", line 3\nKeyError: 7\n'},
            "Found: the model does not predict these rows: KeyError: 7. ",
            "Allowed: rows such as ",
        ),
        ({"message": "no" * 5000}, "Found: nonono", 'Allowed: JSON as {"dataframe_split": '),
    ],
)
def test_a_refusal_has_three_parts(document: dict[str, str], found: str, allowed: str) -> None:
    """No trace, none of the rows beside, and no length."""
    said = refusal(json.dumps({"error_code": "BAD_REQUEST", **document}))
    assert said.code == "BAD_REQUEST"
    assert said.message.startswith(found)
    assert allowed in said.message
    assert " Next: " in said.message
    assert len(said.message) < 1500
    assert "Lovelace" not in said.message
    assert said.place == ('KeyError in File "m.py", line 3' if "stack_trace" in document else "")


@pytest.mark.parametrize("text", ["", "Unrecognized", "[1]", "null", '{"detail": 1}'])
def test_a_refusal_of_another_form(text: str) -> None:
    """What MLflow does not read at all it answers with a text."""
    assert refusal(text).message.startswith(f"Found: {text or 'no word'}. Allowed: JSON as ")


def test_a_request_is_shown_without_its_values() -> None:
    """What is missing is seen, and nobody's name."""
    rows = {"columns": ["name", "age", "kind"], "data": [["Ada Lovelace", 36, None]]}
    assert shown({"dataframe_split": rows}) == (
        '{"dataframe_split": {"columns": ["name", "age", "kind"], '
        '"data": [["text", "number", null]]}}'
    )
    assert shown({"inputs": {"x": [True, 1.5]}}) == '{"inputs": {"x": ["true or false", "number"]}}'
    assert len(shown({"inputs": [1.0] * 10_000})) < 1_000
