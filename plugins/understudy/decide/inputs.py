"""What a decision is made from, brought from MLflow: predictions, rows, and what came before.

Reads runs, artifacts and tags; writes files below the folders that it is given.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from understudy.contract import HOLDOUT_FILE, PREDICTIONS_ARTIFACT, Kind, Tag
from understudy.decide import digests
from understudy.decide.candidates import BenchmarkModel, training_run
from understudy.errors import (
    EXIT_BAD_DATA,
    ArtifactChangedError,
    DecisionError,
    EnvironmentBuildError,
    RegistryError,
    StepFailedError,
    StepStoppedError,
    UnderstudyError,
)
from understudy.gate import Cause, Gate, Score, Shadow, StoredPredictions
from understudy.gate.evidence import Earlier
from understudy.gate.exchange import RowFiles
from understudy.gate.learning import Learning, Lesson
from understudy.spec.entry_points import DATA, MODEL_URI
from understudy.store.artifacts import downloaded, found, listed, read_note
from understudy.store.night import Night
from understudy.store.tracking import RunStore, tracking_errors
from understudy.store.training_rows import training_rows

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient


@dataclass(frozen=True, slots=True)
class Fetched:
    """Predictions that lie on this machine.

    Attributes:
        file: Where.
        predictions: What the record says of them.
    """

    file: Path
    predictions: StoredPredictions


def stored(client: MlflowClient, run_id: str) -> StoredPredictions | None:
    """Return the predictions that a validation logged, or None where it logged none."""
    with tracking_errors():
        found = [item for item in client.list_artifacts(run_id) if not item.is_dir]
    for item in found:
        if item.path == PREDICTIONS_ARTIFACT:
            left = digests.noted(client, f"{_SCHEME}{run_id}/{item.path}").get("", "")
            return StoredPredictions(run_id, item.path, left, item.file_size or 0)
    return None


def fetch(client: MlflowClient, predictions: StoredPredictions, folder: Path) -> Fetched:
    """Return predictions brought into a folder, with their digest.

    Raises:
        DecisionError: when they are gone, or are not those whose digest is known.
        TrackingUnavailableError: when the server does not answer.
    """
    from mlflow.exceptions import MlflowException

    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tracking_errors():
            run = client.get_run(predictions.run_id)
        path = downloaded(client, run, predictions.path, folder)
    except (MlflowException, OSError) as error:
        raise _gone(predictions, str(error)[:300]) from error
    return _checked(predictions, path)


def local(file: Path, sha256: str = "") -> Fetched:
    """Return predictions in a file that is in no run.

    Raises:
        DecisionError: when there is no such file, or it is not the one whose digest is known.
    """
    predictions = StoredPredictions("", str(file), sha256)
    if not file.is_file():
        raise _gone(predictions, "there is no such file")
    return _checked(predictions, file)


def _checked(predictions: StoredPredictions, path: Path) -> Fetched:
    with path.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    if predictions.sha256 not in {"", digest}:
        what = f"SHA-256 {digest}, was {predictions.sha256}"
        raise ArtifactChangedError(_named(predictions), what)
    return Fetched(path, replace(predictions, sha256=digest, size=path.stat().st_size))


def _gone(predictions: StoredPredictions, why: str) -> DecisionError:
    return DecisionError(
        f"{_named(predictions)} cannot be read: {why}",
        allowed="predictions that validate logged and nobody deleted",
        action="restore the artifact, or clear validate and gate of that night",
    )


def _named(predictions: StoredPredictions) -> str:
    return (
        f"{predictions.path} of the run {predictions.run_id}"
        if predictions.run_id
        else predictions.path
    )


_SCHEME: Final = "runs:/"


@dataclass(frozen=True, slots=True)
class NightRows:
    """Where the rows of a night are.

    Attributes:
        address: ``runs:/<run id>/<path>`` of what ``preprocess`` logged.
        as_of: ISO time of the night.
        champion: Address of the champion's model; empty without one.
    """

    address: str
    as_of: str = ""
    champion: str = ""

    @property
    def holdout(self) -> str:
        """Address of the rows to judge on."""
        return f"{self.address.rstrip('/')}/{HOLDOUT_FILE}"


def brought(
    client: MlflowClient, rows: NightRows, folder: Path
) -> tuple[RowFiles, dict[str, dict[str, str]]]:
    """Return the night's rows, and what is left of the champion's, as files; and their digests.

    What is not there is no error here: the guards say what they could not look at.

    Args:
        client: Of the tracking server.
        rows: Where they are.
        folder: Takes them.

    Raises:
        ArtifactChangedError: when they are not what their step left.
        TrackingUnavailableError: when the server does not answer.
    """
    found, artifacts = _downloaded(client, rows.address, folder / "rows"), {}
    if found is not None:
        artifacts[rows.address] = digests.as_left(client, rows.address, found)
    place = found or folder / "rows"
    if not rows.champion:
        return RowFiles(str(place), rows.as_of), artifacts
    try:
        run_id = training_run(client, rows.champion)
    except RegistryError as error:
        return RowFiles(str(place), rows.as_of, absent=error.found), artifacts
    left = training_rows(client, run_id, folder / "before")
    if left.profile is not None:
        artifacts[left.address] = digests.files_of(left.profile)
    # Two files of more: each by its own address, so that the others are not missed.
    for name, digest in digests.files_of(left.folder).items() if left.folder else ():
        artifacts[f"{left.address.rstrip('/')}/{name}"] = {"": digest}
    files = RowFiles(
        str(place),
        rows.as_of,
        profile=str(left.profile or ""),
        before=str(left.folder or ""),
        absent=left.absent,
    )
    return files, artifacts


def holdout(client: MlflowClient, address: str, folder: Path) -> Path | None:
    """Return the holdout's file, fetched unless it lies in the folder; None where it is gone.

    Args:
        client: Of the tracking server.
        address: What ``preprocess`` logged.
        folder: The folder that ``brought`` was given, or another one.

    Raises:
        TrackingUnavailableError: when the server does not answer.
    """
    # The guards have brought the whole folder already, which may be large.
    there = sorted(folder.glob(f"rows/**/{HOLDOUT_FILE}"))
    if there:
        return there[0]
    return _downloaded(client, NightRows(address).holdout, folder / "rows")


def _downloaded(client: MlflowClient, address: str, folder: Path) -> Path | None:
    """Return what lies at an address, brought into a folder; None where it is gone."""
    folder.mkdir(parents=True, exist_ok=True)
    run_id, _, path = address.removeprefix(_SCHEME).partition("/")
    run = RunStore(client).found(run_id)
    return None if run is None else found(client, run, path, folder)


_PARENT: Final = "mlflow.parentRunId"


def model_of(client: MlflowClient, score: Score) -> BenchmarkModel:
    """Return the model that was validated; without an address where its run names none.

    Args:
        client: Of the tracking server.
        score: Its numbers; those of a file have no run.
    """
    if not score.run_id:
        return BenchmarkModel(score.model)
    run = RunStore(client).get(score.run_id)
    # The note has every value as the step was given it; of MLflow's own parameters those are left
    # out that not every store takes whole.
    stated = json.loads(read_note(client, run, Tag.PARAMETERS) or "{}")
    return BenchmarkModel(
        score.model, str(stated.get(MODEL_URI) or run.data.params.get(MODEL_URI, ""))
    )


def rows_of(client: MlflowClient, run_id: str, champion: str) -> NightRows | None:
    """Return the rows that a validation took; None where its run does not say.

    Args:
        client: Of the tracking server.
        run_id: The validation's run.
        champion: Address of the champion's model; empty without one.
    """
    runs = RunStore(client)
    run = runs.get(run_id)
    inputs = json.loads(read_note(client, run, Tag.INPUTS) or "{}")
    address = str(inputs.get(DATA, {}).get("address", ""))
    if not address.startswith("runs:/"):
        return None
    night = run.data.tags.get(_PARENT, "")
    around = runs.get(night) if night and runs.exists(night) else run
    return NightRows(address, around.data.tags.get(Tag.AS_OF.value, ""), champion)


# Each challenger that is compared on one holdout is another chance to pass it by luck, so that the
# gate shares its error rate between them.
_REMEMBERED: Final = 1000
"""Nights that are looked back over. After as many on one holdout its error rate is spent anyway."""


def earlier_challengers(runs: RunStore, night: Night, challenger: str) -> dict[str, Earlier]:
    """Return which other challengers were compared before, by the digest of their holdout.

    Counted are models, not nights: a night that is cleared, tried again, or judged again because
    the champion changed has one challenger, and a reused training is no new one.

    Args:
        runs: The tracking server's runs.
        night: The night that asks; what it stored itself does not count.
        challenger: Address of the model that it judges.
    """
    tags = {Tag.MODEL: night.model, Tag.KIND: Kind.NIGHT.value}
    nights = runs.search(
        night.experiment_id, tags, also=f"tags.`{Tag.HOLDOUT}` != ''", limit=_REMEMBERED
    )
    models: Mapping[str, set[str]] = defaultdict(set)
    samples: dict[str, str] = {}
    for run in nights:
        if run.info.run_id != night.run_id:
            holdout = run.data.tags[Tag.HOLDOUT]
            models[holdout].add(run.data.tags.get(Tag.CHALLENGER, ""))
            samples[holdout] = run.data.tags.get(Tag.HOLDOUT_ROWS, "")
    return {
        holdout: Earlier(len(judged - {challenger}), samples[holdout])
        for holdout, judged in models.items()
    }


def lesson_tag(gate: Gate, lesson: Lesson | None) -> str:
    """Return what a night says of the tolerance of its rules, as the value of one tag."""
    return "" if lesson is None else json.dumps([_unit(gate), asdict(lesson)])


def learned(runs: RunStore, night: Night) -> Learning | None:
    """Return how the tolerance of a night is chosen; None where its rules do not learn.

    Nights whose rules had another metric, or a tolerance in another unit, say nothing of it.

    Args:
        runs: The tracking server's runs.
        night: The night that is judged.
    """
    gate = night.spec.gate
    if gate.learn is None:
        return None
    tags = {Tag.PIPELINE: night.pipeline, Tag.KIND: Kind.NIGHT.value}
    also = f"tags.`{Tag.LESSON}` != ''"
    found = runs.search(night.experiment_id, tags, also=also, limit=_REMEMBERED)
    told = [
        json.loads(one.data.tags[Tag.LESSON]) for one in found if one.info.run_id != night.run_id
    ]
    lessons = [Lesson(**lesson) for unit, lesson in told if unit == _unit(gate)]
    return Learning.of(gate, lessons, night.as_of)


def _unit(gate: Gate) -> list[str]:
    metric = gate.decisive
    return [metric.name, metric.function or "", str(metric.relative)]


def shadow(runs: RunStore, night: Night, gate: Gate) -> Shadow | None:
    """Return the shadow that a night is in, or None where its verdict is obeyed.

    Counted are the nights of this pipeline that were judged in its shadow, whatever the rules
    were. Raise ``shadow_nights`` to have more of them.
    """
    if not gate.shadow_nights:
        return None
    tags = {Tag.PIPELINE: night.pipeline, Tag.KIND: Kind.NIGHT.value}
    # One more than there are to be: this very night, judged again, may be among those found.
    found = runs.search(
        night.experiment_id,
        tags,
        also=f"tags.`{Tag.SHADOW}` != ''",
        limit=gate.shadow_nights + 1,
    )
    number = 1 + sum(run.info.run_id != night.run_id for run in found)
    return Shadow(number, gate.shadow_nights) if number <= gate.shadow_nights else None


def changed(runs: RunStore, night: Night, gate: Gate) -> str:
    """Return what other defaults judge than those of 0.1 did, on the first such night; else ''."""
    said = gate.changes
    tags = {Tag.PIPELINE: night.pipeline, Tag.KIND: Kind.NIGHT.value}

    def has_other(tag: Tag) -> bool:
        # Two: this very night, judged again, may be among those found.
        also = f"tags.`{tag}` != ''"
        found = runs.search(night.experiment_id, tags, also=also, limit=2)
        return any(run.info.run_id != night.run_id for run in found)

    is_first = said and not has_other(Tag.DEFAULTS) and has_other(Tag.VERDICT)
    return said if is_first else ""


_REASON_LIMIT: Final = 4000
"""Characters of a reason; MLflow refuses tags above 8000."""


def cause_of(client: MlflowClient, error: BaseException | None, model: str, version: str) -> Cause:
    """Return why a version could not be validated.

    Args:
        client: A client of the tracking server.
        error: What the validation ended with.
        model: The registered model.
        version: Its version.
    """
    # First, whatever the error: a validation of files that are gone fails in many ways.
    if _is_deleted(client, model, version):
        return Cause.DELETED
    if isinstance(error, EnvironmentBuildError):
        return Cause.ENVIRONMENT
    if isinstance(error, StepStoppedError):
        return Cause.STOPPED
    if isinstance(error, StepFailedError):
        return Cause.DATA if error.exit_code == EXIT_BAD_DATA else Cause.CRASHED
    return Cause.NOT_BEGUN if isinstance(error, UnderstudyError) else Cause.CRASHED


def _is_deleted(client: MlflowClient, model: str, version: str) -> bool:
    """Return whether the version or its files are gone."""
    from mlflow.exceptions import MlflowException

    try:
        with tracking_errors():
            files = client.get_model_version_download_uri(model, version)
        return not listed(client, files)
    except MlflowException as error:
        return bool(error.error_code == "RESOURCE_DOES_NOT_EXIST")


def as_tag(cause: Cause, reason: str) -> str:
    """Return cause and reason as the value of one tag."""
    return json.dumps([cause.value, reason[:_REASON_LIMIT]])


def from_tag(text: str) -> tuple[Cause, str] | None:
    """Return cause and reason, or None for an empty tag."""
    if not text:
        return None
    cause, reason = json.loads(text)
    return Cause(cause), str(reason)
