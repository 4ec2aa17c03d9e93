"""Writes the pages of this folder from the code: ``python docs/reference/generate.py``.

A test compares the pages with what this makes, so that neither is ever behind the other.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import understudy

HERE: Final = Path(__file__).parent
_NOTE: Final = "<!-- Made by `make reference` from the code: edit that. -->\n"
_REQUIRED: Final = "required"


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    made = [titles, ["---"] * len(titles), *rows]
    lines = (" | ".join(cell.replace("|", "\\|") for cell in row) for row in made)
    return "".join(f"| {line} |\n" for line in lines)


def _page(title: str, text: str, sections: Iterable[tuple[str, str]]) -> str:
    made = [f"# {title}\n", _NOTE, f"{text}\n"]
    for heading, body in sections:
        made += [f"## {heading}\n", body.rstrip() + "\n"]
    return "\n".join(made)


def _markdown(text: str) -> str:
    """Return a docstring's text as one line of Markdown."""
    plain = re.sub(r":class:`(?:[\w.]*\.)?(\w+)`", r"`\1`", " ".join(text.split()))
    return plain.replace("``", "`").replace("<", "&lt;")


def _first(text: str | None) -> str:
    return _markdown((text or "").split("\n\n")[0])


def _attributes(record: type) -> dict[str, str]:
    """Return what the docstrings of a record and its bases say of each field."""
    found: dict[str, str] = {}
    for base in reversed(record.__mro__):
        found |= _named(base)
    return found


def _named(about: object) -> dict[str, str]:
    """Return what a docstring says of each attribute or argument."""
    flags = re.MULTILINE | re.DOTALL
    section = re.search(
        r"^(?:Attributes|Args):\n(.*?)(?=^\S|\Z)", inspect.getdoc(about) or "", flags
    )
    listed = re.findall(r"^    (\w+): (.*?)(?=^    \w|\Z)", section[1] if section else "", flags)
    return {name: _markdown(words) for name, words in listed}


def _kind(written: str) -> str:
    """Return a type as the source has it, with its bounds in words."""
    for alias in ("NotNegative", "Confidence"):
        written = re.sub(rf"\b{alias}\b", "float", written)
    tree = ast.parse(written, mode="eval").body
    if not (isinstance(tree, ast.Subscript) and ast.unparse(tree.value) == "Annotated"):
        return f"`{written}`"
    assert isinstance(tree.slice, ast.Tuple)
    words = {"ge": "at least", "le": "at most", "gt": "above", "lt": "below"}
    words |= {"min_length": "length at least", "max_length": "length at most"}
    bounds = [
        f"{words[keyword.arg or '']} {ast.unparse(keyword.value)}"
        for part in tree.slice.elts[1:]
        if isinstance(part, ast.Call) and ast.unparse(part.func) == "Field"
        for keyword in part.keywords
        if keyword.arg in words
    ]
    return ", ".join([f"`{ast.unparse(tree.slice.elts[0])}`", *bounds])


def _value(value: object) -> str:
    if isinstance(value, timedelta):
        return f"`timedelta(seconds={value.total_seconds():g})`"
    return f"`{value!r}`"


def _default(field: dataclasses.Field[Any]) -> str:
    made: Any = field.default
    # pydantic keeps its own description of a field where its default would be.
    factory = getattr(made, "default_factory", None)
    if type(made).__name__ == "FieldInfo":
        made = factory() if factory else made.default
    if made is dataclasses.MISSING and field.default_factory is not dataclasses.MISSING:
        made = field.default_factory()
    is_none = made is dataclasses.MISSING or type(made).__name__ == "PydanticUndefinedType"
    return _REQUIRED if is_none else _value(made)


def _record(record: type) -> str:
    says, written = _attributes(record), _annotations(record)
    rows = [
        (f"`{field.name}`", _kind(written[field.name]), _default(field), says[field.name])
        for field in dataclasses.fields(record)
    ]
    return f"{_first(inspect.getdoc(record))}\n\n" + _table(
        ("field", "type", "default", "meaning"), rows
    )


def _annotations(record: type) -> dict[str, str]:
    return {
        name: kind if isinstance(kind, str) else inspect.formatannotation(kind)
        for base in reversed(record.__mro__)
        for name, kind in inspect.get_annotations(base).items()
    }


def _function(made: Callable[..., Any]) -> str:
    names = [name for name in inspect.signature(made).parameters if name != "self"]
    head = f"`{made.__name__}({', '.join(names)})`: {_first(inspect.getdoc(made))}\n"
    return head + "".join(f"\n* `{name}`: {words}" for name, words in _named(made).items())


