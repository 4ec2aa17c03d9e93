"""Whole nights on a real Airflow, a real MLflow server, a real Git server and real data.

The stack starts once; each test has pipelines of its own, so that they may overlap.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from understudy.gate import replay

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.integration.conftest import Installation, Repository

pytestmark = pytest.mark.integration

NIGHT = "scheduled__2026-01-{:02}T00:00:00+00:00"
BIKE_NIGHT = "scheduled__2012-12-{:02}T00:00:00+00:00"
OUTCOMES = {"PROMOTED", "HELD", "REJECTED", "SKIPPED"}
PREDICT = """
import json, sys
import mlflow, pandas
model = mlflow.pyfunc.load_model(sys.argv[1])
rows = pandas.read_csv(sys.argv[2], sep=";").head(5)
print(json.dumps([float(value) for value in model.predict(rows.assign(color="red"))]))
"""


@pytest.fixture(scope="module", autouse=True)
def real_pipelines(installation: Installation) -> None:
    """Let the scheduler begin with the two long pipelines, at the same time."""
    installation.unpause("bike_sharing")
    installation.unpause("wine")
    installation.trigger("wine_costs", "small")


def ended(installation: Installation, experiment: str) -> None:
    """Check that no run of an experiment was left RUNNING."""
    assert {run.info.status for run in installation.runs(experiment)} <= {
        "FINISHED",
        "FAILED",
        "KILLED",
    }


def outcomes(nights: Iterable[dict[str, str]]) -> list[str]:
    """Return how nights ended."""
    return [tags["understudy.outcome"] for tags in nights]


def champion(installation: Installation, model: str) -> str:
    """Return the champion's version."""
    return str(installation.client.get_model_version_by_alias(model, "champion").version)


def test_five_nights_end_as_their_numbers_say(installation: Installation, tmp_path: Path) -> None:
    """A first champion, a better one, a worse one, nothing new, a better one; all on record."""
    installation.unpause("nights")
    for day in range(1, 6):
        assert installation.wait("nights", NIGHT.format(day)) == "success"
    nights = installation.nights("nights")
    assert outcomes(nights) == ["PROMOTED", "PROMOTED", "REJECTED", "SKIPPED", "PROMOTED"]
    assert [tags["understudy.champion.after"] for tags in nights] == ["1", "2", "2", "2", "3"]
    assert champion(installation, "nights") == "3"
    assert installation.client.get_registered_model("nights").aliases["previous"] == "2"
    ended(installation, "nights")
    # Its validations log no predictions: past nights are seen again, and nobody can tell.
    seen = [tags.get("understudy.matured", "") for tags in nights]
    assert seen == ["undecided", "undecided", "undecided", "", ""]
    assert "left no predictions" in nights[0]["understudy.matured.reason"]
    told = installation.log("nights", NIGHT.format(2), "report")
    assert "Seen again: Night of 2026-01-01T00:00, PROMOTE: undecided" in told
    skipped = installation.tasks("nights", NIGHT.format(4))
    assert skipped["pin"] == "success"
    assert {state for task, state in skipped.items() if task != "pin"} == {"skipped"}
    for run in installation.runs("nights", "tags.`understudy.verdict` = 'REJECT'"):
        path = installation.client.download_artifacts(
            run.info.run_id, "decision/decision.json", str(tmp_path)
        )
        stored = Path(path).read_text()
        assert replay(stored).to_json() == stored
        assert "rmse 4.5 does not beat the champion's 4 by at least 0.1" in stored


def test_each_night_tells_how_it_ended_once(installation: Installation) -> None:
    """Through one of Airflow's notifiers; a skipped night by itself has nothing to tell."""
    ends = {1: "PROMOTED, champion none -> 1", 3: "REJECTED, champion 2", 4: ""}
    for day, end in ends.items():
        log = installation.log("nights", NIGHT.format(day), "report")
        assert log.count("Told: ") == bool(end)
        assert end in log


