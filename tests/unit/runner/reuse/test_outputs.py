"""What a run logged is known by content, on a real store of files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from mlflow.tracking import MlflowClient

from understudy.runner.reuse.identity import UnknownContentError
from understudy.runner.reuse.outputs import LoggedFile, Outputs, OutputStore

pytestmark = [
    pytest.mark.unit,
    # MLflow's own SQLite store, opened in this process, uses what SQLAlchemy 2.1 deprecates.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy"),
]

NAMES = st.text("ab/", min_size=1, max_size=4).filter(lambda name: name == name.strip("/"))
FILES = st.dictionaries(NAMES, st.builds(LoggedFile, st.integers(0, 3), st.text("01", max_size=3)))


def outputs(**files: str) -> Outputs:
    """Return outputs with these contents; ``__`` in a name stands for '/'."""
    logged = {
        name.replace("__", "/"): LoggedFile(len(text), hashlib.sha256(text.encode()).hexdigest())
        for name, text in files.items()
    }
    return Outputs(logged, {})


@given(FILES, FILES)
def test_equal_digests_are_equal_contents(
    one: dict[str, LoggedFile], other: dict[str, LoggedFile]
) -> None:
    """Names and contents; the size follows from the content."""
    shas = [{name: file.sha256 for name, file in files.items()} for files in (one, other)]
    assume(one or other)
    same = Outputs(one, {}).digest("") == Outputs(other, {}).digest("")
    assert same == (shas[0] == shas[1])


@given(FILES)
def test_the_record_survives_being_written(files: dict[str, LoggedFile]) -> None:
    """As text and back; the order of the files leaves no trace."""
    made = Outputs(files, {"m-1": {"MLmodel": 3}})
    assert Outputs.from_json(made.to_json()) == made
    shuffled = Outputs(dict(reversed(list(files.items()))), made.models)
    assert shuffled.to_json() == made.to_json()


def test_the_digest_of_a_folder_is_what_is_below_it() -> None:
    """Wherever the folder lies; a file is not the folder that holds just it."""
    logged = outputs(raw__a="1", raw__b__c="2", other__a="1", other__b__c="2", raws="3")
    assert logged.digest("raw") == logged.digest("other") != logged.digest("")
    assert logged.digest("raw/b") != logged.digest("raw/b/c")
    assert logged.digest("ra") == logged.digest("raw/a/") == logged.digest("raw/x") == ""


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> MlflowClient:
    """Return a client of a store of files."""
    folder = tmp_path_factory.mktemp("mlflow")
    made = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    made.create_experiment("outputs", artifact_location=f"file://{folder}/artifacts")
    return made


def test_files_and_folders_of_a_run(client: MlflowClient, tmp_path: Path) -> None:
    """All that the step logged, at the top and below; what we log ourselves does not count."""
    experiment = client.get_experiment_by_name("outputs")
    assert experiment is not None
    run_id = client.create_run(experiment.experiment_id).info.run_id
    for path in ("top.txt", "raw/a.txt", "raw/b/c.txt", "environment/requirements.txt"):
        client.log_text(run_id, path, path)
    store = OutputStore(client)
    recorded = store.record(client.get_run(run_id), tmp_path)
    assert not list(tmp_path.iterdir())
    assert recorded == outputs(
        **{"raw/a.txt": "raw/a.txt", "raw/b/c.txt": "raw/b/c.txt", "top.txt": "top.txt"}
    )
    for name, value in recorded.tags().items():
        client.set_tag(run_id, name, value)
    with pytest.raises(UnknownContentError, match="is RUNNING"):
        store.known(client.get_run(run_id))
    client.set_terminated(run_id)
    assert store.known(client.get_run(run_id)) == recorded
    client.log_text(run_id, "x", "raw/b/c.txt")
    with pytest.raises(UnknownContentError, match=r"does not have what it logged: raw/b/c\.txt"):
        store.known(client.get_run(run_id))
