"""Publishing for TensorFlow Serving: whole or not at all, the greatest number is the published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow
import pytest

from images import publish
from images.publish import Version, put
from shared.errors import DataError

if TYPE_CHECKING:
    from tests.fixtures.project_store import ProjectStore


pytestmark = [
    pytest.mark.integration,
    # Warnings of MLflow and its dependencies about themselves.
    pytest.mark.filterwarnings("default"),
]


@pytest.fixture(scope="module")
def store(store: ProjectStore, tmp_path_factory: pytest.TempPathFactory) -> ProjectStore:
    """Return a store with three versions of the model `mnist`."""
    store.client.create_registered_model("mnist")
    for number in range(1, 4):
        registered(store, exported(tmp_path_factory.mktemp("export"), number))
    return store


def exported(folder: Path, number: int) -> Path:
    """Make what `train` exports; of the graph only its number is there."""
    (folder / "variables").mkdir(parents=True)
    (folder / "assets.extra").mkdir()
    (folder / "saved_model.pb").write_text(f"graph {number}")
    (folder / "variables" / "variables.index").write_text("index")
    (folder / "assets.extra" / "classes.json").write_text('["0", "1"]')
    return folder


def registered(store: ProjectStore, export: Path | None) -> str:
    """Register a training run with such an export; return the version's number."""
    with mlflow.start_run(experiment_id=store.experiment_id) as run:
        if export:
            mlflow.log_artifacts(str(export), "saved_model/1795251715")
        source = f"{run.info.artifact_uri}/model"
    return str(store.client.create_model_version("mnist", source, run.info.run_id).version)


def served(folder: Path) -> dict[str, str]:
    """Return what a server sees: the graph of each number."""
    return {
        entry.name: (entry / "saved_model.pb").read_text()
        for entry in folder.iterdir()
        if entry.name.isdecimal()
    }


def test_the_champion_is_published_under_its_number(store: ProjectStore, tmp_path: Path) -> None:
    """With all its files and a card; again, it changes nothing; a later one comes beside it."""
    folder = tmp_path / "served" / "mnist"
    store.client.set_registered_model_alias("mnist", "champion", "1")
    run = store.good(publish.STEP, model_uri="models:/mnist@champion", folder=folder)
    assert served(folder) == {"1": "graph 1"}
    assert (folder / "1" / "variables" / "variables.index").read_text() == "index"
    assert json.loads((folder / "1" / publish.CARD).read_text())["number"] == 1
    assert store.tags(run)["published.version"] == "1"
    inode = (folder / "1").stat().st_ino
    store.good(publish.STEP, model_uri="models:/mnist/1", folder=folder)
    assert (folder / "1").stat().st_ino == inode
    store.good(publish.STEP, model_uri="models:/mnist/3", folder=folder)
    assert set(served(folder)) == {"1", "3"}
    assert {entry.name for entry in folder.iterdir()} == {"1", "3", ".publishing.lock"}


def test_a_rollback_takes_later_versions_away(store: ProjectStore, tmp_path: Path) -> None:
    """The server loads the greatest number, so that must be the one published last."""
    for number in (1, 2, 3, 2):
        store.good(publish.STEP, model_uri=f"models:/mnist/{number}", folder=tmp_path)
    assert set(served(tmp_path)) == {"1", "2"}


CALLS = ("copytree", "rename", "rmtree")
ALL = 99


@pytest.mark.parametrize("number", [*range(7), ALL])
def test_ended_in_the_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Whichever call is the last: the server sees whole versions, and the next try finishes."""
    folder = tmp_path / "served"
    folder.mkdir()
    versions = [Version("mnist", n, f"run {n}") for n in (1, 2, 3)]
    exports = [exported(tmp_path / str(n), n) for n in (1, 2, 3)]
    for version, export in zip(versions, exports, strict=True):
        if version.number != 2:
            put(export, version, folder)
    calls = iter(range(ALL))

    def ending(name: str) -> None:
        real = getattr(Path if name == "rename" else publish.shutil, name)

        def call(*arguments: object, **options: object) -> object:
            if next(calls) >= number:
                raise KeyboardInterrupt
            return real(*arguments, **options)

        monkeypatch.setattr(Path if name == "rename" else publish.shutil, name, call)

    for name in CALLS:
        ending(name)
    ended = False
    try:
        put(exports[1], versions[1], folder)
    except KeyboardInterrupt:
        ended = True
    monkeypatch.undo()
    assert ended == (number < ALL)
    seen = served(folder)
    assert {"1"} < set(seen)
    assert all(graph == f"graph {name}" for name, graph in seen.items())
    assert put(exports[1], versions[1], folder)[0] == ("2" not in seen)
    assert {entry.name for entry in folder.iterdir()} == {"1", "2", ".publishing.lock"}


def test_a_folder_of_something_else(store: ProjectStore, tmp_path: Path) -> None:
    """Another model's, or somebody's own: nothing of it is touched."""
    exported(tmp_path / "served" / "2", 9)
    code, message = store.bad(publish.STEP, model_uri="models:/mnist/2", folder=tmp_path / "served")
    assert (code, "is not version 2 of mnist, but of unknown origin" in message) == (65, True)
    (tmp_path / "served" / "2").rename(tmp_path / "served" / "1795251715")
    code, message = store.bad(publish.STEP, model_uri="models:/mnist/2", folder=tmp_path / "served")
    assert (code, "1795251715 is there and is not" in message) == (65, True)
    assert served(tmp_path / "served")["1795251715"] == "graph 9"
    other = tmp_path / "other"
    other.mkdir()
    put(exported(tmp_path / "export", 1), Version("fashion", 1, "run"), other)
    with pytest.raises(DataError, match="'name': 'fashion'"):
        put(exported(tmp_path / "again", 1), Version("mnist", 1, "run"), other)


@pytest.mark.parametrize(
    ("uri", "folder", "words"),
    [
        ("runs:/abc/model", "/nowhere", "is no version of a registered model"),
        ("models:/mnist", "/nowhere", "is no version of a registered model"),
        ("models:/mnist/latest", "/nowhere", "is no version of a registered model"),
        ("models:/mnist@nobody", "/nowhere", "was not found"),
        ("models:/mnist/99", "/nowhere", "was not found"),
        ("models:/mnist/1", "relative", "folder is 'relative'"),
        ("models:/mnist/1", "/dev/null/x", "folder '/dev/null/x' cannot be made: Not a directory"),
    ],
)
def test_wrong_parameters(store: ProjectStore, uri: str, folder: str, words: str) -> None:
    """Told before anything is written."""
    code, message = store.bad(publish.STEP, model_uri=uri, folder=folder)
    assert code == 65
    assert words in message


def test_a_version_that_exported_nothing(store: ProjectStore, tmp_path: Path) -> None:
    """A stranger's model has no SavedModel of ours."""
    number = registered(store, None)
    code, message = store.bad(publish.STEP, model_uri=f"models:/mnist/{number}", folder=tmp_path)
    assert (code, "has 0 exports" in message) == (65, True)
