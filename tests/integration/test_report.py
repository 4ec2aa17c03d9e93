"""The page of a decision, in a real browser and in MLflow's own viewer."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient
from playwright.sync_api import Browser, Page, expect, sync_playwright

from understudy.airflow.links import decision_address
from understudy.contract import DECISION_PAGE
from understudy.report import Links, render

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium; apt-get install chromium"),
]
ATTACK = "</style><script>document.title='taken'</script><img src=http://127.0.0.1:9/x onerror=x()>"
Records = dict[str, tuple[dict[str, Any], dict[str, Any] | None]]
LOOKS = [("light", 1200), ("dark", 1200), ("light", 400)]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Start chromium; end it afterwards."""
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield started
        started.close()


def opened(page: Page, path: Path) -> list[str]:
    """Open a file; return what the browser complains of or asks the network for."""
    evaluated: list[str] = []
    page.on("console", lambda message: evaluated.append(message.text))
    page.on("pageerror", lambda error: evaluated.append(str(error)))
    page.on("request", lambda request: evaluated.append(request.url))
    page.goto(path.as_uri())
    return [line for line in evaluated if line != path.as_uri()]


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
def test_every_page_fits_and_is_styled(
    decision_records: Records, browser: Browser, tmp_path: Path, scheme: str, width: int
) -> None:
    """The policy lets our style through; nothing is wider than the window, nothing is loaded."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
    for name, (record, summary) in decision_records.items():
        path = tmp_path / f"{name}.html"
        path.write_text(render(record, summary, Links("http://127.0.0.1:5000")), encoding="utf-8")
        assert opened(page, path) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 24, 28)"
        assert dark == (scheme == "dark")
    page.close()


def test_an_attack_is_read_and_not_run(
    decision_records: Records, browser: Browser, tmp_path: Path
) -> None:
    """A record full of markup stays a page of text, and nothing is asked of the network."""
    record, summary = decision_records["unscored"]
    path = tmp_path / "attack.html"
    hostile = {**record, "reasons": [ATTACK], "context": {**record["context"], "model": ATTACK}}
    path.write_text(render(hostile, summary), encoding="utf-8")
    page = browser.new_page()
    assert opened(page, path) == []
    assert page.title().startswith("HOLD: wine_quality")
    assert page.get_by_text(ATTACK).first.is_visible()
    page.close()


def test_what_gets_past_escaping_is_stopped_by_the_policy(
    decision_records: Records, browser: Browser, tmp_path: Path
) -> None:
    """The second line of defence holds on its own: neither script nor style nor picture."""
    html = render(*decision_records["unscored"])
    path = tmp_path / "broken.html"
    path.write_text(html.replace("<main>", f"{ATTACK}<style>main{{display:none}}</style><main>", 1))
    page = browser.new_page()
    complaints = opened(page, path)
    assert len([line for line in complaints if "Content Security Policy" in line]) >= 3
    assert page.title() != "taken"
    assert page.locator("main").is_visible()
    page.close()


def test_mlflow_shows_the_page_where_the_button_leads(
    decision_records: Records, browser: Browser, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a frame of its own, styled; a click on a link does not empty the frame."""
    client = MlflowClient(mlflow_uri)
    experiment = client.create_experiment(f"test {uuid.uuid4().hex}")
    run = client.create_run(experiment).info.run_id
    links = Links(mlflow_uri, experiment, run)
    client.log_text(run, render(*decision_records["promote"], links), DECISION_PAGE)
    monkeypatch.setenv("UNDERSTUDY_MLFLOW_UI", mlflow_uri)
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    page.goto(decision_address(experiment, run), timeout=60_000)
    shown = page.frame_locator("iframe")
    heading = shown.get_by_role("heading", name="PROMOTE")
    expect(heading).to_be_visible(timeout=60_000)
    expect(heading).to_have_css("display", "flex")
    shown.get_by_role("link", name=run).click()
    expect(heading).to_be_visible()
    page.close()
