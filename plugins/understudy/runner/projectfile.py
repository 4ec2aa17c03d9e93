"""Reads an MLproject and checks parameters against it before anything starts. Reads files only.

MLflow's own loader and command builder do the work, imported when first used; what they let pass
(unknown parameters, wrong types, placeholders inside quotes) is refused here.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from understudy.errors import ParameterError, ProjectError, listed, nearest
from understudy.redact import secret_in
from understudy.runner.process.quoting import placeholders, unsafe_placeholders

if TYPE_CHECKING:
    from mlflow.projects import _project_spec

    from understudy.spec.entry_points import Part
    from understudy.spec.pipeline import Pipeline

Value = str | int | float | bool
Declared = TypeVar("Declared")

LONGEST_VALUE = 130_000
"""Bytes of one value. Linux takes 131,071 in one argument (MAX_ARG_STRLEN), prefix included."""
_TEXT, _NUMBER, _WHOLE, _TRUTH = (
    {"string", "str"},
    {"float", "number"},
    {"int", "integer"},
    {"bool"},
)
TYPES = frozenset({*_TEXT, *_NUMBER, *_WHOLE, *_TRUTH, "path", "uri"})
"""Parameter types that are checked; MLflow itself documents string, float, path and uri."""
# Characters of a value in a message.
_SHOWN = 60
_NO_SECRETS = "give it by an environment variable that environment= names, or in ~/.netrc"
_DOCKER_FIELDS = frozenset({"image", "volumes", "environment"})
_TRUTH_VALUES = frozenset({"true", "false"})


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of an entry point. ``default`` None means that it must be given."""

    name: str
    type: str
    default: str | None


@dataclass(frozen=True, slots=True)
class EntryPoint:
    """An entry point of an MLproject."""

    name: str
    parameters: Mapping[str, Parameter]
    command: str


@dataclass(frozen=True, slots=True)
class DockerImage:
    """A project's ``docker_env``.

    Attributes:
        image: Name of the image, as ``docker run`` takes it.
        volumes: Mounts, as ``docker run --volume`` takes them.
        variables: Variables with the value that the project gives them.
        copied: Names of variables whose value comes from outside.
    """

    image: str
    volumes: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    copied: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ProjectFile:
    """An MLproject that was read and found usable.

    ``environment_file`` is its python_env.yaml or conda.yaml, None without one;
    ``environment_type`` is MLflow's name of its kind ("python_env", "conda_env", "docker_env");
    ``docker`` is there for the last of these only; ``repository`` is the folder that no file of the
    project may lie outside of, None where that is ``folder``.
    """

    folder: Path
    name: str
    entry_points: Mapping[str, EntryPoint]
    environment_type: str
    environment_file: Path | None
    docker: DockerImage | None = None
    repository: Path | None = None


def named(entry_points: Mapping[str, Declared], name: str) -> Declared:
    """Return what an entry point's name stands for.

    Raises:
        ProjectError: if there is none of that name.
    """
    if name in entry_points:
        return entry_points[name]
    raise ProjectError(
        f"The MLproject has no entry point {name!r}{nearest(name, entry_points)}",
        allowed=listed(entry_points),
        action="name one of these",
    )


def load(folder: Path, where: str, repository: Path | None = None) -> ProjectFile:
    """Read the MLproject of a folder.

    Args:
        folder: The folder with the MLproject.
        where: What to call it in messages.
        repository: The folder of the whole repository; None where that is ``folder``.

    Raises:
        ProjectError: if there is none, or it cannot be used.
    """
    _check_structure(_read_yaml(_find(folder, where), where), where)
    from mlflow.exceptions import MlflowException
    from mlflow.projects._project_spec import load_project

    try:
        project = load_project(str(folder))  # type: ignore[no-untyped-call]
    except (MlflowException, OSError, ValueError) as error:
        raise _unusable(where, str(error)) from error
    # It has no public name. None stands for an MLproject without entry points.
    specs: dict[str, _project_spec.EntryPoint] = project._entry_points or {}  # noqa: SLF001
    entry_points = {name: _entry_point(spec) for name, spec in specs.items()}
    for entry_point in entry_points.values():
        _check_command(entry_point, where)
    path = project.env_config_path
    return ProjectFile(
        folder=folder,
        name=project.name or "",
        entry_points=entry_points,
        environment_type=project.env_type,
        environment_file=Path(path) if path else None,
        docker=_docker(project.docker_env, where) if project.docker_env else None,
        repository=repository,
    )


