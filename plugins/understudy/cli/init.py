"""``understudy init``: writes a pipeline file for your data, or a new MLproject with its test.

What is not given as an option is asked for, where somebody sits at a terminal. Writes the file, or
the folder, that it names, and never over one that is there.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final

from understudy.cli.terminal import absolute, to_stderr
from understudy.errors import ParameterError, listed, nearest

OURS: Final = "{{ var.value.understudy_repository }}#mlproject/tabular"
"""The example project for tables, where Airflow has the address of its repository."""
_SKELETON: Final = Path(__file__).with_name("skeleton")
_LOOKED_AT: Final = 100_000
"""Rows of a file that tell what its target is."""
_MOST_CLASSES: Final = 20
"""Of so many different whole numbers mlproject/tabular takes a target for classes."""
_TASKS: Final = ("regression", "classification")
# What mlproject/tabular reads as numbers (its numerals.py): with a decimal comma, signs between
# thousands, a currency or percent sign; and the share of them that makes a column one of numbers.
_NUMBER_SHARE: Final = 0.8
_SIGN: Final = r"(?:%|\u2030|[$\u20ac\u00a3\u00a5\u20b9\u20a9\u20bd]|[A-Z]{3})?"
_BLANK: Final = " \u00a0\u202f\u2009'\u2019"
_NUMERAL: Final = re.compile(
    rf"^\(?[-+\u2212]?\s*{_SIGN}\s*[-+\u2212]?"
    rf"(?:\d+|\d{{1,3}}(?:[,{_BLANK}]\d{{3}})+|\d{{1,3}}(?:[.{_BLANK}]\d{{3}})+|(?=[.,]\d))"
    rf"(?:[.,]\d*)?(?:[eE][-+]?\d+)?\s*{_SIGN}-?\)?$"
)
_WHOLE: Final = re.compile(r"^[-+]?\d+(?:\.0*)?$")
_UNCLEAR: Final = re.compile(r"^\D*[1-9]\d{0,2},\d{3}\D*$")
_CODE: Final = re.compile(r"^0\d")
_MISSING: Final = frozenset(
    {"", "#N/A", "NA", "N/A", "n/a", "NULL", "null", "NaN", "nan", "NaT", "None", "none", "<NA>"}
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``init dag`` and ``init project``."""
    actions = parser.add_subparsers(title="actions", metavar="action", required=True)
    dag = actions.add_parser("dag", help="write a pipeline file for a table, or for a project")
    dag.add_argument("name", help="of the Dag, the model and the experiment")
    dag.add_argument("--data", default="", metavar="FILE", help="a CSV or Parquet file, or a URL")
    dag.add_argument("--target", default="", metavar="COLUMN", help="what is predicted")
    dag.add_argument("--time", default="", metavar="COLUMN", help="when a row happened, if it says")
    dag.add_argument("--id", default="", metavar="COLUMNS", help="what tells rows apart, by commas")
    dag.add_argument("--task", choices=_TASKS, help="by default as the target's values say")
    dag.add_argument(
        "--decimal", choices=(".", ","), help="decimal sign, where 1,234 may be read in two ways"
    )
    dag.add_argument("--project", default=OURS, metavar="URI", help="a project of your own")
    dag.add_argument("--dags", type=Path, default=Path("dags"), metavar="FOLDER", help="where to")
    dag.set_defaults(run=_dag)
    project = actions.add_parser("project", help="write an MLproject with four steps and a test")
    project.add_argument("folder", type=Path)
    project.set_defaults(run=_project)


def _dag(options: argparse.Namespace) -> int:
    path = options.dags / f"{options.name}.py"
    _refuse_existing(path)
    if options.project == OURS:
        parameters, task = _of_table(options)
    else:
        parameters, task = {}, options.task or "regression"
    text = dag_file(options.name, absolute(options.project), parameters, task)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    print(f"Wrote {path}: retrains every night, and promotes by the rules of {task}.")
    print(f"Next: unpause {options.name} in Airflow (make up starts one that reads dags/).")
    if options.project == OURS:
        print("An Airflow of your own needs to know where the project is, once:")
        print("  airflow variables set understudy_repository <Git URL of Understudy>")
    return 0


