"""Finished steps that stand for new ones, on a real MLflow server with real steps."""

from __future__ import annotations

import json
import shutil
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from understudy.contract import Tag
from understudy.errors import StepFailedError
from understudy.runner.runner import Settings, StepRequest, StepResult, StepRunner
from understudy.store import tracking
from understudy.store.tracking import RunStore

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient
    from tests.fixtures.git import Repository

pytestmark = pytest.mark.integration

MLPROJECT = """
name: trivial
python_env: python_env.yaml
entry_points:
  get:
    parameters:
      text: string
      name: {type: string, default: rows.txt}
    command: "python step.py raw/{name} {text}"
  many:
    command: "python step.py many"
  use:
    parameters:
      raw: path
      rate: {type: string, default: "0.1"}
    command: "python step.py data/out.txt {rate} {raw}"
  bundled:
    parameters:
      table: {type: path, default: table.txt}
    command: "python step.py data/out.txt {table}"
  score:
    parameters:
      model_uri: string
    command: "python step.py score.txt {model_uri}"
  spell:
    parameters:
      rate: {type: float, default: 0.010}
    command: "python step.py param {rate}"
  fail:
    parameters:
      raw: path
    command: "python step.py data/out.txt x; exit 1"
"""
STEP = """
import json, os, sys, urllib.request
server, run = os.environ["MLFLOW_TRACKING_URI"], os.environ["MLFLOW_RUN_ID"]
def call(method, path, data=None):
    kind = {"content-type": "application/json"} if method == "POST" else {}
    request = urllib.request.Request(server + path, data=data, method=method, headers=kind)
    with urllib.request.urlopen(request) as answer:
        return answer.read()
def log(path, text):
    found = json.loads(call("GET", f"/api/2.0/mlflow/runs/get?run_id={run}"))
    root = found["run"]["info"]["artifact_uri"].removeprefix("mlflow-artifacts:/")
    call("PUT", f"/api/2.0/mlflow-artifacts/artifacts/{root}/{path}", text.encode())
print("it runs")
what, *rest = sys.argv[1:]
if what == "param":
    body = {"run_id": run, "key": "rate", "value": str(float(rest[0]))}
    call("POST", "/api/2.0/mlflow/runs/log-parameter", json.dumps(body).encode())
elif what == "many":
    for number in range(60):
        log(f"many/{number:03}.txt", str(number))
else:
    log(what, " ".join(word.rpartition("/")[2] for word in rest))
"""


@dataclass
class Bench:
    """Runs steps of one project for one parent run after the other."""

    client: MlflowClient
    settings: Settings
    project: Repository
    experiment_id: str
    artifacts: Path
    lines: list[str] = field(default_factory=list)

    @property
    def runs(self) -> RunStore:
        """The runs of the server."""
        return RunStore(self.client)

    def result(self, entry_point: str, **fields: Any) -> StepResult:
        """Run a step that may be reused, in a night of its own; ``lines`` is what it said."""
        night = self.client.create_run(self.experiment_id, run_name="a night").info.run_id
        request = StepRequest(
            **{
                "project": f"{self.project.url}#sub",
                "version": "main",
                "entry_point": entry_point,
                "parameters": {},
                "experiment_id": self.experiment_id,
                "key": uuid.uuid4().hex,
                "name": entry_point,
                "parent_run_id": night,
                "reuse": True,
                **fields,
            }
        )
        self.lines.clear()
        runner = StepRunner(self.runs, self.client, self.settings)
        return runner.run(request, self.lines.append)

    def get(self, text: str = "a", **parameters: str) -> str:
        """Return the address of newly logged rows."""
        result = self.result("get", parameters={"text": text, **parameters}, reuse=False)
        return f"runs:/{result.run_id}/raw"

    def use(self, raw: str, rate: str = "0.1", **fields: Any) -> StepResult:
        """Run the step that takes rows."""
        return self.result("use", parameters={"raw": raw, "rate": rate}, **fields)

    def run(self, result: StepResult) -> Run:
        """Return the MLflow run that has a result."""
        return self.client.get_run(result.run_id)

    def artifact(self, run_id: str, path: str) -> str:
        """Return the text of an artifact."""
        return Path(self.client.download_artifacts(run_id, path)).read_text()

    def stored(self, run_id: str) -> Path:
        """Return the folder in which the server keeps a run's artifacts."""
        return self.artifacts / self.experiment_id / run_id / "artifacts"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Return one cache for all steps of this file, as a machine has it."""
    folder = tmp_path_factory.mktemp("steps")
    return Settings(folder / "cache", folder / "s", grace=0.5)


@pytest.fixture(scope="module")
def project(
    tmp_path_factory: pytest.TempPathFactory, new_repository: Callable[[Path], Repository]
) -> Repository:
    """Return a repository with the project; what a test commits stays for the next."""
    made = new_repository(tmp_path_factory.mktemp("git") / "repository")
    made.commit(
        sub__MLproject=MLPROJECT,
        sub__step_DOT_py=STEP,
        sub__table_DOT_txt="1",
        sub__python_env_DOT_yaml="dependencies: []",
    )
    return made


def _bench(mlflow_uri: str, artifacts: Path, settings: Settings, project: Repository) -> Bench:
    client = tracking.client(mlflow_uri)
    experiment_id = RunStore(client).experiment(f"reuse {uuid.uuid4().hex}")
    return Bench(client, settings, project, experiment_id, artifacts)


@pytest.fixture
def bench(
    mlflow_uri: str, mlflow_artifacts: Path, settings: Settings, project: Repository
) -> Bench:
    """Return a bench with an experiment of its own, so that tests do not reuse each other's."""
    return _bench(mlflow_uri, mlflow_artifacts, settings, project)


