"""Nights judged on a real MLflow server, by the gate's real process, and judged again."""

from __future__ import annotations

import importlib
import json
import math
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from understudy.cli.main import main
from understudy.contract import (
    DECISION_PAGE,
    DECISION_PROFILE,
    DECISION_RECORD,
    DECISION_SUMMARY,
    Tag,
)
from understudy.decide.decision import DecisionInputs, Validation
from understudy.decide.evaluator import Evaluator
from understudy.decide.gate_process import PYTHON_VARIABLE, GateProcess, project
from understudy.decide.inputs import cause_of
from understudy.decide.replay import replayed
from understudy.errors import (
    EnvironmentBuildError,
    ProjectError,
    StepFailedError,
    StepStoppedError,
    UnderstudyError,
)
from understudy.evaluation import child
from understudy.gate import (
    Basis,
    Budgets,
    Cause,
    DecisionRecord,
    Gate,
    Guards,
    Metric,
    Unscored,
    Verdict,
    replay,
)
from understudy.gate.exchange import GateRequest
from understudy.gate.record import CHANGED
from understudy.runner.environment.store import EnvironmentStore
from understudy.runner.process.process import ProcessRunner
from understudy.runner.scratch import scratch_folder
from understudy.runner.settings import Settings
from understudy.store.artifacts import seal

if TYPE_CHECKING:
    import pandas as pd
    from tests.fixtures.nights import Holdout, Pipeline

    from understudy.store.night import Night

pytestmark = pytest.mark.integration
ROWS = 400
"""Of the holdout that nights are judged on."""


@pytest.fixture
def no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where the gate's process is started."""
    monkeypatch.setattr(GateProcess, "run", lambda *_: pytest.fail("it was started"))


def same(one: DecisionRecord | None, other: DecisionRecord) -> bool:
    """Return whether two records say the same; NaN is like NaN there, as both are text."""
    return one is not None and one.to_json() == other.to_json()


def test_a_better_model_is_promoted_and_the_record_says_all(pipeline: Pipeline) -> None:
    """Stored with the night's run, recomputed from itself, and from the predictions."""
    night = pipeline.night("2026-01-01")
    ours = pipeline.validated("models:/m-1", pipeline.predicted(2.0), rmse=2.0)
    theirs = pipeline.validated("3", pipeline.predicted(3.0, 1), rmse=3.0)
    told: list[str] = []
    record = pipeline.decisions().judge(night, DecisionInputs(ours, theirs), told.append)
    assert record.verdict is Verdict.PROMOTE, record.decision.why
    assert record.basis is Basis.PREDICTIONS
    assert record.evidence is not None
    assert record.evidence.rows == ROWS
    assert set(record.software) > {"numpy", "scipy"}
    path = pipeline.client.download_artifacts(night.run_id, DECISION_RECORD)
    stored = Path(path).read_text(encoding="utf-8")
    assert replay(stored).to_json() == stored == record.to_json()
    tags = pipeline.tags(night)
    assert tags[Tag.VERDICT] == "PROMOTE"
    assert tags[Tag.HOLDOUT] == record.evidence.rows_sha256
    assert (tags[Tag.CHALLENGER], tags[Tag.SHADOW]) == ("models:/m-1", "")
    metrics = pipeline.client.get_run(night.run_id).data.metrics
    assert metrics["challenger_rmse"] == pytest.approx(2.0, rel=0.1)
    assert metrics["gain_low_rmse"] > 0
    assert main(["replay", night.run_id]) == 0
    kept = {item.path for item in pipeline.client.list_artifacts(night.run_id, "decision")}
    assert kept == {DECISION_RECORD, DECISION_PAGE, DECISION_SUMMARY}
    page = pipeline.client.download_artifacts(night.run_id, DECISION_PAGE)
    assert "beats the champion" in Path(page).read_text(encoding="utf-8")