def test_a_project_of_one_entry_point(installation: Installation, tmp_path: Path) -> None:
    """Nothing of it was written for us: the numbers of its trainings decide; the record says so."""
    for run_id, alpha in (("a", "0.4"), ("b", "0.45"), ("c", "0.8")):
        installation.trigger("single", run_id, alpha=alpha)
        assert installation.wait("single", run_id) == "success"
    nights = installation.nights("single")
    assert outcomes(nights) == ["PROMOTED", "REJECTED", "PROMOTED"]
    assert [tags["understudy.champion.after"] for tags in nights] == ["1", "1", "2"]
    assert set(installation.tasks("single", "a")) == {
        *("pin", "train", "gate", "approve", "promote", "report"),
    }
    for run in installation.runs("single", "tags.`understudy.verdict` = 'REJECT'"):
        path = installation.client.download_artifacts(
            run.info.run_id, "decision/decision.json", str(tmp_path)
        )
        stored = Path(path).read_text()
        assert replay(stored).to_json() == stored
        assert "metrics that the training runs logged" in stored
    ended(installation, "single")


def test_a_project_with_names_of_its_own(installation: Installation) -> None:
    """Its steps get what they need under their names, down to the registered model."""
    installation.trigger("renamed", "a")
    assert installation.wait("renamed", "a") == "success"
    assert outcomes(installation.nights("renamed")) == ["PROMOTED"]
    assert champion(installation, "renamed") == "1"


def test_every_step_is_a_child_of_its_night_on_one_commit(installation: Installation) -> None:
    """MLflow's UI shows the steps below their night; each names Dag, task and try."""
    parents = {
        run.info.run_id: run
        for run in installation.runs("nights", "tags.`understudy.kind` = 'night'")
    }
    steps = installation.runs("nights", "tags.`understudy.kind` = 'step'")
    assert len(steps) > len(parents)
    for step in steps:
        parent = parents[step.data.tags["mlflow.parentRunId"]]
        for name in ("understudy.commit", "understudy.tree"):
            assert step.data.tags[name] == parent.data.tags[name]
        assert step.data.tags["understudy.dag_id"] == "nights"
        assert step.data.tags["understudy.try_number"] == "1"


def test_a_task_links_to_its_mlflow_run(installation: Installation) -> None:
    """The button's address opens that run, also for one task of several."""
    path = f"dags/nights/dagRuns/{NIGHT.format(2)}/taskInstances"
    for link in (f"{path}/train/links", f"{path}/validate/links?map_index=1"):
        address = installation.call("GET", link)["extra_links"]["MLflow run"]
        run = installation.client.get_run(address.rpartition("/")[2])
        assert run.data.tags["understudy.dag_run_id"] == NIGHT.format(2)
        assert address.startswith(installation.stack.addresses().mlflow)


def test_a_push_in_mid_run_does_not_mix_commits(
    installation: Installation, models: Repository
) -> None:
    """The night keeps the commit that it pinned; the next night has the new one."""
    before = models.git("rev-parse", "HEAD")
    installation.trigger("moving", "first")
    installation.wait_for_task("moving", "first", "pin", {"success"})
    after = models.commit("pushed in mid-run")
    assert installation.wait("moving", "first") == "success"
    commits = {run.data.tags["understudy.commit"] for run in installation.runs("moving")}
    assert commits == {before}
    installation.trigger("moving", "second", force=True)
    assert installation.wait("moving", "second") == "success"
    commits = {run.data.tags["understudy.commit"] for run in installation.runs("moving")}
    assert commits == {before, after}


def test_a_cleared_night_keeps_what_it_pinned(installation: Installation) -> None:
    """Cleared after a push, every task runs again on the first commit, in the same parent run."""
    parents = len(installation.nights("moving"))
    body = {"dry_run": False, "only_failed": False}
    installation.call("POST", "dags/moving/dagRuns/first/clear", **body)
    assert installation.wait("moving", "first") == "success"
    nights = installation.nights("moving")
    assert len(nights) == parents
    first = next(tags for tags in nights if tags["understudy.dag_run_id"] == "first")
    tries = [
        run.data.tags["understudy.commit"]
        for run in installation.runs("moving", "tags.`understudy.dag_run_id` = 'first'")
    ]
    assert set(tries) == {first["understudy.commit"]}
    ended(installation, "moving")


