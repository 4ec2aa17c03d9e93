"""Brings a night's rows here, and what is known of its champion's. Reads MLflow, writes files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from understudy.artifacts import artifacts_of, read_text
from understudy.contract import DECISION_PROFILE, Tag
from understudy.judging.exchange import Rows
from understudy.tracking import tracking_errors

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_SCHEME: Final = "runs:/"


@dataclass(frozen=True, slots=True)
class NightRows:
    """Where the rows of a night are.

    Attributes:
        address: ``runs:/<run id>/<path>`` of what ``preprocess`` logged.
        as_of: ISO time of the night.
        model: The registered model.
        champion: The champion's version; None without one.
    """

    address: str
    as_of: str
    model: str
    champion: str | None


def brought(client: MlflowClient, wanted: NightRows, folder: Path) -> Rows:
    """Return rows and profile as files in a folder.

    What is not there is no error here: the guards say what they could not look at.
    """
    place = _downloaded(client, wanted.address, folder / "rows")
    if wanted.champion is None:
        return Rows(str(place), wanted.as_of)
    profile, absent = _profile(client, wanted.model, wanted.champion)
    if absent:
        return Rows(str(place), wanted.as_of, absent=absent)
    file = folder / "profile.json"
    file.write_text(profile, encoding="utf-8")
    return Rows(str(place), wanted.as_of, profile=str(file))


def _downloaded(client: MlflowClient, address: str, folder: Path) -> Path:
    """Return the folder with the rows, empty where they are gone."""
    from mlflow.exceptions import MlflowException

    folder.mkdir(parents=True)
    run_id, _, path = address.removeprefix(_SCHEME).partition("/")
    try:
        with tracking_errors():
            repository = artifacts_of(client, client.get_run(run_id))
            return Path(repository.download_artifacts(path, str(folder)))  # type: ignore[no-untyped-call]
    except (MlflowException, OSError):
        return folder


def _profile(client: MlflowClient, model: str, version: str) -> tuple[str, str]:
    """Return the profile that the champion's own night stored, or why there is none."""
    from mlflow.exceptions import MlflowException

    try:
        with tracking_errors():
            night = client.get_model_version(model, version).tags.get(Tag.DECISION_RUN.value, "")
            if not night:
                return "", f"version {version} became champion without a night of ours"
            return read_text(client, client.get_run(night), DECISION_PROFILE), ""
    except (MlflowException, OSError):
        return "", f"the night that made version {version} champion stored no profile of its rows"
