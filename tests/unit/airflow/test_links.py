"""The buttons of a task lead to MLflow's pages, or nowhere."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from understudy.airflow.links import DecisionLink, decision_address, night_page


@pytest.mark.parametrize(
    ("ui", "address"),
    [
        ("http://mlflow:5000", "http://mlflow:5000/#/experiments/3/runs/ab/artifactPath/{}"),
        ("https://ann:pw@m.example/", "https://m.example/#/experiments/3/runs/ab/artifactPath/{}"),
        ("sqlite:///mlflow.db", ""),
    ],
)
def test_the_page_is_shown_by_mlflows_own_viewer(
    monkeypatch: pytest.MonkeyPatch, ui: str, address: str
) -> None:
    """The route is the one that opens an artifact of a run; without a web address there is none."""
    monkeypatch.setenv("UNDERSTUDY_MLFLOW_UI", ui)
    assert decision_address("3", "ab") == address.format("decision/decision.html")
    assert decision_address("3", "") == ""


@pytest.mark.parametrize(
    ("base", "address"),
    [
        ("https://a.example/air/", "https://a.example/air/understudy/dags/d/night?run_id=m%2B%3A1"),
        ("", ""),
    ],
)
def test_a_night_has_a_page_where_airflow_says_its_address(
    monkeypatch: pytest.MonkeyPatch, base: str, address: str
) -> None:
    """Also below a path; without an address the button leads to MLflow's viewer."""
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", base)
    assert night_page("d", "m+:1") == address


def test_the_button_leads_to_what_the_operator_noted() -> None:
    """An operator that has not come that far has no address."""
    link, key = DecisionLink(), cast("Any", None)
    noted = cast("Any", SimpleNamespace(decision_address="http://m/x"))
    assert link.name == "Decision"
    assert link.get_link(noted, ti_key=key) == "http://m/x"
    assert link.get_link(cast("Any", SimpleNamespace()), ti_key=key) == ""