@pytest.mark.usefixtures("gate_in_this_process")
@pytest.mark.parametrize("size", [1e155, 1e200, math.inf])
def test_predictions_of_any_size_are_judged_stored_and_drawn(
    pipeline: Pipeline, size: float
) -> None:
    """Their squares overflow; the verdict, its record and its page are there all the same."""
    night = pipeline.night("2026-01-01")
    huge = pipeline.predicted(2.0)
    huge.loc[0, "prediction"] = size
    ours = pipeline.validated("models:/m-1", huge)
    theirs = pipeline.validated("3", pipeline.predicted(3.0, 1))
    record = pipeline.decisions().judge(night, DecisionInputs(ours, theirs))
    assert record.verdict is Verdict.REJECT, record.decision.why
    assert pipeline.tags(night)[Tag.VERDICT.value] == "REJECT"
    assert same(pipeline.decisions().record(night), record)
    page = Path(pipeline.client.download_artifacts(night.run_id, DECISION_PAGE)).read_text()
    assert "1 rows are left out" in page
    assert "could not be drawn" not in page


@pytest.mark.usefixtures("gate_in_this_process")
@pytest.mark.parametrize(
    ("module", "name"),
    [("understudy.report.pictures", "drawn"), ("understudy.report.render", "read")],
)
def test_a_drawing_that_fails_costs_no_verdict(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, module: str, name: str
) -> None:
    """The record is stored first, and the page says what is not on it."""
    broken = iter(())
    monkeypatch.setattr(importlib.import_module(module), name, lambda *_: next(broken))
    night = pipeline.night("2026-01-01")
    ours = pipeline.validated("models:/m-1", pipeline.predicted(2.0))
    record = pipeline.decisions().judge(night, DecisionInputs(ours, None))
    assert same(pipeline.decisions().record(night), record)
    page = Path(pipeline.client.download_artifacts(night.run_id, DECISION_PAGE)).read_text()
    assert "could not be drawn (StopIteration: )" in page
    assert record.verdict.value in page


@pytest.mark.parametrize(
    ("value", "verdict", "words"),
    [
        (math.inf, Verdict.REJECT, "roc_auc is infinite (inf)"),
        (-math.inf, Verdict.REJECT, "roc_auc is infinite (-inf)"),
        (math.nan, Verdict.HOLD, "roc_auc is not defined on these rows"),
    ],
)
def test_logged_numbers_that_are_none(
    pipeline: Pipeline, value: float, verdict: Verdict, words: str
) -> None:
    """MLflow's store hands infinity back as 1.797e308, which would beat every champion."""
    night = pipeline.night("2026-01-01", Gate(Metric("roc_auc", at_least=0.5, min_gain=0.0)))
    ours = pipeline.validated("models:/m-1", None, roc_auc=value)
    theirs = pipeline.validated("3", None, roc_auc=0.7)
    record = pipeline.decisions().judge(night, DecisionInputs(ours, theirs))
    assert record.verdict is verdict
    assert words in record.decision.why
    assert same(pipeline.decisions().record(night), record)