def check(
    entry_point: str, declared: Mapping[str, Parameter], given: Mapping[str, Value]
) -> tuple[str, ...]:
    """Check the parameters given for an entry point; return warnings.

    Raises:
        ParameterError: naming all that is wrong with them, together.
    """
    problems = list(_problems(declared, given))
    if problems:
        known = ", ".join(f"{p.name}: {p.type}" for p in declared.values())
        raise ParameterError(
            f"The entry point {entry_point!r} cannot take these parameters: " + "; ".join(problems),
            allowed=known or "no parameters",
            action="correct the parameters, or the MLproject",
        )
    return tuple(_type_warnings(declared))


def check_pipeline(
    entry_points: Mapping[str, Mapping[str, Parameter]],
    pipeline: Pipeline,
    given: Mapping[str, Value],
    handed: Mapping[str, Sequence[Part]],
) -> None:
    """Check all that a pipeline will ask of a project, before its first step.

    Args:
        entry_points: Of the project: their parameters by name, by their own name.
        pipeline: What the pipeline file declares.
        given: The night's parameters, by the pipeline's keys for them.
        handed: Those among them that hold what earlier steps leave.

    Raises:
        ProjectError: if the MLproject lacks an entry point.
        ParameterError: naming what is wrong with the parameters.
    """
    # Workers import this module for every task, plain `mlflow run` too: pydantic is for pipelines.
    from understudy.spec.entry_points import MODEL_URI, REFIT, YES, Role, given_to

    steps, after = pipeline.steps, pipeline.after_promotion
    every = list(steps.by_role.items())
    if pipeline.search is not None:
        # A search takes the same inputs as the training.
        every.append((Role.TRAIN, pipeline.search.entry_point))
    found = {step: named(entry_points, step) for _, step in every}
    taken = {name for declared in found.values() for name in declared}
    own = {f"{role}.{name}" for role, step in every for name in found[step]}
    _refuse_foreign("No step of the project has a", (*given, *steps.inputs.values()), taken | own)
    for role, step in every:
        declared = found[step]
        # With a stand-in for what earlier steps will leave: a parameter that is wrong is found now,
        # and not after hours of training.
        filled = {name: "runs:/0/x" for name in steps.filled_in(role) if name in declared}
        if step == steps.train and pipeline.refit is not None:
            _refuse_deaf(step, steps.called(REFIT), declared)
            filled[steps.called(REFIT)] = YES
        keys = {n: key for n, key in given_to(role, given).items() if n in declared}
        earlier = [*steps.by_role][: [*steps.by_role].index(role)]
        for key in {*keys.values()} & handed.keys():
            _refuse_later(f"{key!r} is for {role}", handed[key], earlier)
        chosen = {
            name: _stand_in(declared[name]) if key in handed else given[key]
            for name, key in keys.items()
        }
        check(step, declared, {**chosen, **filled})
    if after is not None:
        # No model shall be promoted that could not be handed on for a wrong name.
        taken = {*named(entry_points, after.entry_point)}
        names = (steps.called(MODEL_URI), *after.parameters)
        _refuse_foreign(f"{after.entry_point} has no", names, taken)


def _refuse_deaf(entry_point: str, parameter: str, declared: Collection[str]) -> None:
    """Refuse a training that cannot be told to take all rows."""
    if parameter not in declared:
        raise ParameterError(
            f"The pipeline has refit=..., and {entry_point!r} no parameter {parameter!r}, which"
            " would tell it to take the holdout's rows, too",
            allowed=f"a training with such a parameter; this one has {listed(declared)}",
            action="give it one (docs/refit.md says what it must do), name the one that it has in"
            " Steps(inputs={'refit': ...}), or take refit out of the pipeline file",
        )


def _stand_in(parameter: Parameter) -> str:
    """Return a value of a parameter's type, for one that only an earlier step will leave."""
    if parameter.type in _NUMBER | _WHOLE:
        return "0"
    return "true" if parameter.type in _TRUTH else "runs:/0/x"


def _refuse_later(what: str, parts: Sequence[Part], earlier: Collection[str]) -> None:
    """Refuse a value of a step that is made of what no step before it leaves."""
    from understudy.spec.entry_points import as_template

    for part in parts:
        if not isinstance(part, str) and part[0] not in earlier:
            raise ParameterError(
                f"The parameter {what}, and is {as_template(parts)}",
                allowed=f"what steps before it leave: {listed(earlier)}",
                action="correct the template, or name the step that the value is for, as in"
                " 'train.<parameter>'",
            )


