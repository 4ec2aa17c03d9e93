"""The entry points for real, through MLflow Projects and a real store, to the contract's letter.

The contract test names every artifact, tag and metric that the orchestration reads. The failing
steps run in this process, so that each costs no imports.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import re
from collections.abc import Callable, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from tests.fixtures import ugly_table

from shared.tracking import main
from tabular import download, explore, metrics, preprocess, train, validate
from tabular import main as main_step
from tabular.facts import Facts

if TYPE_CHECKING:
    from tests.fixtures.file_server import FileServer
    from tests.fixtures.project_store import ProjectStore

pytestmark = [
    pytest.mark.integration,
    # Warnings of MLflow and its dependencies about themselves.
    pytest.mark.filterwarnings("default"),
]

COMMON_TAGS = {"data.sha256"}


def modelled(store: ProjectStore, raw: Path, **values: Any) -> tuple[Path, str]:
    """Preprocess and train; return the data folder and the model's URI."""
    data = store.path(store.good(preprocess.STEP, raw=raw), "data")
    return data, f"runs:/{store.good(train.STEP, data=data, **values)}/model"


@pytest.fixture(scope="module")
def night(store: ProjectStore) -> dict[str, str]:
    """Return the run ids of one night of diabetes through MLflow Projects."""
    runs = {"download": store.project("download", dataset="diabetes", as_of="2026-01-03")}
    raw = f"runs:/{runs['download']}/raw"
    runs["preprocess"] = store.project("preprocess", raw=raw)
    data = f"runs:/{runs['preprocess']}/data"
    runs["train"] = store.project("train", data=data, model="random_forest", n_estimators=30)
    model = f"runs:/{runs['train']}/model"
    runs["validate"] = store.project("validate", data=data, model_uri=model)
    return runs


def test_download_keeps_the_contract(store: ProjectStore, night: Mapping[str, str]) -> None:
    """Artifacts and tags of `download`, exactly."""
    run_id = night["download"]
    assert store.files(run_id, "raw") == {"data.parquet", "dataset.json", "malformed.json"}
    tags = store.tags(run_id)
    names = {"data.rows", "data.newest", "data.source", "data.as_of", *COMMON_TAGS}
    assert set(tags) == names
    assert tags["data.as_of"] == "2026-01-03"
    assert tags["data.newest"] == "2026-01-03"
    assert tags["data.source"] == "scikit-learn load_diabetes"
    frame = pd.read_parquet(store.path(run_id, "raw") / "data.parquet")
    assert tags["data.rows"] == str(len(frame)) == "229"


def test_preprocess_keeps_the_contract(store: ProjectStore, night: Mapping[str, str]) -> None:
    """Artifacts and tags of `preprocess`; the parts are disjoint and complete."""
    run_id = night["preprocess"]
    assert store.files(run_id, "data") == {
        *("train.parquet", "holdout.parquet", "statistics.json"),
        *("schema_report.json", "schema_report.html", "dataset.json"),
    }
    tags = store.tags(run_id)
    assert set(tags) == {
        *("data.train.rows", "data.holdout.rows", "data.holdout.sha256", "data.rejected.rows"),
        *COMMON_TAGS,
    }
    folder = store.path(run_id, "data")
    train_rows = pd.read_parquet(folder / "train.parquet")
    holdout = pd.read_parquet(folder / "holdout.parquet")
    assert len(train_rows) + len(holdout) == 229
    assert not set(train_rows["row_id"]) & set(holdout["row_id"])
    statistics = json.loads((folder / "statistics.json").read_text())
    assert statistics["bmi"]["mean"] == pytest.approx(train_rows["bmi"].mean())


def test_train_keeps_the_contract(store: ProjectStore, night: Mapping[str, str]) -> None:
    """Params, metrics, input and a model that answers raw rows, also with a missing value."""
    run = store.client.get_run(night["train"])
    assert set(run.data.metrics) == {f"train_{name}" for name in metrics.REGRESSION}
    assert set(store.tags(night["train"])) == COMMON_TAGS
    assert run.data.params["model"] == "random_forest"
    assert run.data.params["n_estimators"] == "30"
    assert [entry.dataset.name for entry in run.inputs.dataset_inputs] == ["diabetes"]
    model = mlflow.pyfunc.load_model(f"runs:/{night['train']}/model")
    assert model.metadata.signature is not None
    assert model.metadata.saved_input_example_info
    raw = pd.read_parquet(store.path(night["download"], "raw") / "data.parquet")
    assert len(model.predict(raw.assign(bmi=np.nan))) == len(raw)


