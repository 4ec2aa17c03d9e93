"""``understudy init``: writes a pipeline file for your data, or a new MLproject with its test.

What is not given as an option is asked for, where somebody sits at a terminal. Writes the file, or
the folder, that it names, and never over one that is there.
"""

from __future__ import annotations

import argparse
import bz2
import codecs
import csv
import gzip
import json
import lzma
import re
import shlex
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final

from understudy.cli.terminal import absolute, parsed_by, to_stderr
from understudy.errors import ParameterError, listed, nearest

OURS: Final = "{{ var.value.understudy_repository }}#mlproject/tabular"
"""The example project for tables, where Airflow has the address of its repository."""
_SKELETON: Final = Path(__file__).with_name("skeleton")
_LOOKED_AT: Final = 20_000
"""Rows of a file that tell what its columns are."""
_FEW: Final = 100
"""Rows of which a fifth is held out: with fewer, the guards that are written hold each night."""
_MOST_TIMES: Final = 500
"""Different values of a column that tell whether it holds times."""
_HEAD: Final = 50
"""Lines among which the header is."""
_LONGEST_FIELD: Final = 1 << 24
_SEPARATORS: Final = ",;\t|"
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
_UNCLEAR: Final = re.compile(r"^\D*[1-9]\d{0,2}[.,]\d{3}\D*$")
_KEY: Final = re.compile(r"(?i)(^|[^a-z])(id|key|nr|no|number|uuid)s?($|[^a-z])|[a-z]I[Dd]$")
_TIME_FORMS: Final = (
    "",
    *(
        f"{date}{time}"
        for date in ("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%d-%m-%Y")
        for time in ("", " %H:%M", " %H:%M:%S")
    ),
)
"""How times are written: '' is ISO 8601, which mlproject/tabular reads by itself."""
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
    dag.add_argument(
        "--time-format", default="", metavar="FORM", help="of its times, such as %%d.%%m.%%Y"
    )
    dag.add_argument("--id", default="", metavar="COLUMNS", help="what tells rows apart, by commas")
    dag.add_argument("--task", choices=_TASKS, help="by default as the target's values say")
    dag.add_argument(
        "--decimal", choices=(".", ","), help="decimal sign, where 1,234 may be read in two ways"
    )
    dag.add_argument(
        "--encoding", default="", type=parsed_by(_encoding), help="of a CSV that is not in UTF-8"
    )
    dag.add_argument("--project", default=OURS, metavar="URI", help="a project of your own")
    dag.add_argument("--dags", type=Path, default=Path("dags"), metavar="FOLDER", help="where to")
    dag.set_defaults(run=_dag)
    project = actions.add_parser("project", help="write an MLproject with four steps and a test")
    project.add_argument("folder", type=Path)
    project.set_defaults(run=_project)


def _encoding(text: str) -> str:
    try:
        return codecs.lookup(text).name if text else ""
    except LookupError as error:
        raise ValueError(f"{text!r} is none; cp1252, latin-1 and utf-16 are some") from error


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
    for setting, value in (("user.name", "Your Name"), ("user.email", "you@example.com")):
        if not _is_set(setting):  # without which git refuses to commit
            print(f"  git config --global {setting} {shlex.quote(value)}")
    print(f"  git -C {git} init && git -C {git} add --all && git -C {git} commit -m Steps")
    print(f"  understudy init dag {name} --project {uri}")
    return 0


def _is_set(setting: str) -> bool:
    asked = ("git", "config", "--get", setting)
    return subprocess.run(asked, stdout=subprocess.DEVNULL, check=False).returncode == 0


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
    kind = "parquet" if data.endswith((".parquet", ".pq")) else "csv"
    is_url = "://" in data
    source = data if is_url else str(Path(data).resolve())
    table = _Table({}, {}) if is_url else _table(Path(source), kind, options)
    target = options.target or _asked("target", f"Which column is predicted? {_shown(table)}")
    _check_columns([target, options.time, *options.id.split(",")], table)
    task = options.task or _task(table.values(target), target, is_url=is_url)
    given = {"target": target, **table.read_with, **_time(table, target, options)}
    given["identity"] = options.id or _key(table, target, given["time_column"])
    given["decimal"] = options.decimal or ""
    if not options.decimal:
        _refuse_doubt(table, {given["time_column"], *given["identity"].split(",")})
    named = {name: value for name, value in given.items() if value}
    return {"dataset": kind, "source": source, **named, "task": task}, task


@dataclass(frozen=True, slots=True)
class _Table:
    """The first rows of a file, as texts by column, and the parameters by which they were read."""

    columns: Mapping[str, Sequence[str]]
    read_with: Mapping[str, str]

    def values(self, name: str) -> set[str]:
        """Return the different values of a column; none of one that is not known."""
        return set(self.columns.get(name, ()))


