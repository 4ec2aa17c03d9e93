"""The pages inside Airflow's UI, used with a real browser: their buttons act as they say.

One pipeline is asked for a person's answer; its second night is approved from its page, and taken
back from the page of its champion. The third is so by people of the FAB auth manager, below a path.
"""

from __future__ import annotations

import configparser
import re
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import jwt
import pytest
from playwright.sync_api import Browser, FrameLocator, Page, expect
from tests.fixtures.beside import Fab, api_server, fab
from tests.fixtures.browser import (
    CHROMIUM,
    PATIENCE,
    WINDOW,
    airflow,
    login_to_mlflow,
    sent_from_elsewhere,
    sign_in,
)

from understudy.devstack import settings

if TYPE_CHECKING:
    from tests.fixtures.airflow import Installation

pytestmark = [
    pytest.mark.integration,
    pytest.mark.long("three nights, two answers and two rollbacks one after another, in a browser"),
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium; apt-get install chromium"),
]
expect.set_options(timeout=PATIENCE)
DAG = "paged"


@pytest.fixture(scope="module")
def page(browser: Browser, installation: Installation) -> Iterator[Page]:
    """Return a page of a browser that is signed in; a script's error fails the test."""
    context = browser.new_context(**WINDOW, **login_to_mlflow(installation))
    context.set_default_timeout(PATIENCE)
    opened = context.new_page()
    errors: list[Any] = []
    opened.on("pageerror", lambda error: errors.append(error))  # noqa: PLW0108 -- has no attributes
    sign_in(opened, airflow(installation), settings.password(installation.stack.place))
    expect(opened.get_by_role("link", name="Dags", exact=True)).to_be_visible()
    yield opened
    assert errors == []
    context.close()


def framed(page: Page, installation: Installation, path: str) -> FrameLocator:
    """Open a page of Airflow and return the frame of ours in it."""
    page.goto(airflow(installation, path))
    frame = page.frame_locator("iframe")
    expect(frame.locator("#part:not([aria-busy]) .top h1")).to_be_visible()
    return frame


def back_to_1(frame: FrameLocator, why: str) -> None:
    """Fill in the dialog of a rollback that is open, and see the page say what came of it."""
    dialog = frame.get_by_role("dialog")
    dialog.get_by_label("Why").fill(why)
    dialog.get_by_label("Rehearse it first").uncheck()
    dialog.get_by_role("button", name="Roll back").click()
    expect(frame.locator(".standing").first).to_contain_text("Version 1", timeout=2 * PATIENCE)
    expect(frame.locator(".moves tbody tr").first).to_contain_text(why)


def nothing_is_done_for_another_site(page: Page, installation: Installation) -> None:
    """Let a page on another port ask for what the buttons do, with the admin's cookie."""
    note = "not from here"
    night = {"logical_date": None, "conf": {}, "note": note}
    back = {"model": DAG, "to": "1", "why": "w", "block": "version", "rehearse": False}
    answer = {"chosen_options": ["Approve"], "params_input": {"note": note}}
    asked = {
        f"dags/{DAG}/dagRuns": night,
        "dags/rollback/dagRuns": {**night, "conf": back},
        f"dags/{DAG}/dagRuns/second/taskInstances/approve/-1/hitlDetails": answer,
    }
    runs = [installation.call("GET", f"dags/{dag}/dagRuns") for dag in (DAG, "rollback")]
    for path, json in asked.items():
        method = "PATCH" if json is answer else "POST"
        address = airflow(installation, f"api/v2/{path}")
        found = sent_from_elsewhere(page.context, address, json, note, method)
        # The login came along, and what was asked for was refused.
        assert len(found) >= 6
        for way, status in found.items():
            assert status in {0, 405, 422}, (path, way, status)
    after = [installation.call("GET", f"dags/{dag}/dagRuns") for dag in (DAG, "rollback")]
    assert [one["total_entries"] for one in after] == [one["total_entries"] for one in runs]
    installation.wait_for_question(DAG, "second", "approve")