def _project(options: argparse.Namespace) -> int:
    folder: Path = options.folder.resolve()
    _refuse_existing(folder)
    folder.mkdir(parents=True)
    for source in sorted(_SKELETON.iterdir()):
        text = source.read_text(encoding="utf-8").replace("PROJECT", folder.name)
        # Named .txt in the package: these are nobody's modules yet.
        name = source.name.removesuffix(".txt") if ".py." in source.name else source.name
        (folder / name).write_text(text, encoding="utf-8")
    print(f"Wrote {folder}: four steps in steps.py, their contract in README.md, and a test.")
    print("Next: run the test as README.md says, then commit, and write a pipeline file:")
    # To be pasted, so that a blank in the path ends no word.
    git, name, uri = (shlex.quote(one) for one in (str(folder), folder.name, f"file://{folder}"))
    print(f"  git -C {git} init && git -C {git} add --all && git -C {git} commit -m Steps")
    print(f"  understudy init dag {name} --project {uri}")
    return 0


def _refuse_existing(path: Path) -> None:
    if path.exists():
        raise ParameterError(
            f"{path} is there already",
            allowed="a name that is free: nothing is overwritten",
            action="choose another one, or remove it",
        )


def _of_table(options: argparse.Namespace) -> tuple[dict[str, str], str]:
    """Return the parameters of mlproject/tabular for a table, and the task."""
    data = options.data or _asked("data", "Which file (CSV or Parquet) has the data?")
    is_url = "://" in data
    source = data if is_url else str(Path(data).resolve())
    kind = "parquet" if data.endswith((".parquet", ".pq")) else "csv"
    columns = [] if is_url else _columns(Path(source), kind)
    target = options.target or _asked("target", f"Which column is predicted? {_shown(columns)}")
    given = {"target": target, "time_column": options.time, "identity": options.id}
    for names in given.values():
        _check_columns([name for name in names.split(",") if name], columns)
    values = set() if is_url else _values(Path(source), kind, target)
    task = options.task or _task(values, target, is_url=is_url)
    if not options.decimal and task == "regression":
        _refuse_doubt(target, values)
    given["decimal"] = options.decimal or ""
    named = {name: value for name, value in given.items() if value}
    return {"dataset": kind, "source": source, **named, "task": task}, task


def _refuse_doubt(target: str, values: set[str]) -> None:
    """Refuse numbers that two people read differently, before a night does."""
    written = sorted(value for value in values if "," in value and _NUMERAL.match(value))
    if written and all(map(_UNCLEAR.match, written)) and not any("." in one for one in values):
        raise ParameterError(
            f"Values of {target!r} such as {written[0]!r} may be read in two ways",
            allowed="--decimal . where the comma is between thousands, --decimal , where it is the"
            " decimal sign",
            action="add one of these",
        )


def _asked(option: str, question: str) -> str:
    answer = ""
    if sys.stdin.isatty():
        to_stderr(question)
        answer = sys.stdin.readline().strip()
    if not answer:
        raise ParameterError(
            f"--{option} is not given", allowed="one", action=f"add --{option}: {question}"
        )
    return answer


def _shown(columns: Sequence[str]) -> str:
    return f"({', '.join(columns)})" if columns else ""


def _check_columns(names: Sequence[str], columns: Sequence[str]) -> None:
    for name in names:
        if columns and name not in columns:
            raise ParameterError(
                f"The file has no column {name!r}{nearest(name, columns)}",
                allowed=f"one of {listed(columns)}",
                action="correct the name",
            )


def _columns(path: Path, kind: str) -> list[str]:
    if not path.is_file():
        raise ParameterError(
            f"There is no file {path}", allowed="a CSV or Parquet file", action="correct --data"
        )
    if kind == "parquet":
        names, rows = list(_parquet(path).schema_arrow.names), _parquet(path).metadata.num_rows
    else:
        first = next(_rows(path), None)
        names, rows = list(first or {}), first is not None
    if not rows:
        raise ParameterError(
            f"{path} has no row ({path.stat().st_size:,} bytes)",
            allowed="a header line and at least one row",
            action="look at where the file comes from, or name another one with --data",
        )
    return names