def test_validate_keeps_the_contract(store: ProjectStore, night: Mapping[str, str]) -> None:
    """Metrics under plain names, and predictions from which they can be computed again."""
    run = store.client.get_run(night["validate"])
    costs = {"model_bytes", "latency_p50_ms", "latency_p95_ms"}
    assert set(run.data.metrics) == {*metrics.REGRESSION, *costs}
    assert store.tags(night["validate"]) == {
        "data.sha256": store.tags(night["download"])["data.sha256"],
        "data.holdout.sha256": store.tags(night["preprocess"])["data.holdout.sha256"],
    }
    assert store.files(night["validate"], "") == {"predictions.parquet"}
    rows = pd.read_parquet(store.path(night["validate"], "predictions.parquet"))
    assert list(rows.columns) == ["row_id", "target", "prediction"]
    again = metrics.regression(rows["target"], rows["prediction"])
    assert again == pytest.approx({name: run.data.metrics[name] for name in again})


def test_the_same_night_again_is_the_same(store: ProjectStore, night: Mapping[str, str]) -> None:
    """Sunday's data is Saturday's, and the same rows and seed give the same model."""
    sunday = store.good(download.STEP, dataset="diabetes", as_of="2026-01-04")
    digest = store.tags(night["download"])["data.sha256"]
    assert store.tags(sunday)["data.sha256"] == digest
    data, model = modelled(store, store.path(sunday, "raw"), n_estimators=30)
    scored = store.client.get_run(store.good(validate.STEP, data=data, model_uri=model))
    first = store.client.get_run(night["validate"])
    assert scored.data.metrics["rmse"] == first.data.metrics["rmse"]


def test_classification_and_a_champion_without_probabilities(store: ProjectStore) -> None:
    """Probabilities per class; a foreign model that only gives labels is scored by labels."""
    raw = store.path(store.good(download.STEP, dataset="digits", as_of="2026-01-02"), "raw")
    data, model = modelled(store, raw, model="logistic_regression", max_iter=200)
    run_id = store.good(validate.STEP, data=data, model_uri=model, slices="pixel_0_0")
    assert set(metrics.CLASSIFICATION) < set(store.client.get_run(run_id).data.metrics)
    rows = pd.read_parquet(store.path(run_id, "predictions.parquet"))
    classes = [f"probability_{digit}" for digit in range(10)]
    assert list(rows.columns) == ["row_id", "target", "prediction", *classes, "pixel_0_0"]
    assert rows[classes].sum(axis=1).to_numpy() == pytest.approx(1.0)
    assert set(rows["target"]) <= set("0123456789")
    served = mlflow.pyfunc.load_model(model)
    from mlflow.pyfunc.scoring_server import invocations  # which warns while it is imported

    known = served.metadata
    body = json.dumps({"dataframe_split": served.input_example.to_dict("split")})
    answer = invocations(body, "application/json", served, known.get_input_schema())
    said = json.loads(answer.response)["predictions"][0]
    assert list(said) == ["prediction", *classes] == known.get_output_schema().input_names()
    assert said[f"probability_{said['prediction']}"] == max(said[name] for name in classes)
    assert mlflow.sklearn.load_model(model).classes_.tolist() == list(range(10))

    class Always(mlflow.pyfunc.PythonModel):
        def predict(self, model_input: pd.DataFrame) -> list[int]:
            return [1] * len(model_input)

    with mlflow.start_run(experiment_id=store.experiment_id):
        foreign = mlflow.pyfunc.log_model(name="model", python_model=Always(), pip_requirements=[])
    run_id = store.good(validate.STEP, data=data, model_uri=foreign.model_uri)
    assert "log_loss" not in store.client.get_run(run_id).data.metrics
    assert store.client.get_run(run_id).data.metrics["accuracy"] < 0.3


def test_explore_and_main(store: ProjectStore, night: Mapping[str, str]) -> None:
    """Pictures and statistics; and all steps in one go as nested runs."""
    run_id = store.good(explore.STEP, raw=store.path(night["download"], "raw"))
    pictures = {"target.png", "features.png", "missing.png", "correlation.png"}
    assert store.files(run_id, "explore") == {"statistics.json", "data.html", *pictures}
    run_id = store.good(
        main_step.STEP, dataset="breast_cancer", model="decision_tree", as_of="2026-01-02"
    )
    children = store.client.search_runs(
        [store.experiment_id], f"tags.mlflow.parentRunId = '{run_id}'"
    )
    assert {child.info.run_name for child in children} == {
        "download",
        "preprocess",
        "train",
        "validate",
    }
    assert {child.info.status for child in children} == {"FINISHED"}
    together = store.client.get_run(run_id).data
    assert set(metrics.CLASSIFICATION) <= set(together.metrics)
    assert (together.params["model"], together.params["missing"]) == ("decision_tree", "median")


