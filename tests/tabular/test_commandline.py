"""Parameters: types, bounds, choices, and every problem in one message."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from shared.commandline import Option, passing, read_options
from shared.errors import ParameterError
from tabular import download, explore, preprocess, search, train, validate
from tabular import main as main_step

pytestmark = pytest.mark.unit

PROJECT = Path(download.__file__).parents[1]
STEPS = {
    module.STEP.name: module.STEP
    for module in (download, explore, preprocess, search, train, validate, main_step)
}
OPTIONS = (
    Option("rows", 5, "rows", minimum=1, maximum=10),
    Option("share", 0.2, "share", above=0, below=1),
    Option("kind", "", "kind", choices=("", "hash", "newest")),
    Option("data", "here", "data", required=True),
)


def test_defaults_and_given_values_have_their_types() -> None:
    """A number arrives as a number, an option not given as its default."""
    values = read_options("step", OPTIONS, ["--rows=7", "--kind=hash"])
    assert values == {"rows": 7, "share": 0.2, "kind": "hash", "data": "here"}


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("--rows=0", "'rows' is '0'. Allowed: a whole number >= 1 and <= 10"),
        ("--rows=1.5", "'rows' is '1.5'. Allowed: a whole number"),
        ("--rows=many", "'rows' is 'many'"),
        ("--share=1", "'share' is '1'. Allowed: a finite number > 0 and < 1"),
        ("--share=nan", "'share' is 'nan'"),
        ("--share=inf", "'share' is 'inf'"),
        ("--kind=hsah", "'kind' is 'hsah' (did you mean 'hash'?)"),
        ("--data=", "'data' is missing"),
        ("--rosw=3", "'step' has no parameter 'rosw' (did you mean 'rows'?)"),
        ("rows", "'rows' belongs to no parameter"),
        ("--input_file=x", "'step' has no parameter 'input_file'. Allowed"),
    ],
)
def test_a_wrong_value_is_refused(word: str, message: str) -> None:
    """The message names the parameter, the value and what is allowed."""
    with pytest.raises(ParameterError, match=re.escape(message)):
        read_options("step", OPTIONS, [word])


@pytest.mark.parametrize("name", ["data_path", "input_file"])
def test_a_course_s_parameter_is_named_as_here(name: str) -> None:
    """Where its name is nothing like ours."""
    with pytest.raises(ParameterError, match=rf"no parameter '{name}' \(here it is 'source'\)"):
        read_options("main", main_step.OPTIONS, [f"--{name}=winequality-red.csv"])


@pytest.mark.parametrize("value", [";", "|", "tab", "fixed acidity:number", "it's:text"])
def test_an_option_that_a_message_shows_can_be_pasted(value: str) -> None:
    """Into a shell, which gives `mlflow run` the very value."""
    shown = passing("separator", value)
    said = subprocess.run(
        ["sh", "-c", f"printf '%s\\n' {shown}"], check=True, capture_output=True, text=True
    )
    assert said.stdout == f"-P\nseparator={value}\n"


def test_all_problems_come_together() -> None:
    """Two wrong values are one error that names both."""
    with pytest.raises(ParameterError, match=r"'rows' is '0'.*'share' is '2'"):
        read_options("step", OPTIONS, ["--rows=0", "--share=2"])


@pytest.mark.parametrize("text", ["-1", "--dashes", "a b", "'quoted' \"twice\"", "$(touch x)", "ü"])
def test_any_text_arrives_unharmed(text: str) -> None:
    """A text value may begin with a dash and hold anything."""
    assert read_options("step", (Option("word", "", "w"),), [f"--word={text}"])["word"] == text


def test_mlproject_and_options_agree() -> None:
    """Same entry points, parameters and defaults in MLproject as in the code; bare placeholders."""
    entries = yaml.safe_load((PROJECT / "MLproject").read_text())["entry_points"]
    assert set(entries) == set(STEPS)
    for name, entry in entries.items():
        declared = {
            key: "" if isinstance(value, str) else value.get("default")
            for key, value in entry["parameters"].items()
        }
        assert declared == {option.name: option.default for option in STEPS[name].options}
        words = entry["command"].split()
        assert words[:3] == ["python", "-m", f"tabular.{name}"]
        assert sorted(words[3:]) == sorted(f"--{key}={{{key}}}" for key in declared)


def test_the_environment_names_no_python_and_no_address() -> None:
    """MLflow then uses the Python that runs it; the lock holds hashes and no addresses."""
    environment = yaml.safe_load((PROJECT / "python_env.yaml").read_text())
    assert environment == {"dependencies": ["-r requirements.txt"]}
    lock = (PROJECT / "requirements.txt").read_text()
    assert "--hash=sha256:" in lock
    assert "://" not in lock
