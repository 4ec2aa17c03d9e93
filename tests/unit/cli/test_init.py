"""``understudy init``: what it writes is what Airflow loads, and what it does not know it asks."""

from __future__ import annotations

import gzip
import io
import runpy
import shlex
from pathlib import Path

import pandas as pd
import pytest

from understudy.airflow import builder
from understudy.cli.main import main

ROWS = "id;hours;kind;price\n1;1,5;a;12,1\n2;2,0;b;17,9\n3;2,5;a;20,2\n"
SKELETON = {
    *("MLproject", "README.md", "python_env.yaml", "requirements.txt", "rows.csv"),
    *("steps.py", "test_steps.py"),
}


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in a folder with a table, and nobody at the terminal."""
    (tmp_path / "rows.csv").write_text(ROWS)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("target", "task", "metric"),
    [("price", "regression", "rmse"), ("kind", "classification", "log_loss")],
)
def test_a_pipeline_file_is_short_and_loads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], target: str, task: str, metric: str
) -> None:
    """With rules for what the target is, as a Dag of Airflow."""
    words = ["init", "dag", "prices", "--data=rows.csv", f"--target={target}", "--id=id"]
    assert main(words) == 0
    assert "airflow variables set understudy_repository" in capsys.readouterr().out
    text = (tmp_path / "dags" / "prices.py").read_text()
    assert len(text.splitlines()) <= 20
    assert {"dag", "airflow"} <= set(text.lower().replace(".", " ").split())
    dag = runpy.run_path(str(tmp_path / "dags" / "prices.py"))["dag"]
    spec = dag.get_task("pin").pipeline
    assert isinstance(dag, type(builder.build(spec)))
    assert spec.parameters == {
        "dataset": "csv",
        "source": str(tmp_path / "rows.csv"),
        "target": target,
        "identity": "id",
        "separator": ";",
        "task": task,
    }
    assert spec.gate.primary.name == metric


@pytest.mark.parametrize(
    ("values", "task"),
    [
        (["1,234,567", "2,345,678"], "regression"),
        (["1.234.567,89", "12,5"], "regression"),
        (["1 234 567", "2 345 678"], "regression"),
        (["$1,234.50", "$ 3", "($7)"], "regression"),
        (["12.5 %", "3 %"], "regression"),
        (["1.5", "NA", "2.5"], "regression"),
        (["1e-05", "-3.25"], "regression"),
        ([*(f"{number}.5" for number in range(9)), "unknown"], "regression"),
        (["0", "1", "NA"], "classification"),
        (["0.0", "1.0"], "classification"),
        (["01067", "04103"], "classification"),
        (["1,23,4", "2,3,4"], "classification"),
        (["yes", "no", "3"], "classification"),
    ],
)
def test_the_values_say_what_a_target_is(tmp_path: Path, values: list[str], task: str) -> None:
    """As mlproject/tabular reads them, amounts with signs between thousands included."""
    rows = "\n".join(f'{number};"{value}"' for number, value in enumerate(values))
    (tmp_path / "many.csv").write_text(f"id;y\n{rows}\n")
    assert main(["init", "dag", "many", "--data=many.csv", "--target=y"]) == 0
    spec = runpy.run_path(str(tmp_path / "dags" / "many.py"))["dag"].get_task("pin").pipeline
    assert spec.parameters["task"] == task


def test_a_number_that_may_be_two_is_asked_about(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Here, and not in the first night; the answer is the project's parameter."""
    (tmp_path / "many.csv").write_text('id,y\n1,"220,276"\n2,"73,112"\n')
    words = ["init", "dag", "many", "--data=many.csv", "--target=y"]
    assert main(words) == 1
    assert "such as '220,276' may be read in two ways" in capsys.readouterr().err
    assert main([*words, "--decimal=."]) == 0
    spec = runpy.run_path(str(tmp_path / "dags" / "many.py"))["dag"].get_task("pin").pipeline
    assert (spec.parameters["decimal"], spec.parameters["task"]) == (".", "regression")


GERMAN = """Wohnungen, Stand Herbst
Wohnungs-ID;verkauft am;Fläche;Straße;Preis
007;03.11.2026;71,5;Münchner Str.;1.250,50
008;28.10.2026;;;980,00
009;01.02.2026;64,0;Gässchen;NA
"""