def give(installation: Installation, path: str, answer: str) -> None:
    """Answer at once, and again where Airflow lost that answer and the task asks anew."""
    task, end = path.removesuffix("/-1/hitlDetails"), time.monotonic() + 180
    while (state := installation.call("GET", task)["state"]) not in {"success", "skipped"}:
        assert time.monotonic() < end, state
        asks = state == "awaiting_input" and not installation.call("GET", path)["response_received"]
        if asks:
            installation.call("PATCH", path, chosen_options=[answer], params_input={})
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("answer", "factor", "outcome"), [("Approve", 0.5, "PROMOTED"), ("Reject", 0.2, "HELD")]
)
def test_a_person_decides_where_the_night_asks(
    installation: Installation, answer: str, factor: float, outcome: str
) -> None:
    """The task waits without a worker, the answer and the person are on record."""
    run_id = installation.trigger("asking", answer, promote="ask", factor=factor)
    installation.wait_for_task("asking", run_id, "approve", {"awaiting_input"})
    waiting = installation.client.get_registered_model("asking").aliases
    assert "challenger" in waiting
    path = f"dags/asking/dagRuns/{run_id}/taskInstances/approve/-1/hitlDetails"
    shown = installation.call("GET", path)["body"]
    assert "rmse" in shown
    assert "/artifactPath/decision/decision.html)" in shown
    give(installation, path, answer)
    assert installation.wait("asking", run_id) == "success"
    night = installation.nights("asking")[-1]
    assert night["understudy.outcome"] == outcome
    assert night["understudy.approval"] == f"{answer} by admin"
    aliases = installation.client.get_registered_model("asking").aliases
    assert "challenger" not in aliases
    assert ("champion" in aliases) or outcome == "HELD"


def test_never_only_judges(installation: Installation) -> None:
    """A verdict of PROMOTE without a promotion is held, and says why."""
    installation.trigger("raced", "never", promote="never")
    assert installation.wait("raced", "never") == "success"
    (night,) = installation.nights("raced")
    assert night["understudy.outcome"] == "HELD"
    assert "told never to promote" in night["understudy.reason"]


@pytest.mark.parametrize(
    ("dag_id", "conf", "task", "message"),
    [
        ("elsewhere", {}, "pin", "Next: "),
        ("nowhere", {}, "pin", "no/such/folder"),
        ("broken", {"version": "no-such-branch"}, "pin", "no-such-branch"),
        ("broken", {"as_of": "yesterday"}, "pin", "as_of is 'yesterday'"),
        ("typo", {}, "pin", "'facter' (did you mean 'factor'?)"),
        ("unserved", {}, "pin", "publish has no parameter 'floder' (did you mean 'folder'?)"),
        ("broken", {"broken": "download"}, "download", "Found an empty file. Allowed: rows."),
    ],
)
def test_bad_input_fails_early_and_says_why(
    installation: Installation, dag_id: str, conf: dict[str, Any], task: str, message: str
) -> None:
    """The first task that can know it fails, no run stays RUNNING, nothing is registered."""
    run_id = "bad " + json.dumps(conf, sort_keys=True)
    run_id = "".join(letter if letter.isalnum() else "-" for letter in run_id)
    installation.trigger(dag_id, run_id, **conf)
    assert installation.wait(dag_id, run_id) == "failed"
    states = installation.tasks(dag_id, run_id)
    assert states[task] == "failed"
    assert states["promote"] in {"upstream_failed", "skipped"}
    log = installation.log(dag_id, run_id, task)
    assert message in log
    assert "Allowed: " in log
    if installation.client.get_experiment_by_name(dag_id):
        ended(installation, dag_id)
    assert not installation.client.search_registered_models(f"name = '{dag_id}'")


