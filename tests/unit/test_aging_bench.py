"""The bench of rules that age: cut off, it goes on, and its picture is that of its results."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from tests.bench import aging
from tests.bench.aging import Setting, Stream

pytestmark = pytest.mark.unit


def jobs(count: int) -> list[tuple[Stream, Setting, int]]:
    """Return streams of nine weeks, whose level drifts, with two rows a day."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(126, 4))
    target = inputs[:, 0] + np.arange(126) / 20 + rng.normal(size=126)
    stream = Stream("drift", 2, inputs, target, aging.absolute)
    return [(stream, Setting("ridge", aging.ridge, 20, days), 0) for days in range(5, 5 + count)]


def test_what_is_cut_off_goes_on_and_a_whole_file_is_only_drawn(tmp_path: Path) -> None:
    """A result that is there is taken as it is."""
    kept = tmp_path / "gate.json"
    (first,) = aging.studied_all(jobs(1), kept)
    marked = [{**first, "clean": dict.fromkeys(first["clean"], 7.0)}]
    kept.write_text(json.dumps(marked))
    found = list(aging.studied_all(jobs(2), kept))
    assert found[0] == marked[0], "not computed again"
    assert found[1]["holdout"] == 6
    assert found[1]["clean"]["hindsight"] == 0.0
    assert min(found[1]["clean"].values()) == 0.0
    assert json.loads(kept.read_text()) == found

    picture = aging.picture(found)
    texts = [one.text for one in ET.fromstring(picture).iter() if one.text]  # noqa: S314 -- our own
    mean = np.mean([one["clean"]["always"] for one in found])
    assert f"{mean:.1f}" in texts
    assert set(aging.SHOWN) <= set(texts)
