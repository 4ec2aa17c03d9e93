"""The names that parts agree on: tags, artifacts, aliases. Imports the standard library only.

What a project's steps write (``data.*`` tags, artifact folders) is a contract with projects that
never import this package; what we write has the prefix ``understudy.``.
"""

from __future__ import annotations

import hashlib
import json
from enum import StrEnum
from typing import Final

CHAMPION: Final = "champion"
"""Registry alias of the version in production."""
PREVIOUS: Final = "previous"
"""Registry alias of the version that the champion replaced."""
CHALLENGER: Final = "challenger"
"""Registry alias of a version that waits for its verdict to be obeyed."""

MODEL_ARTIFACT: Final = "model"
RAW_ARTIFACT: Final = "raw"
DATA_ARTIFACT: Final = "data"
TRAIN_FILE: Final = "train.parquet"
HOLDOUT_FILE: Final = "holdout.parquet"
"""Rows to train on and to judge on, in what the preprocessing logs."""
DECISION_ARTIFACT: Final = "decision"
DECISION_RECORD: Final = "decision/decision.json"
MATURED_RECORD: Final = "decision/matured.json"
"""Whether the gate chose right, known once the rows after the night have their targets."""
DECISION_PROFILE: Final = "decision/profile.json"
"""What the night's training rows look like, for the guards of the nights to come."""
PREDICTIONS_ARTIFACT: Final = "predictions.parquet"
"""A model's predictions row by row, logged by its validation."""
DECISION_PAGE: Final = f"{DECISION_ARTIFACT}/decision.html"
"""The decision record as a page for a person; ``understudy.report`` draws it."""
DECISION_SUMMARY: Final = f"{DECISION_ARTIFACT}/summary.json"
"""What the page's pictures of both models' predictions are drawn from."""
ENVIRONMENT_ARTIFACT: Final = "environment"
"""What a step's environment held and was built from: folder of the step's own run."""

BEST_PARAMETERS: Final = "best_params.json"
"""What a search leaves: a JSON object of parameters for the training."""
STUDY_VARIABLE: Final = "OPTUNA_STORAGE"
"""Environment variable that names the storage of a search's study; Optuna reads it, too."""
STUDIES_VARIABLE: Final = "UNDERSTUDY_STUDIES"
"""Environment variable of the workers: where the studies of all pipelines are."""

ENV_MANAGERS: Final = ("uv", "virtualenv", "conda", "docker", "local")
"""What can make the environment that a step runs in; ``local`` makes none."""
LOCAL_PYTHON: Final = "local:"
"""What stands before a Python in ``local:/opt/ml/bin/python``: that one, not the one on PATH."""


def is_env_manager(text: str) -> bool:
    """Return whether a text names a manager, ``local:PYTHON`` included."""
    return text in ENV_MANAGERS or (text.startswith(LOCAL_PYTHON) and text != LOCAL_PYTHON)


LOCAL: Final = "local"
KUBERNETES: Final = "kubernetes"
DATABRICKS: Final = "databricks"
BACKENDS: Final = (LOCAL, KUBERNETES, DATABRICKS)
"""Where a step runs: a process of the worker, a Job of a cluster, a job run of a workspace."""


class Tag(StrEnum):
    """Tags that Understudy writes on MLflow runs and model versions."""

    KIND = "understudy.kind"
    KEY = "understudy.key"
    PIPELINE = "understudy.pipeline"
    MODEL = "understudy.model"
    AS_OF = "understudy.as_of"
    SAW_LESS = "understudy.saw_less"
    """Which night before this one saw later data."""
    UNASKED = "understudy.unasked"
    """Why the rehearsal had nothing to ask; '' where it had."""
    FINGERPRINT = "understudy.fingerprint"
    SKIPPED_BECAUSE = "understudy.skipped_because"
    PRIMARY = "understudy.primary"
    """The metric that decides."""
    VERDICT = "understudy.verdict"
    VERDICT_REASON = "understudy.verdict.reason"
    DEFAULTS = "understudy.defaults"
    """Which default rules there were; nights of 0.1 have none."""
    HOLDOUT = "understudy.holdout"
    HOLDOUT_ROWS = "understudy.holdout.rows"
    """A sample of the ids of the rows that it was judged on, for nights with some of them."""
    CHALLENGER = "understudy.challenger"
    SHADOW = "understudy.shadow"
    LABEL_DELAY = "understudy.label_delay"
    """Seconds after which the rows that came after a night have their targets."""
    MATURED = "understudy.matured"
    MATURED_REASON = "understudy.matured.reason"
    CHAMPION_ERROR = "understudy.champion.error"
    CHAMPION_UNSCORED = "understudy.champion.unscored"
    HELD_BECAUSE = "understudy.held_because"
    APPROVAL = "understudy.approval"
    NOTIFIED = "understudy.notified"
    STALE = "understudy.stale"
    OUTCOME = "understudy.outcome"
    REASON = "understudy.reason"
    CHAMPION_BEFORE = "understudy.champion.before"
    CHAMPION_AFTER = "understudy.champion.after"
    ENTRY_POINT = "understudy.entry_point"
    REPOSITORY = "understudy.repository"
    SUBDIRECTORY = "understudy.subdirectory"
    VERSION = "understudy.version"
    COMMIT = "understudy.commit"
    TREE = "understudy.tree"
    ENVIRONMENT = "understudy.environment"
    PARAMETERS = "understudy.parameters"
    INPUTS = "understudy.inputs"
    OUTPUTS = "understudy.outputs"
    REUSE_KEY = "understudy.reuse_key"
    NOT_REUSABLE = "understudy.not_reusable"
    REUSED_FROM = "understudy.reused_from"
    DAG_ID = "understudy.dag_id"
    DAG_RUN_ID = "understudy.dag_run_id"
    TASK_ID = "understudy.task_id"
    MAP_INDEX = "understudy.map_index"
    TRY_NUMBER = "understudy.try_number"
    ATTEMPT_OF = "understudy.attempt_of"
    JOB = "understudy.job"
    JOB_PLACE = "understudy.job.place"
    JOB_STATE = "understudy.job.state"
    JOB_DIGEST = "understudy.job.digest"
    DECISION_RUN = "understudy.decision_run"
    REHEARSAL_RUN = "understudy.rehearsal_run"
    HISTORY = "understudy.history"
    HISTORY_CHAPTER = "understudy.history.chapter"
    HISTORY_BEFORE = "understudy.history.before"
    HISTORY_SEEN = "understudy.history.seen"
    ERROR = "error"
    DESCRIPTION = "mlflow.note.content"
    """MLflow's UI shows it as the run's description."""


class DataTag(StrEnum):
    """Tags that a project's steps write on their own runs, and that we read."""

    SHA256 = "data.sha256"
    ROWS = "data.rows"
    NEWEST = "data.newest"
    HOLDOUT_SHA256 = "data.holdout.sha256"


class Kind(StrEnum):
    """What an MLflow run of ours stands for."""

    NIGHT = "night"
    STEP = "step"
    HISTORY = "history"
    REHEARSAL = "rehearsal"


class Outcome(StrEnum):
    """How a night ended."""

    PROMOTED = "PROMOTED"
    HELD = "HELD"
    REJECTED = "REJECTED"
    SKIPPED = "SKIPPED"
    FAILED = "FAILED"


def key_of(*parts: str | int) -> str:
    """Return the SHA-256 (64 hex digits) of an identity made of several parts, in order."""
    # As JSON, and not joined: ("ab", "c") and ("a", "bc") must not have the same key.
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
