"""Which entry point is which step, and who gets what under which name."""

from __future__ import annotations

from typing import Any

import pytest

from understudy.errors import DeclarationError
from understudy.spec.entry_points import Role, Steps

pytestmark = pytest.mark.unit


def test_ours_by_default() -> None:
    """The step contract's names; the recipe is the plain list of entry points."""
    steps = Steps()
    assert steps.names == ("download", "preprocess", "train", "validate")
    assert steps.recipe == list(steps.names)
    assert steps.filled_in(Role.DOWNLOAD) == ("as_of",)
    assert steps.filled_in(Role.TRAIN) == ("as_of", "raw", "data")
    assert steps.filled_in(Role.VALIDATE) == ("as_of", "raw", "data", "model_uri")


def test_a_single_entry_point() -> None:
    """Nothing is handed from step to step: the project may call its parameters as it likes."""
    steps = Steps.single("train.py", model="sk_model")
    assert steps.by_role == {Role.TRAIN: "train.py"}
    assert steps.reserved == {"as_of"}
    assert steps.recipe == ["", "", "train.py", "", "model=sk_model"]


def test_names_of_the_projects_own() -> None:
    """Our inputs go by their names; what is not mapped keeps its own."""
    inputs = {"raw": "ratings_csv", "model_uri": "als_model_uri", "as_of": "day"}
    steps = Steps("load_raw_data", None, "als", "score", raw="ratings-csv-dir", inputs=inputs)
    assert steps.filled_in(Role.VALIDATE) == ("day", "ratings_csv", "als_model_uri")
    renamed = steps.renamed({"as_of": "2026", "raw": "runs:/1/x"})
    assert renamed == {"day": "2026", "ratings_csv": "runs:/1/x"}
    assert "data" not in steps.reserved
    assert Steps(preprocess=None, inputs={"raw": "data"}).called("raw") == "data"


def test_other_wiring_is_another_recipe() -> None:
    """Or a night would be skipped as if nothing had changed."""
    different = [Steps(), Steps(validate=None), Steps(model="m"), Steps(inputs={"raw": "r"})]
    assert len({tuple(steps.recipe) for steps in different}) == 4


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"inputs": {"row": "x"}}, r"inputs has 'row' \(did you mean 'raw'\?\)"),
        ({"inputs": {"raw": "data"}}, "two of .* are called 'data'"),
        ({"inputs": {"raw": "x"}, "download": None}, "'raw', which no step leaves or takes"),
        ({"train": None}, "'train' is None"),
        ({"train": ""}, "'train' is empty"),
        ({"model": ""}, "'model' is empty"),
        ({"tain": "x"}, r"unknown field 'tain' \(did you mean 'train'\?\)"),
    ],
)
def test_wrong_steps_are_refused(fields: dict[str, Any], message: str) -> None:
    """When the file is read."""
    with pytest.raises(DeclarationError, match=message) as caught:
        Steps(**fields)
    assert "Allowed: " in str(caught.value)
    assert "Next: " in str(caught.value)