@pytest.mark.usefixtures("gate_in_this_process")
def test_guards_look_at_the_night_s_rows_and_at_those_of_the_champion(pipeline: Pipeline) -> None:
    """A night keeps the profile of its rows, and the next one compares its own with it."""
    gate = Gate(Metric("rmse", min_gain=0.0), guards=Guards(unchecked="block", drift="block"))
    ours, theirs = (
        pipeline.validated("m", pipeline.predicted(2.0)),
        pipeline.validated("3", pipeline.predicted(3.0, 1)),
    )
    rows = pipeline.rows(slice(0, ROWS // 2), slice(ROWS // 2, ROWS))
    first = pipeline.night("2026-01-01", gate)
    record = pipeline.decisions().judge(first, DecisionInputs(ours, None, rows))
    assert record.verdict is Verdict.PROMOTE, record.decision.why
    kept = {item.path for item in pipeline.client.list_artifacts(first.run_id, "decision")}
    assert DECISION_PROFILE in kept
    champion = Validation(pipeline.version(first.run_id), theirs.run_id)
    second = pipeline.night("2026-01-02", gate)
    record = pipeline.decisions().judge(second, DecisionInputs(ours, champion, rows))
    assert record.verdict is Verdict.PROMOTE, record.decision.why
    assert record.evidence is not None
    found = {one.guard: one.numbers for one in record.evidence.findings}
    assert {"drift", "schema"} <= found.keys()
    moved = pipeline.rows(slice(0, ROWS // 2), slice(ROWS // 2, ROWS), size=50.0)
    night = pipeline.night("2026-01-03", gate)
    record = pipeline.decisions().judge(night, DecisionInputs(ours, champion, moved))
    assert record.verdict is Verdict.HOLD
    assert "drift: " in record.decision.why
    assert main(["replay", night.run_id]) == 0


@pytest.mark.usefixtures("gate_in_this_process")
@pytest.mark.parametrize(("level", "verdict"), [("block", Verdict.HOLD), ("warn", Verdict.PROMOTE)])
def test_what_a_guard_finds_is_told_everywhere(
    pipeline: Pipeline, level: str, verdict: Verdict
) -> None:
    """Holdout rows among the training rows: in the verdict, the log, the question and the page."""
    gate = Gate(Metric("rmse", min_gain=0.0), guards=Guards(leakage=level))  # type: ignore[arg-type]
    ours, theirs = (
        pipeline.validated("m", pipeline.predicted(2.0)),
        pipeline.validated("3", pipeline.predicted(3.0, 1)),
    )
    leaking = pipeline.rows(slice(0, ROWS), slice(ROWS // 2, ROWS))
    champion = Validation(pipeline.version(""), theirs.run_id)
    night = pipeline.night("2026-01-01", gate)
    record = pipeline.decisions().judge(night, DecisionInputs(ours, champion, leaking))
    assert record.verdict is verdict
    (said,) = [line for line in record.summary_lines() if line.startswith("leakage: ")]
    assert "200 of 200 holdout rows" in said
    page = pipeline.client.download_artifacts(night.run_id, DECISION_PAGE)
    assert "200 of 200 holdout rows" in Path(page).read_text(encoding="utf-8")


@pytest.mark.usefixtures("gate_in_this_process")
def test_guards_fall_back_to_the_champion_s_own_rows_and_say_what_is_gone(
    pipeline: Pipeline,
) -> None:
    """No night kept a profile: the rows that the training names; else it is told, and holds."""
    gate = Gate(Metric("rmse", min_gain=0.0), guards=Guards(unchecked="block"))
    ours, theirs = (
        pipeline.validated("m", pipeline.predicted(2.0)),
        pipeline.validated("3", pipeline.predicted(3.0, 1)),
    )
    rows = pipeline.rows(slice(0, ROWS // 2), slice(ROWS // 2, ROWS))
    inputs = json.dumps({"table": {"address": rows, "digest": "0"}})

    def judged(rows: str, version: str) -> DecisionRecord:
        brought = DecisionInputs(ours, Validation(version, theirs.run_id), rows)
        return pipeline.decisions().judge(pipeline.night("2026-01-01", gate), brought)

    record = judged(rows, pipeline.version("", **{Tag.INPUTS.value: inputs}))
    assert record.verdict is Verdict.PROMOTE, record.decision.why
    assert record.evidence is not None
    assert "schema" in {one.guard for one in record.evidence.findings}
    for address, version, why in (
        (rows, pipeline.version(""), "does not say which rows it had"),
        (rows, "99", "is not known"),
        ("runs:/" + "0" * 32 + "/data", pipeline.version(""), "There is no train.parquet"),
        ("", pipeline.version(""), "the night has no preprocess"),
    ):
        record = judged(address, version)
        assert record.verdict is Verdict.HOLD
        assert why in record.decision.why


@pytest.mark.usefixtures("gate_in_this_process")
def test_groups_that_no_rule_names_are_searched(pipeline: Pipeline) -> None:
    """A warning, also on the page: better on the whole, worse in one region."""
    worse = pipeline.predicted(1.0).assign(
        prediction=lambda rows: rows["prediction"].where(
            rows["region"] == "a", pipeline.holdout.truth + 4 * pipeline.holdout.noise[0]
        )
    )
    ours, theirs = (
        pipeline.validated("m", worse),
        pipeline.validated("3", pipeline.predicted(3.0, 1)),
    )
    for gate, searched in (
        (Gate(Metric("rmse", max_loss=9)), True),
        (Gate(Metric("rmse", max_loss=9), worst_slices=False), False),
    ):
        night = pipeline.night("2026-01-01", gate)
        record = pipeline.decisions().judge(night, DecisionInputs(ours, theirs))
        assert record.verdict is Verdict.PROMOTE, record.decision.why
        assert any("region=b" in note for note in record.decision.notes) is searched
        page = pipeline.client.download_artifacts(night.run_id, DECISION_PAGE)
        assert ("region=b" in Path(page).read_text(encoding="utf-8")) is searched
        assert main(["replay", night.run_id]) == 0


@pytest.mark.usefixtures("gate_in_this_process")
def test_noise_holds_and_less_is_asked_of_another_rule(
    pipeline: Pipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A point comparison would have promoted; what-if rules answer from the same predictions."""
    night = pipeline.night("2026-01-01")
    ours = pipeline.validated("models:/m-1", pipeline.predicted(2.95))
    record = pipeline.decisions().judge(
        night, DecisionInputs(ours, pipeline.validated("3", pipeline.predicted(3.0, 1)))
    )
    assert record.verdict is Verdict.HOLD
    assert record.decision.checks[0].gain is not None
    assert record.decision.checks[0].gain > 0
    assert "could be told from luck" in record.decision.why
    (tmp_path / "loose.py").write_text(
        "from understudy import Gate, Metric\ngate = Gate(Metric('rmse', max_loss=1))\n"
    )
    assert main(["replay", night.run_id, "--rules", str(tmp_path / "loose.py")]) == 0
    said = capsys.readouterr().out
    assert "Verdict then: HOLD\nVerdict: PROMOTE" in said
    assert main(["replay", night.run_id, "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["then"], row["now"], row["differences"]) == ("HOLD", "HOLD", [])


@pytest.mark.usefixtures("gate_in_this_process")
def test_challengers_on_one_holdout_are_counted_and_a_new_holdout_starts_anew(
    pipeline: Pipeline,
) -> None:
    """Not counted: the same model again, this night's own tries, first models, other rows."""
    theirs = pipeline.validated("3", pipeline.predicted(3.0, 1))
    first = pipeline.night("2026-01-01")
    judged = [("models:/m-1", first), ("models:/m-1", first)]
    judged += [(f"models:/m-{n}", pipeline.night(f"2026-01-0{n}")) for n in (2, 3)]
    judged += [("models:/m-2", pipeline.night("2026-01-04"))]
    counts = []
    for model, night in judged:
        ours = pipeline.validated(model, pipeline.predicted(2.9))
        evidence = pipeline.decisions().judge(night, DecisionInputs(ours, theirs)).evidence
        assert evidence is not None
        counts.append(evidence.judged_before)
    assert counts == [0, 0, 1, 2, 2]
    fresh = pipeline.predicted(2.9).assign(row_id=lambda rows: rows["row_id"] + 1000)
    moved = pipeline.predicted(3.0, 1).assign(row_id=lambda rows: rows["row_id"] + 1000)
    ours, theirs = pipeline.validated("models:/m-9", fresh), pipeline.validated("3", moved)
    evidence = (
        pipeline.decisions()
        .judge(pipeline.night("2026-01-05"), DecisionInputs(ours, theirs))
        .evidence
    )
    assert evidence is not None
    assert (evidence.judged_before, evidence.overlapping) == (0, 0.0)


@pytest.mark.usefixtures("gate_in_this_process")
def test_challengers_on_a_part_of_the_rows_count_by_that_part(pipeline: Pipeline) -> None:
    """Three of them on the half of tonight's; a replay, which sees no other night, agrees."""

    def judged(night: int, model: int, moved: int) -> DecisionRecord:
        ours, theirs = (
            pipeline.predicted(*of).assign(row_id=lambda rows: rows["row_id"] + moved)
            for of in ((2.9,), (3.0, 1))
        )
        inputs = pipeline.validated(f"models:/m-{model}", ours), pipeline.validated("3", theirs)
        asked = pipeline.night(f"2026-01-0{night}")
        return pipeline.decisions().judge(asked, DecisionInputs(*inputs))

    for number in (1, 2, 3):
        judged(number, number, 0)
    record = judged(4, 4, 200)
    assert record.evidence is not None
    assert record.evidence.judged_before == 0
    # Half of the rows were compared three times: mean(1, 1 / 16) ** -0.5 - 1.
    assert record.evidence.overlapping == pytest.approx(0.37, abs=0.15)
    (again,) = replayed([record.to_json()], Evaluator(pipeline.client), print)
    assert again.differences == ()


@pytest.mark.usefixtures("gate_in_this_process")
def test_a_first_model_spends_nothing(pipeline: Pipeline) -> None:
    """It was compared with nobody."""
    night = pipeline.night("2026-01-01", Gate(Metric("rmse", min_gain=0.0, at_most=5)))
    record = pipeline.decisions().judge(
        night, DecisionInputs(pipeline.validated("models:/m-1", pipeline.predicted(2)), None)
    )
    assert record.verdict is Verdict.PROMOTE
    assert pipeline.tags(night)[Tag.HOLDOUT] == ""


@pytest.mark.usefixtures("no_process")
def test_without_predictions_logged_metrics_decide_and_no_process_starts(
    pipeline: Pipeline,
) -> None:
    """As it was before there were predictions; no interval is claimed."""
    night = pipeline.night("2026-01-01", Gate(Metric("rmse", min_gain=0.0, confidence=0.9)))
    ours, theirs = pipeline.validated("m", None, rmse=2.0), pipeline.validated("3", None, rmse=3.0)
    record = pipeline.decisions().judge(night, DecisionInputs(ours, theirs))
    assert (record.verdict, record.basis) == (Verdict.PROMOTE, Basis.VALIDATIONS)
    assert record.evidence is None
    assert any("none is claimed" in note for note in record.decision.notes)
    assert main(["replay", night.run_id]) == 0


SPOILT: dict[str, Callable[[pd.DataFrame], pd.DataFrame | None]] = {
    "left none": lambda _: None,
    "lacks 'prediction'": lambda good: good.drop(columns="prediction"),
    "row_id of": lambda good: good.assign(row_id=good["row_id"] / 7),
}
"""What makes predictions that cannot be used, by what is said of them."""


@pytest.mark.usefixtures("gate_in_this_process")
@pytest.mark.parametrize("words", SPOILT)
def test_a_champion_without_usable_predictions_holds(pipeline: Pipeline, words: str) -> None:
    """The challenger's absolute rules are judged all the same."""
    gate = Gate(Metric("rmse", min_gain=0.0), [Metric("rmse", at_most=1)])
    theirs = SPOILT[words](pipeline.predicted(3.0, 1))
    ours, champion = (
        pipeline.validated("m", pipeline.predicted(2.0)),
        pipeline.validated("3", theirs),
    )
    night = pipeline.night("2026-01-01")
    record = pipeline.decisions().judge(night, DecisionInputs(ours, champion))
    assert record.verdict is Verdict.HOLD
    assert isinstance(record.champion, Unscored)
    assert record.champion.cause is Cause.PREDICTIONS
    assert words in record.decision.why
    assert pipeline.tags(night)[Tag.CHAMPION_UNSCORED] == Cause.PREDICTIONS.value
    assert pipeline.tags(night)[Tag.HOLDOUT] == ""
    strict = pipeline.decisions().judge(
        pipeline.night("2026-01-02", gate), DecisionInputs(ours, champion)
    )
    assert strict.verdict is Verdict.REJECT


@pytest.mark.usefixtures("gate_in_this_process")
def test_other_rows_and_other_targets_hold(pipeline: Pipeline) -> None:
    """They are no champion that cannot be scored: nobody knows what the numbers are of."""
    ours = pipeline.validated("m", pipeline.predicted(2.0))
    for others in (
        pipeline.predicted(3.0, 1).iloc[1:],
        pipeline.predicted(3.0, 1).assign(target=pipeline.holdout.truth * 2),
    ):
        theirs = pipeline.validated("3", others)
        record = pipeline.decisions().judge(
            pipeline.night("2026-01-01"), DecisionInputs(ours, theirs)
        )
        assert record.verdict is Verdict.HOLD
        assert record.evidence is not None
        assert record.evidence.blockers


@pytest.mark.usefixtures("gate_in_this_process")
def test_predictions_that_changed_after_the_verdict_are_not_taken_for_its_inputs(
    pipeline: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    """The stored digest says which ones were judged."""
    night = pipeline.night("2026-01-01")
    ours = pipeline.validated("m", pipeline.predicted(2.0))
    pipeline.decisions().judge(
        night, DecisionInputs(ours, pipeline.validated("3", pipeline.predicted(3.0, 1)))
    )
    pipeline.log(ours.run_id, pipeline.predicted(9.0))
    assert main(["replay", night.run_id]) == 1
    assert "has changed since its digest was noted" in capsys.readouterr().err


@pytest.mark.usefixtures("gate_in_this_process")
def test_a_record_that_was_tampered_with_differs(
    pipeline: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    """A verdict that the numbers do not give is found, with the place and both values."""
    night = pipeline.night("2026-01-01")
    ours, theirs = (
        pipeline.validated(*one)
        for one in (("m", pipeline.predicted(4.0)), ("3", pipeline.predicted(3.0, 1)))
    )
    record = pipeline.decisions().judge(night, DecisionInputs(ours, theirs))
    forged = record.to_dict() | {"verdict": "PROMOTE"}
    pipeline.client.log_text(night.run_id, json.dumps(forged), DECISION_RECORD)
    # As whoever writes to the database, too, or a night of before, which has no digest.
    pipeline.client.delete_tag(night.run_id, seal(DECISION_RECORD))
    assert main(["replay", night.run_id]) == 3
    assert 'verdict: "PROMOTE" then, "REJECT" now' in capsys.readouterr().out


def test_shadow_nights_judge_and_only_say_what_they_would_do(pipeline: Pipeline) -> None:
    """Counted by nights; the same night judged again is one of them."""
    gate = Gate(Metric("rmse", min_gain=0.0), shadow_nights=2)
    theirs = pipeline.validated("3", None, rmse=3.0)
    shadows = []
    nights = [pipeline.night(f"2026-01-0{number}", gate) for number in (1, 2, 3)]
    for night in (nights[0], nights[1], nights[1], nights[2]):
        record = pipeline.decisions().judge(
            night, DecisionInputs(pipeline.validated("m", None, rmse=2.0), theirs)
        )
        assert record.verdict is Verdict.PROMOTE
        shadows.append(pipeline.tags(night)[Tag.SHADOW])
    assert shadows[0].startswith("shadow night 1 of 2: the verdict would have been PROMOTE")
    assert shadows[1] == shadows[2]
    assert shadows[2].startswith("shadow night 2 of 2")
    assert shadows[3] == ""


def test_the_first_night_after_an_upgrade_says_what_judges_it(pipeline: Pipeline) -> None:
    """Once, and with the way back; not where the rules judge as they did."""
    stated = Gate(Metric("rmse", tolerance=0.1), time_block="")
    theirs = pipeline.validated("3", None, rmse=3.0)

    def judged(day: int, gate: Gate) -> tuple[Night, DecisionRecord]:
        night = pipeline.night(f"2026-01-0{day}", gate)
        ours = pipeline.validated("m", None, rmse=2.0)
        return night, pipeline.decisions().judge(night, DecisionInputs(ours, theirs))

    night, first = judged(1, Gate(Metric("rmse")))
    assert CHANGED not in first.context, "there is no night before"
    # As a night of 0.1 left it.
    pipeline.client.delete_tag(night.run_id, Tag.DEFAULTS)
    _, explicit = judged(2, stated)
    assert CHANGED not in explicit.context
    pipeline.client.delete_tag(explicit.context["night"], Tag.DEFAULTS)
    night, told = judged(3, Gate(Metric("rmse")))
    assert "Metric('rmse', min_gain=0.0)" in told.context[CHANGED]
    assert told.context[CHANGED] in told.summary_lines()
    stored = pipeline.decisions().record(night)
    assert stored is not None
    assert stored.context == told.context
    _, later = judged(4, Gate(Metric("rmse")))
    assert CHANGED not in later.context


@pytest.mark.usefixtures("gate_in_this_process")
def test_a_year_of_nights_under_other_rules(
    pipeline: Pipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One table; the digest of the holdout and the count of each night stay what they were."""
    theirs = pipeline.validated("3", pipeline.predicted(3.0, 1))
    for number, error in ((1, 2.0), (2, 2.95), (3, 4.0)):
        ours = pipeline.validated(f"models:/m-{number}", pipeline.predicted(error))
        pipeline.decisions().judge(
            pipeline.night(f"2026-01-0{number}"), DecisionInputs(ours, theirs)
        )
    (tmp_path / "loose.json").write_text('{"primary": {"name": "rmse", "max_loss": 0.9}}')
    command = ["replay", "--pipeline", pipeline.experiment, "--since", "2026-01-02"]
    assert main([*command, "--rules", str(tmp_path / "loose.json")]) == 0
    said = capsys.readouterr().out
    verdicts = [line.split()[1:3] for line in said.splitlines() if line.startswith("2026-")]
    assert verdicts == [["HOLD", "PROMOTE"], ["REJECT", "HOLD"]]
    assert "2 nights, 2 with another verdict" in said
    assert main([*command, "--until", "2025-01-01"]) == 1
    pipeline.log(ours.run_id, pipeline.predicted(9.0))
    assert main([*command, "--rules", str(tmp_path / "loose.json")]) == 0
    said = capsys.readouterr().out
    verdicts = [line.split()[1:3] for line in said.splitlines() if line.startswith("2026-")]
    assert verdicts == [["HOLD", "PROMOTE"], ["REJECT", "-"]]
    assert "has changed since its digest was noted" in " ".join(said.split())
    assert "1 of them could not be judged again" in said
    pipeline.forget(ours.run_id)
    assert main(command) == 3
    assert "cannot be read: There is no artifact" in " ".join(capsys.readouterr().out.split())


@pytest.mark.usefixtures("gate_in_this_process")
def test_two_files_are_judged_without_a_server(
    holdout: Holdout,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With a metric of one's own beside the rules; the record can be judged again."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "shop.py").write_text(
        "def within_two(rows):\n    return ((rows.target - rows.prediction).abs() < 2).mean()\n"
    )
    (tmp_path / "rules.py").write_text(
        "from understudy import Gate, Metric\n"
        "gate = Gate(Metric('within_two', function='shop:within_two', lower_is_better=False))\n"
    )
    holdout.predicted(1.0).to_parquet(tmp_path / "new.parquet")
    holdout.predicted(3.0, 1).to_parquet(tmp_path / "old.parquet")
    given = ["gate", "--rules", str(tmp_path / "rules.py"), "--out", str(tmp_path / "out.json")]
    given += ["--page", str(tmp_path / "page.html")]
    new, old = (str(tmp_path / f"{name}.parquet") for name in ("new", "old"))
    assert main([*given, "--challenger", old, "--champion", new]) == 4
    assert main([*given, "--challenger", new, "--champion", old]) == 0
    assert "within_two" in capsys.readouterr().out
    assert "within_two" in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert main(["replay", str(tmp_path / "out.json")]) == 0
    assert "Nothing differs" in capsys.readouterr().out
    assert main([*given, "--challenger", str(tmp_path / "none.parquet")]) == 1
    # A mistake is no verdict.
    holdout.predicted(3.0, 1).to_csv(tmp_path / "old.csv")
    holdout.predicted(3.0, 1).drop(columns="prediction").to_parquet(tmp_path / "lacking.parquet")
    capsys.readouterr()
    for name, words in (("old.csv", "no Parquet file"), ("lacking.parquet", "'prediction'")):
        assert main([*given, "--challenger", new, "--champion", str(tmp_path / name)]) == 1
        assert words in capsys.readouterr().err


@pytest.mark.usefixtures("gate_in_this_process")
def test_two_files_have_neither_rows_nor_models(
    holdout: Holdout,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Guards and budgets say that they could not look, and do what the rules say of that."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    holdout.predicted(1.0).to_parquet(tmp_path / "new.parquet")
    holdout.predicted(3.0, 1).to_parquet(tmp_path / "old.parquet")
    given = ["gate", "--challenger", str(tmp_path / "new.parquet")]
    given += ["--champion", str(tmp_path / "old.parquet"), "--out", str(tmp_path / "out.json")]
    for unchecked, code in (("warn", 0), ("block", 3)):
        gate = Gate(
            Metric("rmse"), guards=Guards(unchecked=unchecked), budgets=Budgets(unchecked=unchecked)
        )
        (tmp_path / "rules.json").write_text(json.dumps(gate.to_dict()))
        assert main([*given, "--rules", str(tmp_path / "rules.json")]) == code
        said = capsys.readouterr().out
        assert "data: not checked" in said
        assert "size: not measured" in said
        assert "does not say which model" in said
        assert main(["replay", str(tmp_path / "out.json")]) == 0
        capsys.readouterr()


def test_the_gate_s_process_ends_when_it_is_stopped(
    pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within the seconds that Airflow gives a task that is killed."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "endless.py").write_text(
        "import time\n\ndef metric(rows):\n    print('it runs', flush=True)\n    time.sleep(600)\n"
    )
    gate = Gate(Metric("endless", function="endless:metric", lower_is_better=True))
    night, decisions = pipeline.night("2026-01-01", gate), pipeline.decisions()
    ours, theirs = (
        pipeline.validated("m", pipeline.predicted(2)),
        pipeline.validated("3", pipeline.predicted(3, 1)),
    )
    begun, ended = threading.Event(), 0.0

    def note(line: str) -> None:
        if "it runs" in line:
            begun.set()

    def stop() -> None:
        nonlocal ended
        begun.wait(120)
        ended = time.monotonic()
        decisions.stop()

    stopper = threading.Thread(target=stop)
    stopper.start()
    with pytest.raises(StepStoppedError):
        decisions.judge(night, DecisionInputs(ours, theirs), note)
    assert time.monotonic() - ended < 5
    stopper.join()
    assert Tag.VERDICT not in pipeline.tags(night)


@pytest.mark.usefixtures("gate_in_this_process")
def test_a_metric_that_fails_never_promotes(
    pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own words stand in the reason."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "broken.py").write_text("def metric(rows):\n    return 1 / 0\n")
    gate = Gate(Metric("broken", function="broken:metric", lower_is_better=True))
    night = pipeline.night("2026-01-01", gate)
    ours, theirs = (
        pipeline.validated("m", pipeline.predicted(2)),
        pipeline.validated("3", pipeline.predicted(3, 1)),
    )
    record = pipeline.decisions().judge(night, DecisionInputs(ours, theirs))
    assert record.verdict is not Verdict.PROMOTE
    assert "division by zero" in record.decision.why


def test_the_gate_s_process_sees_no_server_and_no_secret(
    pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a metric could read of the worker's variables is what any child needs."""
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "s3cret")
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "s3cret")
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "nosy.py").write_text(
        "import os\n\ndef metric(rows):\n    print(*os.environ, flush=True)\n    return 1.0\n"
    )
    gate = Gate(Metric("nosy", function="nosy:metric", lower_is_better=True, at_most=2))
    told: list[str] = []
    ours = pipeline.validated("m", pipeline.predicted(2))
    pipeline.decisions().judge(
        pipeline.night("2026-01-01", gate), DecisionInputs(ours, None), told.append
    )
    seen = " ".join(told)
    assert "PATH" in seen
    assert "MLFLOW" not in seen
    assert "AIRFLOW" not in seen


def failed(exit_code: int) -> StepFailedError:
    """Return the error of a validation that ended with a code."""
    return StepFailedError("it failed", allowed="a", action="b", exit_code=exit_code)


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (EnvironmentBuildError("no index", allowed="a", action="b"), Cause.ENVIRONMENT),
        (StepStoppedError("too long", allowed="a", action="b"), Cause.STOPPED),
        (ProjectError("no such folder", allowed="a", action="b"), Cause.NOT_BEGUN),
        (failed(65), Cause.DATA),
        (failed(1), Cause.CRASHED),
        (None, Cause.CRASHED),
    ],
)
def test_why_a_champion_could_not_be_validated(
    pipeline: Pipeline, error: UnderstudyError | None, cause: Cause
) -> None:
    """Each way has a cause of its own, as long as the version is there."""
    model = uuid.uuid4().hex
    run = pipeline.client.create_run(pipeline.experiment)
    pipeline.client.log_text(run.info.run_id, "flavors: {}", "model/MLmodel")
    pipeline.client.create_registered_model(model)
    version = pipeline.client.create_model_version(
        model, f"{run.info.artifact_uri}/model", run.info.run_id
    )
    assert cause_of(pipeline.client, error, model, version.version) is cause
    pipeline.client.delete_model_version(model, version.version)
    assert cause_of(pipeline.client, error, model, version.version) is Cause.DELETED


def test_the_gate_s_own_environment_is_enough(
    holdout: Holdout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process runs on a Python that has no Understudy, and gives the same answer."""
    cache = Path(__file__).parents[2] / ".state" / "cache"
    settings = Settings(cache=cache, scratch=tmp_path / "scratch")
    for name, predictions in (("new", holdout.predicted(2.0)), ("old", holdout.predicted(3.0, 1))):
        predictions.to_parquet(tmp_path / name)
    gate = Gate(Metric("rmse", min_gain=0.0, confidence=0.95))
    request = GateRequest(gate.to_dict(), str(tmp_path / "new"), str(tmp_path / "old"))
    with (
        EnvironmentStore(settings, ProcessRunner()).lease(project(), "uv", print) as environment,
        scratch_folder(settings.scratch) as scratch,
    ):
        assert environment.bin is not None
        monkeypatch.setenv(PYTHON_VARIABLE, str(environment.bin / "python"))
        (answer,) = GateProcess(settings).run([request], scratch, print)
    here = child.answered(request)
    assert answer.evidence == here.evidence
    assert answer.evidence.comparisons
    assert "apache-airflow" not in environment.installed
