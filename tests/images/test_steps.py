"""The steps without TensorFlow, against a real store: to the contract's letter, and failing."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from images import download, explore, preprocess, search, train, validate
from images.batches import Pixels
from images.datasets import fashion_mnist, find, mnist
from images.declaration import DataSet, File, Idx
from images.facts import Facts
from images.tables import PART, ROW_ID, read
from shared.tracking import main

if TYPE_CHECKING:
    from tests.fixtures.file_server import FileServer
    from tests.fixtures.project_store import ProjectStore

pytestmark = [
    pytest.mark.integration,
    # Warnings of MLflow and its dependencies about themselves.
    pytest.mark.filterwarnings("default"),
]


@pytest.fixture(scope="module")
def raw(store: ProjectStore) -> Path:
    """Return the digits as of Saturday, the third of January."""
    return store.path(store.good(download.STEP, dataset="digits", as_of="2026-01-03"), "raw")


def test_download_keeps_the_contract(store: ProjectStore) -> None:
    """Artifacts and tags, exactly; Sunday brings nothing new, so its digest is Saturday's."""
    runs = [
        store.good(download.STEP, dataset="digits", as_of=day)
        for day in ("2026-01-02", "2026-01-03", "2026-01-04")
    ]
    tags = [store.tags(run) for run in runs]
    assert store.files(runs[1], "raw") == {"images.parquet", "dataset.json", "malformed.json"}
    assert set(tags[1]) == {f"data.{n}" for n in ("sha256", "rows", "newest", "source", "as_of")}
    assert tags[1]["data.newest"] == tags[2]["data.newest"] == "2026-01-03"
    assert tags[0]["data.sha256"] != tags[1]["data.sha256"] == tags[2]["data.sha256"]
    assert 0 < int(tags[0]["data.rows"]) < int(tags[1]["data.rows"]) < 1797


def test_explore_keeps_the_contract(store: ProjectStore, raw: Path) -> None:
    """Pictures, and the statistics that say why images must be normalised."""
    run = store.good(explore.STEP, raw=raw)
    pictures_drawn = {"examples.png", "mean_images.png", "classes.png", "pixels.png"}
    assert store.files(run, "explore") == {"statistics.json", "data.html", *pictures_drawn}
    statistics = json.loads((store.path(run, "explore") / "statistics.json").read_text())
    facts = Facts.read(raw)
    pixels = np.concatenate([s.pixels for s in read(raw / "images.parquet", facts.shape, PART)])
    assert statistics["pixel_mean"] == pytest.approx([pixels.mean()])
    assert statistics["pixel_std"] == pytest.approx([pixels.std()])
    assert sum(statistics["classes"].values()) == len(pixels)


def test_preprocess_keeps_the_contract(store: ProjectStore, raw: Path) -> None:
    """Artifacts, tags, metrics; parts are disjoint and complete; fitted on training images only."""
    run = store.good(preprocess.STEP, raw=raw)
    files = {"train.parquet", "validation.parquet", "holdout.parquet"}
    reports = {"dataset.json", "statistics.json", "schema_report.json", "schema_report.html"}
    assert store.files(run, "data") == files | reports
    rows = {"data.train.rows", "data.validation.rows", "data.holdout.rows", "data.rejected.rows"}
    assert set(store.tags(run)) == rows | {"data.sha256", "data.holdout.sha256"}
    folder = store.path(run, "data")
    facts = Facts.read(folder)
    parts = {name: list(read(folder / name, facts.shape, ROW_ID)) for name in sorted(files)}
    ids = [mark for some in parts.values() for batch in some for mark in batch.marks]
    assert len(ids) == len(set(ids)) == facts.images
    pixels = np.concatenate([batch.pixels for batch in parts["train.parquet"]])
    assert store.metrics(run) == pytest.approx(
        {"pixel_mean": pixels.mean(), "pixel_std": pixels.std()}
    )
    assert facts.mean == pytest.approx((pixels.mean(),))


def test_given_numbers_win_over_fitted_ones(store: ProjectStore, raw: Path) -> None:
    """They are the ones that are logged and that train puts into the model."""
    run = store.good(preprocess.STEP, raw=raw, mean=0, std=16)
    assert store.metrics(run) == {"pixel_mean": 0.0, "pixel_std": 16.0}
    assert Facts.read(store.path(run, "data")).std == (16.0,)


