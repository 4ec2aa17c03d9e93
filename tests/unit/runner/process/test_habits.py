"""What a program died of is known by its last exception, and by nothing before it."""

from __future__ import annotations

import pytest

from understudy.runner.process.habits import (
    LastLines,
    Witness,
    missing_program,
    nested_run_in,
)

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
        pytest.param(
            [f"{MLFLOW}Could not find the pyenv binary. See https://github.com/pyenv/pyenv"],
            "MLflow wants pyenv",
            id="nested, by another manager",
        ),
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


def test_colours_hide_no_error() -> None:
    """And get into no message, which becomes a tag."""
    lines = LastLines()
    for line in (
        "\x1b[33mwarning\x1b[0m",
        "\x1b[1;31mValueError\x1b[0m: no \x1b[4mrows\x1b[m",
        "end",
    ):
        lines.hear(line)
    assert str(lines).startswith("ValueError: no rows")
    assert "\x1b" not in str(lines)


def test_an_address_that_is_not_known_accuses_nobody() -> None:
    """A cluster may know our server by another name."""
    witness = Witness("abc")
    witness.hear(AWAY.format("http://mlflow:5000"))
    assert witness.advice() is None


TRACEBACK = """\
starting
Traceback (most recent call last):
  File "/srv/train.py", line 12, in <module>
    fit(rows)
    ~~~^^^^^^
  File "/srv/fit.py", line 3, in fit
    raise NoRows("none left")
    ^^^^^^^^^^^^^^^^^^^^^^^^^
"""
NO_ROWS = 'fit.NoRows: none left | File "/srv/fit.py", line 3, in fit'
SYNTAX = """\
  File "/srv/x.py", line 1
    def f(
         ^
SyntaxError: '(' was never closed
"""
NESTED = """\
Traceback (most recent call last):
  File "/srv/main.py", line 4, in <module>
    mlflow.run(".")
mlflow.exceptions.ExecutionException: Run (ID 'abc') failed
"""


@pytest.mark.parametrize(
    ("output", "said"),
    [
        pytest.param(f"{TRACEBACK}fit.NoRows: none left\n", NO_ROWS, id="an error of its own"),
        pytest.param(
            f"{TRACEBACK}ValueError: 2 rows\n  a: 1\nbye\n",
            'ValueError: 2 rows | a: 1 | bye | File "/srv/fit.py", line 3, in fit',
            id="more lines",
        ),
        pytest.param(
            f"{TRACEBACK}KeyError: 1\n\nDuring handling of the above exception, another exception"
            f" occurred:\n\n{TRACEBACK}fit.NoRows: none left\n",
            NO_ROWS,
            id="the last of several",
        ),
        pytest.param(
            SYNTAX, "SyntaxError: '(' was never closed | File \"/srv/x.py\", line 1", id="2"
        ),
        pytest.param(
            f"{TRACEBACK}fit.NoRows: none left\n{NESTED}",
            'fit.NoRows: none left | in the nested run abc | File "/srv/fit.py", line 3, in fit',
            id="the nested run's, and not that it has failed",
        ),
        pytest.param(
            f"{TRACEBACK}MlflowException: These failed:\n404: no model\nbye\n{NESTED}",
            "MlflowException: These failed: | 404: no model | in the nested run abc | ",
            id="the nested run's, which its second line says",
        ),
        pytest.param(NESTED, "ExecutionException: Run (ID 'abc') failed", id="nothing before"),
        pytest.param("1\n2\n\n3\n4\n5\n6\n", "2 | 3 | 4 | 5 | 6", id="no traceback"),
        pytest.param(f"{TRACEBACK}E: caught\n{'x' * 2}\n" + "x\n" * 99, "x | x", id="long ago"),
        pytest.param("", "", id="nothing"),
    ],
)
def test_an_error_stands_first(output: str, said: str) -> None:
    """Not the source lines and carets of a traceback."""
    lines = LastLines()
    for line in output.splitlines():
        lines.hear(line)
    assert said in str(lines)
    assert "^" not in str(lines)


@pytest.mark.parametrize(
    ("line", "run_id"),
    [
        (f"INFO mlflow: === Running command 'x' in run with ID '{'a' * 32}' ===", 1),
        (f"INFO mlflow: === Asynchronously launching MLflow run with ID {'a' * 32} ===", 1),
        (f"a word in run with ID '{'a' * 31}'", 0),
    ],
)
def test_a_nested_run_is_known_by_what_mlflow_says(line: str, run_id: int) -> None:
    """Each line of MLflow 3.17 that names a run which it is about to start."""
    assert nested_run_in(line) == ("a" * 32 if run_id else "")


@pytest.mark.parametrize(
    ("said", "program"),
    [
        ("/a/command.sh: line 1: Rscript: command not found", "Rscript"),
        ("/a/command.sh: 1: Rscript: not found", "Rscript"),
        ("/usr/bin/env: 'Rscript': No such file or directory", "Rscript"),
        ("env: \u2018Rscript\u2019: No such file or directory", "Rscript"),
        ("a.sh: line 2: a: command not found | a.sh: line 3: b: command not found", "b"),
        ("KeyError: 'a: not found'", ""),
        ("ExitError: file rows.csv: not found", ""),
    ],
)
def test_a_program_that_a_shell_did_not_find(said: str, program: str) -> None:
    """In the words of bash, dash and env."""
    assert missing_program(said) == program