@pytest.fixture(scope="module")
def known(
    mlflow_uri: str, mlflow_artifacts: Path, settings: Settings, project: Repository
) -> tuple[Bench, str]:
    """Return a bench on which a step has finished, and the address of the step's input."""
    made = _bench(mlflow_uri, mlflow_artifacts, settings, project)
    raw = made.get()
    made.use(raw)
    return made, raw


def test_the_next_night_reuses_a_step_whose_input_has_the_same_content(bench: Bench) -> None:
    """Another run id, the same rows: nothing runs, later steps get addresses that work."""
    first = bench.use(bench.get())
    assert "it runs" in bench.lines
    second = bench.use(bench.get())
    assert "it runs" not in bench.lines
    assert (first.reused, second.reused) == (False, True)
    assert second.run_id == first.run_id
    assert bench.artifact(second.run_id, "data/out.txt") == "0.1 raw"
    (said,) = [line for line in bench.lines if line.startswith("Reused")]
    assert first.run_id in said
    assert "'a night'" in said


def test_the_night_shows_a_reused_step(bench: Bench) -> None:
    """A run of its own below the night, finished, that says and links where the result is."""
    first = bench.use(bench.get())
    key, night = uuid.uuid4().hex, bench.client.create_run(bench.experiment_id).info.run_id
    for _ in range(2):  # a lost answer, or a try that is made again, makes no second one
        result = bench.use(bench.get(), key=key, parent_run_id=night, tags={"mine": "x"})
        assert result.reused
    (shown,) = bench.runs.tagged(bench.experiment_id, Tag.KEY, key)
    tags = shown.data.tags
    assert shown.info.status == "FINISHED"
    assert tags["mlflow.parentRunId"] == night
    assert tags["mine"] == "x"
    assert tags[Tag.REUSED_FROM.value] == first.run_id
    assert tags[Tag.COMMIT.value] == bench.project.git("rev-parse", "HEAD")
    assert f"/runs/{first.run_id})" in tags[Tag.DESCRIPTION.value]
    assert Tag.REUSE_KEY.value not in tags


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda bench, _: bench.use(bench.get("b")), id="content of the input"),
        pytest.param(lambda bench, _: bench.use(bench.get(name="b.txt")), id="name in the input"),
        pytest.param(lambda bench, raw: bench.use(raw + "/rows.txt"), id="part of the input"),
        pytest.param(lambda bench, raw: bench.use(raw, rate="0.10"), id="spelling"),
        pytest.param(lambda bench, raw: bench.use(raw, environment={"X": "1"}), id="variable"),
        pytest.param(lambda bench, raw: bench.use(raw, env_manager="local"), id="environment"),
        pytest.param(lambda bench, raw: bench.use(raw, reuse=False), id="force"),
    ],
)
def test_any_difference_runs_the_step(
    known: tuple[Bench, str], change: Callable[[Bench, str], StepResult]
) -> None:
    """What the step sees is not what it saw; the local Python is not the project's own."""
    assert known[0].use(known[1]).reused
    assert not change(*known).reused
    assert "it runs" in known[0].lines


