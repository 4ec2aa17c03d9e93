"""Compares what a served model answers with what it said offline. Pure."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

_PREDICTIONS, _PREDICTION, _PROBABILITIES = "predictions", "prediction", "probabilities"
# What a record calls the probability of a class begins so.
_PROBABILITY = "probability_"
# Characters of a value in a message.
_SHOWN: Final = 100
# Characters of an error's line, or of a request.
_LONGEST: Final = 500
_SCHEMA: Final = re.compile(
    r"Failed to enforce schema .* with schema '(?P<columns>.*)'\. Error: (?P<error>.*)", re.DOTALL
)
_BODIES: Final = (
    'JSON as {"dataframe_split": {"columns": [...], "data": [[...], ...]}},'
    ' {"dataframe_records": [{"<column>": ...}, ...]}, {"inputs": ...} or {"instances": ...} with'
    " the content type application/json, or CSV with a header line and the content type text/csv"
)
_BODY_NEXT: Final = "correct the request's body or its content type"
_ROWS_NEXT: Final = (
    "send all of these columns in these types, a missing value as null where the type has one, as"
    " double and string do"
)
_PREDICTED: Final = "rows such as the model was trained on"
_MODEL_NEXT: Final = (
    "correct the rows; where they are right, log the model with a signature that says what it"
    " takes, or correct its predict"
)


@dataclass(frozen=True, slots=True)
class Question:
    """A request of a rehearsal.

    Attributes:
        name: What to call it in messages.
        body: What is posted to ``/invocations``.
        expected: ``prediction`` and ``probabilities`` of one row as the gate judged them, or
            ``predictions`` as the server must give them.
        advice: What to do where the server does not read this row's cells as they are; '' for
            nothing.
    """

    name: str
    body: Mapping[str, Any]
    expected: Mapping[str, Any]
    advice: str = ""


def difference(question: Question, answer: object, tolerance: float) -> str:
    """Return how an answer differs from what was said offline; '' where it does not.

    Labels must be equal, numbers within ``tolerance``, absolute or relative. MLflow may give a row
    as a value, as a list of one value or one per class, or as a record.
    """
    given = answer.get(_PREDICTIONS) if isinstance(answer, Mapping) else None
    if given is None:
        return f"{question.name}: the answer has no {_PREDICTIONS!r}: {_shown(answer)}"
    if _PREDICTIONS in question.expected:
        expected, got = question.expected[_PREDICTIONS], given
    else:
        got = _only(given)
        # A model that answers with several numbers answers with one for each class.
        several = isinstance(got, Sequence) and not isinstance(got, str)
        expected = question.expected.get(_PROBABILITIES if several else _PREDICTION)
        if shares := _shares(given):
            expected, got = dict(question.expected), {_PREDICTION: got, _PROBABILITIES: shares}
    if _alike(expected, got, tolerance):
        return ""
    return f"{question.name}: served {_shown(got)}, offline {_shown(expected)}"


def quantile(values: Iterable[float], share: float) -> float:
    """Return the smallest value that at least ``share`` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]


def complaint(text: str) -> str:
    """Return what an answer that is an error says: MLflow's has the cause in its trace's end."""
    # MLflow's scoring server answers with the whole traceback in JSON (3.17); anything else, such
    # as the page of a proxy, is shown as it came.
    try:
        document = json.loads(text)
        message, trace = document["message"], document.get("stack_trace") or ""
    except (ValueError, KeyError, TypeError, AttributeError):
        return text[:_LONGEST]
    lines = [line.strip() for line in str(trace).splitlines() if line.strip()]
    return " ".join([str(message)[:_LONGEST], *(line[:_LONGEST] for line in lines[-1:])])


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a server says to a request that it does not answer with predictions.

    Attributes:
        code: MLflow's code of the error.
        message: What was found, what is allowed, what to do next.
        place: Where the model's own code failed, and with what kind of error, without any value;
            '' where it was not asked.
    """

    code: str
    message: str
    place: str = ""


def refusal(text: str) -> Refusal:
    """Return in three parts what an error of MLflow's scoring server says, without its trace."""
    # Its JSON has a code, a sentence that may repeat all rows, and a whole traceback (3.17); what
    # it does not read at all it answers with a text.
    try:
        document = json.loads(text)
        code, message = str(document["error_code"]), str(document["message"])
        trace = str(document.get("stack_trace") or "").strip().splitlines()
    except (ValueError, KeyError, TypeError, AttributeError):
        return Refusal("BAD_REQUEST", _three(text or "no word", _BODIES, _BODY_NEXT))
    said = message.partition("\nInput: ")[0]
    if schema := _SCHEMA.search(message):
        return Refusal(code, _three(schema["error"], f"rows with {schema['columns']}", _ROWS_NEXT))
    if trace and "while evaluating the model" in message:
        found = f"the model does not predict these rows: {trace[-1].strip()}"
        return Refusal(code, _three(found, _PREDICTED, _MODEL_NEXT), _place(trace))
    if message.startswith("Failed to predict"):
        return Refusal(code, _three(message.rpartition("Error: ")[2], _PREDICTED, _MODEL_NEXT))
    return Refusal(code, _three(said, _BODIES, _BODY_NEXT))


