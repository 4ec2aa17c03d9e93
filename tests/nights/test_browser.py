"""What a person sees in Airflow's and MLflow's UI, looked at with a real browser.

The stack is that of the other tests of whole nights. The browser is Debian's chromium.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect
from tests.fixtures.browser import (
    CHROMIUM,
    PATIENCE,
    WINDOW,
    airflow,
    login_to_mlflow,
    sign_in,
)

from understudy.devstack import settings

if TYPE_CHECKING:
    from playwright.sync_api import StorageState
    from tests.fixtures.airflow import Installation

pytestmark = [
    pytest.mark.integration,
    pytest.mark.long("a browser walks through whole nights, page by page"),
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium; apt-get install chromium"),
]

NIGHT = "scheduled__2026-01-{:02}T00:00:00+00:00"
expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="module")
def nights(installation: Installation) -> None:
    """Let the first two nights of the Dag ``nights`` end."""
    installation.unpause("nights")
    for day in (1, 2):
        assert installation.wait("nights", NIGHT.format(day)) == "success"


@pytest.fixture(scope="module")
def signed_in(browser: Browser, installation: Installation) -> StorageState:
    """Sign in by the form, once; return what the browser keeps of it."""
    context = browser.new_context()
    sign_in(context.new_page(), airflow(installation), settings.password(installation.stack.place))
    expect(context.pages[0].get_by_role("link", name="Dags", exact=True)).to_be_visible()
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def stranger(browser: Browser, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Page]:
    """Return a page of a browser that is not signed in."""
    with looking(browser.new_context(**WINDOW), request, tmp_path) as page:
        yield page


@pytest.fixture
def page(
    browser: Browser,
    signed_in: StorageState,
    installation: Installation,
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> Iterator[Page]:
    """Return a page of a browser that is signed in."""
    login = login_to_mlflow(installation)
    context = browser.new_context(storage_state=signed_in, **WINDOW, **login)
    with looking(context, request, tmp_path) as page:
        yield page


@contextmanager
def looking(
    context: BrowserContext, request: pytest.FixtureRequest, folder: Path
) -> Iterator[Page]:
    """Open a page; where the test fails, keep a picture of each page that is open then."""
    failed = request.session.testsfailed
    context.set_default_timeout(PATIENCE)
    yield context.new_page()
    if request.session.testsfailed > failed:
        for number, opened in enumerate(context.pages):
            opened.screenshot(path=folder / f"page-{number}.png")
    context.close()


def choose(form: Locator, title: str, choice: str) -> None:
    """Pick a choice of a list."""
    form.get_by_role("combobox", name=title).click()
    form.get_by_role("option", name=choice, exact=True).click()


def test_the_generated_password_lets_in_and_no_other(
    stranger: Page, installation: Installation
) -> None:
    """A wrong password is answered on the form itself."""
    sign_in(stranger, airflow(installation), "wrong")
    expect(stranger.get_by_text("Invalid credentials")).to_be_visible()
    sign_in(stranger, airflow(installation), settings.password(installation.stack.place))
    expect(stranger.get_by_role("link", name="Dags", exact=True)).to_be_visible()


@pytest.mark.usefixtures("nights")
def test_the_grid_shows_the_nights(page: Page, installation: Installation) -> None:
    """Every night has a column with a link for each task; the table of runs has their states."""
    page.goto(airflow(installation, "dags/nights/runs"))
    for day in (1, 2):
        run = f"/dags/nights/runs/{NIGHT.format(day)}"
        for task in ("pin", "train", "validate/mapped", "gate", "promote", "report"):
            expect(page.locator(f"a[href='{run}/tasks/{task}']")).to_be_visible()
        row = page.get_by_role("row").filter(has=page.get_by_role("link", name=NIGHT.format(day)))
        expect(row).to_contain_text("Success")


def test_the_docs_explain_the_outcomes_and_the_rules(
    page: Page, installation: Installation
) -> None:
    """The Dag and each of its tasks say what they do."""
    page.goto(airflow(installation, "dags/nights"))
    page.get_by_role("button", name="Dag Docs").click()
    docs = page.get_by_role("dialog")
    for outcome in ("PROMOTED", "REJECTED", "HELD", "SKIPPED", "FAILED"):
        expect(docs.get_by_role("cell", name=outcome, exact=True)).to_be_visible()
    expect(docs).to_contain_text("rmse (lower is better) must be better than the champion's by")


def test_the_form_explains_its_fields_and_triggers_what_was_chosen(
    page: Page, installation: Installation
) -> None:
    """Airflow names a wrong value and keeps the form; corrected, the run has what was chosen."""
    page.goto(airflow(installation, "dags/shown"))
    page.get_by_role("button", name="Trigger").first.click()
    form = page.get_by_role("dialog")
    for title, help_text in {
        "Version": "Branch, tag or commit of the project; empty for its default branch.",
        "Data as of": "Use what had arrived by then",
        "Run although nothing changed": "Run every step anew, and judge, even where",
        "Promote": "Whether a challenger that passes the gate becomes the champion.",
    }.items():
        field = form.get_by_role("group").filter(has_text=title).filter(has_text=help_text)
        expect(field).to_be_visible()
    form.get_by_text("Unpause shown on trigger").click()  # the run need not begin
    choose(form, "Promote", "never - only judge")
    version = form.locator("#element_version")
    expect(version).to_have_value("main")
    version.fill("no blanks")
    form.get_by_role("button", name="Trigger", exact=True).click()
    expect(form).to_contain_text("does not match")
    version.fill("")
    form.get_by_role("button", name="Parameters of the project").click()
    expect(form).to_contain_text("At least 0.")
    form.get_by_role("spinbutton", name="factor").fill("0.5")
    choose(form, "broken", "champion")
    form.get_by_role("button", name="Trigger", exact=True).click()
    expect(form).to_be_hidden()
    (run,) = installation.call("GET", "dags/shown/dagRuns")["dag_runs"]
    assert run["run_type"] == "manual"
    chosen = {"version": None, "promote": "never", "factor": 0.5, "broken": "champion"}
    assert chosen.items() <= run["conf"].items()


@pytest.mark.usefixtures("nights")
def test_a_task_has_a_button_that_opens_its_mlflow_run(
    page: Page, installation: Installation
) -> None:
    """MLflow's page shows the run's name and its night, also for one task of several."""
    for task, name in (("train", "train"), ("validate/mapped/1", "validate champion")):
        page.goto(airflow(installation, f"dags/nights/runs/{NIGHT.format(2)}/tasks/{task}/details"))
        with page.expect_popup() as opened:
            page.get_by_role("link", name="MLflow run").click()
        run = opened.value
        expect(run.get_by_role("heading", name=name, exact=True)).to_be_visible()
        expect(run.get_by_role("link", name="night 2026-01-02 00:00")).to_be_visible()
