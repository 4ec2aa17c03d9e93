"""What the entry points accept, and that MLproject says the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from images import download, explore, preprocess, publish, search, train, validate
from images import main as main_step
from shared.commandline import read_options
from shared.errors import ParameterError

pytestmark = pytest.mark.unit

PROJECT = Path(download.__file__).parents[1]
STEPS = {
    module.STEP.name: module.STEP
    for module in (download, explore, preprocess, search, train, validate, publish, main_step)
}
OF_COURSES = {"get_data": "download", "explore_data": "explore"}


def test_mlproject_and_options_agree() -> None:
    """Same entry points, parameters and defaults in MLproject as in the code; bare placeholders."""
    entries = yaml.safe_load((PROJECT / "MLproject").read_text())["entry_points"]
    for name, here in OF_COURSES.items():
        assert entries.pop(name) == {"command": f"python -m images.{here}"}
    assert set(entries) == set(STEPS)
    for name, entry in entries.items():
        declared = {
            key: "" if isinstance(value, str) else value.get("default")
            for key, value in entry["parameters"].items()
        }
        assert declared == {option.name: option.default for option in STEPS[name].options}
        words = entry["command"].split()
        assert words[:3] == ["python", "-m", f"images.{name}"]
        assert sorted(words[3:]) == sorted(f"--{key}={{{key}}}" for key in declared)


@pytest.mark.parametrize("document", ["docs/tutorials/images.md", "mlproject/images/README.md"])
def test_the_commands_that_documents_show(document: str) -> None:
    """Each names an entry point that there is, parameters that it has, and all that it needs."""
    text = (PROJECT.parents[1] / document).read_text(encoding="utf-8").replace("\\\n", " ")
    commands = re.findall(r"^[ $]*(?:\w+=\$\()?((?:mlflow run|step) .*)$", text, re.MULTILINE)
    assert len(commands) >= 5
    for command in (one for one in commands if '"$@"' not in one):
        named = r"(?:^step| -e| --entry-point) (\w+)"
        name = (re.findall(named, command) or ["main"])[0]
        given = set(re.findall(r" -P (\w+)=", command))
        assert given <= {option.name for option in STEPS[name].options}, command
        assert {option.name for option in STEPS[name].options if option.required} <= given, command


def test_the_environment_names_no_python_and_no_address() -> None:
    """MLflow then uses the Python that runs it; the lock holds hashes and no addresses."""
    environment = yaml.safe_load((PROJECT / "python_env.yaml").read_text())
    assert environment == {"dependencies": ["-r requirements.txt"]}
    lock = (PROJECT / "requirements.txt").read_text()
    assert "--hash=sha256:" in lock
    assert "://" not in lock


@pytest.mark.parametrize(
    ("step", "word", "message"),
    [
        ("train", "--learning_rate=0", "'learning_rate' is '0'. Allowed: a finite number > 0"),
        ("train", "--learning_rate=-0.1", "'learning_rate' is '-0.1'"),
        ("train", "--learning_rate=nan", "'learning_rate' is 'nan'"),
        ("train", "--learning_rate=1e9", "'learning_rate' is '1e9'"),
        ("train", "--epochs=0", "'epochs' is '0'. Allowed: a whole number >= 1"),
        ("train", "--batch_size=1.5", "'batch_size' is '1.5'"),
        ("train", "--dropout=1", "'dropout' is '1'. Allowed: a finite number >= 0 and < 1"),
        ("train", "--filters=0", "'filters' is '0'"),
        ("train", "--lr=1", "'train' has no parameter 'lr'"),
        (
            "preprocess",
            "--holdout=newest",
            "'holdout' is 'newest' (did you mean 'test'?). Allowed: one of '', 'test'",
        ),
        ("preprocess", "--validation_fraction=1", "'validation_fraction' is '1'"),
        ("publish", "--folder=", "'folder' is missing"),
    ],
)
def test_a_wrong_value_is_refused(step: str, word: str, message: str) -> None:
    """The message names the parameter, the value and what is allowed."""
    needed = [f"--{option.name}=x" for option in STEPS[step].options if option.required]
    with pytest.raises(ParameterError, match=re.escape(message)):
        read_options(step, STEPS[step].options, [*needed, word])
