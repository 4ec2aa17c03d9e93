"""MLprojects and parameters: what is wrong is said before anything starts."""

from __future__ import annotations

import subprocess
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from understudy import Gate, Metric, Pipeline, Project, Refit, Steps
from understudy.errors import ParameterError, ProjectError
from understudy.runner import projectfile
from understudy.runner.projectfile import EntryPoint, Parameter

pytestmark = pytest.mark.unit

DECLARED = {
    name: Parameter(name, type_, default)
    for name, type_, default in [
        ("name", "string", None),
        ("rate", "float", "0.1"),
        ("depth", "float", ""),
        ("count", "int", "1"),
        ("fast", "bool", "false"),
        ("data", "path", ""),
        ("site", "uri", "http://x"),
        ("odd", "flaot", "1"),
    ]
}


def written(folder: Path, content: str, name: str = "MLproject") -> Path:
    """Write an MLproject and return its folder."""
    (folder / name).write_text(content)
    return folder


STEPS = """
entry_points:
  download: {command: x}
  preprocess: {parameters: {raw: path}, command: x}
  train: {parameters: {data: path%s}, command: x}
  validate: {parameters: {data: path, model_uri: string}, command: x}
"""


@pytest.mark.parametrize(
    ("more", "steps", "refused"),
    [
        ("", Steps(), "'train' no parameter 'refit'.*docs/refit.md"),
        (", refit: {default: no}", Steps(), ""),
        (", every_row: {default: no}", Steps(inputs={"refit": "every_row"}), ""),
        (", refit: {default: no}", Steps(inputs={"refit": "all"}), "No step .* parameter 'all'"),
    ],
)
def test_a_training_that_cannot_be_told_to_take_all_rows_is_refused_before_the_night(
    tmp_path: Path, more: str, steps: Steps, refused: str
) -> None:
    """Also one that has another name for it, which the pipeline file says."""
    project = projectfile.load(written(tmp_path, STEPS % more), "here")
    declared = {name: one.parameters for name, one in project.entry_points.items()}
    pipeline = Pipeline(
        "p", Project("https://example.com/m.git"), Gate(Metric("rmse")), steps=steps, refit=Refit()
    )
    expected = pytest.raises(ParameterError, match=refused) if refused else nullcontext()
    with expected:
        projectfile.check_pipeline(declared, pipeline, {}, {})


def test_a_project_is_read_by_mlflows_loader(tmp_path: Path) -> None:
    """Types, defaults, command and environment file; the file's name in any case."""
    (tmp_path / "python_env.yaml").write_text("{}")
    content = """
name: x
entry_points:
  main:
    parameters: {a: string, b: {type: float, default: 0.5}, c: {default: true}}
    command: "python a.py {a} {b} {c}"
"""
    loaded = projectfile.load(written(tmp_path, content, "mlProject"), "here")
    assert loaded.entry_points["main"].parameters == {
        "a": Parameter("a", "string", None),
        "b": Parameter("b", "float", "0.5"),
        "c": Parameter("c", "string", "true"),
    }
    assert loaded.environment_file == tmp_path / "python_env.yaml"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not a mapping"),
        ("[", "not YAML"),
        ("- a", "not a mapping"),
        ("entry_points: [a]", "entry_points is not a mapping"),
        ("entry_points: {main: {}}", "'main' has no command"),
        ("entry_points: {main: {command: x, parameters: [a]}}", "not a mapping of name to type"),
        ("entry_points: {main: {command: x, parameters: {a: 1}}}", "not a mapping of name to type"),
        ("python_env: gone.yaml", "gone.yaml"),
        ("{python_env: a, conda_env: b}", "multiple environment fields"),
        ("docker_env: x", "docker_env is not a mapping"),
        ("docker_env: {volumes: [a]}", "no image attribute"),
        ("docker_env: {image: x, imgae: y}", "unknown fields: imgae"),
        ("docker_env: {build: .}", "Allowed: docker_env with 'environment', 'image', 'volumes'"),
        ("docker_env: {image: x, build: .}", "Next: run `docker build -t NAME .`"),
        ("docker_env: {image: x, environment: [[a]]}", "no [name, value]"),
        ("entry_points: {main: {command: 'echo ${HOME}'}}", "{HOME}, which is no parameter"),
        ("entry_points: {main: {command: 'echo {', parameters: {}}}", "unbalanced"),
        ("entry_points: {main: {command: 'echo {a.b}', parameters: {a: string}}}", "no parameter"),
        ("entry_points: {main: {command: 'echo {a!r}', parameters: {a: string}}}", "no parameter"),
        ("entry_points: {main: {command: 'echo {}', parameters: {a: string}}}", "no parameter"),
        (
            "entry_points: {main: {command: 'echo \"{a}\"', parameters: {a: string}}}",
            "inside quotes",
        ),
    ],
)
def test_projects_that_cannot_be_used(tmp_path: Path, content: str, message: str) -> None:
    """A sentence, never a traceback of MLflow's insides."""
    with pytest.raises(ProjectError, match=r"Allowed: .* Next: ") as caught:
        projectfile.load(written(tmp_path, content), "here")
    assert message in str(caught.value)


