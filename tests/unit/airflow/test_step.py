"""``MlflowRunOperator`` in a Dag file: what it refuses while Airflow parses the file."""

from __future__ import annotations

import json
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization

from understudy import MlflowRunOperator
from understudy.errors import DeclarationError, ProjectError

URL = "https://example.com/models.git#tabular"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"project": "https://ann:s3cret@example.com/m.git"}, "git_conn_id="),
        ({"project": "https://s3cret@example.com/m.git"}, "a user and a password"),
        ({"project": "https://a:s3cret@{{ var.value.host }}/m"}, "a user and a password"),
        (
            {"parameters": {"source": "https://a:s3cret@h/x.csv"}},
            r"\['source'\] holds a pass",
        ),
        ({"parameters": {"source": "https://h/x?token=s3cret"}}, "holds token"),
        ({"project": "git://h/m.git", "git_conn_id": "git_models"}, "takes no credentials"),
    ],
)
def test_secrets_are_refused_as_in_a_pipeline(fields: dict[str, Any], message: str) -> None:
    """While the file is parsed: else they would stand in Airflow's serialized Dag."""
    with DAG("leaking", schedule=None), pytest.raises(DeclarationError, match=message) as caught:
        MlflowRunOperator(task_id="train", **{"project": URL, **fields})
    assert "s3cret" not in str(caught.value)


def test_a_dangerous_address_is_refused_while_the_file_is_parsed() -> None:
    """What Git would execute never reaches Git."""
    with DAG("dangerous", schedule=None), pytest.raises(ProjectError, match="known form"):
        MlflowRunOperator(task_id="train", project="ext::sh")


def test_templates_and_results_of_other_tasks_pass() -> None:
    """They are known when the task runs, and masked then."""
    uri = "https://ann:{{ var.value.token }}@example.com/m.git"
    with DAG("templates", schedule=None) as dag:
        first = MlflowRunOperator(task_id="first", project=uri)
        MlflowRunOperator(task_id="second", project=first.output)
    stored = json.dumps(DagSerialization.to_dict(dag))
    assert "{{ var.value.token }}" in stored
