"""What has to hold for the nights of each pipeline of tests/dags/ugly.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from tests.fixtures import ugly_table
from tests.fixtures.played_nights import AFTER, ALIKE, BEFORE, strict

from understudy.cli.main import main
from understudy.decide.evaluator import Evaluator
from understudy.decide.replay import replayed

if TYPE_CHECKING:
    from tests.fixtures.played_nights import Nights, Served

JUDGED = ("first", "better", "similar", "worse")


class WholeNights:
    """A first champion, nothing new, a better model, one as good, a worse one; then production."""

    def test_each_night_ends_as_its_model_deserves(self, ugly_nights: Nights) -> None:
        """By comparison on the same rows; the champion is the better model of the two promoted."""
        tags = {name: ugly_nights.of(name).data.tags for name, *_ in ugly_nights.table.nights}
        ends = {name: one["understudy.outcome"] for name, one in tags.items()}
        assert ends == {name: end for name, _, _, end in ugly_nights.table.nights}
        champions = [one["understudy.champion.after"] for one in tags.values()]
        assert champions[-5:] == ["1", "1", "2", "2", "2"]
        runs = ugly_nights.installation.runs(ugly_nights.table.dag_id)
        assert {run.info.status for run in runs} == {"FINISHED"}

    @pytest.mark.parametrize(("name", "day"), [("first", BEFORE), ("better", AFTER)])
    def test_rows_are_lost_for_two_reasons_only(
        self, ugly_nights: Nights, name: str, day: int
    ) -> None:
        """No time, or no target; a missing feature is none, and late rows are there."""
        there = ugly_table.rows(day)
        known = there[pd.to_datetime(there[ugly_table.TIME]) < ugly_table.as_of(day)]
        kept = known[known[ugly_nights.table.target].notna()]
        lost = there[ugly_table.TIME].isna().sum() + len(known) - len(kept)
        tags = ugly_nights.step(name, "preprocess").data.tags
        assert ugly_nights.step(name, "download").data.tags["data.rows"] == str(len(known))
        assert tags["data.rejected.rows"] == str(lost)
        parts = [int(tags[f"data.{part}.rows"]) for part in ("train", "holdout")]
        assert sum(parts) == len(kept)

    def test_rows_that_come_late_are_used(self, ugly_nights: Nights) -> None:
        """Of days that were over when the first night ran, which had not seen them."""
        cut = pd.Timestamp(ugly_table.as_of(BEFORE))
        late, seen = [], []
        for name in ("first", "better"):
            data = ugly_nights.file(ugly_nights.step(name, "preprocess"), "data")
            parts = [pd.read_parquet(data / f"{one}.parquet") for one in ("train", "holdout")]
            rows = pd.concat(parts)
            old = rows[rows[ugly_table.TIME].dt.tz_localize(None) < cut]
            late.append(set(old[ugly_table.IDENTITY]))
            seen.append(rows[ugly_table.STREET].nunique())
        assert late[0] < late[1]
        assert seen[0] < seen[1]

    @pytest.mark.parametrize("name", ["first", "better"])
    def test_a_rehearsal_asks_for_rows_with_missing_cells(
        self, ugly_nights: Nights, name: str
    ) -> None:
        """As null in strict JSON; what is served says what was said offline."""
        run = ugly_nights.of(name, "rehearsal")
        asked = ugly_nights.strict(run, "rehearsal/questions.json")
        assert asked["source"].startswith("the holdout")
        cells = [cell for one in asked["questions"] for cell in _cells(one["body"])]
        assert None in cells
        record = ugly_nights.strict(run, "rehearsal/rehearsal.json")
        assert (record["questions"], record["differences"]) == (20, [])

    def test_what_nights_leave_is_strict_json(self, ugly_nights: Nights) -> None:
        """So that every program can read it: NaN is none."""
        run = ugly_nights.of("first")
        folder = ugly_nights.installation.stack.place.mlflow / "artifacts" / run.info.experiment_id
        files = list(folder.rglob("*.json"))
        assert {"decision.json", "dataset.json", "questions.json"} <= {one.name for one in files}
        for file in files:
            strict(file)

    @pytest.mark.parametrize("name", JUDGED)
    def test_every_verdict_has_a_page_with_pictures(self, ugly_nights: Nights, name: str) -> None:
        """Of a comparison, where there was a champion; nothing on it could not be drawn."""
        page = ugly_nights.file(ugly_nights.of(name), "decision/decision.html").read_text()
        assert "could not be drawn" not in page
        assert "<svg" in page

    @pytest.mark.usefixtures("gate_in_this_process")
    def test_the_same_verdicts_are_reached_again(self, ugly_nights: Nights) -> None:
        """From the stored predictions: nothing differs."""
        records = [
            ugly_nights.file(ugly_nights.of(name), "decision/decision.json").read_text()
            for name in JUDGED
        ]
        again = list(replayed(records, Evaluator(ugly_nights.installation.client), print))
        assert [one.now.verdict for one in again] == ["PROMOTE", "PROMOTE", "HOLD", "REJECT"]
        assert [one.differences for one in again] == [()] * 4

    @pytest.mark.parametrize("kind", ["split", "records", "csv"])
    @pytest.mark.parametrize("at_once", [1, 40])
    def test_the_champion_answers_raw_rows(
        self, ugly_nights: Nights, served: Served, kind: str, at_once: int
    ) -> None:
        """Rows of the table as they are, alone or many: the answers are those of the holdout."""
        served.await_version("2")
        check_answers(ugly_nights, served, "better", kind, at_once)

    @pytest.mark.parametrize("kind", ["split", "records", "csv"])
    def test_the_champion_answers_whatever_is_missing(
        self, ugly_nights: Nights, served: Served, kind: str
    ) -> None:
        """A row of which nothing is known, and one of a street that nobody has heard of."""
        served.await_version("2")
        rows = ugly_nights.table.rows(AFTER).head(2)
        nothing = rows.where(rows.isna(), None).head(1)
        new = rows.assign(**{ugly_table.STREET: "never heard of"})
        for odd in (nothing, new):
            answers = served.asked(kind, odd)
            assert len(answers) == len(odd)
            assert None not in answers
            assert answers == served.asked("split", odd)

    def test_a_rollback_brings_back_a_champion_that_answers(
        self, ugly_nights: Nights, served: Served, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Asked the questions of its first rehearsal; production follows, without a restart."""
        stack = ugly_nights.installation.stack
        monkeypatch.setenv("MLFLOW_TRACKING_URI", stack.addresses().mlflow)
        monkeypatch.setenv("UNDERSTUDY_CACHE", str(stack.place.cache))
        assert main(["rollback", ugly_nights.table.dag_id, "--why", "odd numbers"]) == 0
        served.await_version("1")
        check_answers(ugly_nights, served, "first", "split", 10)


def check_answers(nights: Nights, served: Served, name: str, kind: str, at_once: int) -> None:
    """Check answers to holdout rows with missing cells, taken from the table, in portions."""
    offline = nights.offline(name)
    rows = nights.table.rows(AFTER).drop_duplicates(ugly_table.IDENTITY)
    features = [ugly_table.AREA, ugly_table.ROOMS, ugly_table.ENERGY, ugly_table.CHECKED]
    gaps = rows[rows[features].isna().sum(axis=1) >= 2].set_index(ugly_table.IDENTITY, drop=False)
    asked = gaps.loc[[one for one in gaps.index if one in offline.index][: max(at_once, 8)]]
    assert len(asked) >= 8
    answers = [
        answer
        for start in range(0, len(asked), at_once)
        for answer in served.asked(kind, asked.iloc[start : start + at_once])
    ]
    assert answers == [
        one if isinstance(one, str) else pytest.approx(one, rel=ALIKE)
        for one in offline[asked.index]
    ]


def _cells(body: dict[str, Any]) -> list[Any]:
    return [cell for row in body["dataframe_split"]["data"] for cell in row]