def test_no_mlproject(tmp_path: Path) -> None:
    """A folder of that name is a hint at the subdirectory."""
    with pytest.raises(ProjectError, match="no MLproject file in here"):
        projectfile.load(tmp_path, "here")
    (tmp_path / "mlproject").mkdir()
    with pytest.raises(ProjectError, match="is it the subdirectory"):
        projectfile.load(tmp_path, "here")


def test_the_nearest_entry_point_is_suggested() -> None:
    """With all that there are."""
    with pytest.raises(ProjectError, match=r"did you mean 'train'.*Allowed: 'main', 'train'"):
        projectfile.named({"main": 1, "train": 2}, "trian")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "'name' is missing"),
        ({"nmae": "x"}, "'nmae' is unknown (did you mean 'name'?); 'name' is missing"),
        ({"name": "x", "rate": "abc"}, "'rate' is 'abc', not a number"),
        ({"name": "x", "rate": True}, "'rate' is 'true', not a number"),
        ({"name": "x", "count": 1.5}, "'count' is '1.5', not a whole number"),
        ({"name": "x", "fast": "yes"}, "not true or false"),
        ({"name": "x", "site": "nowhere"}, "not a URI"),
        ({"name": "x", "data": "/no/such/file"}, "does not exist here"),
        ({"name": "x", "data": "file:///no/such/file"}, "does not exist here"),
        ({"name": "https://ada:s3cret@host/x"}, "holds a password"),
        ({"name": "https://host/x?sv=1&sig=s3cret"}, "holds sig=..."),
        ({"name": "a\0b"}, "zero byte"),
        ({"name": "\ud800"}, "surrogate"),
        ({"name": "x" * 200_000}, "200000 bytes"),
    ],
)
def test_parameters_that_do_not_fit(parameters: dict[str, Any], message: str) -> None:
    """All problems together, each with the value."""
    with pytest.raises(ParameterError, match="Allowed: name: string, rate: float") as caught:
        projectfile.check("main", DECLARED, parameters)
    assert message in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "given_",
    [{}, {"rate": 1e-3}, {"rate": "inf"}, {"depth": ""}, {"count": "-3"}, {"fast": False},
     {"data": "runs:/1/x"}, {"data": ""}, {"data": "/"}, {"data": "s3://b/x"}, {"odd": "any"}],
)  # fmt: skip
def test_parameters_that_fit(given_: dict[str, Any]) -> None:
    """The author's own default always fits; an unknown type is warned about."""
    warnings = projectfile.check("main", DECLARED, {"name": "x", **given_})
    assert len(warnings) == 1
    assert "'flaot' (did you mean 'float'?)" in warnings[0]


def test_relative_paths_start_where_they_belong(tmp_path: Path) -> None:
    """Defaults at the project, which is a copy by then; given ones where the caller says."""
    declared = {n: Parameter(n, "path", d) for n, d in {"a": "x", "b": "x", "c": ""}.items()}
    entry_point = EntryPoint("main", declared, "show {a} {b} {c}")
    found = projectfile.values(entry_point, {"b": "y"}, tmp_path / "given")
    assert found == {"a": "x", "b": str(tmp_path / "given/y"), "c": ""}
    for place in ("copy/x", "given/y"):
        (tmp_path / place).parent.mkdir()
        (tmp_path / place).touch()
    line = projectfile.command(entry_point, found, tmp_path / "copy", tmp_path)
    assert line == f"show {tmp_path}/copy/x {tmp_path}/given/y ''"


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    value=st.text(
        st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=40
    )
)
def test_any_string_arrives_unharmed(tmp_path: Path, value: str) -> None:
    """Through MLflow's quoting, the script file and bash, into one argument."""
    entry_point = EntryPoint(
        "main", {"x": Parameter("x", "string", None)}, "printf '%s|' {x} --x={x}"
    )
    line = projectfile.command(entry_point, {"x": value}, tmp_path, tmp_path)
    script = tmp_path / "command.sh"
    script.write_text(f"{line}\n", encoding="utf-8", newline="")
    done = subprocess.run(["bash", script], capture_output=True, check=True)
    assert done.stdout.decode() == f"{value}|--x={value}|"