def test_a_password_in_the_repository_s_address_is_shown_nowhere(
    installation: Installation,
) -> None:
    """An Airflow variable holds it; Airflow shows the rendered address, and our error names it."""
    address = "http://ada:s3cret-w0rd@127.0.0.1:9/models"
    installation.call("POST", "variables", key="private_repository", value=address)
    installation.trigger("private", "hidden")
    assert installation.wait("private", "hidden") == "failed"
    path = "dags/private/dagRuns/hidden/taskInstances/pin"
    rendered = installation.call("GET", path)["rendered_fields"]["project"]
    assert rendered.startswith("http://ada:")
    log = installation.log("private", "hidden", "pin")
    assert "http://127.0.0.1:9/models" in log
    assert "s3cret-w0rd" not in log + rendered


def test_a_night_reuses_what_an_earlier_one_finished(installation: Installation) -> None:
    """The night shows its steps below it; the forced one runs each of them."""
    installation.unpause("after_champion")
    installation.unpause("after_data")
    nights = [
        ("first", {}, "PROMOTED", []),
        ("better", {"factor": 0.5}, "PROMOTED", ["preprocess"]),
        ("forced", {"factor": 0.5, "force": True}, "REJECTED", []),
        ("worse", {}, "REJECTED", ["preprocess", "train", "validate", "validate"]),
        ("new data", {"as_of": "2026-01-05"}, "REJECTED", []),
    ]
    for name, conf, outcome, reused in nights:
        run_id = name.replace(" ", "-")
        installation.trigger("reusing", run_id, **{"as_of": "2026-01-02", **conf})
        assert installation.wait("reusing", run_id) == "success", name
        assert installation.nights("reusing")[-1]["understudy.outcome"] == outcome, name
        steps = f"tags.`understudy.dag_run_id` = '{run_id}' and tags.`understudy.kind` = 'step'"
        tags = [run.data.tags for run in installation.runs("reusing", steps)]
        found = [one["understudy.task_id"] for one in tags if "understudy.reused_from" in one]
        assert sorted(found) == reused, name
    log = installation.log("reusing", "worse", "train")
    assert "Reused: nothing runs. The MLflow run " in log


def test_a_cleared_step_is_reused(installation: Installation) -> None:
    """Nothing runs again: the newest run of the same identity stands for it, the forced night's."""
    body = {"dry_run": False, "only_failed": False, "task_ids": ["train"], "dag_run_id": "better"}
    trained = "dags/reusing/dagRuns/{}/taskInstances/train/xcomEntries/return_value"
    installation.call("POST", "dags/reusing/clearTaskInstances", **body)
    installation.wait_for_try("reusing", "better", "train", 2)
    assert installation.wait("reusing", "better") == "success"
    assert "Reused: nothing runs." in installation.log("reusing", "better", "train")
    now, forced = (
        installation.call("GET", trained.format(run_id))["value"] for run_id in ("better", "forced")
    )
    assert now == forced


def test_other_dags_start_when_something_changes_and_only_then(installation: Installation) -> None:
    """Two champions, two sets of data in five nights; what a rejected night trained starts none."""
    for dag_id, model_or_data, changes in (
        ("after_champion", "version", ["1", "2"]),
        ("after_data", "as_of", ["2026-01-02T00:00:00+00:00", "2026-01-05T00:00:00+00:00"]),
    ):
        runs = installation.dag_runs(dag_id)
        assert len(runs) == 2, dag_id
        seen = []
        for run in sorted(runs, key=lambda run: run["run_after"]):
            path = f"dags/{dag_id}/dagRuns/{run['dag_run_id']}/upstreamAssetEvents"
            (event,) = installation.call("GET", path)["asset_events"]
            seen.append(event["extra"][model_or_data])
        assert seen == changes