def test_the_tree_counts_and_not_the_commit(bench: Bench) -> None:
    """A commit elsewhere in the repository changes nothing; one in the project does."""
    raw = bench.get()
    first = bench.use(raw)
    bench.project.commit(README="x")
    again = bench.use(raw)
    assert again.run_id == first.run_id
    assert again.commit != first.commit
    bench.project.commit(sub__step_DOT_py=STEP + "\n")
    assert not bench.use(raw).reused


def test_what_a_link_leads_to_counts(bench: Bench) -> None:
    """A folder that several projects share lies outside of each."""
    bench.project.commit(beside__part_DOT_py="1")
    (bench.project.folder / "sub" / "beside").symlink_to("../beside")
    bench.project.commit()
    first = bench.use(bench.get())
    bench.project.commit(README="again")
    assert bench.use(bench.get()).run_id == first.run_id
    bench.project.commit(beside__part_DOT_py="2")
    assert not bench.use(bench.get()).reused


def _delete(bench: Bench, run_id: str) -> None:
    bench.client.delete_run(run_id)


def _fail(bench: Bench, run_id: str) -> None:
    bench.client.set_terminated(run_id, "FAILED")


def _kill(bench: Bench, run_id: str) -> None:
    bench.client.set_terminated(run_id, "KILLED")


def _reopen(bench: Bench, run_id: str) -> None:
    bench.client.update_run(run_id, status="RUNNING")


def _lose(bench: Bench, run_id: str) -> None:
    shutil.rmtree(bench.stored(run_id) / "data")


def _cut(bench: Bench, run_id: str) -> None:
    (bench.stored(run_id) / "data/out.txt").write_text("")


def _add(bench: Bench, run_id: str) -> None:
    bench.client.log_text(run_id, "x", "data/more.txt")


def _forget(bench: Bench, run_id: str) -> None:
    bench.client.delete_tag(run_id, Tag.OUTPUTS.value)


@pytest.mark.parametrize("spoil", [_delete, _fail, _kill, _reopen, _lose, _cut, _add, _forget])
def test_a_spoilt_run_is_never_reused(
    known: tuple[Bench, str], spoil: Callable[[Bench, str], None]
) -> None:
    """Deleted, not finished, or without all that it logged: the step runs, and that run serves."""
    bench, raw = known
    first = bench.use(raw)
    spoil(bench, first.run_id)
    second = bench.use(raw)
    assert not second.reused
    assert "it runs" in bench.lines
    assert bench.use(raw).run_id == second.run_id


def test_a_spoilt_input_is_not_known(bench: Bench) -> None:
    """Its digest was taken from what it had."""
    raw, other = bench.get(), bench.get()
    bench.use(raw)
    _add(bench, other.split("/")[1])
    assert not bench.use(other).reused
    assert any("does not have what it logged" in line for line in bench.lines)


def test_a_failed_step_is_never_reused(bench: Bench) -> None:
    """It logged an artifact, and failed afterwards."""
    raw = bench.get()
    for _ in range(2):
        with pytest.raises(StepFailedError):
            bench.result("fail", parameters={"raw": raw})
        assert "it runs" in bench.lines


def test_two_at_once(bench: Bench) -> None:
    """Both finish, whoever is first; one of them serves afterwards."""
    raw = bench.get()
    both: list[StepResult] = []
    others = [replace(bench, lines=[]) for _ in range(2)]
    threads = [threading.Thread(target=lambda b=b: both.append(b.use(raw))) for b in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    third = bench.use(raw)
    assert third.reused
    assert third.run_id in {result.run_id for result in both}
    assert {bench.run(result).info.status for result in both} == {"FINISHED"}


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("https://example.com/rows.csv", "outside MLflow"),
        ("s3://bucket/rows", "outside MLflow"),
        ("x=file:///rows", "outside MLflow"),
        ("/etc/hostname", "outside the project"),
        ("../rows.csv", "outside the project"),
        ("models:/m@champion", "name its version"),
        ("models:/m/latest", "name its version"),
        ("models:/no-such-model/1", "cannot be read: RESOURCE_DOES_NOT_EXIST"),
        ("runs:/" + "0" * 32 + "/raw", "cannot be read: RESOURCE_DOES_NOT_EXIST"),
    ],
)
def test_an_input_that_may_change_makes_a_step_run(bench: Bench, value: str, why: str) -> None:
    """Log and run say why it has no identity, by which a later one could find it."""
    run = bench.run(bench.result("score", parameters={"model_uri": value}))
    assert any(line.startswith("Not reused") and why in line for line in bench.lines)
    assert why in run.data.tags[Tag.NOT_REUSABLE.value]
    assert Tag.REUSE_KEY.value not in run.data.tags