def dag_file() -> str:
    """Return the page of what a Dag file may say."""
    from understudy.airflow.step import MlflowRunOperator
    from understudy.spec.placement import ClusterPlacement, DatabricksPlacement

    exported = [getattr(understudy, name) for name in understudy.__all__]
    records = [
        one for one in exported if dataclasses.is_dataclass(one) and one is not MlflowRunOperator
    ]
    functions = [one for one in exported if inspect.isfunction(one)]
    first = sorted(records, key=lambda one: one.__name__ not in {"Pipeline", "Gate", "Metric"})
    sections = [(f"`{one.__name__}`", _record(one)) for one in first]
    for placed, backend in ((ClusterPlacement, "kubernetes"), (DatabricksPlacement, "databricks")):
        sections.append((f'`backend_config` of `backend="{backend}"`', _record(placed)))
    operator = _first(inspect.getdoc(MlflowRunOperator)) + "\n"
    operator += "".join(f"\n* `{n}`: {w}" for n, w in _attributes(MlflowRunOperator).items())
    sections.append(("`MlflowRunOperator`", operator))
    sections += [(f"`{one.__name__}`", _function(one)) for one in functions]
    return _page(
        "A Dag file's fields",
        "All that `from understudy import ...` gives. `pipeline` takes the fields of `Pipeline`; "
        "[pipelines](../pipelines.md) and [the gate](../gate.md) explain them.",
        sections,
    )


def _parsers() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    from understudy.cli.main import COMMANDS, parser

    top = parser([*COMMANDS])
    waiting = [("understudy", top)]
    while waiting:
        name, one = waiting.pop(0)
        yield name, one
        for action in one._actions:
            if isinstance(action, argparse._SubParsersAction):
                for sub in action._choices_actions:
                    below = action.choices[sub.dest]
                    below.description = below.description or f"To {sub.help}."
                waiting[:0] = [(f"{name} {word}", sub) for word, sub in action.choices.items()]


def _argument(action: argparse.Action) -> tuple[str, str, str]:
    takes = action.metavar or (action.dest.upper().replace("_", "-") if action.nargs != 0 else "")
    if action.choices is not None and not action.metavar:
        takes = ", ".join(map(str, action.choices))
    name = ", ".join(action.option_strings)
    shown = f"`{f'{name} {takes}'.strip() if name else action.metavar or action.dest}`"
    # Not this machine's number of cores, nor the ends of time.
    is_plain = isinstance(action.default, (str, int, float)) and action.dest != "jobs"
    default = str(action.default) if is_plain and action.default not in {"", False} else ""
    if action.required:
        default = _REQUIRED
    return shown, default, (action.help or "").replace("%%", "%")


_NO_ARGUMENTS: Final = (
    argparse._HelpAction,
    argparse._SubParsersAction,
    argparse._VersionAction,
)


def command_line() -> str:
    """Return the page of all commands and their options."""
    sections = []
    for name, parser in _parsers():
        rows = [
            _argument(action)
            for action in parser._actions
            if not isinstance(action, _NO_ARGUMENTS) and action.help != argparse.SUPPRESS
        ]
        text = f"{parser.description or ''}\n\n"
        sections.append(
            (f"`{name}`", text + (_table(("argument", "default", ""), rows) if rows else ""))
        )
    return _page(
        "The command line's options",
        "Every command takes `--help`. [The command line](../command-line.md) says which server "
        "it speaks to, and has the exit codes.",
        sections,
    )


def _members(kind: type[StrEnum]) -> list[tuple[str, str]]:
    """Return each value of an enum with the docstring behind it."""
    tree = ast.parse(inspect.getsource(kind)).body[0]
    assert isinstance(tree, ast.ClassDef)
    said: dict[str, str] = {}
    for one, behind in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(one, ast.Assign) and isinstance(behind, ast.Expr):
            target = one.targets[0]
            assert isinstance(target, ast.Name)
            said[target.id] = _markdown(ast.literal_eval(behind.value))
    return [(f"`{member.value}`", said[member.name]) for member in kind]