def test_a_rollback_by_its_form(installation: Installation) -> None:
    """The champion before is back, who waits for it starts, and what was rolled back stays out."""
    installation.trigger("rollback", "back", model="reusing", why="odd", rehearse=False)
    assert installation.wait("rollback", "back") == "success"
    assert champion(installation, "reusing") == "1"
    installation.trigger("reusing", "returned", as_of="2026-01-02", factor=0.5, force=True)
    assert installation.wait("reusing", "returned") == "success"
    night = installation.nights("reusing")[-1]
    assert night["understudy.outcome"] == "HELD"
    assert "version 2 was rolled back by admin (odd)" in night["understudy.reason"]
    assert champion(installation, "reusing") == "1"
    assert len(installation.dag_runs("after_champion")) == 3


def test_a_champion_is_handed_on_whoever_moved_it(
    installation: Installation, dags_folder: Path
) -> None:
    """By two nights and a rollback, one after another; then by hand, which the next night sees."""
    served = dags_folder.with_name("served") / "reusing_publish" / "value.json"
    publications = runs_in_turn(installation, "reusing_publish", 3)
    assert {run["state"] for run in publications} == {"success"}
    assert json.loads(served.read_text()) == number_of(installation, "1")
    installation.client.set_registered_model_alias("reusing", "champion", "2")
    installation.trigger("reusing", "seen", as_of="2026-01-02")
    installation.wait("reusing", "seen")
    runs_in_turn(installation, "reusing_publish", 4)
    assert json.loads(served.read_text()) == number_of(installation, "2")
    assert len(installation.dag_runs("after_champion")) == 4


def test_a_champion_that_is_not_handed_on_is_told_and_stays(
    installation: Installation, dags_folder: Path
) -> None:
    """The run is red, a person hears of it, and may trigger it again when the cause is mended."""
    folder = dags_folder.with_name("served") / "reusing_publish"
    folder.rename(folder.with_name("away"))
    folder.write_text("in the way")
    installation.trigger("reusing_publish", "fails")
    assert installation.wait("reusing_publish", "fails") == "failed"
    log = installation.log("reusing_publish", "fails", "hand_on")
    assert "Told: reusing: version 2 is champion, and reusing_publish FAILED" in log
    assert "Version 2 is champion of reusing and stays it" in log
    assert champion(installation, "reusing") == "2"
    folder.unlink()
    installation.trigger("reusing_publish", "again")
    assert installation.wait("reusing_publish", "again") == "success"
    assert json.loads((folder / "value.json").read_text()) == number_of(installation, "2")


def runs_in_turn(installation: Installation, dag_id: str, number: int) -> list[dict[str, Any]]:
    """Wait until so many runs of a Dag have ended, none of which overlapped; return them."""
    end = time.monotonic() + 180
    while time.monotonic() < end:
        runs = sorted(installation.dag_runs(dag_id), key=lambda run: str(run["start_date"]))
        if len(runs) == number and all(run["end_date"] for run in runs):
            assert all(a["end_date"] <= b["start_date"] for a, b in itertools.pairwise(runs))
            return runs
        time.sleep(0.5)
    pytest.fail(f"{dag_id}: {installation.dag_runs(dag_id)}")


def number_of(installation: Installation, version: str) -> float:
    """Return the number that a version of the model ``reusing`` is."""
    found = installation.client.get_model_version("reusing", version)
    path = installation.client.download_artifacts(found.run_id, "model/value.json")
    return float(json.loads(Path(path).read_text()))


def test_a_champion_that_cannot_be_scored_holds(installation: Installation) -> None:
    """The champion's validation fails, the gate still judges, nothing moves."""
    installation.trigger("asking", "unscored", promote="auto", broken="champion", force=True)
    before = champion(installation, "asking")
    assert installation.wait("asking", "unscored") == "success"
    states = installation.tasks("asking", "unscored")
    assert (states["validate[0]"], states["validate[1]"]) == ("success", "failed")
    night = installation.nights("asking")[-1]
    assert night["understudy.outcome"] == "HELD"
    assert "could not be scored" in night["understudy.reason"]
    assert "the column that the champion needs is gone" in night["understudy.reason"]
    assert night["understudy.champion.unscored"] == "it does not take tonight's rows"
    assert champion(installation, "asking") == before


