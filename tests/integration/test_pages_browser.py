"""The pages alone, in a real browser: how they look, and what others' texts can do."""

from __future__ import annotations

import re
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