def test_a_file_of_the_project_is_part_of_its_tree(bench: Bench) -> None:
    """A path parameter's default needs no digest of its own."""
    first = bench.result("bundled")
    assert bench.result("bundled").run_id == first.run_id
    bench.project.commit(sub__table_DOT_txt="2")
    assert not bench.result("bundled").reused


def test_a_plain_folder_is_never_reused(bench: Bench) -> None:
    """Nobody knows what was in it."""
    for _ in range(2):
        folder = {"project": f"{bench.project.folder}/sub", "version": ""}
        assert not bench.use(bench.get(), **folder).reused


def _logged_model(bench: Bench) -> tuple[str, str]:
    """Return the ids of a run and of a model that it logged."""
    run_id = bench.client.create_run(bench.experiment_id).info.run_id
    model = bench.client.create_logged_model(bench.experiment_id, "model", run_id)
    bench.client.finalize_logged_model(model.model_id, "READY")
    bench.client.set_terminated(run_id)
    return run_id, model.model_id


def test_a_version_is_the_model_behind_it(bench: Bench) -> None:
    """By its immutable id; a version of another model is another input."""
    name = f"m{bench.experiment_id}"
    bench.client.create_registered_model(name)
    run_id, model_id = _logged_model(bench)
    for _ in range(2):
        bench.client.create_model_version(name, f"models:/{model_id}", run_id, model_id=model_id)
    scored = [
        bench.result("score", parameters={"model_uri": f"models:/{address}"})
        for address in (model_id, f"{name}/1", f"{name}/2")
    ]
    assert [result.reused for result in scored] == [False, True, True]
    assert len({result.run_id for result in scored}) == 1
    assert bench.run(scored[0]).inputs.model_inputs[0].model_id == model_id
    _, other = _logged_model(bench)
    assert not bench.result("score", parameters={"model_uri": f"models:/{other}"}).reused
    bench.client.delete_logged_model(model_id)
    assert not bench.result("score", parameters={"model_uri": f"models:/{model_id}"}).reused


def test_a_run_says_what_it_was_made_of(bench: Bench) -> None:
    """Exact values, inputs and outputs by digest; MLflow's UI shows parameters and datasets."""
    raw = bench.get()
    run = bench.run(bench.use(raw))
    tags = run.data.tags
    assert json.loads(tags[Tag.PARAMETERS.value]) == {"raw": raw, "rate": "0.1"}
    assert run.data.params == {"raw": raw, "rate": "0.1"}
    inputs = json.loads(tags[Tag.INPUTS.value])
    assert inputs["raw"]["address"] == raw
    assert list(json.loads(tags[Tag.OUTPUTS.value])["files"]) == ["data/out.txt"]
    assert len(tags[Tag.REUSE_KEY.value]) == 64
    (used,) = run.inputs.dataset_inputs
    assert used.dataset.name == "raw"
    assert used.dataset.digest == inputs["raw"]["digest"][:32]
    assert json.loads(used.dataset.source)["uri"] == raw
    assert {tag.key: tag.value for tag in used.tags} == {"mlflow.data.context": "use"}


def test_a_step_may_spell_its_parameter_in_another_way(bench: Bench) -> None:
    """MLflow refuses a second spelling: the step's own stays, the exact one is in the tag."""
    run = bench.run(bench.result("spell"))
    assert run.info.status == "FINISHED"
    assert run.data.params == {"rate": "0.01"}
    assert json.loads(run.data.tags[Tag.PARAMETERS.value]) == {"rate": "0.01"}
    run = bench.run(bench.result("spell", parameters={"rate": "1e-2"}))
    assert run.data.params == {"rate": "0.01"}
    assert json.loads(run.data.tags[Tag.PARAMETERS.value]) == {"rate": "1e-2"}


def test_a_step_with_more_outputs_than_a_tag_holds(bench: Bench) -> None:
    """Their record is an artifact; one that was touched counts for nothing."""
    first = bench.result("many")
    assert len(bench.artifact(first.run_id, "understudy/outputs.json")) > 5000
    assert bench.result("many").reused
    stored = bench.stored(first.run_id) / "understudy/outputs.json"
    stored.write_text(stored.read_text().replace("many/000", "many/060"))
    assert not bench.result("many").reused
