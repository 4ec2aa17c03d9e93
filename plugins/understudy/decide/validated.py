"""What a run of ``validate`` says of the model and the rows that it was made of. Reads MLflow."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from understudy.contract import Tag
from understudy.decide.costing import Model
from understudy.decide.rows import NightRows
from understudy.gate import Score
from understudy.spec.entry_points import DATA, MODEL_URI
from understudy.store.notes import read_note
from understudy.store.tracking import RunStore

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_PARENT: Final = "mlflow.parentRunId"


def model_of(client: MlflowClient, score: Score) -> Model:
    """Return the model that was validated; without an address where its run names none.

    Args:
        client: Of the tracking server.
        score: Its numbers; those of a file have no run.
    """
    if not score.run_id:
        return Model(score.model)
    run = RunStore(client).get(score.run_id)
    stated = json.loads(read_note(client, run, Tag.PARAMETERS) or "{}")
    return Model(score.model, str(stated.get(MODEL_URI) or run.data.params.get(MODEL_URI, "")))


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