def test_a_champion_whose_version_was_deleted_holds(installation: Installation) -> None:
    """Between the beginning of a night and its validation somebody cleans up."""
    model, client = "single", installation.client
    version = champion(installation, model)
    trained = client.get_model_version(model, version).run_id
    client.delete_run(trained)
    try:
        installation.trigger(model, "deleted", alpha="0.1")
        assert installation.wait(model, "deleted") == "success"
    finally:
        client.restore_run(trained)
    night = installation.nights(model)[-1]
    assert night["understudy.outcome"] == "HELD"
    assert "deleted" in night["understudy.champion.unscored"]
    assert champion(installation, model) == version


def test_a_night_in_shadow_only_says_what_it_would_do(installation: Installation) -> None:
    """Nothing is registered; the night after the last one in shadow is obeyed."""
    for run_id in ("shadow", "light"):
        installation.trigger("shadowed", run_id)
        assert installation.wait("shadowed", run_id) == "success"
    shadow, light = installation.nights("shadowed")
    assert shadow["understudy.outcome"] == "HELD"
    assert shadow["understudy.reason"].startswith(
        "shadow night 1 of 1: the verdict would have been PROMOTE"
    )
    assert shadow["understudy.champion.after"] == ""
    assert light["understudy.outcome"] == "PROMOTED"
    assert champion(installation, "shadowed") == "1"


def test_two_nights_of_real_wine_end_with_a_champion_that_predicts_raw_rows(
    installation: Installation,
) -> None:
    """The alias resolves, and the model behind it takes rows as they are in the public file."""
    for day in (1, 2):
        assert installation.wait("wine", NIGHT.format(day), 600) == "success"
    nights = installation.nights("wine")
    assert outcomes(nights)[0] == "PROMOTED"
    assert set(outcomes(nights)) <= OUTCOMES
    ended(installation, "wine")
    rehearsed = installation.runs("wine", "tags.`understudy.kind` = 'rehearsal'")
    assert len(rehearsed) == outcomes(nights).count("PROMOTED")
    assert all(run.data.metrics["p95_ms"] > 0 for run in rehearsed)
    root = Path(__file__).parents[2]
    data = os.environ.get("UNDERSTUDY_TEST_DATA", str(root.parent / "shared" / "data"))
    environment = {**os.environ, "MLFLOW_TRACKING_URI": installation.stack.addresses().mlflow}
    command = [sys.executable, "-c", PREDICT, "models:/wine@champion"]
    command.append(f"{data}/wine-quality/winequality-red.csv")
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    predicted = json.loads(done.stdout.splitlines()[-1])
    assert len(predicted) == 5
    assert all(3 < value < 9 for value in predicted)


def test_a_better_model_that_costs_too_much_is_held(
    installation: Installation, tmp_path: Path
) -> None:
    """Both real models are measured within the night; six times the trees are too large."""
    assert installation.wait("wine_costs", "small", 600) == "success"
    installation.trigger("wine_costs", "large", n_estimators=60)
    assert installation.wait("wine_costs", "large", 600) == "success"
    assert outcomes(installation.nights("wine_costs")) == ["PROMOTED", "HELD"]
    assert champion(installation, "wine_costs") == "1"
    night = installation.runs("wine_costs", "tags.`understudy.kind` = 'night'")[-1]
    path = installation.client.download_artifacts(
        night.info.run_id, "decision/decision.json", str(tmp_path)
    )
    record = replay(Path(path).read_text())
    assert "size" in record.decision.why
    assert record.evidence is not None
    found = {one.guard: one for one in record.evidence.findings if "challenger" in one.numbers}
    results = {name: found[name].result for name in ("memory", "latency_p50", "latency_p95")}
    assert set(results.values()) == {"passed"}, results
    assert found["size"].result == "failed"
    for name in (*results, "size"):
        ours, theirs = found[name].numbers["challenger"], found[name].numbers["champion"]
        assert float(str(ours)) > 0, name
        assert float(str(theirs)) > 0, name
        assert night.data.metrics[f"challenger_{name}"] == ours
        assert night.data.metrics[f"champion_{name}"] == theirs
    ended(installation, "wine_costs")


