"""The pages alone, in a real browser: how they look, and what others' texts can do."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn
from playwright.sync_api import BrowserContext, Page, expect, sync_playwright
from tests.fixtures.browser import ARGUMENTS, CHROMIUM, PATIENCE
from tests.fixtures.loopback import free_port
from tests.fixtures.many_nights import LARGEST, fill
from tests.fixtures.mlflow_server import start_mlflow
from tests.fixtures.waiting import eventually
from tests.integration import test_pages

if TYPE_CHECKING:
    from tests.fixtures.recorded_nights import RecordedPipeline
    from tests.integration.test_pages import Pages

pytestmark = [
    pytest.mark.integration,
    pytest.mark.long("a browser draws each page in both themes, on a telephone and a wide screen"),
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium; apt-get install chromium"),
]
manager, pages, pipeline = test_pages.manager, test_pages.pages, test_pages.pipeline
expect.set_options(timeout=PATIENCE)
PAGES: dict[str, str] = {
    "champions": "champions",
    "champion": "dags/{0}/champion",
    "night": "dags/{0}/night?night={1}",
}

SHOWN_AGAIN = 1500
"""Milliseconds after which a reading is too old to be shown again to who asks anew (a second)."""


@contextmanager
def served(pages: Pages) -> Iterator[str]:
    """Serve the application on a port of its own; yield the address of its pages."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(pages.app, port=port, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    assert eventually(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{port}{test_pages.PREFIX}"
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def signed_in(pages: Pages) -> Iterator[BrowserContext]:
    """Open a browser that has the cookie of an admin."""
    known = test_pages.SimpleAuthManagerUser(username="admin", role="admin")
    token = pages.manager.generate_jwt(known)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        context = browser.new_context(locale="en-US")
        context.set_default_timeout(PATIENCE)
        context.add_cookies(
            [{"name": "_token", "value": token, "domain": "127.0.0.1", "path": "/"}]
        )
        yield context
        browser.close()


def opened(page: Page, address: str) -> None:
    """Go to a page and wait for what it fetches."""
    page.goto(address)
    expect(page.locator("#part:not([aria-busy]) .top h1")).to_be_visible()
    expect(page.locator("[data-soon]")).to_have_count(0)


def test_each_page_is_readable_in_both_themes_and_widths(
    pages: Pages, pipeline: RecordedPipeline, decision_records: dict[str, Any], tmp_path: Path
) -> None:
    """No page is wider than its window, nor light where dark was asked for; pictures are left."""
    pipeline.usual(20)
    late = {"matured": "wrong", "matured.reason": "the challenger would have served better"}
    record, summary = decision_records["hold"]
    run = pipeline.night("HELD", "; ".join(record["reasons"]), **late)
    pipeline.step(run, "train")
    pipeline.decided(run, record, summary)
    with served(pages) as address, signed_in(pages) as context:
        page = context.new_page()
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme)
            for width in (360, 1600):
                page.set_viewport_size({"width": width, "height": 1000})
                for name, path in PAGES.items():
                    opened(page, f"{address}/{path.format(pipeline.name, run)}")
                    picture = tmp_path / f"{name}-{theme}-{width}.png"
                    page.screenshot(path=picture, full_page=True)
                    wide = page.evaluate("document.documentElement.scrollWidth")
                    assert wide <= width, (name, theme, width)
                    # What a guard found is a sentence, which nobody should scroll sideways for.
                    for told in page.locator(".guards > tbody > tr > td:last-child").all():
                        box = told.bounding_box()
                        assert box is not None
                        assert box["x"] + box["width"] <= width, (name, theme, width)
                    assert (brightness(page) > 0.7) is (theme == "light"), (name, theme)


def brightness(page: Page) -> float:
    """Return how bright the paper is, from 0 to 1."""
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return sum(map(int, re.findall(r"\d+", paper)[:3])) / 3 / 255