def _three(found: str, allowed: str, action: str) -> str:
    # Both ends: MLflow's sentences are long, and the reason stands last.
    found = " ".join(found.split()).rstrip(".")
    if len(found) > _LONGEST:
        found = f"{found[: _LONGEST // 2]} ... {found[-_LONGEST // 2 :]}"
    return f"Found: {found}. Allowed: {allowed}. Next: {action}."


def _place(trace: Sequence[str]) -> str:
    """Return the last place of a traceback, and the kind of its error."""
    frames = [line.strip() for line in trace if line.strip().startswith("File ")]
    return f"{trace[-1].partition(':')[0].strip()} in {frames[-1] if frames else 'no file'}"


def shown(body: Mapping[str, Any]) -> str:
    """Return a request as a message shows it: its columns, and of each value its kind and no more.

    The rows may be about persons, and messages go to logs, tags and notices.
    """
    text = json.dumps(_kinds(body))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _kinds(value: object) -> object:
    if isinstance(value, Mapping):
        return {name: one if name == "columns" else _kinds(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_kinds(one) for one in value]
    if value is None:
        return None
    return {bool: "true or false", int: "number", float: "number"}.get(type(value), "text")


def _only(given: object) -> object:
    """Return the one row's answer without the lists and records around it."""
    if isinstance(given, Sequence) and not isinstance(given, str) and len(given) == 1:
        return _only(given[0])
    if isinstance(given, Mapping):
        if _PREDICTION in given:
            return given[_PREDICTION]
        if len(given) == 1:
            return _only(next(iter(given.values())))
        return list(given.values())
    return given


def _shares(given: object) -> list[object]:
    """Return the probabilities of a record that also names the class; [] for any other answer."""
    if isinstance(given, Sequence) and not isinstance(given, str) and len(given) == 1:
        return _shares(given[0])
    if not isinstance(given, Mapping) or _PREDICTION not in given:
        return []
    return [value for name, value in given.items() if str(name).startswith(_PROBABILITY)]


def _alike(expected: object, got: object, tolerance: float) -> bool:
    if isinstance(expected, Mapping) and isinstance(got, Mapping):
        return expected.keys() == got.keys() and all(
            _alike(value, got[name], tolerance) for name, value in expected.items()
        )
    if isinstance(expected, list) and isinstance(got, list):
        pairs = zip(expected, got, strict=False)
        return len(expected) == len(got) and all(_alike(*pair, tolerance) for pair in pairs)
    # A label may be a number to one side and a text to the other: the gate reads Parquet, and the
    # server answers in JSON.
    one, other = _number(expected), _number(got)
    if one is None or other is None:
        return str(expected) == str(got)
    # NaN is unequal to itself, but here it means "no value" on both sides.
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) and math.isnan(other)
    return math.isclose(one, other, rel_tol=tolerance, abs_tol=tolerance)


def _number(value: object) -> float | None:
    """Return a number, also one that is a class's name; JSON's null stands for NaN."""
    if value is None:
        return math.nan
    if not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except ValueError:
        return None


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