def test_a_model_that_predicts_numbers_says_the_task(
    store: ProjectStore, csv_file: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Marks from 3 to 8, as old courses have them: `main` knows the model, `download` the cure."""
    text = "acid;sugar;quality\n"
    text += "".join(f"{n / 7:.3f};{n % 11};{3 + n % 6}\n" for n in range(200))
    given = {"dataset": "csv", "source": csv_file(text), "separator": ";", "target": "quality"}
    run_id = store.good(main_step.STEP, **given, model="elastic_net", alpha=0.1)
    assert {"rmse", "r2"} <= set(store.metrics(run_id))
    capsys.readouterr()
    raw = store.path(store.good(download.STEP, **given), "raw")
    said = capsys.readouterr().out
    assert "taken for 6 classes, as it holds so many whole numbers (-P task=regression" in said
    data = store.path(store.good(preprocess.STEP, raw=raw), "data")
    status, message = store.bad(train.STEP, data=data, model="elastic_net")
    assert (status, "-P task=regression to download" in message) == (65, True)


def test_main_takes_what_the_steps_take(
    store: ProjectStore, csv_file: Callable[[str], Path]
) -> None:
    """A share of bad rows, and which ones are held out: no four runs by hand for that."""
    text = "day,x,y\n" + "".join(
        f"2026-{1 + n // 28:02}-{1 + n % 28:02},{'?' if n % 12 == 0 else n},{n * 1.5}\n"
        for n in range(120)
    )
    given = {"dataset": "csv", "source": csv_file(text), "target": "y", "time_column": "day"}
    given |= {"model": "linear_regression", "holdout": "newest", "holdout_days": 20}
    status, run_id = store.step(main_step.STEP, **given)
    assert (status, "(parameter max_rejected)" in store.tags(run_id)["error"]) == (65, True)
    run_id = store.good(main_step.STEP, **given, max_rejected=0.2)
    (prepared,) = store.client.search_runs(
        [store.experiment_id],
        f"tags.mlflow.parentRunId = '{run_id}' AND attributes.run_name = 'preprocess'",
    )
    assert prepared.data.params["holdout_days"] == "20.0"
    assert prepared.data.tags["data.rejected.rows"] == "10"
    assert prepared.data.tags["data.holdout.rows"] == "17"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"alpha": 0.5, "l1_ratio": 0.4}, "does not use alpha, l1_ratio"),
        ({"model": "ElasticNet"}, "no model 'ElasticNet' (did you mean 'elastic_net'?)"),
    ],
)
def test_main_refuses_before_it_downloads(
    store: ProjectStore, given: Mapping[str, Any], words: str
) -> None:
    """What training would refuse whatever the data are: there is no run of any step."""
    code, run_id = store.step(main_step.STEP, **given)
    assert (code, words in store.tags(run_id)["error"]) == (65, True)
    wanted = f"tags.mlflow.parentRunId = '{run_id}'"
    assert not store.client.search_runs([store.experiment_id], wanted)


def test_steps_take_what_others_logged_by_its_run(
    store: ProjectStore, night: Mapping[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also without `mlflow run`, which brings it otherwise; nothing of it stays behind."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    data = f"runs:/{night['preprocess']}/data"
    run_id = store.good(train.STEP, data=data, model="decision_tree", max_depth=2)
    assert store.metrics(run_id)["train_rmse"] > 0
    assert not list(tmp_path.rglob("*.parquet"))
    status, message = store.bad(train.STEP, data=f"runs:/{'0' * 32}/data")
    assert status == 65
    assert "Allowed: a path, or runs:/<run id>/<folder>" in message


def test_a_refit_learns_from_the_holdout_too_and_says_so(
    store: ProjectStore, night: Mapping[str, str]
) -> None:
    """By the same recipe; its tag is the number of rows that validate scores."""
    data = store.path(night["preprocess"], "data")
    rows = {name: pd.read_parquet(data / f"{name}.parquet") for name in ("train", "holdout")}
    run_id = store.good(
        train.STEP, data=data, model="decision_tree", min_samples_leaf=1, refit="yes"
    )
    assert store.tags(run_id)["data.holdout.trained"] == str(len(rows["holdout"]))
    # A tree without limits knows by heart what it has seen.
    model = mlflow.pyfunc.load_model(f"runs:/{run_id}/model")
    for part in rows.values():
        assert model.predict(part) == pytest.approx(part["target"].to_numpy())
    assert store.bad(train.STEP, data=data, refit="maybe")[0] == 65


def test_folds_follow_the_split_that_was_made(
    store: ProjectStore, csv_file: Callable[[str], Path]
) -> None:
    """A window that only `preprocess` was asked for is known to the steps after it."""
    text = "when,x,price\n"
    text += "".join(
        f"2026-01-{1 + n // 24:02}T{n % 24:02}:00:00Z,{n % 7},{n}\n" for n in range(240)
    )
    given = {"target": "price", "identity": "", "time_column": "when"}
    raw = rows_of(store, csv_file, text, **given)
    for asked, time in (({"holdout": "newest", "holdout_days": 2}, "when"), ({}, "")):
        data = store.path(store.good(preprocess.STEP, raw=raw, **asked), "data")
        assert Facts.read(data).split_by == time


def test_boosting_is_tracked_as_the_courses_show_it(
    store: ProjectStore, night: Mapping[str, str]
) -> None:
    """Tags, curves, metrics of rows that were not fitted, autologging; all of it on one model."""
    run_id = store.good(
        train.STEP,
        data=store.path(night["preprocess"], "data"),
        model="xgboost",
        validation_fraction=0.25,
        n_estimators=20,
        tags="author=Ada,release=spring",
        autolog="yes",
    )
    run = store.client.get_run(run_id)
    assert {"author": "Ada", "release": "spring"}.items() <= store.tags(run_id).items()
    named = {f"{part}_{name}" for part in ("train", "validation") for name in metrics.REGRESSION}
    assert named <= set(run.data.metrics)
    curve = store.client.get_metric_history(run_id, "rounds/validation_rmse")
    assert [point.step for point in curve] == list(range(1, 21))
    assert curve[-1].value == pytest.approx(run.data.metrics["validation_rmse"], rel=1e-3)
    contexts = {tag.value for entry in run.inputs.dataset_inputs for tag in entry.tags}
    assert contexts == {"training", "validation"}
    data, uri = store.path(night["preprocess"], "data"), f"runs:/{run_id}/model"
    scored = store.client.get_run(store.good(validate.STEP, data=data, model_uri=uri))
    assert (scored.data.params["model"], scored.data.params["n_estimators"]) == ("xgboost", "20")
    (logged,) = [
        model
        for model in store.client.search_logged_models([store.experiment_id])
        if model.source_run_id == run_id
    ]
    assert {"train_rmse", "validation_rmse", "rmse"} <= {one.key for one in logged.metrics}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"learning_rate": 0}, "'learning_rate' is '0'"),
        ({"learning_rate": -0.1}, "'learning_rate' is '-0.1'"),
        ({"learning_rate": "nan"}, "'learning_rate' is 'nan'"),
        ({"learning_rate": 10, "n_estimators": 500}, "the training diverged"),
        ({"model": "hist_gradient_boosting", "learning_rate": 10, "n_estimators": 500}, "diverged"),
        ({"model": "random_forest", "criterion": "poisson", "tags": "x"}, "tags has 'x'"),
        ({"early_stopping_rounds": 5}, "no rows to stop early by"),
        ({"validation_fraction": 0.01}, "validation_fraction 0.01 of"),
    ],
)
def test_a_training_that_cannot_be_ends_with_its_reason(
    store: ProjectStore, night: Mapping[str, str], given: dict[str, Any], words: str
) -> None:
    """The run is FAILED, and has no metric and no model that a gate could take."""
    data = store.path(night["preprocess"], "data")
    values = {"data": data, "model": "xgboost", **given}
    status, run_id = store.step(train.STEP, **values)
    assert (status, words in store.tags(run_id)["error"]) == (65, True)
    run = store.client.get_run(run_id)
    assert (run.info.status, run.data.metrics) == ("FAILED", {})
    assert not run.outputs.model_outputs


def test_nights_of_bikes_hold_out_what_is_new(
    store: ProjectStore, test_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real data: the holdout is the newest week, and no earlier night trained on it."""
    monkeypatch.setenv("UNDERSTUDY_DATA_MIRROR", str(test_data))
    ends = []
    for day in ("2011-07-01", "2011-07-02"):
        raw = store.path(store.good(download.STEP, dataset="bike_sharing", as_of=day), "raw")
        data = store.path(store.good(preprocess.STEP, raw=raw, training_days=30), "data")
        trained = pd.read_parquet(data / "train.parquet")["time"]
        held = pd.read_parquet(data / "holdout.parquet")["time"]
        assert (held.max() - held.min()).days == 6
        ends.append((trained.max(), held.min()))
    assert ends[0][0] < ends[1][1]
    model = f"runs:/{store.good(train.STEP, data=str(data), model='linear_regression')}/model"
    scored = store.good(validate.STEP, data=str(data), model_uri=model)
    rows = pd.read_parquet(store.path(scored, "predictions.parquet"))
    assert rows["time"].tolist() == held.tolist()


CSV = "id,size,price\n" + "".join(f"{n},{n % 7},{3 * n}\n" for n in range(60))


@pytest.mark.parametrize(
    ("text", "given", "words"),
    [
        (CSV, {"target": "prize"}, "missing column 'prize' (did you mean 'price'?)"),
        ("", {}, "is empty"),
        ("<html><body>Log in", {}, "HTML page"),
        (CSV, {"separator": ";"}, "missing column 'price'"),
        (CSV.replace(",", ";"), {}, "Next: pass -P 'separator=;'."),
        (CSV, {"dataset": "cvs"}, "no data set 'cvs' (did you mean 'csv'?)"),
        (CSV, {"as_of": "soon"}, "'as_of' is 'soon'"),
    ],
)
def test_a_bad_file_ends_download(
    store: ProjectStore, file_server: FileServer, text: str, given: dict[str, str], words: str
) -> None:
    """Over HTTP, with a message of three parts in the run, and the run FAILED."""
    url = file_server.serve("/rows.csv", text.encode())
    values = {"dataset": "csv", "source": url, "target": "price", **given}
    code, message = store.bad(download.STEP, **values)
    assert code == 65
    assert words in message
    assert "Allowed: " in message
    assert "Next: " in message


def test_a_server_that_is_away_may_be_tried_again(
    store: ProjectStore, file_server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """404 is for good; 503 is for now, with an exit status of its own."""
    monkeypatch.setattr("shared.fetch.time.sleep", lambda _seconds: None)
    gone = {"dataset": "csv", "target": "price", "source": f"{file_server.url}/none.csv"}
    assert store.bad(download.STEP, **gone)[0] == 65
    url = file_server.serve("/busy.csv", status=503)
    monkeypatch.setattr("shared.fetch.fetch.__kwdefaults__", {"sleep": lambda _s: 0, "tries": 2})
    code, message = store.bad(download.STEP, dataset="csv", target="price", source=url)
    assert (code, "status 503" in message) == (69, True)


def test_a_pinned_file_that_changed(
    store: ProjectStore, file_server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checksum decides, whatever the mirror says."""
    monkeypatch.setenv("UNDERSTUDY_DATA_MIRROR", file_server.url)
    path = "/ml/machine-learning-databases/wine-quality/winequality-red.csv"
    file_server.serve(path, b"quality\n5\n")
    code, message = store.bad(download.STEP, dataset="wine_quality")
    assert (code, "checksum" in message) == (65, True)


def rows_of(store: ProjectStore, csv_file: Callable[[str], Path], text: str, **given: str) -> Path:
    """Download a CSV text; return the raw folder."""
    values = {"dataset": "csv", "target": "price", "identity": "id", **given}
    run_id = store.good(download.STEP, source=csv_file(text), **values)
    return store.path(run_id, "raw")


def test_an_input_example_with_gaps_is_json(
    store: ProjectStore, csv_file: Callable[[str], Path]
) -> None:
    """As a client may copy it: null where a number, a text or a whole number is missing."""
    text = "id,size,colour,rooms,price\n1,,red,,3\n2,1.5,,3,4\n"
    text += "".join(
        f"{n},{n % 7},{'blue' if n % 2 else ''},{n % 3},{3 * n}\n" for n in range(3, 60)
    )
    raw = rows_of(store, csv_file, text)
    _, model = modelled(store, raw, model="random_forest", n_estimators=2)
    files = Path(mlflow.artifacts.download_artifacts(model))
    cells = []
    for name, inside in (("input_example", []), ("serving_input_example", ["dataframe_split"])):
        found = json.loads((files / f"{name}.json").read_text(), parse_constant=pytest.fail)
        cells.append(
            [cell for row in (found[inside[0]] if inside else found)["data"] for cell in row]
        )
    assert cells[0] == cells[1]
    assert None in cells[0]
    loaded = mlflow.pyfunc.load_model(model)
    assert len(loaded.predict(loaded.input_example)) == train.EXAMPLE_ROWS


@pytest.mark.parametrize(
    "target",
    [
        ugly_table.PRICE,
        pytest.param(ugly_table.CONDITION, marks=pytest.mark.long("once more, for classes")),
    ],
)
def test_gaps_go_through_xgboost(store: ProjectStore, tmp_path: Path, target: str) -> None:
    """Missing numbers, texts, dates and truth values: all steps, and each form of a request."""
    from mlflow.pyfunc import scoring_server

    source = tmp_path / "rows.parquet"
    source.write_bytes(ugly_table.parquet(25))
    given = {"dataset": "parquet", "source": source, "target": target, "as_of": "2026-01-26"}
    keys = {"time_column": ugly_table.TIME, "identity": ugly_table.IDENTITY}
    raw = store.path(store.good(download.STEP, **given, **keys), "raw")
    data, model = modelled(store, raw, model="xgboost", n_estimators=5)
    run_id = store.good(validate.STEP, data=data, model_uri=model, slices=ugly_table.ENERGY)
    said = pd.read_parquet(store.path(run_id, "predictions.parquet")).set_index("row_id")
    assert said[ugly_table.ENERGY].isna().any()
    served, rows = mlflow.pyfunc.load_model(model), pd.read_parquet(data / "holdout.parquet")
    columns = served.metadata.get_input_schema().input_names()
    gaps = rows[rows[columns].isna().sum(axis=1) >= 2].head(8)
    offline = said.loc[gaps["row_id"], "prediction"].tolist()
    for body, kind in forms(gaps[columns]):
        answer = scoring_server.invocations(body, kind, served, served.metadata.get_input_schema())
        assert answer.status == 200, answer.response
        given_back = json.loads(answer.response)["predictions"]
        plain = [one["prediction"] if isinstance(one, dict) else one for one in given_back]
        assert plain == [
            one if isinstance(one, str) else pytest.approx(one, rel=1e-6) for one in offline
        ]


def forms(rows: pd.DataFrame) -> list[tuple[str, str]]:
    """Return requests for rows with their content types: JSON in both orientations, and CSV."""
    texts = json.loads(rows.to_json(orient="split", date_format="iso", index=False))
    records = [dict(zip(texts["columns"], row, strict=True)) for row in texts["data"]]
    return [
        (json.dumps({"dataframe_split": texts}), "application/json"),
        (json.dumps({"dataframe_records": records}), "application/json"),
        (rows.to_csv(index=False), "text/csv"),
    ]


def test_dirty_rows_are_reported_or_refused(
    store: ProjectStore, csv_file: Callable[[str], Path]
) -> None:
    """Few of them: rejected and counted. Too many: an error, and the report is there to read."""
    dirty = CSV + "60,oops,1\n61,3\n"
    raw = rows_of(store, csv_file, dirty)
    run_id = store.good(preprocess.STEP, raw=raw)
    assert store.tags(run_id)["data.rejected.rows"] == "2"
    status, failed = store.step(preprocess.STEP, raw=raw, max_rejected=0.01)
    assert status == 65
    assert "2 of 62 rows (3.2%) fail the schema" in store.tags(failed)["error"]
    assert "schema_report.html" in store.files(failed, "data")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("id,size,price\n1,2,3\n2,3,4\n", "training rows"),
        (re.sub(r"(?m)^(\d+),0,\d+$", r"\1,0,", CSV), "'price' is not missing fails in 9 rows"),
    ],
)
def test_bad_rows_end_preprocess(
    store: ProjectStore, csv_file: Callable[[str], Path], text: str, words: str
) -> None:
    """Too few rows, or too many without a target."""
    code, message = store.bad(preprocess.STEP, raw=rows_of(store, csv_file, text))
    assert code == 65
    assert words in message


def test_rules_of_ones_own(store: ProjectStore, csv_file: Callable[[str], Path]) -> None:
    """They travel with the rows, stand beside the report, and end the step where they must."""
    rows = "".join(f"{number},{number % 7 + 0.5}\n" for number in range(60))
    given = {"dataset": "csv", "source": csv_file(f"x,y\n{rows}"), "target": "y"}
    asked = {"columns": {"x": {"checks": {"less_than": 58}}, "y": {"dtype": "float64"}}}
    raw = store.path(store.good(download.STEP, **given, rules=json.dumps(asked)), "raw")
    run = store.good(preprocess.STEP, raw=raw)
    assert store.tags(run)["data.rejected.rows"] == "2"
    assert json.loads((store.path(run, "data") / "rules.yaml").read_text()) == asked
    asked["columns"]["x"] = {"dtype": "float64"}
    raw = store.path(store.good(download.STEP, **given, rules=json.dumps(asked)), "raw")
    code, message = store.bad(preprocess.STEP, raw=raw)
    assert (code, "the table breaks 1 of its rules: x: dtype('float64')" in message) == (65, True)


def test_one_class_only(store: ProjectStore, csv_file: Callable[[str], Path]) -> None:
    """There is nothing to tell apart."""
    text = "id,size,price\n" + "".join(f"{n},{n},yes\n" for n in range(100))
    code, message = store.bad(preprocess.STEP, raw=rows_of(store, csv_file, text))
    assert (code, "one class only, 'yes'" in message) == (65, True)


def test_a_holdout_without_one_of_the_classes(
    store: ProjectStore, csv_file: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """One of the old days only: it is said, the rest is scored, and an area is not defined."""
    days = pd.date_range("2026-01-01", periods=100, freq="D").strftime("%Y-%m-%d")
    lines = [f"{day},{n},{'old' if n % 3 == 0 and n < 60 else 'a=b'}" for n, day in enumerate(days)]
    raw = rows_of(
        store, csv_file, "\n".join(["time,size,price", *lines]), identity="", time_column="time"
    )
    split = store.good(preprocess.STEP, raw=raw, holdout="newest", holdout_days=20)
    data = store.path(split, "data")
    trained = store.good(train.STEP, data=data, model="decision_tree", max_depth=1)
    model = f"runs:/{trained}/model"
    assert "no holdout row is of the class 'old'" in capsys.readouterr().out
    run_id = store.good(validate.STEP, data=data, model_uri=model)
    scored = store.client.get_run(run_id).data.metrics
    assert {"accuracy", "log_loss"} <= scored.keys()
    assert "roc_auc" not in scored
    told = capsys.readouterr().out
    assert "the model predicts one class, 'a=b', for all 20 rows" not in told  # so are the targets
    assert "not defined on these rows, so not logged: roc_auc" in told


def test_an_old_champion_with_other_columns(
    store: ProjectStore, csv_file: Callable[[str], Path]
) -> None:
    """It is scored on tonight's rows if they have its columns; else the missing one is named."""
    wide = re.sub(r"(?m)^(\d+),(\d),", r"\1,\2,\2\2,", CSV).replace("size", "size,extra")
    old_data, old = modelled(store, rows_of(store, csv_file, wide), model="linear_regression")
    data, model = modelled(store, rows_of(store, csv_file, CSV), model="linear_regression")
    store.good(validate.STEP, data=old_data, model_uri=model)
    code, message = store.bad(validate.STEP, data=data, model_uri=old)
    assert (code, "lack columns that the model takes: 'extra'" in message) == (65, True)


@pytest.mark.long("five thousand columns go through four steps")
@pytest.mark.timeout(1800)
def test_a_table_of_5000_columns(store: ProjectStore, csv_file: Callable[[str], Path]) -> None:
    """Numbers with gaps and texts: every one of them is an input of the model, and is scored."""
    draw = np.random.default_rng(3)
    columns: dict[str, Any] = {f"n{i}": draw.normal(size=80).round(2) for i in range(4900)}
    columns |= {f"t{i}": draw.choice(["red", "blue", ""], 80) for i in range(100)}
    columns["n7"][::9] = np.nan
    table = pd.DataFrame({"id": range(80), **columns, "price": columns["n0"] * 3 + 1})
    raw = rows_of(store, csv_file, table.to_csv(index=False))
    data, model = modelled(store, raw, model="decision_tree")
    inputs = mlflow.models.get_model_info(model).signature.inputs
    assert inputs.input_names() == list(columns)
    run_id = store.good(validate.STEP, data=data, model_uri=model)
    predictions = pd.read_parquet(store.path(run_id, "predictions.parquet"))
    assert len(predictions) >= 10
    assert np.isfinite(predictions["prediction"]).all()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"model_uri": "runs:/00000000000000000000000000000000/model"}, "could not be loaded"),
        ({"model_uri": "models:/nobody@champion"}, "could not be loaded"),
        ({"model_uri": ""}, "'model_uri' is missing"),
        ({"model_uri": "x", "slices": "sise"}, "no column 'sise' to slice by"),
        ({"model_uri": "x", "data": "/nowhere"}, "no 'dataset.json' in the input folder"),
    ],
)
def test_what_cannot_be_validated(
    store: ProjectStore, night: Mapping[str, str], given: dict[str, str], words: str
) -> None:
    """Models and folders that are not there."""
    values = {"data": store.path(night["preprocess"], "data"), **given}
    code, message = store.bad(validate.STEP, **values)
    assert code == 65
    assert words in message