def _parquet(path: Path) -> Any:  # noqa: ANN401 -- pyarrow has no types
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise ParameterError(
            f"This Python has no pyarrow to look into {path.name} with",
            allowed="a CSV file, or a Python that has understudy's extra 'gate'",
            action="pip install 'understudy[gate]', or name a CSV file",
        ) from error
    return pyarrow.parquet.ParquetFile(path)


def _rows(path: Path) -> Iterator[Mapping[str, str]]:
    with path.open(encoding="utf-8-sig", newline="", errors="replace") as file:
        head = file.read(1 << 16)
        file.seek(0)
        # The delimiter that is most frequent in the header; csv.Sniffer takes letters for one.
        first = head.partition("\n")[0]
        delimiter = max(",;\t|", key=first.count)
        yield from islice(csv.DictReader(file, delimiter=delimiter), _LOOKED_AT)


def _values(path: Path, kind: str, target: str) -> set[str]:
    """Return the different values of a target, as texts."""
    if kind == "parquet":
        batch = next(_parquet(path).iter_batches(batch_size=_LOOKED_AT, columns=[target]), None)
        column = [] if batch is None else batch.column(0).to_pylist()
        return {str(value) for value in column if value is not None}
    return {str(row[target] or "").strip() for row in _rows(path)}


def _task(values: set[str], target: str, *, is_url: bool) -> str:
    """Return what the values of a target say, as mlproject/tabular reads them."""
    if is_url:
        raise ParameterError(
            "--task is not given, and nobody looks at a URL here",
            allowed=listed(_TASKS),
            action="add --task",
        )
    if not values - _MISSING:
        raise ParameterError(
            f"Column {target!r} has no value in the rows that were looked at",
            allowed="a target whose values are known, in some rows at least",
            action="name another --target; or add --task, if later rows have values",
        )
    return _task_of(values)


def _task_of(values: set[str]) -> str:
    """Return the task for the different values of a target; '' and words for none do not count."""
    known = values - _MISSING
    numerals = sum(bool(_NUMERAL.match(value)) for value in known)
    if numerals < _NUMBER_SHARE * len(known) or any(map(_CODE.match, known)):
        return "classification"
    # Whoever writes signs between thousands, decimals or a currency writes amounts, no classes.
    are_classes = all(map(_WHOLE.match, known)) and len(known) <= _MOST_CLASSES
    return "classification" if are_classes else "regression"


# The primary metric's bound is the default, which suits models that age: docs/gate.md.
_RULES: Final = {
    "regression": (
        'primary=Metric("rmse")',
        'guardrails=[Metric("r2", at_least=0.0), Metric("mae", max_loss=0.05, relative=True)]',
    ),
    "classification": (
        'primary=Metric("log_loss")',
        'guardrails=[Metric("accuracy", max_loss=0.02)]',
    ),
}


def _literal(value: object) -> str:
    """Return Python's literal; JSON's escapes beyond 16 bits are none of Python's."""
    return json.dumps(value, ensure_ascii=False)


def dag_file(name: str, project: str, parameters: Mapping[str, str], task: str) -> str:
    """Return a pipeline file of at most twenty lines.

    Raises:
        DeclarationError: when the name or the project's address cannot be one.
    """
    from understudy.gate import Gate, Metric
    from understudy.spec.pipeline import Pipeline, Project

    # Checked before anything is written, as Airflow will.
    gate = Gate(Metric("rmse"))
    Pipeline(name, project=Project(project), gate=gate, parameters=dict(parameters))
    today = datetime.now(UTC)
    primary, guardrails = _RULES[task]
    lines = [
        f'"""Retrains {name} every night: an Airflow dag."""',
        "",
        "from datetime import UTC, datetime",
        "",
        "from understudy import Gate, Guards, Metric, Project, pipeline",
        "",
        "dag = pipeline(",
        f"    {_literal(name)},",
        '    schedule="@daily",',
        f"    start=datetime({today.year}, {today.month}, {today.day}, tzinfo=UTC),",
        f"    project=Project({_literal(project)}),",
        f"    parameters={_literal(dict(parameters))},",
        "    gate=Gate(",
        f"        {primary},",
        f"        {guardrails},",
        "        guards=Guards(),",
        "    ),",
        ")",
    ]
    return "\n".join(lines) + "\n"