@pytest.fixture(params=[mnist.DATASET, fashion_mnist.DATASET], ids=lambda one: one.name)
def pinned(
    request: pytest.FixtureRequest,
    random_images: Callable[..., Pixels],
    idx: Callable[[Any], bytes],
) -> tuple[DataSet, dict[str, bytes]]:
    """Return a data set with the checksums of files made here, and these files by URL path.

    Each of the two parts has 60 images, drawn from the number of the part.
    """
    files: dict[str, bytes] = {}
    pairs = []
    for seed, pair in enumerate(request.param.source):
        values = {
            pair.images: random_images(60, 28, 28, seed=seed),
            pair.labels: np.arange(60) % 10,
        }
        made = []
        for file, value in values.items():
            content = gzip.compress(idx(value), mtime=0)
            files[file.url.partition("googleapis.com")[2]] = content
            made.append(File(file.url, hashlib.sha256(content).hexdigest()))
        pairs.append(Idx(pair.part, *made))
    return dataclasses.replace(request.param, source=tuple(pairs)), files


def test_one_parameter_changes_digits_for_clothes(
    random_images: Callable[..., Pixels],
    store: ProjectStore,
    file_server: FileServer,
    monkeypatch: pytest.MonkeyPatch,
    pinned: tuple[DataSet, dict[str, bytes]],
) -> None:
    """The real loader on files of the same format, at the paths of the public addresses."""
    made, files = pinned
    for path, content in files.items():
        file_server.serve(path, content)
    monkeypatch.setenv("UNDERSTUDY_DATA_MIRROR", file_server.url)
    monkeypatch.setattr("images.datasets.find", {made.name: made}.__getitem__)
    raw = store.path(store.good(download.STEP, dataset=made.name), "raw")
    facts = Facts.read(raw)
    assert (facts.shape, facts.images, facts.holdout) == ((28, 28, 1), 120, "test")
    assert facts.classes == made.classes
    (some,) = read(raw / "images.parquet", facts.shape, PART)
    assert some.labels[:10] == list(made.classes)
    folder = store.path(store.good(preprocess.STEP, raw=raw), "data")
    (held,) = read(folder / "holdout.parquet", facts.shape, ROW_ID)
    assert (held.pixels[..., 0] == random_images(60, 28, 28, seed=1)).all()


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "mnist_npz"])
def test_the_pinned_checksum_decides(
    store: ProjectStore, file_server: FileServer, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Whatever a mirror says, another file than the published one is refused."""
    source: Any = find(name).source
    url = source[0].images.url if isinstance(source, tuple) else source.file.url
    file_server.serve(url.partition("googleapis.com")[2], b"another file")
    monkeypatch.setenv("UNDERSTUDY_DATA_MIRROR", file_server.url)
    code, message = store.bad(download.STEP, dataset=name)
    assert (code, "Allowed: the pinned SHA-256" in message) == (65, True)


def test_the_real_mnist(
    store: ProjectStore, test_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From its files, checked: 60,000 and 10,000 images, the published test held out."""
    monkeypatch.setenv("UNDERSTUDY_DATA_MIRROR", str(test_data))
    raw = store.path(store.good(download.STEP, dataset="mnist"), "raw")
    run = store.good(preprocess.STEP, raw=raw)
    tags = store.tags(run)
    assert tags["data.holdout.rows"] == "10000"
    assert int(tags["data.train.rows"]) + int(tags["data.validation.rows"]) == 60_000
    # 33.3184 and 78.5675 over all 60,000 training images.
    assert store.metrics(run) == pytest.approx({"pixel_mean": 33.32, "pixel_std": 78.57}, rel=2e-3)


def test_pictures_of_the_users_own(
    random_images: Callable[..., Pixels],
    png: Callable[[Any], bytes],
    pictures: Callable[..., Path],
    store: ProjectStore,
    tmp_path: Path,
) -> None:
    """Damaged ones are counted and shown, and stop the night unless a share of them is allowed."""
    folder = pictures(tmp_path / "pets", 40, (6, 5, 3))
    (folder / "cat" / "<cut>.png").write_bytes(png(random_images(1, 6, 5, 3)[0])[:-20])
    raw = store.path(store.good(download.STEP, dataset="folder", source=folder), "raw")
    assert Facts.read(raw).classes == ("cat", "dog")
    status, failed = store.step(preprocess.STEP, raw=raw)
    assert status == 65
    assert "1 of 81 files (1.2%) became no image; cat/<cut>.png" in store.tags(failed)["error"]
    page = (store.path(failed, "data") / "schema_report.html").read_text()
    assert "&lt;cut&gt;.png" in page
    assert "<cut>" not in page
    run = store.good(preprocess.STEP, raw=raw, max_rejected=0.05)
    assert store.tags(run)["data.rejected.rows"] == "1"
    assert set(store.metrics(run)) == {
        f"pixel_{figure}_{channel}"
        for figure in ("mean", "std")
        for channel in ("red", "green", "blue")
    }


X = np.random.default_rng(0).integers(0, 256, (200, 6, 5), dtype=np.uint8)
Y = np.arange(200) % 4


@pytest.fixture
def npz_file(npz: Callable[..., bytes], tmp_path: Path) -> Callable[..., Path]:
    """Return what writes a file of arrays, by their names; it returns the path."""

    def write(**arrays: Any) -> Path:
        path = tmp_path / "set.npz"
        path.write_bytes(npz(**arrays))
        return path

    return write


def test_arrays_of_the_users_own(
    npz: Callable[..., bytes], store: ProjectStore, file_server: FileServer
) -> None:
    """Classes are in the order of their numbers; the test part is held out if there is one."""
    numbers = np.array([2, 10, 1, 9] * 50)
    url = file_server.serve("/set.npz", npz(x_train=X, y_train=numbers, x_test=X, y_test=numbers))
    facts = Facts.read(store.path(store.good(download.STEP, dataset="npz", source=url), "raw"))
    assert (facts.classes, facts.holdout) == (("1", "2", "9", "10"), "test")


def test_idx_files_of_the_users_own(
    idx: Callable[[Any], bytes], store: ProjectStore, tmp_path: Path
) -> None:
    """A folder of them, named as MNIST's are, without editing the project."""
    for part, number in (("train", 60), ("t10k", 20)):
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(idx(X[:number]))
        labels = gzip.compress(idx(Y[:number]), mtime=0)
        (tmp_path / f"{part}-labels-idx1-ubyte.gz").write_bytes(labels)
    raw = store.path(store.good(download.STEP, dataset="idx", source=tmp_path), "raw")
    facts = Facts.read(raw)
    assert (facts.classes, facts.holdout, facts.images) == (("0", "1", "2", "3"), "test", 80)
    assert store.tags(store.good(preprocess.STEP, raw=raw))["data.holdout.rows"] == "20"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"dataset": "fashion_minst"}, "no data set 'fashion_minst' (did you mean"),
        ({"dataset": "digits", "as_of": "2025-12-31"}, "nothing has arrived"),
        ({"dataset": "digits", "as_of": "soon"}, "'as_of' is 'soon'"),
        ({"dataset": "mnist", "source": "/x"}, "'mnist' takes no source"),
        ({"dataset": "npz", "source": "/x", "channels": 1}, "'npz' takes no channels"),
        ({"dataset": "folder", "source": "/x", "channels": 2}, "channels is 2"),
        ({"dataset": "folder", "source": "/x", "image_size": "64"}, "image_size is '64'"),
        ({"dataset": "folder", "source": "https://a:s3cret@h/x.zip"}, "a password"),
    ],
)
def test_wrong_parameters_of_download(
    store: ProjectStore, given: dict[str, Any], words: str
) -> None:
    """Told before anything is fetched, without repeating a secret."""
    code, message = store.bad(download.STEP, **given)
    assert code == 65
    assert words in message
    assert "s3cret" not in message


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x_train": X, "y_train": Y[1:]}, "200 images and 199 labels"),
        ({"x_train": X, "y_train": Y, "x_test": X[:, :5], "y_test": Y}, "the first (6, 5, 1)"),
    ],
)
def test_wrong_arrays_end_download(
    store: ProjectStore, npz_file: Callable[..., Path], arrays: dict[str, Any], words: str
) -> None:
    """The run says which, and nothing is logged."""
    code, message = store.bad(download.STEP, dataset="npz", source=npz_file(**arrays))
    assert code == 65
    assert words in message