def test_an_answer_and_a_rollback_from_the_pages(page: Page, installation: Installation) -> None:
    """The night goes on after the answer; the rollback moves the alias, with the person's name."""
    installation.trigger(DAG, "first", promote="auto", factor=1.0)
    assert installation.wait(DAG, "first") == "success"
    installation.unpause("rollback")
    installation.trigger(DAG, "second", promote="ask", factor=0.5)
    installation.wait_for_question(DAG, "second", "approve")

    frame = framed(page, installation, f"dags/{DAG}/plugin/champion")
    expect(frame.locator(".standing").first).to_contain_text("Version 1")
    nothing_is_done_for_another_site(page, installation)
    question = frame.locator(".question")
    expect(question).to_contain_text("Promote the challenger of paged")
    expect(question).to_contain_text("rmse")
    approve = question.get_by_role("button", name="Approve")
    approve.focus()
    page.keyboard.press("Enter")
    expect(question.locator(".said")).to_contain_text("Taken.")
    assert installation.wait(DAG, "second") == "success"
    assert installation.champion(DAG) == "2"

    frame.get_by_role("button", name="Refresh").click()
    expect(frame.locator(".standing").first).to_contain_text("Version 2")
    frame.get_by_role("button", name="Go back to 1").click()
    dialog = frame.get_by_role("dialog")
    expect(dialog).to_contain_text("Version 1 of paged becomes champion in place of version 2.")
    dialog.get_by_role("button", name="Roll back").click()
    expect(dialog).to_be_visible()  # a reason is asked for
    back_to_1(frame, "it was too kind")
    assert installation.champion(DAG) == "1"
    expect(frame.locator(".moves tbody tr").first).to_contain_text(settings.USER)
    logged = installation.call("GET", "eventLogs?dag_id=rollback&limit=50")["event_logs"]
    asked = [one for one in logged if "trigger" in one["event"]]
    assert any(one["owner"] == settings.USER and "it was too kind" in one["extra"] for one in asked)


def test_the_night_of_a_dag_run_has_its_decision(page: Page, installation: Installation) -> None:
    """In its tab, and at an address of its own, which the task's button opens."""
    frame = framed(page, installation, f"dags/{DAG}/runs/second/plugin/night")
    expect(frame.locator(".standing")).to_contain_text("PROMOTED")
    expect(frame.locator("main")).to_contain_text("moved from version 1 to version 2")
    expect(frame.get_by_role("heading", name="Every check against its bound")).to_be_visible()
    with page.expect_popup() as opened:
        frame.get_by_role("link", name="The night in MLflow").click()
    expect(opened.value.get_by_text(re.compile("PROMOTED: night"))).to_be_visible()
    opened.value.close()
    page.goto(airflow(installation, f"dags/{DAG}/runs/second/tasks/report/details"))
    # Airflow opens links to itself in the same tab, others in a new one.
    page.get_by_role("link", name="Decision").click()
    expect(page.locator(".standing")).to_contain_text("PROMOTED")


def test_trigger_says_how_the_night_ended(page: Page, installation: Installation) -> None:
    """By keyboard alone, from the button to the outcome; a second night of the same is skipped."""
    frame = framed(page, installation, f"dags/{DAG}/plugin/champion")
    frame.get_by_role("button", name="Trigger a night").focus()
    page.keyboard.press("Enter")
    dialog = frame.get_by_role("dialog")
    expect(dialog).to_be_visible()
    page.keyboard.type("asked for by keyboard")
    page.keyboard.press("Enter")
    expect(dialog.locator(".said")).to_contain_text(", champion ", timeout=3 * PATIENCE)
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    newest = installation.call("GET", f"dags/{DAG}/dagRuns?order_by=-run_after&limit=1")
    (run,) = newest["dag_runs"]
    assert run["note"] == "asked for by keyboard"


def test_every_control_is_reached_by_keyboard_alone(page: Page, installation: Installation) -> None:
    """Each link and button in turn, and what has the focus is seen."""
    page.goto(airflow(installation, f"understudy/dags/{DAG}/champion"))
    expect(page.locator("#part:not([aria-busy]) .top h1")).to_be_visible()
    controls = page.locator("main a:visible, main button:visible, main summary:visible").count()
    reached = set()
    for _ in range(controls):
        page.keyboard.press("Tab")
        here = page.evaluate(
            "(() => {const e = document.activeElement; const s = getComputedStyle(e);"
            " return [[...document.querySelectorAll('*')].indexOf(e), s.outlineStyle];})()"
        )
        assert here[1] == "solid"
        reached.add(here[0])
    assert len(reached) == controls >= 8