def _refuse_foreign(found: str, names: Iterable[str], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            raise ParameterError(
                f"{found} parameter {name!r}{nearest(name, known)}",
                allowed=f"parameters that the MLproject declares: {listed(known)}",
                action="correct parameters=, inputs= or after_promotion= in the pipeline file, or"
                " the MLproject",
            )


def values(
    entry_point: EntryPoint, given: Mapping[str, Value], given_at: Path | None
) -> dict[str, str]:
    """Return every parameter's value as text; relative paths in it start at the project's folder.

    Args:
        entry_point: Whose parameters.
        given: Values that were checked.
        given_at: Folder at which relative paths among ``given`` start; None for the project's.
    """
    chosen = {}
    for name, parameter in entry_point.parameters.items():
        own = name not in given
        value = (parameter.default or "") if own else text(given[name])
        if given_at and not own and is_path(parameter, value):
            value = str(given_at / value)
        chosen[name] = value
    return chosen


def is_path(parameter: Parameter, value: str) -> bool:
    """Return whether a value is the path of a file or folder, absolute or not."""
    return parameter.type == "path" and value != "" and not urlsplit(value).scheme


def command(entry_point: EntryPoint, chosen: Mapping[str, str], folder: Path, storage: Path) -> str:
    """Return the shell line that MLflow makes of an entry point; its values are quoted.

    Relative paths start at ``folder``, and are made absolute. Remote values of type ``path`` are
    downloaded into ``storage``; empty ones stay empty.

    Raises:
        MlflowException: if a path does not exist or a download fails.
    """
    from mlflow.projects._project_spec import EntryPoint as Spec

    types = {
        name: parameter.type if chosen[name] or parameter.type != "path" else "string"
        for name, parameter in entry_point.parameters.items()
    }
    placed = {
        name: str(folder / value) if is_path(entry_point.parameters[name], value) else value
        for name, value in chosen.items()
    }
    spec = Spec(entry_point.name, types, entry_point.command)  # type: ignore[no-untyped-call]
    return str(spec.compute_command(placed, str(storage)))  # type: ignore[no-untyped-call]


def text(value: Value) -> str:
    """Return a value as it is handed over: Python's truth values in lower case, as YAML's."""
    return str(value).lower() if isinstance(value, bool) else str(value)


# Reading


def _find(folder: Path, where: str) -> Path:
    there = list(folder.iterdir()) if folder.is_dir() else []
    # As MLflow does: it takes any entry of that name for the file, in whatever case, and fails with
    # IsADirectoryError where it is a folder.
    found = [path for path in there if path.name.lower() == "mlproject"]
    if found and found[0].is_file():
        return found[0]
    inside = " (it has a folder of that name: is it the subdirectory?)" if found else ""
    raise ProjectError(
        f"There is no MLproject file in {where}{inside}",
        allowed="a folder with a file named MLproject",
        action="write the folder of the MLproject after '#', as in https://host/repo.git#folder",
    )


def _read_yaml(path: Path, where: str) -> object:
    import yaml

    # Each step reads it: with libyaml, where PyYAML has that, in a tenth of the time.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=loader)  # noqa: S506
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise _unusable(where, f"it is not YAML: {error}") from error


def _check_structure(content: object, where: str) -> None:
    """Refuse what would make MLflow's loader fail with an error of its own insides."""
    if not isinstance(content, dict):
        raise _unusable(where, "it is not a mapping")
    entry_points = content.get("entry_points", {})
    if not isinstance(entry_points, dict):
        raise _unusable(where, "entry_points is not a mapping")
    for name, entry_point in entry_points.items():
        if not isinstance(entry_point, dict) or not isinstance(entry_point.get("command"), str):
            raise _unusable(where, f"the entry point {name!r} has no command")
        parameters = entry_point.get("parameters", {})
        if not isinstance(parameters, dict) or not all(
            isinstance(p, str | dict) and isinstance(key, str) for key, p in parameters.items()
        ):
            raise _unusable(where, f"the parameters of {name!r} are not a mapping of name to type")
    docker = content.get("docker_env", {})
    if not isinstance(docker, dict):
        raise _unusable(where, "docker_env is not a mapping")
    if unknown := set(docker) - _DOCKER_FIELDS:
        # MLflow takes no notice of such a field: it would run the image, if there is one.
        build = "run `docker build -t NAME .` on the workers or in CI, and write image: NAME"
        raise ProjectError(
            f"The MLproject of {where} cannot be used: docker_env has unknown fields: "
            f"{', '.join(sorted(map(str, unknown)))}",
            allowed=f"docker_env with {listed(_DOCKER_FIELDS)}",
            action=build if "build" in unknown else "correct the MLproject and push it",
        )


def _docker(content: Mapping[str, Any], where: str) -> DockerImage:
    """Read a docker_env whose lists MLflow's loader has checked."""
    entries = content.get("environment") or []
    pairs = [entry for entry in entries if not isinstance(entry, str)]
    if any(len(pair) != len(("name", "value")) for pair in pairs):
        raise _unusable(where, "docker_env has an environment entry that is no [name, value]")
    return DockerImage(
        image=str(content["image"]),
        volumes=tuple(content.get("volumes") or ()),
        variables={str(name): text(value) for name, value in pairs},
        copied=tuple(entry for entry in entries if isinstance(entry, str)),
    )


def _entry_point(spec: Any) -> EntryPoint:  # noqa: ANN401 - mlflow is untyped
    parameters = {
        name: Parameter(name, str(p.type), None if p.default is None else text(p.default))
        for name, p in spec.parameters.items()
    }
    return EntryPoint(spec.name, parameters, spec.command)


def _check_command(entry_point: EntryPoint, where: str) -> None:
    # MLflow would fail only while the run is RUNNING already, with a KeyError or a ValueError.
    try:
        fields = [name for _, name in placeholders(entry_point.command) if name]
    except ValueError as error:
        raise _bad_command(entry_point, where, f"has unbalanced braces ({error})") from error
    for name in fields:
        if name not in entry_point.parameters:
            hint = nearest(name, entry_point.parameters)
            why = f"has the placeholder {{{name}}}, which is no parameter{hint}"
            raise _bad_command(entry_point, where, why)
    for name, reason in unsafe_placeholders(entry_point.command).items():
        raise _bad_command(entry_point, where, f"has the placeholder {{{name}}} inside {reason}")


def _bad_command(entry_point: EntryPoint, where: str, why: str) -> ProjectError:
    return ProjectError(
        f"The command of {entry_point.name!r} in the MLproject of {where} {why}",
        allowed="bare placeholders of declared parameters, as in `python train.py --rate {rate}`",
        action="values are quoted by MLflow, so take quotes away; write a shell's $NAME without "
        "braces or as ${{NAME}}",
    )


def _unusable(where: str, why: str) -> ProjectError:
    return ProjectError(
        f"The MLproject of {where} cannot be used: {why}",
        allowed="a file as https://mlflow.org/docs/latest/ml/projects describes it",
        action="correct the MLproject and push it",
    )


# Checking parameters


def _problems(known: Mapping[str, Parameter], given: Mapping[str, Value]) -> Iterator[str]:
    # MLflow appends undeclared ones to the command as --name value, so that typos pass.
    yield from (f"{n!r} is unknown{nearest(n, known)}" for n in given if n not in known)
    yield from (
        f"{n!r} is missing" for n, p in known.items() if p.default is None and n not in given
    )
    for name, value in given.items():
        if name in known and (problem := _value_problem(name, known[name], value)):
            yield f"{name!r} {problem}"


def _value_problem(name: str, parameter: Parameter, value: Value) -> str:
    shown = text(value)
    if problem := _secret_problem(name, shown) or _transport_problem(shown):
        return problem
    # The author's own value is right whatever the type says, such as '' for "not given".
    if shown == parameter.default:
        return ""
    # MLflow checks none of these types (3.17): it would pass "abc" for a float.
    if parameter.type in _NUMBER:
        return "" if _is_number(shown) else f"is {_short(shown)}, not a number"
    if parameter.type in _WHOLE:
        whole = re.fullmatch(r"[+-]?\d+", shown)
        return "" if whole else f"is {_short(shown)}, not a whole number"
    if parameter.type in _TRUTH:
        return "" if shown.lower() in _TRUTH_VALUES else f"is {_short(shown)}, not true or false"
    return _address_problem(parameter, shown)


def _secret_problem(name: str, value: str) -> str:
    # A default of None arrives as this text.
    secret = secret_in(value) or (secret_in({name: value}) if value != "None" else "")
    return f"holds {secret}, and parameters are shown: {_NO_SECRETS}" if secret else ""


def _transport_problem(value: str) -> str:
    if "\0" in value:
        return "has a zero byte, which no argument can hold"
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        return "has half a surrogate pair, which is not text"
    if size > LONGEST_VALUE:
        return f"has {size} bytes, more than {LONGEST_VALUE}: give it as a file of type path"
    return ""


def _address_problem(parameter: Parameter, value: str) -> str:
    scheme = urlsplit(value).scheme
    if parameter.type == "uri" and not scheme:
        return f"is {_short(value)}, not a URI"
    if parameter.type == "path" and not value:
        return "is empty, not a path"
    # Where a relative path starts is not known here; see values().
    local = parameter.type == "path" and scheme in {"", "file"}
    path = Path(urlsplit(value).path if scheme else value)
    if local and path.is_absolute() and not path.exists():
        return f"is {_short(value)}, which does not exist here"
    return ""


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _type_warnings(declared: Mapping[str, Parameter]) -> Iterator[str]:
    for parameter in declared.values():
        if parameter.type not in TYPES:
            hint = nearest(parameter.type, TYPES)
            yield (
                f"The MLproject gives {parameter.name!r} the unknown type {parameter.type!r}{hint};"
                " it is handed over as a string, unchecked"
            )


def _short(value: str) -> str:
    return repr(value if len(value) <= _SHOWN else f"{value[:_SHOWN]}...")