def test_a_file_of_another_country_is_read_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Separator and form of its times are written down; its encoding is asked for, nothing else."""
    (tmp_path / "wohnungen.csv").write_text(GERMAN, encoding="cp1252", newline="\r\n")
    words = ["init", "dag", "p", "--data=wohnungen.csv", "--target=Preis", "--time=verkauft am"]
    assert main(words) == 1
    said = capsys.readouterr().err
    assert "auft am;Fläche;Straß' in cp1252" in said
    assert said.count("Allowed:") == said.count("Next: add --encoding cp1252") == 1
    assert main([*words, "--encoding=cp1252"]) == 0
    assert "add --id Wohnungs-ID" in capsys.readouterr().err
    assert written(tmp_path / "dags" / "p.py") == {
        "dataset": "csv",
        "source": str(tmp_path / "wohnungen.csv"),
        "target": "Preis",
        "separator": ";",
        "encoding": "cp1252",
        "time_column": "verkauft am",
        "time_format": "%d.%m.%Y",
        "task": "regression",
    }


def written(path: Path) -> dict[str, str]:
    """Return the parameters of a pipeline file."""
    found: dict[str, str] = runpy.run_path(str(path))["dag"].get_task("pin").pipeline.parameters
    return found


TIMED = "order_id,when,born,amount\n1,{0},1980,1.5\n2,{1},1981,2.5\n3,,1982,3.5\n"


@pytest.mark.parametrize(
    ("first", "second", "form"),
    [
        ("2026-01-31", "2026-02-01T06:00:00+01:00", ""),
        ("31/01/2026", "01/02/2026", "%d/%m/%Y"),
        ("01/31/2026 6:30", "02/01/2026 18:45", "%m/%d/%Y %H:%M"),
        ("31.1.2026 06:30:01", "1.2.2026 06:30:02", "%d.%m.%Y %H:%M:%S"),
    ],
)
def test_a_time_and_an_id_that_look_like_one_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], first: str, second: str, form: str
) -> None:
    """With the option to paste; nothing is taken for one by its looks."""
    (tmp_path / "t.csv").write_text(TIMED.format(first, second))
    words = ["init", "dag", "p", "--data=t.csv", "--target=amount"]
    assert main(words) == 0
    said = capsys.readouterr().err
    assert "add --time when" in said
    assert "add --id order_id" in said
    assert not {"time_column", "identity"} & written(tmp_path / "dags" / "p.py").keys()
    words[2] = "q"
    assert main([*words, "--time=when", "--id=order_id"]) == 0
    assert capsys.readouterr().err.splitlines() == [
        "3 rows: a night is HELD that has less than 50 to train on, 20 to judge by"
    ]
    parameters = written(tmp_path / "dags" / "q.py")
    assert (parameters["time_column"], parameters.get("time_format", "")) == ("when", form)


@pytest.mark.parametrize("when", ["20260131", "2026", "2,5", "soon"])
def test_what_may_be_a_number_is_no_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], when: str
) -> None:
    """Nor is a column of words."""
    (tmp_path / "t.csv").write_text(TIMED.replace(",", ";").format(when, when))
    assert main(["init", "dag", "p", "--data=t.csv", "--target=amount"]) == 0
    assert "--time" not in capsys.readouterr().err


def test_times_that_may_be_two_are_asked_about(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second of January is the first of February elsewhere."""
    (tmp_path / "t.csv").write_text(TIMED.format("02/01/2026", "03/04/2026"))
    words = ["init", "dag", "p", "--data=t.csv", "--target=amount", "--time=when", "--id=order_id"]
    assert main(words) == 1
    said = capsys.readouterr().err
    assert "Times of 'when', such as '02/01/2026', may be read in two ways" in said
    assert "--time-format %d/%m/%Y or --time-format %m/%d/%Y" in said
    assert main([*words, "--time-format=%d/%m/%Y"]) == 0
    assert written(tmp_path / "dags" / "p.py")["time_format"] == "%d/%m/%Y"


def test_a_person_at_the_terminal_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """For data, target, time and id; Enter is none."""
    (tmp_path / "t.csv").write_text(TIMED.format("2026-01-31", "2026-02-01"))
    answers = io.StringIO("t.csv\namount\nwhen\n\n")
    answers.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stdin", answers)
    assert main(["init", "dag", "p"]) == 0
    questions = capsys.readouterr().err.splitlines()
    assert [one.partition("?")[0] for one in questions if "?" in one] == [
        "Which file (CSV or Parquet) has the data",
        *("Which column is predicted", "When did a row happen", "What tells rows apart"),
    ]
    parameters = written(tmp_path / "dags" / "p.py")
    assert parameters["time_column"] == "when"
    assert "identity" not in parameters


@pytest.mark.parametrize("more", [[], ["--task=regression"]])
@pytest.mark.parametrize(
    "text", ["", "\ufeff", "\n\n", "id,y\n", "id,y", "\ufeffid,y\r\n", "id,y\n\n"]
)
def test_a_file_without_rows_has_no_task(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, more: list[str]
) -> None:
    """Nothing is known of its target: it was called classification."""
    (tmp_path / "none.csv").write_text(text, newline="")
    assert main(["init", "dag", "none", "--data=none.csv", "--target=y", *more]) == 1
    said = capsys.readouterr().err
    assert f"none.csv has no row ({len(text.encode())} bytes)" in said
    assert said.count("Allowed:") == said.count("Next:") == 1
    assert not (tmp_path / "dags").exists()