def test_a_viewer_sees_and_cannot_act(
    page: Page, browser: Browser, installation: Installation
) -> None:
    """The page is there; each button says that the account may not, and nothing has run."""
    (token,) = (one for one in page.context.cookies() if one["name"] == "_token")
    context = browser.new_context(**WINDOW)
    context.add_cookies([{**token, "value": signed("viewer", token["value"], installation)}])
    context.set_default_timeout(PATIENCE)
    before = installation.call("GET", f"dags/{DAG}/dagRuns")["total_entries"]
    seen = context.new_page()
    seen.goto(airflow(installation, f"understudy/dags/{DAG}/champion"))
    expect(seen.locator(".standing").first).to_contain_text("is in production")
    dialog = seen.get_by_role("dialog")
    seen.get_by_role("button", name="Trigger a night").click()
    dialog.get_by_role("button", name="Trigger").click()
    expect(dialog.locator(".said")).to_contain_text("Your account may not")
    dialog.get_by_role("button", name="Cancel").click()
    seen.get_by_role("button", name="Go back to 2").click()
    dialog.get_by_label("Why").fill("I may not")
    dialog.get_by_role("button", name="Roll back").click()
    expect(dialog.locator(".said")).to_contain_text("Your account may not")
    context.close()
    assert installation.call("GET", f"dags/{DAG}/dagRuns")["total_entries"] == before
    assert installation.champion(DAG) == "1"


def signed(role: str, token: str, installation: Installation) -> str:
    """Return an admin's token as Airflow's simple auth manager would sign it for another role."""
    secrets = configparser.ConfigParser(interpolation=None)
    secrets.read(installation.stack.place.airflow / "secrets.cfg", "utf-8")
    claims = jwt.decode(token, options={"verify_signature": False})
    known = jwt.get_unverified_header(token)
    told = {**claims, "sub": f"a-{role}", "role": role, "jti": uuid.uuid4().hex}
    return jwt.encode(told, secrets["api_auth"]["jwt_secret"], known["alg"])


def test_the_list_of_champions_leads_to_each(page: Page, installation: Installation) -> None:
    """By keyboard."""
    frame = framed(page, installation, "plugin/champions")
    link = frame.get_by_role("link", name=DAG, exact=True)
    link.focus()
    page.keyboard.press("Enter")
    expect(frame.get_by_role("heading", name=f"Champion of {DAG}")).to_be_visible()


def test_a_foreign_dag_is_told_so(page: Page, installation: Installation) -> None:
    """The tab stands on every Dag."""
    page.goto(airflow(installation, "dags/after_data/plugin/champion"))
    expect(page.frame_locator("iframe").locator("main")).to_contain_text("no pipeline of")


def test_airflows_theme_is_followed_while_it_changes(
    page: Page, installation: Installation
) -> None:
    """Light and dark as Airflow is, at once."""
    frame = framed(page, installation, f"dags/{DAG}/plugin/champion")
    for theme in ("dark", "light"):
        other = "light" if theme == "dark" else "dark"
        page.evaluate(
            "([on, off]) => {const c = document.documentElement.classList;"
            " c.remove(off); c.add(on);}",
            [theme, other],
        )
        expect(frame.locator(f"html[data-theme={theme}]")).to_be_attached()


