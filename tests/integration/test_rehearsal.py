"""Versions rehearsed for real: MLflow's own server, in the environment that the model records."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from tests.fixtures.machine import CHECKOUT
from tests.fixtures.rehearsal import FIT_MODEL, logged, rows_with_gaps

from understudy.contract import Tag
from understudy.errors import RegistryError, ServingError, StepStoppedError
from understudy.registry.rehearsal import LOG, RECORD, RehearsalCandidate
from understudy.registry.rehearsal_cases import QUESTIONS, RehearsalCases
from understudy.runner.projectfile import ProjectFile, load

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fixtures.rehearsal import RehearsalSetup

pytestmark = pytest.mark.integration


def project(folder: Path) -> ProjectFile:
    """Return a project whose environment can read what it wrote; the model's cannot."""
    (folder / "MLproject").write_text("python_env: python_env.yaml\n")
    libraries = ["mlflow-skinny==3.17.2", "pandas==3.1.1", "pyarrow<26"]
    (folder / "python_env.yaml").write_text(f"dependencies: {json.dumps(libraries)}\n")
    return load(folder, "a project")


def cases(rehearsal_setup: RehearsalSetup, folder: Path, factor: float = 2) -> RehearsalCases:
    """Log a holdout, and predictions for it that are right for one factor only."""
    rows = rehearsal_setup.rows
    said = pd.DataFrame({"row_id": rows["row_id"], "prediction": rows["x"] * factor})
    data = rehearsal_setup.logs("holdout.parquet", rows.assign(target=0.0), folder, "data")
    return RehearsalCases(
        data, "data", rehearsal_setup.logs("predictions.parquet", said[::-1], folder)
    )


def test_a_version_in_its_own_environment(rehearsal_setup: RehearsalSetup, tmp_path: Path) -> None:
    """Built from what the model records, served by MLflow, asked rows, and everything is kept."""
    candidate = replace(
        rehearsal_setup.candidate(cases(rehearsal_setup, tmp_path), manager="uv"),
        project=project(tmp_path),
    )
    show = rehearsal_setup.rehearser(rows=7, latency=timedelta(minutes=1)).rehearse(
        candidate, rehearsal_setup.spec("own"), rehearsal_setup.lines.append
    )
    assert len(show.answers) == 7
    assert len(show.environment) == 32
    record = json.loads(rehearsal_setup.text("own", RECORD))
    assert record["questions"] == 7
    assert record["differences"] == []
    assert 0 < record["p50_ms"] <= record["p95_ms"]
    assert record["startup_s"] > 0
    assert "Application startup complete" in rehearsal_setup.text("own", LOG)
    asked = json.loads(rehearsal_setup.text("own", QUESTIONS))
    assert asked["source"] == "the holdout, and the predictions that the gate judged"
    assert asked["questions"][0]["body"]["dataframe_split"]["columns"] == ["x"]
    assert rehearsal_setup.status("own") == "FINISHED"
    version = rehearsal_setup.client.get_model_version(rehearsal_setup.model, "1")
    rehearsed = version.tags[Tag.REHEARSAL_RUN]
    again = rehearsal_setup.candidate(RehearsalCases(rehearsal=rehearsed))
    rehearsal_setup.rehearser(latency=timedelta(minutes=1)).rehearse(
        again, rehearsal_setup.spec("again"), rehearsal_setup.lines.append
    )
    assert json.loads(rehearsal_setup.text("again", QUESTIONS)) == asked


def test_answers_that_differ_are_refused(rehearsal_setup: RehearsalSetup, tmp_path: Path) -> None:
    """Rows and both values are named; a retry cannot help; the log is kept."""
    candidate = rehearsal_setup.candidate(cases(rehearsal_setup, tmp_path, factor=2.001))
    with pytest.raises(
        ServingError,
        match=r"5 of 5 answers differ .*: row r\d+: served .* asked for the first one: \{",
    ) as error:
        rehearsal_setup.rehearser(rows=5).rehearse(candidate, rehearsal_setup.spec("differ"), print)
    assert not error.value.can_retry
    assert rehearsal_setup.status("differ") == "FAILED"
    assert len(json.loads(rehearsal_setup.text("differ", RECORD))["differences"]) == 5
    assert "Application startup complete" in rehearsal_setup.text("differ", LOG)


def test_without_a_holdout_the_input_example_is_asked(rehearsal_setup: RehearsalSetup) -> None:
    """And compared with what the model says in its environment, without a server."""
    show = rehearsal_setup.rehearser(latency=timedelta(minutes=1)).rehearse(
        rehearsal_setup.candidate(), rehearsal_setup.spec("example"), print
    )
    (answer,) = show.answers
    assert answer.said == {"predictions": [{"x": 3.0}, {"x": 5.0}]}
    assert show.source == "the model's input example"


