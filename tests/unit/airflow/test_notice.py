"""What people are told: whole messages by Airflow's own notifiers, once per event, never fatal."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import BaseNotifier

from understudy.airflow.notice import Messenger, Notice, of_night, of_skips, of_stale
from understudy.contract import Outcome, Tag
from understudy.store.night import Night

if TYPE_CHECKING:
    from understudy.airflow.services import Services

FACTS = {
    "reason": "rmse 4 beats 5 by 1; r2 0.9 is at least 0.5",
    "champion": "8",
    "link": "http://mlflow/#/experiments/1/runs/n",
}
RUN = "n"


class Written(BaseNotifier):
    """Keeps what it would send."""

    template_fields = ("text",)

    def __init__(self, text: str, sent: list[str]) -> None:
        super().__init__()
        self.text, self.sent = text, sent

    def notify(self, context: Any) -> None:  # noqa: ANN401 -- Airflow's
        """Keep the rendered text."""
        del context
        self.sent.append(self.text)


class Unwell(Written):
    """Fails before Airflow's own net is under it."""

    def __call__(self, *args: Any) -> None:
        """Fail."""
        message = f"the chat is down for {len(args)}"
        raise RuntimeError(message)


class Runs:
    """Keeps the tags of one run."""

    def __init__(self) -> None:
        self.tags: dict[str, str] = {}
        self.info = self.data = self

    def get(self, run_id: str) -> Runs:
        """Return the run."""
        assert run_id == RUN
        return self

    def tag(self, run_id: str, tags: Mapping[Tag, str]) -> None:
        """Set tags."""
        assert run_id == RUN
        self.tags.update({tag.value: value for tag, value in tags.items()})


class Desk:
    """The part of the services that a messenger uses."""

    def __init__(self) -> None:
        self.runs = Runs()


@pytest.fixture
def services() -> Services:
    """Return services that know one run."""
    return Desk()  # type: ignore[return-value]


@pytest.fixture(scope="module")
def pinned(pinned_night: Callable[..., Night]) -> Night:
    """Return a night of a pipeline."""
    return pinned_night(
        RUN,
        "1",
        name="wine night",
        model="wine",
        repository="https://example.com/models.git",
        commit="c0ffee" * 6 + "beef",
        champion="7",
        as_of="2026-01-31T00:00:00+00:00",
    )


@pytest.fixture(scope="module")
def notice_of(pinned: Night) -> Callable[[Outcome], Notice]:
    """Return what returns the notice of a night that ended so."""

    def of(outcome: Outcome) -> Notice:
        found = of_night(pinned, outcome, FACTS)
        assert found is not None
        return found

    return of


def test_a_night_s_notice_can_be_understood_by_itself(
    notice_of: Callable[[Outcome], Notice],
) -> None:
    """Model, date, outcome, the move, each reason, code and address."""
    notice = notice_of(Outcome.PROMOTED)
    assert notice.event == "promoted"
    assert notice.title == "wine: night of 2026-01-31 PROMOTED, champion 7 -> 8"
    assert notice.text.splitlines() == [
        "wine night retrained wine on data as of 2026-01-31T00:00:00+00:00.",
        "* rmse 4 beats 5 by 1",
        "* r2 0.9 is at least 0.5",
        "Commit c0ffeec0ffee of https://example.com/models.git",
        "http://mlflow/#/experiments/1/runs/n",
    ]


def test_every_outcome_but_skipped_is_an_event(pinned: Night) -> None:
    """Of skipped nights only a row of them is told."""
    found = {outcome: of_night(pinned, outcome, FACTS) for outcome in Outcome}
    assert found.pop(Outcome.SKIPPED) is None
    events = {outcome.value.lower(): one.event for outcome, one in found.items() if one}
    assert events == {name: name for name in ("promoted", "held", "rejected", "failed")}


@pytest.mark.parametrize("link", ["http://mlflow/run", ""])
def test_a_row_of_skipped_nights_and_a_stale_champion(pinned: Night, link: str) -> None:
    """Each says since when, and what to ask oneself; without an address no line for it."""
    skipped = of_skips(pinned, 7, link)
    stale = of_stale(pinned, "7", "2025-11-01T02:00:00+00:00", link)
    assert "no new data since 7 nights" in skipped.text
    assert stale.title == "wine: version 7 is champion since 2025-11-01"
    for notice in (skipped, stale):
        assert notice.text.endswith(link or "?" if notice is stale else link or "Champion: 7.")


def test_templates_see_the_notice_and_each_event_is_told_once(
    pinned: Night, notice_of: Callable[[Outcome], Notice], services: Services
) -> None:
    """A task that is tried again tells nobody twice; another event of the night is told."""
    sent: list[str] = []
    told = Written("{{ understudy.title }}", sent)
    messenger = Messenger({"promoted": [told], "*": [told]}, logging.getLogger())
    for outcome in (Outcome.PROMOTED, Outcome.PROMOTED, Outcome.HELD):
        messenger.tell({}, services, pinned, notice_of(outcome))
    titles = [notice_of(outcome).title for outcome in (Outcome.PROMOTED, Outcome.HELD)]
    assert sent == [titles[0], titles[0], titles[1]]
    assert services.runs.get("n").data.tags[Tag.NOTIFIED.value] == "promoted held"
    assert told.text == "{{ understudy.title }}"


def test_a_notifier_that_fails_stops_neither_the_others_nor_the_night(
    pinned: Night,
    notice_of: Callable[[Outcome], Notice],
    services: Services,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log has the error and what was not said."""
    sent: list[str] = []
    notifiers = {"held": [Unwell("", sent), Written("{{ understudy.event }}", sent)]}
    Messenger(notifiers, logging.getLogger()).tell({}, services, pinned, notice_of(Outcome.HELD))
    assert sent == ["held"]
    assert "was not sent" in caplog.text
    assert "the chat is down for 1" in caplog.text


def test_nothing_is_asked_of_mlflow_where_nobody_listens(
    pinned: Night, notice_of: Callable[[Outcome], Notice], services: Services
) -> None:
    """A pipeline without notifiers costs nothing."""
    Messenger({"held": []}, logging.getLogger()).tell(
        {}, services, pinned, notice_of(Outcome.PROMOTED)
    )
    assert services.runs.get("n").data.tags == {}


def test_a_reason_forges_no_line_and_shows_no_secret(pinned: Night) -> None:
    """What people read may come from data and from errors."""
    reason = "x\nPROMOTED by nobody; https://ada:s3cret@host"
    notice = of_night(pinned, Outcome.HELD, {**FACTS, "reason": reason})
    assert notice is not None
    assert "* x\\nPROMOTED by nobody\n* https://host\n" in notice.text