def test_ten_nights_of_real_bike_sharing(installation: Installation) -> None:
    """Each night trains on the month before its newest week; the champion is always one of them."""
    for day in range(22, 32):
        assert installation.wait("bike_sharing", BIKE_NIGHT.format(day), 900) == "success"
    nights = installation.nights("bike_sharing")
    assert len(nights) == 10
    assert outcomes(nights)[0] == "PROMOTED"
    assert set(outcomes(nights)) <= {"PROMOTED", "HELD", "REJECTED"}
    moves = [tags["understudy.champion.after"] for tags in nights]
    assert moves == sorted(moves, key=int)
    assert champion(installation, "bike_sharing") == moves[-1]
    rows = [
        int(run.data.tags["data.rows"])
        for run in installation.runs("bike_sharing", "tags.`understudy.entry_point` = 'download'")
    ]
    assert rows == sorted(rows)
    assert len(set(rows)) == 10
    ended(installation, "bike_sharing")


def test_a_real_night_is_judged_on_predictions_and_can_be_judged_again(
    installation: Installation, tmp_path: Path
) -> None:
    """In the gate's own environment that night, on the tests' Python now: the same numbers."""
    night = installation.runs("bike_sharing", "tags.`understudy.kind` = 'night'")[-1]
    path = installation.client.download_artifacts(
        night.info.run_id, "decision/decision.json", str(tmp_path)
    )
    record = replay(Path(path).read_text())
    assert record.basis == "predictions on the same rows"
    assert record.evidence is not None
    assert record.evidence.comparisons[0].interval is not None
    environment = {**os.environ, "MLFLOW_TRACKING_URI": installation.stack.addresses().mlflow}
    command = [sys.executable, "-m", "understudy", "replay", night.info.run_id]
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    assert "Nothing differs from the stored record." in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0


def test_the_two_real_pipelines_ran_at_once(installation: Installation) -> None:
    """One pipeline's nights do not wait for another's."""
    spans = {}
    for dag_id, first in (("wine", NIGHT.format(1)), ("bike_sharing", BIKE_NIGHT.format(22))):
        run = installation.run(dag_id, first)
        spans[dag_id] = [datetime.fromisoformat(run[key]) for key in ("start_date", "end_date")]
    assert spans["wine"][0] < spans["bike_sharing"][1]
    assert spans["bike_sharing"][0] < spans["wine"][1]


def test_a_tracking_server_that_goes_away_fails_the_night_and_the_next_one_cleans_up(
    installation: Installation,
) -> None:
    """Killed in mid-night: the task says what to check; afterwards nothing stays RUNNING."""
    installation.trigger("raced", "cut", force=True)
    installation.wait_for_task("raced", "cut", "pin", {"success"})
    installation.kill("mlflow")
    assert installation.wait("raced", "cut") == "failed"
    failed = [
        task for task, state in installation.tasks("raced", "cut").items() if state == "failed"
    ]
    log = installation.log("raced", "cut", failed[0])
    assert "The MLflow tracking server did not answer as it should" in log
    assert "Next: check the server" in log
    installation.trigger("raced", "without")
    assert installation.wait("raced", "without") == "failed"
    assert "did not answer" in installation.log("raced", "without", "pin")
    installation.up()
    installation.trigger("raced", "after", force=True)
    assert installation.wait("raced", "after") == "success"
    ended(installation, "raced")
    assert installation.nights("raced")[-1]["understudy.outcome"] == "PROMOTED"