@pytest.fixture(scope="module")
def below(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of the same Airflow below a path, by an API server of its own."""
    programs = installation.stack.place.environment("airflow")
    with api_server(installation, tmp_path_factory.mktemp("below"), programs) as address:
        yield address


def test_the_tabs_work_where_airflow_has_a_path(
    browser: Browser, installation: Installation, below: str
) -> None:
    """Frames, their links from page to page, buttons; nothing is asked of what lies outside it."""
    context = browser.new_context(**WINDOW, **login_to_mlflow(installation))
    context.set_default_timeout(PATIENCE)
    page, asked, refused = context.new_page(), list[str](), list[str]()
    page.on("request", lambda request: asked.append(request.url))
    page.on(
        "response",
        lambda answer: answer.status >= 400 and refused.append(f"{answer.status} {answer.url}"),
    )
    sign_in(page, f"{below}/", settings.password(installation.stack.place))
    expect(page.get_by_role("link", name="Dags", exact=True)).to_be_visible()
    refused.clear()  # the login itself began with one

    def framed_at(path: str) -> FrameLocator:
        page.goto(f"{below}/{path}")
        frame = page.frame_locator("iframe")
        expect(frame.locator("#part:not([aria-busy]) .top h1")).to_be_visible()
        return frame

    frame = framed_at("plugin/champions")
    frame.get_by_role("link", name=DAG, exact=True).click()
    expect(frame.get_by_role("heading", name=f"Champion of {DAG}")).to_be_visible()
    frame.get_by_role("link", name="decision and steps").click()
    expect(frame.get_by_role("heading", name="What was pinned")).to_be_visible()
    frame = framed_at(f"dags/{DAG}/runs/second/plugin/night")
    expect(frame.locator(".standing")).to_contain_text("PROMOTED")
    frame = framed_at(f"dags/{DAG}/plugin/champion")
    frame.get_by_role("button", name="Refresh").click()
    expect(frame.locator("#part:not([aria-busy]) .standing").first).to_contain_text("Version 1")
    frame.get_by_role("button", name="Trigger a night").click()
    dialog = frame.get_by_role("dialog")
    dialog.get_by_role("button", name="Trigger").click()
    expect(dialog.locator(".said")).to_contain_text(", champion ", timeout=3 * PATIENCE)
    context.close()
    ours = [one for one in asked if urlsplit(one).netloc == urlsplit(below).netloc]
    assert any("/understudy/" in one for one in ours)
    assert [one for one in ours if not urlsplit(one).path.startswith("/team/airflow/")] == []
    assert [one for one in refused if "/understudy/" in one or "/api/v2/" in one] == []


@pytest.fixture(scope="module")
def team(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fab]:
    """Return the same Airflow with the FAB auth manager, below a path."""
    with fab(installation, tmp_path_factory.mktemp("fab")) as started:
        yield started


def as_person(browser: Browser, team: Fab, name: str) -> Page:
    """Return a page of a browser in which somebody is signed in."""
    context = browser.new_context(**WINDOW)
    context.set_default_timeout(PATIENCE)
    token = {"name": "_token", "value": team.token(name), "domain": "127.0.0.1", "path": "/"}
    context.add_cookies([token])
    return context.new_page()


def test_people_of_the_fab_auth_manager_below_a_path(
    browser: Browser, installation: Installation, team: Fab
) -> None:
    """Viewers see, who may read another Dag does not, a user answers and takes it back."""
    installation.trigger(DAG, "third", promote="ask", factor=0.25)
    installation.wait_for_question(DAG, "third", "approve")
    champion = f"{team.address}/dags/{DAG}/plugin/champion"

    seen = as_person(browser, team, "vera")
    seen.goto(champion)
    question = seen.frame_locator("iframe").locator(".question")
    question.get_by_role("button", name="Approve").click()
    expect(question.locator(".said")).to_contain_text("Your account may not")
    seen.context.close()

    bare = as_person(browser, team, "bare")  # no "can read on Plugins": no tab, but the address
    bare.goto(f"{team.address}/dags/{DAG}")
    expect(bare.get_by_role("link", name="Runs", exact=True)).to_be_visible()
    expect(bare.get_by_role("link", name="Champion", exact=True)).to_have_count(0)
    bare.goto(f"{team.address}/understudy/dags/{DAG}/champion")
    expect(bare.locator(".standing").first).to_contain_text("is in production")
    bare.context.close()

    other = as_person(browser, team, "otto")
    refused = other.goto(f"{team.address}/understudy/dags/{DAG}/champion")
    assert refused is not None
    assert refused.status == 403
    expect(other.get_by_role("heading")).to_contain_text("not for you")
    other.goto(f"{team.address}/understudy/champions")
    expect(other.locator("#part:not([aria-busy]) .top h1")).to_be_visible()
    expect(other.get_by_role("link", name=DAG, exact=True)).to_have_count(0)
    other.context.close()

    user = as_person(browser, team, "ursula")
    user.goto(champion)
    frame = user.frame_locator("iframe")
    question = frame.locator(".question")
    question.get_by_role("button", name="Approve").click()
    expect(question.locator(".said")).to_contain_text("Taken.")
    assert installation.wait(DAG, "third") == "success"
    assert installation.champion(DAG) == "3"
    frame.get_by_role("button", name="Refresh").click()
    expect(frame.locator(".standing").first).to_contain_text("Version 3")
    frame.get_by_role("button", name="Go back to 1").click()
    back_to_1(frame, "from below a path")
    assert installation.champion(DAG) == "1"
    expect(frame.locator(".moves tbody tr").first).to_contain_text("ursula")
    user.context.close()
    logged = installation.call("GET", "eventLogs?dag_id=rollback&limit=50")["event_logs"]
    assert any(one["owner"] == "ursula" for one in logged)
