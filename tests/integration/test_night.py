"""What the runs of a pipeline's nights say of each other, on a real MLflow server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from understudy.airflow.night_context import outcome_of
from understudy.contract import Outcome, Tag
from understudy.store.night import NightBook

if TYPE_CHECKING:
    from tests.fixtures.nights import Pipeline

pytestmark = pytest.mark.integration


def test_a_night_that_sees_less_than_the_one_before_says_so(pipeline: Pipeline) -> None:
    """Once, where a person looks; the one that follows has nothing to say."""
    book, said = NightBook(pipeline.client, pipeline.runs), []
    for day in (2, 2, 1, 2):
        night = pipeline.night(f"2026-01-0{day}T00:00:00+00:00")
        said.append(book.note_less_seen(night))
        tags = {**pipeline.tags(night), Tag.SKIPPED_BECAUSE: "nothing new"}
        outcome, reason = outcome_of(tags, {"download": "skipped"})
        assert outcome is Outcome.SKIPPED
        assert reason == "; ".join(filter(None, ["nothing new", said[-1]]))
    assert [bool(words) for words in said] == [False, False, True, False]
    assert said[2] == (
        "it saw data as of 2026-01-01T00:00:00+00:00, and 2026-01-02T00:00:00+00:00 before it"
        " of 2026-01-02T00:00:00+00:00"
    )