@pytest.mark.parametrize(
    ("arrays", "given", "words"),
    [
        ({"x_train": X[:20], "y_train": Y[:20]}, {}, "training images"),
        ({"x_train": X, "y_train": Y * 0}, {}, "one class only, '0'"),
        ({"x_train": X, "y_train": Y}, {"holdout": "test"}, "split by test leaves 0 holdout"),
        (
            {"x_train": X * 0, "y_train": Y, "x_test": X, "y_test": Y},
            {"validation_fraction": 0},
            "all pixels of a channel",
        ),
        ({"x_train": X, "y_train": Y}, {"std": "0"}, "'std' is '0'"),
    ],
)
def test_images_that_cannot_be_used_end_preprocess(
    store: ProjectStore,
    npz_file: Callable[..., Path],
    arrays: dict[str, Any],
    given: dict[str, Any],
    words: str,
) -> None:
    """Too few, one class, no test part, all alike, a deviation of zero."""
    run = store.good(download.STEP, dataset="npz", source=npz_file(**arrays))
    raw = store.path(run, "raw")
    code, message = store.bad(preprocess.STEP, raw=raw, **given)
    assert code == 65
    assert words in message


@pytest.mark.parametrize("rate", ["0", "-0.01", "nan", "inf"])
def test_a_learning_rate_that_is_none(store: ProjectStore, raw: Path, rate: str) -> None:
    """The run fails with the reason, before TensorFlow is imported; it has no number."""
    code, message = store.bad(train.STEP, data=raw, learning_rate=rate)
    assert code == 65
    assert f"parameter 'learning_rate' is '{rate}'. Allowed: a finite number > 0" in message