def tags() -> str:
    """Return the page of tags, aliases and artifacts."""
    from understudy import contract
    from understudy.registry.retention import KEEP_TAG

    aliases = [
        ("`champion`", "The version in production."),
        ("`previous`", "The version that the champion replaced."),
        ("`challenger`", "A version that waits for its verdict to be obeyed."),
    ]
    assert [name for name, _ in aliases] == [
        f"`{one}`" for one in (contract.CHAMPION, contract.PREVIOUS, contract.CHALLENGER)
    ]
    titles = ("tag", "what it holds")
    people = [(f"`{KEEP_TAG}`", "A person's: retention leaves this run or version; says why.")]
    return _page(
        "Tags and aliases in MLflow",
        "What Understudy writes has the prefix `understudy.`; a pipeline of 0.1 finds them, and "
        "those of later ones will (see [versions](../versions.md)).",
        [
            ("On runs and versions, by Understudy", _table(titles, _members(contract.Tag))),
            ("On a project's runs, by its steps", _table(titles, _members(contract.DataTag))),
            ("By people", _table(titles, people)),
            ("Aliases of a registered model", _table(("alias", "what it names"), aliases)),
        ],
    )


def metrics() -> str:
    """Return the page of the gate's metrics, the night's and Prometheus's."""
    from mlflow.tracking import MlflowClient

    from understudy.evaluation import catalogue
    from understudy.monitoring.exporter import Observer
    from understudy.spec.metrics import HIGHER_IS_BETTER, LOWER_IS_BETTER

    better = dict.fromkeys(LOWER_IS_BETTER, "lower") | dict.fromkeys(HIGHER_IS_BETTER, "higher")
    known = [
        (f"`{name}`", better.get(name, "says the file"), found.reads.value)
        for name in sorted(catalogue.known())
        if (found := catalogue.find(name)) is not None
    ]
    nights = [
        ("`challenger_METRIC`, `champion_METRIC`", "Both models' values on the night's rows."),
        ("`gain_METRIC`", "How much better the challenger is; below zero: worse."),
        ("`gain_low_METRIC`, `gain_high_METRIC`", "Ends of the gain's interval."),
    ]
    registry = Observer(MlflowClient("http://127.0.0.1:1"), 0).registry
    exported = [
        (
            f"`{one.name}{'_total' if one.type == 'counter' else ''}`",
            one.type,
            ", ".join(f"`{label}`" for label in labels),
            one.documentation,
        )
        for collector, _ in registry._collector_to_names.items()
        for one, labels in [(next(iter(collector.describe())), collector._labelnames)]
    ]
    return _page(
        "Metrics",
        "Which numbers a gate can compute, which a night logs, and which Prometheus gets.",
        [
            (
                "In rules",
                "Computed from predictions as scikit-learn computes them; any other name is that "
                "of a number that `validate` logs, with `lower_is_better` in the file.\n\n"
                + _table(("name", "better", "reads"), known),
            ),
            ("On a night's MLflow run", _table(("metric", "what it is"), nights)),
            (
                "For Prometheus, from `understudy metrics`",
                _table(("metric", "type", "labels", "what it is"), exported),
            ),
        ],
    )


def http() -> str:
    """Return the page of the HTTP routes."""
    from fastapi import FastAPI
    from mlflow.tracking import MlflowClient

    from understudy.serving.proxy import Proxy
    from understudy.web.app import PREFIX, _add_pages, _add_parts
    from understudy.web.reader import PageReader

    # Not its application, which begins to read MLflow.
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    _add_pages(app)
    _add_parts(app, PageReader(MlflowClient))

    served = [
        (f"`{route.path}`", ", ".join(sorted({*route.methods} - {"HEAD"})), _SERVED[route.path])
        for route in Proxy("model", print, 1).app().routes
    ]
    pages = [
        (f"`{PREFIX}{route.path}`", ", ".join(sorted({*route.methods} - {"HEAD"})))
        for route in app.routes
        if getattr(route, "methods", None)
    ]
    return _page(
        "HTTP routes",
        "What answers over HTTP. [Security](../security.md) says who may ask.",
        [
            (
                "The champion's server, `understudy serve`",
                _table(("route", "method", "answer"), served),
            ),
            (
                "Pages in Airflow's API server",
                "All ask for Airflow's login, and those of a Dag for the right to read it.\n\n"
                + _table(("route", "method"), pages),
            ),
            (
                "Prometheus, `understudy metrics`",
                _table(
                    ("route", "method", "answer"),
                    [("`/metrics`", "GET", "[the metrics](metrics.md); 503 while MLflow is away")],
                ),
            ),
        ],
    )


_SERVED: Final = {
    "/ping": "200 once a champion answers",
    "/health": "the same",
    "/champion": "which version is served",
    "/version": "MLflow's version, from the model's own server",
    "/invocations": "predictions, by MLflow's scoring protocol",
}

PAGES: Final = {
    "dag-file.md": dag_file,
    "options.md": command_line,
    "tags.md": tags,
    "metrics.md": metrics,
    "http.md": http,
}


def main() -> None:
    """Write every page."""
    for name, page in PAGES.items():
        (HERE / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