def _time(table: _Table, target: str, options: argparse.Namespace) -> dict[str, str]:
    """Return the column that says when a row happened, and how: given, or asked for."""
    forms = {name: _time_forms(table.values(name)) for name in table.columns if name != target}
    found = [name for name, some in forms.items() if some]
    name = options.time or _offered("time", "When did a row happen?", found, table)
    possible = forms.get(name, [])
    if len(possible) > 1 and not options.time_format:
        example = min(table.values(name) - _MISSING)
        raise ParameterError(
            f"Times of {name!r}, such as {example!r}, may be read in two ways",
            allowed=" or ".join(f"--time-format {shlex.quote(one)}" for one in possible),
            action="add one of these",
        )
    form = options.time_format or next(iter(possible), "")
    return {"time_column": name, "time_format": form if name else ""}


def _time_forms(values: set[str]) -> list[str]:
    """Return in which ways all values are times: '' for ISO 8601, else what strptime takes."""
    known = list(islice(sorted(values - _MISSING), _MOST_TIMES))
    return [form for form in _TIME_FORMS if known and all(_is_time(one, form) for one in known)]


def _is_time(value: str, form: str) -> bool:
    try:
        if form:
            return bool(datetime.strptime(value, form))  # noqa: DTZ007 -- only whether it is one
        # Without a sign between its parts a date, such as 20260131, may as well be a number.
        return "-" in value and bool(datetime.fromisoformat(value))
    except ValueError:
        return False


def _key(table: _Table, target: str, time: str) -> str:
    """Return the column that tells rows apart, where one looks like it and a person agrees."""
    found = [
        name
        for name, cells in table.columns.items()
        if name not in {target, time} and _KEY.search(name)
        if len(cells) == len(table.values(name) - _MISSING)
    ]
    return _offered("id", "What tells rows apart?", found, table)


def _offered(option: str, question: str, found: Sequence[str], table: _Table) -> str:
    """Ask for a column that need not be; where nobody is there to ask, say the option."""
    if not found:
        return ""
    if not sys.stdin.isatty():
        said = f"perhaps {listed(found)}. If so, add --{option} {shlex.quote(found[0])}"
        to_stderr(f"{question} It is not given; {said}")
        return ""
    to_stderr(f"{question} Perhaps {listed(found)}. Its name, or Enter for none:")
    answer = sys.stdin.readline().strip()
    _check_columns(answer.split(","), table)
    return answer