def test_texts_of_others_run_nothing(
    pages: Pages, pipeline: RecordedPipeline, decision_records: dict[str, Any]
) -> None:
    """A browser that draws them opens no dialog, asks for nothing, and reports no broken policy."""
    hostile = test_pages.HOSTILE
    run = pipeline.night("PROMOTED", hostile, approval=hostile, verdict=hostile, refit=hostile)
    pipeline.night(hostile, hostile, as_of=hostile, matured=hostile, **{"matured.reason": hostile})
    pipeline.step(run, hostile, error=hostile, reused_from=hostile)
    pipeline.client.log_param(run, "depth", hostile)
    record, summary = decision_records["hold"]
    pipeline.decided(run, {**record, "reasons": [hostile]}, summary)
    said: list[str] = []
    with served(pages) as address, signed_in(pages) as context:
        page = context.new_page()
        page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("console", lambda told: "Content Security" in told.text and said.append(told.text))
        for path in PAGES.values():
            opened(page, f"{address}/{path.format(pipeline.name, run)}")
            expect(page.locator("main")).to_contain_text("alert(1)")
    assert said == []


def test_a_thousand_nights_while_mlflow_comes_and_goes(
    manager: test_pages.Guarded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every night is within reach; without MLflow the page stays readable, and is there again."""
    from mlflow.tracking import MlflowClient

    uri, (address, mlflow) = f"sqlite:///{tmp_path / 'mlflow.db'}", start_mlflow(tmp_path)
    try:
        fill(MlflowClient(uri), uri, 1, 1000)
        pages = test_pages.made(manager, address, monkeypatch)
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")  # a busy machine is no fault
        with served(pages) as at, signed_in(pages) as context:
            page = context.new_page()
            page.set_viewport_size({"width": 360, "height": 800})
            assert len(every_night(page, f"{at}/dags/{LARGEST}/champion")) == 1000
            opened(page, f"{at}/dags/{LARGEST}/champion")
            monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "3")
            how_it_goes_on(page, mlflow.pid)
            os.killpg(mlflow.pid, signal.SIGKILL)
            page.wait_for_timeout(SHOWN_AGAIN)
            page.get_by_role("button", name="Refresh").click()
            expect(page.locator(".stale")).to_contain_text("This is how it was")
            expect(page.locator(".strip li")).to_have_count(90)
            page.goto(f"{at}/dags/another/champion")
            expect(page.get_by_role("alert")).to_contain_text("MLflow does not answer")
            expect(page.get_by_role("button", name="Try again")).to_be_visible()
            context.clear_cookies()  # it finds that out when it asks again by itself
            expect(page.get_by_role("alert")).to_contain_text("You are signed out")
            expect(page.get_by_role("link", name="Sign in")).to_be_visible()
    finally:
        os.killpg(mlflow.pid, signal.SIGKILL)
        mlflow.wait()


def every_night(page: Page, address: str) -> set[str]:
    """Return the addresses of all nights, from one page with earlier ones to the next."""
    found: set[str] = set()
    opened(page, address)
    while True:
        links = page.locator(".strip a")
        found |= set(links.evaluate_all("(all) => all.map((one) => one.href)"))
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        earlier = page.get_by_role("link", name="Earlier nights")
        if not earlier.count():
            return found
        earlier.focus()
        with page.expect_navigation():
            page.keyboard.press("Enter")
        expect(page.locator("#part:not([aria-busy]) .top h1")).to_be_visible()


def how_it_goes_on(page: Page, mlflow: int) -> None:
    """Let MLflow hang for a while, and see the page say so, and then be as it was by itself."""
    os.killpg(mlflow, signal.SIGSTOP)
    page.wait_for_timeout(SHOWN_AGAIN)
    page.get_by_role("button", name="Refresh").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".stale")).to_contain_text("MLflow does not answer. This is how it was")
    # Whoever came there by keyboard still is.
    expect(page.get_by_role("button", name="Refresh")).to_be_focused()
    expect(page.locator(".strip li")).to_have_count(90)
    expect(page.locator(".standing").first).to_contain_text("Version 2")
    os.killpg(mlflow, signal.SIGCONT)
    expect(page.locator(".stale")).to_have_count(0)
    expect(page.locator(".strip li")).to_have_count(90)