ASKED = r"gave no prediction for row r\d+: asked \{.*\"columns\": \[\"x\"\].*\}, it answered "
REFUSED = {
    "load": (r"its server ended with exit code \d+: .*the weights are gone", False),
    "predict": (rf"{ASKED}\d+: .*no GPU here", False),
    "SIGSEGV": (rf"{ASKED}no answer: its server ended with signal 11", False),
    "SIGKILL": (rf"{ASKED}no answer: its server ended with signal 9", True),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_what_does_not_serve_is_refused(
    rehearsal_setup: RehearsalSetup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """Named are what was asked, what came back, what to do; what may pass is tried again."""
    (message, can_retry), questions = REFUSED[fault], cases(rehearsal_setup, tmp_path)
    monkeypatch.setenv("MLFLOW_TEST_FAULT", fault)
    with pytest.raises(ServingError, match=f"{message}.* Allowed: .* Next: ") as error:
        rehearsal_setup.rehearser(rows=3).rehearse(
            rehearsal_setup.candidate(questions), rehearsal_setup.spec(fault), print
        )
    assert error.value.can_retry is can_retry
    assert rehearsal_setup.status(fault) == "FAILED"
    assert rehearsal_setup.text(fault, LOG)


def test_rows_that_cannot_be_read_are_named(
    rehearsal_setup: RehearsalSetup, tmp_path: Path
) -> None:
    """By the script's own words; nothing is tried again."""
    run_id = rehearsal_setup.run()
    for name, folder in (("holdout.parquet", "data"), ("predictions.parquet", None)):
        (tmp_path / name).write_text("no Parquet")
        rehearsal_setup.client.log_artifact(run_id, str(tmp_path / name), folder)
    candidate = rehearsal_setup.candidate(RehearsalCases(run_id, "data", run_id))
    message = r"3 questions .* from the holdout, .* exit code 1: .*Parquet.* Allowed: .* Next: "
    with pytest.raises(ServingError, match=message) as error:
        rehearsal_setup.rehearser(rows=3).rehearse(candidate, rehearsal_setup.spec("odd"), print)
    assert not error.value.can_retry


@pytest.fixture(scope="module")
def foreign(rehearsal_setup: RehearsalSetup) -> RehearsalCandidate:
    """Return a version with types of its own in its signature, and without an example."""
    columns = ("whole:long", "truth:boolean", "text:string", "moment:datetime")
    code = CHECKOUT / "tests" / "models" / "counting_gaps.py"
    client, name = rehearsal_setup.client, f"{rehearsal_setup.model} foreign"
    client.create_registered_model(name)
    model_id = logged(client.tracking_uri, rehearsal_setup.experiment, code, *columns)
    client.create_model_version(name, f"models:/{model_id}", model_id=model_id)
    return replace(rehearsal_setup.candidate(), model=name)


def gaps(rehearsal_setup: RehearsalSetup, folder: Path, *names: str) -> RehearsalCases:
    """Log ten rows, of which the last misses some cells, and how many it misses."""
    rows = pd.DataFrame({"row_id": range(10), "whole": 5.0, "truth": True, "text": "u"})
    rows = rows.assign(moment=pd.Timestamp("2026-01-02T06:00"), target=0.0)
    for name in names:
        rows[name] = rows[name].mask(rows.index == 9)
    missing = rows[["whole", "truth", "text", "moment"]].isna().sum(axis="columns")
    said = rows[["row_id"]].assign(prediction=missing.astype(float))
    data = rehearsal_setup.logs("holdout.parquet", rows, folder, "data")
    return RehearsalCases(data, "data", rehearsal_setup.logs("predictions.parquet", said, folder))


UNASKABLE = (
    r"no prediction for row 9: asked .*\[null, .*it answered 400: .*whole.* Allowed: .* Next: let"
    r" the signature have 'whole' \(long\) in a type that can be missing, such as double, and train"
)
OTHERWISE = (
    r"1 of 4 answers differ .*row 9: served 2\.0, offline 3\.0; .* Next: let the signature have"
    r" 'truth' \(boolean\) in a type .* as it takes NaN, as the missing 'text' is None when served"
)


@pytest.mark.parametrize(
    ("names", "message"),
    [(("whole",), UNASKABLE), (("truth", "text", "moment"), OTHERWISE)],
)
def test_missing_cells_of_a_foreign_model(
    rehearsal_setup: RehearsalSetup,
    foreign: RehearsalCandidate,
    tmp_path: Path,
    names: tuple[str, ...],
    message: str,
) -> None:
    """The one row of ten that has some is asked; what MLflow's server cannot take is said."""
    candidate = replace(foreign, cases=gaps(rehearsal_setup, tmp_path, *names))
    rehearser = rehearsal_setup.rehearser(rows=4, latency=timedelta(minutes=1))
    with pytest.raises(ServingError, match=message) as error:
        rehearser.rehearse(candidate, rehearsal_setup.spec(names[0]), print)
    assert not error.value.can_retry


@pytest.fixture
def unsigned(
    rehearsal_setup: RehearsalSetup, tmp_path: Path, request: pytest.FixtureRequest
) -> RehearsalCandidate:
    """Return a version of a library without a signature, and 40 rows that miss some cells."""
    client, name = rehearsal_setup.client, f"{rehearsal_setup.model} {request.param}"
    data = rehearsal_setup.logs("holdout.parquet", rows_with_gaps(), tmp_path, "data")
    file = tmp_path / "holdout.parquet"
    model_id = logged(
        client.tracking_uri, rehearsal_setup.experiment, file, request.param, of=FIT_MODEL
    )
    said = pd.read_parquet(tmp_path / "predictions.parquet")
    cases = RehearsalCases(
        data, "data", rehearsal_setup.logs("predictions.parquet", said, tmp_path)
    )
    client.create_registered_model(name)
    client.create_model_version(name, f"models:/{model_id}", model_id=model_id)
    return replace(rehearsal_setup.candidate(cases), model=name)


@pytest.mark.long("fits and serves models of two libraries")
@pytest.mark.parametrize("unsigned", ["sklearn"], indirect=True)
def test_missing_cells_of_a_model_without_a_signature(
    rehearsal_setup: RehearsalSetup, unsigned: RehearsalCandidate
) -> None:
    """Asked the columns that it was fitted on, with null, and nothing else of the holdout."""
    rehearser = rehearsal_setup.rehearser(rows=10, latency=timedelta(minutes=1))
    show = rehearser.rehearse(unsigned, rehearsal_setup.spec("unsigned"), print)
    bodies = [answer.question.body["dataframe_split"] for answer in show.answers]
    assert [body["columns"] for body in bodies] == [["size", "whole", "truth"]] * 10
    gaps = {place for body in bodies for place in range(3) if body["data"][0][place] is None}
    assert gaps == {0, 1, 2}


@pytest.mark.long("fits and serves models of two libraries")
@pytest.mark.parametrize("unsigned", ["xgboost"], indirect=True)
def test_what_takes_no_null_without_a_signature_is_told_to_have_one(
    rehearsal_setup: RehearsalSetup, unsigned: RehearsalCandidate
) -> None:
    """XGBoost refuses the None that null then is; another try cannot help."""
    message = (
        r"asked \{.*null.*it answered \d+: .*DataFrame\.dtypes .* Allowed: .* Next: log the model"
        r" with a signature, as the missing .* is None without one, and train again"
    )
    with pytest.raises(ServingError, match=message) as error:
        rehearsal_setup.rehearser().rehearse(unsigned, rehearsal_setup.spec("None"), print)
    assert not error.value.can_retry


def test_nothing_asked_is_not_a_rehearsal(
    rehearsal_setup: RehearsalSetup, foreign: RehearsalCandidate
) -> None:
    """It has started, and no more is said."""
    show = rehearsal_setup.rehearser().rehearse(foreign, rehearsal_setup.spec("nothing"), print)
    ready, nothing = show.summary_lines()
    assert ready.startswith("Not rehearsed, only started, ")
    assert nothing.startswith(
        "Rehearsal: it only started, no row was asked or compared: no holdout"
    )
    assert nothing.endswith(" | the model was logged without an input_example")
    record = json.loads(rehearsal_setup.text("nothing", RECORD))
    assert (record["questions"], record["p50_ms"], record["p95_ms"]) == (0, None, None)
    assert record["unasked"] in nothing


def test_one_that_is_too_slow_to_start_may_be_tried_again(
    rehearsal_setup: RehearsalSetup, tmp_path: Path
) -> None:
    """Its server is ended."""
    rehearser = rehearsal_setup.rehearser(startup=timedelta(milliseconds=1))
    with pytest.raises(ServingError, match=r"did not answer within 0\.001 s") as error:
        rehearser.rehearse(
            rehearsal_setup.candidate(cases(rehearsal_setup, tmp_path)),
            rehearsal_setup.spec("slow"),
            print,
        )
    assert error.value.can_retry
    assert rehearsal_setup.servers() == []


def test_a_stopped_rehearsal_leaves_no_process(
    rehearsal_setup: RehearsalSetup, tmp_path: Path
) -> None:
    """As when a task is marked failed: the server is gone, and the run says so."""
    rehearser = rehearsal_setup.rehearser()
    candidate = rehearsal_setup.candidate(cases(rehearsal_setup, tmp_path))
    caught: list[BaseException] = []

    def act() -> None:
        try:
            rehearser.rehearse(
                candidate, rehearsal_setup.spec("stopped"), rehearsal_setup.lines.append
            )
        except (StepStoppedError, ServingError) as error:
            caught.append(error)

    thread = threading.Thread(target=act)
    rehearsal_setup.lines.clear()
    thread.start()
    while not rehearsal_setup.servers():
        assert thread.is_alive()
    rehearser.stop()
    thread.join(60)
    assert caught
    assert rehearsal_setup.servers() == []
    assert rehearsal_setup.status("stopped") == "FAILED"


def test_a_version_without_files_is_named(rehearsal_setup: RehearsalSetup) -> None:
    """Before anything is built."""
    run_id = rehearsal_setup.run()
    rehearsal_setup.client.create_model_version(
        rehearsal_setup.model, f"runs:/{run_id}/nothing", run_id
    )
    candidate = RehearsalCandidate(rehearsal_setup.model, "2", "local")
    with pytest.raises(RegistryError, match=f"models:/{rehearsal_setup.model}/2 cannot be had"):
        rehearsal_setup.rehearser().rehearse(candidate, rehearsal_setup.spec("files"), print)
