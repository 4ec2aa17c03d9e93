"""Makes the README's pictures from a demo that ran: ``make demo``, then ``make pictures``.

Needs Debian's chromium. The pictures are those of Airflow's UI as a person sees it: the page in its
tab, without what Airflow says around it of how long this machine took.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from playwright.sync_api import sync_playwright
from tests.fixtures.browser import ARGUMENTS, CHROMIUM, PATIENCE, sign_in

from understudy.devstack import settings
from understudy.devstack.place import demo_place
from understudy.devstack.stack import Stack

FOLDER: Final = Path(__file__).parents[2] / "docs" / "pictures"
PAGES: Final = {
    "champion": "dags/diabetes/plugin/champion",
    "decision": "dags/diabetes/runs/scheduled__2026-01-02T00:00:00+00:00/plugin/night",
}
_TABS: Final = 42
"""Pixels of the tabs above a page."""
_HIGH: Final = 740


def main() -> int:
    """Write each picture below docs/pictures."""
    stack = Stack(demo_place())
    address = stack.addresses().airflow
    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(PATIENCE)
        sign_in(page, address, settings.password(stack.place))
        page.get_by_role("link", name="Dags", exact=True).wait_for()
        for name, path in PAGES.items():
            page.goto(f"{address}/{path}")
            page.frame_locator("iframe").locator("#part:not([aria-busy]) .top h1").wait_for()
            page.wait_for_load_state("networkidle")
            frame = page.locator("iframe").bounding_box()
            assert frame is not None
            frame["y"] -= _TABS
            page.screenshot(path=FOLDER / f"{name}.png", clip={**frame, "height": _HIGH})
            sys.stdout.write(f"{FOLDER / name}.png\n")
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
