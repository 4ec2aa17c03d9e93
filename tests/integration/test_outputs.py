"""What a run logged is known by content, on a real server."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from understudy.runner.reuse.identity import UnknownContentError
from understudy.runner.reuse.outputs import LoggedFile, Outputs, OutputStore

pytestmark = pytest.mark.integration


def test_files_and_folders_of_a_run(mlflow_uri: str, tmp_path: Path) -> None:
    """All that the step logged, at the top and below; what we log ourselves does not count."""
    client = MlflowClient(mlflow_uri)
    experiment = client.create_experiment("outputs of a run")
    run_id = client.create_run(experiment).info.run_id
    for path in ("top.txt", "raw/a.txt", "raw/b/c.txt", "environment/requirements.txt"):
        client.log_text(run_id, path, path)
    store = OutputStore(client)
    recorded = store.record(client.get_run(run_id), tmp_path)
    assert not list(tmp_path.iterdir())
    digests = {
        name: LoggedFile(len(name), hashlib.sha256(name.encode()).hexdigest())
        for name in ("raw/a.txt", "raw/b/c.txt", "top.txt")
    }
    assert recorded == Outputs(digests, {})
    for name, value in recorded.tags().items():
        client.set_tag(run_id, name, value)
    with pytest.raises(UnknownContentError, match="is RUNNING"):
        store.known(client.get_run(run_id))
    client.set_terminated(run_id)
    assert store.known(client.get_run(run_id)) == recorded
    client.log_text(run_id, "x", "raw/b/c.txt")
    with pytest.raises(UnknownContentError, match=r"does not have what it logged: raw/b/c\.txt"):
        store.known(client.get_run(run_id))
