"""What a program died of is known by its last exception, and by nothing before it."""

from __future__ import annotations

import pytest

from understudy.runner.process.habits import Witness

pytestmark = pytest.mark.unit
OURS = "http://127.0.0.1:5000"
MLFLOW = "mlflow.exceptions.MlflowException: "
RATE = (
    f"{MLFLOW}Changing param values is not allowed. Param with key='rate' was already logged with"
    " value='' for run ID='abc'. Attempted logging new value 'None'."
)
TWICE = (
    "mlflow.exceptions.RestException: INVALID_PARAMETER_VALUE: Changing param values is not"
    " allowed. Params were already logged='[{'key': 'a', 'old_value': '1', 'new_value': '1.0'}]'"
)
AWAY = f"{MLFLOW}API request to {{}}/api/2.0/mlflow/runs/get failed with exception X"


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        pytest.param([TWICE, "The cause of this error is"], "twice", id="text follows"),
        pytest.param([TWICE, "ValueError: no rows"], "", id="caught, and died of another"),
        pytest.param([f"WARNING mlflow.sklearn: {TWICE}"], "", id="autologging warns and goes on"),
        pytest.param([AWAY.format(OURS)], "", id="our own server is away"),
        pytest.param([AWAY.format("http://127.0.0.1:50")], "server", id="another one is"),
        pytest.param([f"{MLFLOW}Run with id=abc not found"], "server", id="its run is not there"),
        pytest.param([f"{MLFLOW}Run with id=fff not found"], "", id="a run that it asks for"),
        pytest.param([f"{MLFLOW}Run 'abc' not found"], "server", id="the same by a file store"),
        pytest.param(
            [f"{MLFLOW}The filesystem tracking backend (e.g., './mlruns') is in maintenance mode"],
            "server",
            id="a folder as server",
        ),
        pytest.param([RATE], "'rate' twice, as '' and as 'None'", id="nothing in two spellings"),
        pytest.param([], "", id="nothing"),
    ],
)
def test_the_last_exception_tells(lines: list[str], found: str) -> None:
    """Lines as a program writes them."""
    witness = Witness("abc", OURS)
    for line in lines:
        witness.hear(line)
    advice = witness.advice()
    assert found in ("" if advice is None else advice.found)
    assert bool(found) == (advice is not None)


def test_an_address_that_is_not_known_accuses_nobody() -> None:
    """A cluster may know our server by another name."""
    witness = Witness("abc")
    witness.hear(AWAY.format("http://mlflow:5000"))
    assert witness.advice() is None