def test_parquet_without_rows_has_no_task(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The schema alone does not say what is predicted."""
    pd.DataFrame({"id": [1], "y": [2.5]}).iloc[:0].to_parquet(tmp_path / "none.parquet")
    assert main(["init", "dag", "none", "--data=none.parquet", "--target=y"]) == 1
    assert "none.parquet has no row" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["", "NA", " null "])
def test_a_target_without_values_has_no_task(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], value: str
) -> None:
    """Whoever knows what will stand there may say so."""
    (tmp_path / "none.csv").write_text(f"id,y\n1,{value}\n2,{value}\n")
    words = ["init", "dag", "none", "--data=none.csv", "--target=y"]
    assert main(words) == 1
    assert "Column 'y' has no value" in capsys.readouterr().err
    assert main([*words, "--task=regression"]) == 0


def test_a_column_may_have_any_name(tmp_path: Path) -> None:
    """Umlauts, a quote, a sign beyond 16 bits: the file has them as people write them."""
    target = "Prei\u00df 'neu' \U0001f600"
    (tmp_path / "odd.csv").write_text(f"id,{target}\n1,2.5\n2,3.5\n", encoding="utf-8")
    assert main(["init", "dag", "odd", "--data=odd.csv", f"--target={target}"]) == 0
    written = tmp_path / "dags" / "odd.py"
    assert target in written.read_text(encoding="utf-8")
    spec = runpy.run_path(str(written))["dag"].get_task("pin").pipeline
    assert spec.parameters["target"] == target


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["dag", "p", "--data=rows.csv", "--target=prize"], "did you mean 'price'"),
        (["dag", "p", "--data=none.csv", "--target=price"], "There is no file"),
        (["dag", "p", "--data=rows.csv"], "--target is not given"),
        (["dag", "p", "--data=https://x.org/a.csv", "--target=y"], "--task is not given"),
        (["dag", "p", "--data=https://x.org/a.csv"], "--target is not given"),
        (["dag", "p", "--data=rows.csv", "--target=price", "--time=hour"], "did you mean 'hours'"),
        (["dag", "a b", "--data=rows.csv", "--target=price"], "name is 'a b'"),
        (["project", "."], "is there already"),
    ],
)
def test_what_cannot_be_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    """And nothing is written."""
    assert main(["init", *words]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "dags").exists()


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """A pipeline file that a person has edited stays."""
    words = ["init", "dag", "prices", "--data=rows.csv", "--target=price"]
    assert main(words) == 0
    (tmp_path / "dags" / "prices.py").write_text("# mine\n")
    assert main(words) == 1
    assert (tmp_path / "dags" / "prices.py").read_text() == "# mine\n"


def test_a_project_has_its_files_and_its_name(tmp_path: Path) -> None:
    """In the form that the next command takes."""
    assert main(["init", "project", "my-model"]) == 0
    folder = tmp_path / "my-model"
    assert {path.name for path in folder.iterdir()} == SKELETON
    assert (folder / "MLproject").read_text().startswith("name: my-model\n")
    assert not [path for path in folder.iterdir() if "PROJECT" in path.read_text()]
    assert main(["init", "dag", "mine", "--project", str(folder)]) == 0
    assert f'Project("{folder}")' in (tmp_path / "dags" / "mine.py").read_text()


@pytest.mark.long("runs the new project's own test: four steps, a model and its environment")
def test_what_is_to_be_pasted_survives_a_blank(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the path of the new project."""
    assert main(["init", "project", "a model/mine"]) == 0
    *_, git, init = map(shlex.split, capsys.readouterr().out.splitlines())
    folder = str(tmp_path / "a model" / "mine")
    assert git[:4] == ["git", "-C", folder, "init"]
    assert init[-2:] == ["--project", f"file://{folder}"]


def _cut() -> bytes:
    whole = gzip.compress("".join(f"{n},{n * 7919 % 1000}\n" for n in range(5000)).encode())
    return whole[: len(whole) // 2]


@pytest.mark.parametrize(
    ("content", "more", "words"),
    [
        (_cut(), [], "ended before"),
        (b"a,b\n1,2\n" * 100, ["--encoding=utf-16"], "BOM"),
    ],
)
def test_a_file_that_cannot_be_read_is_said_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, more: list[str], words: str
) -> None:
    """In three parts, not as Python's own error."""
    (tmp_path / "t.csv").write_bytes(content)
    assert main(["init", "dag", "x", f"--data={tmp_path / 't.csv'}", "--target=b", *more]) != 0
    said = capsys.readouterr().err
    assert words in said
    assert "Next: look at where the file comes from" in said


def test_a_long_text_in_a_cell_is_no_fault(tmp_path: Path) -> None:
    """Longer than Python's reader takes by itself."""
    rows = "".join(f"{'x' * 200_000 if n == 7 else n},{n / 3}\n" for n in range(200))
    (tmp_path / "t.csv").write_text("a,b\n" + rows)
    words = ["init", "dag", "x", f"--data={tmp_path / 't.csv'}", "--target=b"]
    assert main([*words, f"--dags={tmp_path}"]) == 0