@pytest.mark.parametrize("variable", ["MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", ""])
def test_a_tracking_server_that_is_away(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """One attempt, a message of three parts, and the exit status for a retry."""
    if variable:
        monkeypatch.setenv(variable, "1")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri("http://127.0.0.1:9")
    try:
        assert main(download.STEP, []) == 69
    finally:
        mlflow.set_tracking_uri(before)
    last = capfd.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("error: the MLflow server did not answer")
    assert "Next: start it" in last


def test_the_page_about_the_data_takes_any_name(
    store: ProjectStore, csv_file: Callable[[str], Path]
) -> None:
    """It is one file, in which names and values are text: neither tags nor formulas."""
    names = ["<script>alert(1)</script>", "$x_{$", 'a"b onload=x', "Größe\u202e 😀", "{title}", "y"]
    values = ("<img src=//x.org>", "$$", "%s {0}", "&amp;")
    out = io.StringIO()
    rows = ([values[i % 4], i, i % 3, "" if i % 5 else i, values[i % 2], i] for i in range(90))
    csv.writer(out).writerows([names, *rows])
    raw = rows_of(store, csv_file, out.getvalue(), target="y", identity="", task="regression")
    looked = store.path(store.good(explore.STEP, raw=raw), "explore")
    page = Page((looked / "data.html").read_text(encoding="utf-8"))
    assert set(names) | {"72"} <= set(page.cells)
    assert any(f"{values[0]} (23)" in cell for cell in page.cells)
    assert {"script", "iframe", "link"}.isdisjoint(page.tags)
    pictures = sorted(looked.glob("*.png"))
    assert sorted(page.pictures) == sorted(path.read_bytes() for path in pictures)
    assert len(pictures) == 4


class Page(HTMLParser):
    """What a browser finds in a page: names of elements, texts of cells, pictures' bytes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.cells: list[str] = []
        self.pictures: list[bytes] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take a picture's bytes from its address, which may be none of another file."""
        self.tags.append(tag)
        if tag == "td":
            self.cells.append("")
        for name, value in attrs:
            assert name in {"alt", "charset", "class", "lang", "src"}, name
            if name == "src":
                kind, content = str(value).split(",")
                assert kind == "data:image/png;base64"
                self.pictures.append(base64.b64decode(content))

    def handle_data(self, data: str) -> None:
        """Belongs to the cell that began last."""
        if self.tags[-1:] == ["td"]:
            self.cells[-1] += data


def test_columns_with_names_of_ours(
    store: ProjectStore, csv_file: Callable[[str], Path], capfd: pytest.CaptureFixture[str]
) -> None:
    """They are features like others, and none becomes a weight, a time or a probability.

    What each column was taken for is in the log and the run of `download`, and in `explore`.
    """
    names = "row_id,prediction,target,weight,time,probability_a,price\n"
    rows = (f"r{i},{i % 5},{i % 3},{i % 2},{i},{i / 100},{i % 7}\n" for i in range(90))
    raw = rows_of(store, csv_file, names + "".join(rows), identity="row_id", task="regression")
    said = capfd.readouterr().out
    assert "taken for text: row_id of the file" in said
    assert "no feature (the identity of the row): row_id of the file" in said
    taken = json.loads((raw / "dataset.json").read_text())["taken"]
    assert taken["weight"] == "number"
    looked = store.good(explore.STEP, raw=raw)
    page = store.path(looked, "explore") / "data.html"
    assert "<td>row_id of the file</td><td>text</td>" in page.read_text()
    data, model = modelled(store, raw, model="linear_regression")
    scored = store.good(validate.STEP, data=data, model_uri=model)
    predictions = pd.read_parquet(store.path(scored, "predictions.parquet"))
    assert list(predictions.columns) == ["row_id", "target", "prediction"]
    for name in ("weight", "time", "probability_a"):
        code, message = store.bad(validate.STEP, data=data, model_uri=model, slices=name)
        assert (code, f"slices has '{name}'" in message) == (65, True)
