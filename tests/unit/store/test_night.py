"""What a night pins is all there is to it, in this version's documents and in those of 0.1."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from understudy.errors import DeclarationError
from understudy.spec.entry_points import Steps
from understudy.spec.guards import Budgets, Guards, Limit
from understudy.spec.pipeline import NightSpec, Pipeline, Project, Rehearsal
from understudy.spec.rules import Gate, Metric
from understudy.spec.search import Search
from understudy.store.night import Night

WINE, ANYONE = json.loads(Path(__file__).with_name("nights_0_1.json").read_text("utf-8"))
"""Documents that 0.1 stored, of the two pipelines below."""
CODE = Project("https://example.com/models.git#mlproject/tabular", version="v1")
GUARDED = Gate(
    Metric("rmse", min_gain=0.1),
    [Metric("mae", max_loss=0.05, relative=True)],
    slices=["region"],
    guards=Guards(),
    budgets=Budgets(size=Limit("200MB")),
)
SEARCHED = Search(space={"alpha": {"low": 0.1, "high": 1}})
DECLARED = [
    Pipeline("wine", CODE, GUARDED),
    Pipeline(
        "anyone",
        CODE,
        Gate(Metric("auc", lower_is_better=False, at_least=0.5)),
        model="shop",
        env_manager="conda",
        search=SEARCHED,
        steps=Steps(
            "fetch", None, "fit", None, model="forest=1", inputs={"raw": "where", "as_of": "day"}
        ),
    ),
]
FINGERPRINTS = [
    "0a166ab66e8a85d628825f287f41729d924dffbd986261ecfcee327634ccb14c",
    "ce69430a0b203b17d769fc851d2191aa6be2267adac540a5e9cc47345203f339",
]
"""Of the input of these nights, as 0.1 computed it."""
RAW = "ab" * 32


def of_0_1(gate: Gate) -> Gate:
    """Return what 0.1 understood by rules: a gain of zero by default, and independent rows."""
    stated = any(bound.needs_champion for bound, _ in gate.primary.bounds())
    primary = gate.primary if stated else replace(gate.primary, min_gain=0.0)
    return replace(gate, primary=primary, time_block="")


def stored(night: Night) -> dict[str, Any]:
    """Return what is read again of a night that was stored."""
    document: dict[str, Any] = json.loads(json.dumps(night.to_dict()))
    return document


@pytest.mark.parametrize(
    ("document", "declared", "fingerprint"),
    [(WINE, DECLARED[0], FINGERPRINTS[0]), (ANYONE, DECLARED[1], FINGERPRINTS[1])],
)
def test_a_night_of_the_version_before(
    document: dict[str, Any], declared: Pipeline, fingerprint: str
) -> None:
    """It is what its pipeline pinned then, and its input has the identity that it had.

    Also under the defaults of now: what was rolled back does not come back from it.
    """
    night, spec = Night.of(document, declared), declared.for_nights
    then = replace(spec, gate=of_0_1(spec.gate))
    assert night.to_dict()["spec"] == replace(night, spec=then).to_dict()["spec"]
    assert replace(night, spec=spec).fingerprint(RAW) == fingerprint
    assert (night.pipeline, night.model) == (declared.name, declared.model)
    assert night.validated is document["validated"]
    assert night.fingerprint(RAW) == fingerprint
    assert {*document} >= {*night.to_dict()} - {"spec", "handed"}
    assert stored(Night.of(stored(night))) == stored(night)


@pytest.mark.parametrize(("document", "declared"), [(WINE, DECLARED[0]), (ANYONE, DECLARED[1])])
def test_what_the_version_before_pinned_counts_more_than_the_file(
    document: dict[str, Any], declared: Pipeline
) -> None:
    """Rules, steps and environment manager; the rest, which its tasks read there, is the file's."""
    edited = Pipeline(
        "wine",
        Project("https://example.com/others.git"),
        Gate(Metric("mae")),
        model="other",
        steps=Steps(train="other", validate=None),
        env_manager="local",
        rehearsal=Rehearsal(rows=3),
        reuse={"train": False},
    )
    spec = Night.of(document, edited).spec
    assert (spec.name, spec.model) == (declared.name, declared.model)
    assert spec.gate.to_dict() == of_0_1(declared.gate).to_dict()
    assert (spec.steps, spec.env_manager) == (declared.steps, declared.env_manager)
    assert (spec.rehearsal, spec.reuse) == (edited.rehearsal, edited.reuse)


def test_a_night_of_the_version_before_can_be_read_without_its_file() -> None:
    """Where it is only looked at: its repository is known, credentials are not."""
    for document, declared in zip((WINE, ANYONE), DECLARED, strict=True):
        night = Night.of(document)
        assert night.spec.project == Project(CODE.uri)
        assert night.spec.steps == declared.steps


def test_all_that_tasks_obey_is_pinned() -> None:
    """Read again, it is the same, whatever the file says by then."""
    declared = Pipeline(
        "wine",
        Project("{{ var.value.models }}#tabular", connection="models"),
        GUARDED,
        search=SEARCHED,
        rehearsal=Rehearsal(startup=timedelta(minutes=9)),
        alert_after_skips=3,
        alert_after_age=timedelta(days=1.5),
        reuse={"train": False},
        environment=["TOKEN"],
        backend="local",
        label_delay=timedelta(days=14),
        schedule=object(),
        notify={"*": [object()]},
    )
    night = replace(Night.of(WINE), spec=declared.for_nights)
    found = Night.of(stored(night), DECLARED[1])
    assert stored(found) == stored(night)
    assert (found.spec.label_delay, found.spec.rehearsal) == (
        timedelta(days=14),
        night.spec.rehearsal,
    )
    clustered = replace(
        night.spec,
        environment=[],
        backend="kubernetes",
        backend_config={"namespace": "ml", "kube-job-template": {"kind": "Job", "spec": {}}},
    )
    assert Night.of(stored(replace(night, spec=clustered))).spec.backend_config == {
        "namespace": "ml",
        "kube-job-template": {"kind": "Job", "spec": {}},
    }


def test_a_document_that_cannot_be_read_says_why() -> None:
    """Such as one of a later version."""
    document = stored(Night.of(WINE))
    document["spec"]["colour"] = "red"
    with pytest.raises(DeclarationError, match="NightSpec: unknown field 'colour'"):
        Night.of(document)


def test_a_pipeline_file_gives_a_gate_and_no_dictionary() -> None:
    """Stored documents are the only ones that have it as JSON."""
    with pytest.raises(DeclarationError, match="'gate' is"):
        NightSpec("wine", CODE, GUARDED.to_dict())  # type: ignore[arg-type]
