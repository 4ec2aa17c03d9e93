"""Who may do what to a night, by Airflow's own auth manager: the table of docs/registry.md."""

from __future__ import annotations

import pytest
from airflow.api_fastapi.auth.managers.models.resource_details import (
    DagAccessEntity,
    DagDetails,
)
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

from understudy import Gate, Metric, Project, pipeline

MANAGER = SimpleAuthManager()
RIGHTS = {
    "see a decision": ("GET", DagAccessEntity.TASK_INSTANCE),
    "trigger a night, or roll back": ("POST", DagAccessEntity.RUN),
    "clear a task": ("PUT", DagAccessEntity.TASK_INSTANCE),
    "approve": ("PUT", DagAccessEntity.HITL_DETAIL),
}
ROLES = {"viewer": {"see a decision"}, "user": {*RIGHTS}, "op": {*RIGHTS}, "admin": {*RIGHTS}}


def user(name: str, role: str) -> SimpleAuthManagerUser:
    """Return a person."""
    return SimpleAuthManagerUser(username=name, role=role)


@pytest.mark.parametrize("role", ROLES)
def test_what_a_role_may_do(role: str) -> None:
    """A viewer only looks; everybody else may also act, on every Dag."""
    allowed = {
        right
        for right, (method, entity) in RIGHTS.items()
        if MANAGER.is_authorized_dag(
            method=method,  # type: ignore[arg-type]
            access_entity=entity,
            details=DagDetails(id="rollback"),
            user=user("ann", role),
        )
    }
    assert allowed == ROLES[role]


def test_only_those_who_are_named_may_approve() -> None:
    """Whatever their role; where nobody is named Airflow asks for the right to act alone."""
    dag = pipeline(
        "wine",
        project=Project("https://example.com/models.git#tabular"),
        gate=Gate(Metric("rmse")),
        approvers=["ann", "ben"],
    )
    assigned = {one["id"] for one in dag.get_task("approve").assigned_users}
    answers = {
        name: MANAGER.is_authorized_hitl_task(assigned_users=assigned, user=user(name, role))
        for name, role in (("ann", "user"), ("ben", "op"), ("eve", "admin"))
    }
    assert answers == {"ann": True, "ben": True, "eve": False}
