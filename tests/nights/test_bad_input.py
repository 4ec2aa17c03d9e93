"""What is wrong fails in the first task that can know it, and shows no secret."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from understudy.contract import Kind, Tag

if TYPE_CHECKING:
    from tests.fixtures.airflow import Installation

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(
    ("dag_id", "conf", "task", "message"),
    [
        ("elsewhere", {}, "pin", "Next: "),
        ("nowhere", {}, "pin", "no/such/folder"),
        ("broken", {"version": "no-such-branch"}, "pin", "no-such-branch"),
        ("broken", {"as_of": "yesterday"}, "pin", "as_of is 'yesterday'"),
        ("typo", {}, "pin", "'facter' (did you mean 'factor'?)"),
        ("unserved", {}, "pin", "publish has no parameter 'floder' (did you mean 'folder'?)"),
        ("broken", {"broken": "download"}, "download", "Found an empty file. Allowed: rows."),
    ],
)
def test_bad_input_fails_early_and_says_why(
    installation: Installation, dag_id: str, conf: dict[str, Any], task: str, message: str
) -> None:
    """The first task that can know it fails, no run stays RUNNING, nothing is registered."""
    run_id = "bad " + json.dumps(conf, sort_keys=True)
    run_id = "".join(letter if letter.isalnum() else "-" for letter in run_id)
    installation.trigger(dag_id, run_id, **conf)
    assert installation.wait(dag_id, run_id) == "failed"
    states = installation.tasks(dag_id, run_id)
    assert states[task] == "failed"
    assert states["promote"] in {"upstream_failed", "skipped"}
    log = installation.log(dag_id, run_id, task)
    assert message in log
    assert "Allowed: " in log
    # Also where no night began.
    installation.check_ended(dag_id)
    condition = f"tags.`{Tag.DAG_RUN_ID}` = '{run_id}' and tags.`{Tag.KIND}` = '{Kind.NIGHT}'"
    (night,) = installation.runs(dag_id, condition)
    assert night.info.run_name.startswith("FAILED: ")
    assert message in night.data.tags[Tag.REASON]
    assert not installation.client.search_registered_models(f"name = '{dag_id}'")


def test_a_password_in_the_repository_s_address_is_shown_nowhere(
    installation: Installation,
) -> None:
    """An Airflow variable holds it; Airflow shows the rendered address, and our error names it."""
    address = "http://ada:s3cret-w0rd@127.0.0.1:9/models"
    installation.call("POST", "variables", key="private_repository", value=address)
    installation.trigger("private", "hidden")
    assert installation.wait("private", "hidden") == "failed"
    path = "dags/private/dagRuns/hidden/taskInstances/pin"
    rendered = installation.call("GET", path)["rendered_fields"]["project"]
    assert rendered.startswith("http://ada:")
    log = installation.log("private", "hidden", "pin")
    assert "http://127.0.0.1:9/models" in log
    assert "s3cret-w0rd" not in log + rendered