def _refuse_doubt(table: _Table, texts: set[str]) -> None:
    """Refuse numbers that two people read differently, before a night does."""
    doubtful = ""
    for name in table.columns.keys() - texts:
        known = table.values(name) - _MISSING
        written = sorted(value for value in known if _NUMERAL.match(value))
        if len(written) < _NUMBER_SHARE * len(known):
            continue
        parted = [value for value in written if "," in value or "." in value]
        if not all(map(_UNCLEAR.match, parted)):
            return  # it shows which sign is the decimal one
        if any("," in value for value in parted):
            doubtful = name
    if doubtful:
        value = next(one for one in sorted(table.values(doubtful)) if "," in one)
        raise ParameterError(
            f"Values of {doubtful!r} such as {value!r} may be read in two ways",
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


def _shown(table: _Table) -> str:
    return f"({', '.join(table.columns)})" if table.columns else ""


def _check_columns(names: Iterable[str], table: _Table) -> None:
    for name in filter(None, names):
        if table.columns and name not in table.columns:
            raise ParameterError(
                f"The file has no column {name!r}{nearest(name, table.columns)}",
                allowed=f"one of {listed(table.columns)}",
                action="correct the name",
            )


def _table(path: Path, kind: str, options: argparse.Namespace) -> _Table:
    if not path.is_file():
        raise ParameterError(
            f"There is no file {path}", allowed="a CSV or Parquet file", action="correct --data"
        )
    table = _parquet(path) if kind == "parquet" else _csv(path, options.target, options.encoding)
    rows = max(map(len, table.columns.values()), default=0)
    if not rows:
        raise ParameterError(
            f"{path} has no row ({path.stat().st_size:,} bytes)",
            allowed="a header line and at least one row",
            action="look at where the file comes from, or name another one with --data",
        )
    if rows < _FEW:
        to_stderr(f"{rows} rows: a night is HELD that has less than 50 to train on, 20 to judge by")
    return table


def _parquet(path: Path) -> _Table:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise ParameterError(
            f"This Python has no pyarrow to look into {path.name} with",
            allowed="a CSV file, or a Python that has understudy's extra 'gate'",
            action="pip install 'understudy[gate]', or name a CSV file",
        ) from error
    file = pyarrow.parquet.ParquetFile(path)
    batch = next(file.iter_batches(batch_size=_LOOKED_AT), None)
    columns = {} if batch is None else batch.to_pydict()
    texts = {name: ["" if one is None else str(one) for one in columns[name]] for name in columns}
    return _Table(texts, {})


def _csv(path: Path, target: str, encoding: str) -> _Table:
    """Return the first rows of a CSV file, packed or not, read as mlproject/tabular will.

    Its header is the first line that names the target, behind titles and comments; else the first.
    """
    csv.field_size_limit(_LONGEST_FIELD)  # Python's 128 KB are less than people have in a cell
    lines = _lines(path, encoding)
    separator, at = _header(lines[:_HEAD], target)
    header, *rows = csv.reader(lines[at:], delimiter=separator) if lines else [[]]
    names = [name.strip() for name in header]
    filled = [[*(cell.strip() for cell in row), *[""] * len(names)] for row in rows]
    columns = {name: [row[i] for row in filled] for i, name in enumerate(names) if name}
    named = {",": "", "\t": "tab"}.get(separator, separator)
    return _Table(columns, {"separator": named, "encoding": encoding})


def _lines(path: Path, encoding: str) -> list[str]:
    """Return the first lines of a file that are not blank.

    Raises:
        ParameterError: where they are in another encoding, or the file is damaged.
    """
    try:
        with _opened(path, encoding) as file:
            return [line for line in islice(file, _LOOKED_AT) if line.strip()]
    except UnicodeDecodeError as error:
        bytes_ = error.object[max(error.start - 10, 0) : error.start + 10]
        raise ParameterError(
            f"{path} is not {error.encoding.upper()}: {bytes_!r}, which would be"
            f" {bytes_.decode('cp1252', 'replace')!r} in cp1252",
            allowed="UTF-8, UTF-16 or UTF-32 with a mark, or the encoding that --encoding names",
            action="add --encoding cp1252, or whatever it is, or save the file again as UTF-8",
        ) from error
    except (UnicodeError, EOFError, OSError, lzma.LZMAError, zlib.error) as error:
        raise ParameterError(
            f"{path} cannot be read: {error}",
            allowed="a whole CSV file, as it is or packed by gzip, bzip2 or xz",
            action="look at where the file comes from, or correct --encoding",
        ) from error


def _opened(path: Path, encoding: str) -> IO[str]:
    """Return the text of a file that may be packed; its first bytes say how."""
    with path.open("rb") as file:
        start = file.read(4)
    openers: dict[bytes, Callable[..., IO[Any]]] = {
        b"\x1f\x8b": gzip.open,
        b"BZh": bz2.open,
        b"\xfd7zX": lzma.open,
    }
    unpacked = next((way for mark, way in openers.items() if start.startswith(mark)), open)
    if not encoding:
        with unpacked(path, "rb") as packed:
            start = packed.read(4)
        marks = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF16_LE: "utf-16"}
        marks |= {codecs.BOM_UTF32_BE: "utf-32", codecs.BOM_UTF16_BE: "utf-16"}
        # Without a mark: in UTF-16 every other byte of a header in Latin letters is null.
        bare = {0: "utf-16-be", 1: "utf-16-le"}.get(start[:2].find(b"\0"), "")
        encoding = next((name for mark, name in marks.items() if start.startswith(mark)), bare)
    return unpacked(path, "rt", encoding=encoding or "utf-8-sig", newline="")


def _header(lines: Sequence[str], target: str) -> tuple[str, int]:
    """Return the separator between the fields, and which line is the header."""
    for separator in _SEPARATORS if target else "":
        for at, line in enumerate(lines):
            if target in map(str.strip, next(csv.reader([line], delimiter=separator))):
                return separator, at
    widths = {one: [len(row) for row in csv.reader(lines, delimiter=one)] for one in _SEPARATORS}
    # That by which most rows have as many fields as the header, and more than one.
    alike = {
        one: counts[0] > 1 and counts.count(counts[0]) for one, counts in widths.items() if counts
    }
    return max(alike, key=alike.__getitem__, default=","), 0


def _task(values: set[str], target: str, *, is_url: bool) -> str:
    """Return what the values of a target say, as mlproject/tabular reads them."""
    if is_url:
        raise ParameterError(
            "--task is not given, and nobody looks at a URL here",
            allowed=listed(_TASKS),
            action="add --task",
        )
    # One word such as NA alone stands for no value; several that differ are values.
    if not values - _MISSING and len(values - {""}) < 2:  # noqa: PLR2004
        raise ParameterError(
            f"Column {target!r} has no value in the rows that were looked at",
            allowed="a target whose values are known, in some rows at least",
            action="name another --target; or add --task, if later rows have values",
        )
    return _task_of(values)


def _task_of(values: set[str]) -> str:
    """Return the task for the different values of a target; '' and words for none do not count."""
    known = values - _MISSING or values
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