def test_runs_are_named_by_what_they_were_given(store: ProjectStore, raw: Path) -> None:
    """But for addresses, and where somebody has named them."""

    def name(run_id: str) -> str | None:
        return store.client.get_run(run_id).info.run_name

    run = store.good(preprocess.STEP, raw=raw, mean=0, std=16)
    assert name(run) == "preprocess mean=0, std=16"
    assert name(store.good(preprocess.STEP, raw=raw)) == "preprocess"
    _, failed = store.step(download.STEP, dataset="npz", source="/nowhere/set.npz")
    assert name(failed) == "download dataset=npz"
    named = store.client.create_run(store.experiment_id, run_name="merry christmas")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_RUN_ID", named.info.run_id)
        assert main(preprocess.STEP, [f"--raw={raw}"]) == 0
    assert name(named.info.run_id) == "merry christmas"


def test_a_folder_of_another_step(store: ProjectStore, raw: Path, tmp_path: Path) -> None:
    """Train and validate say which artifact they need, before TensorFlow is imported."""
    code, message = store.bad(train.STEP, data=raw)
    assert (code, "no training images with mean and deviation" in message) == (65, True)
    code, message = store.bad(validate.STEP, data=tmp_path, model_uri="models:/m@champion")
    assert (code, "no 'dataset.json' in the input folder" in message) == (65, True)


def test_an_environment_that_lacks_a_package(
    store: ProjectStore, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it is imported, as Keras is by train, or looked for, as by search."""
    for name in ("keras", "tensorflow"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(train, "packages_distributions", dict)
    data = store.path(store.good(preprocess.STEP, raw=raw), "data")
    for step, lacking in ((train.STEP, "keras"), (search.STEP, "tensorflow")):
        code, message = store.bad(step, data=data)
        assert code == 65
        assert f"has no package '{lacking}'. Allowed: an environment with what" in message


def test_the_names_that_a_workshop_has(store: ProjectStore) -> None:
    """`mlflow run -e get_data` is download, and explore_data is brought what it logged."""
    run_id = store.project("get_data", dataset="digits", as_of="2026-01-02")
    assert store.tags(run_id)["data.as_of"] == "2026-01-02"
    run_id = store.project("explore_data", raw=f"runs:/{run_id}/raw")
    assert "statistics.json" in store.files(run_id, "explore")


@pytest.fixture
def own_images(
    pictures: Callable[..., Path],
    npz: Callable[..., bytes],
    idx: Callable[[Any], bytes],
    tmp_path: Path,
) -> dict[str, Path]:
    """Return images of the user's own in every form, by the name of the data set.

    The folder has a text beside its pictures, and its name a blank and an ampersand.
    """
    folder = pictures(tmp_path / "cats & dogs", 60)
    (folder / "dog" / "notes.txt").write_text("no picture")
    array = tmp_path / "set.npz"
    array.write_bytes(npz(x_train=X, y_train=Y))
    idx_folder = tmp_path / "idx"
    idx_folder.mkdir()
    (idx_folder / "train-images-idx3-ubyte").write_bytes(idx(X))
    (idx_folder / "train-labels-idx1-ubyte").write_bytes(idx(Y))
    return {"folder": folder, "npz": array, "idx": idx_folder}


@pytest.mark.long("trains networks with TensorFlow")
def test_own_images_in_one_go(
    store: ProjectStore, own_images: dict[str, Path], python: Path
) -> None:
    """`main` takes what the steps take, and has what validation found, to be compared by."""
    asked = {"epochs": 1, "batch_size": 16, "filters": 4, "dropout": 0.1, "max_rejected": 0.01}
    sizes = {"folder": {"image_size": "12x12", "holdout_fraction": 0.3}}
    given = [
        ("main", {"dataset": name, "source": path, **asked, **sizes.get(name, {})})
        for name, path in own_images.items()
    ]
    for name, (status, run_id) in zip(own_images, store.in_turn(python, *given), strict=True):
        assert status == 0, store.tags(run_id).get("error")
        run = store.client.get_run(run_id).data
        assert {"accuracy", "log_loss"} <= set(run.metrics)
        shown = {key: run.params[key] for key in ("batch_size", "filters", "dropout", "dataset")}
        assert shown == {"batch_size": "16", "filters": "4", "dropout": "0.1", "dataset": name}
