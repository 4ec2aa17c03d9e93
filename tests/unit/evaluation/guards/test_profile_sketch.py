"""Sketches of rows: what they find again, whatever the order, in whatever pieces."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.evaluation.guards.profile import ALL, Sketch, hash_version

pytestmark = pytest.mark.unit

DIGESTS = st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 20), max_size=60)


def array(digests: list[int]) -> np.ndarray:
    """Return digests as the table gives them."""
    return np.array(digests, dtype="uint64")


@given(digests=DIGESTS, cut=st.integers(0, 60), size=st.integers(1, 30), seed=st.integers(0, 9))
def test_order_and_pieces_do_not_matter(digests: list[int], cut: int, size: int, seed: int) -> None:
    """The smallest digests are the smallest, however they came."""
    whole = Sketch.of([array(digests)], size)
    mixed = np.random.default_rng(seed).permutation(array(digests))
    pieces = Sketch.of([mixed[:cut], mixed[cut:]], size)
    assert pieces.to_dict() == whole.to_dict()
    assert whole.digests.tolist() == sorted(set(digests))[:size]


@given(train=DIGESTS, holdout=DIGESTS, size=st.integers(1, 30))
def test_what_is_looked_for_is_found_exactly(
    train: list[int], holdout: list[int], size: int
) -> None:
    """Of the rows that can be told, exactly those are found that are there."""
    sketch = Sketch.from_dict(json.loads(json.dumps(Sketch.of([array(train)], size).to_dict())))
    told = [digest for digest in holdout if digest < sketch.limit]
    assert sketch.found(array(holdout)) == (sum(d in set(train) for d in told), len(told))
    if len(set(train)) <= size:
        assert sketch.limit == ALL
        assert sketch.repeated == sum(train.count(d) > 1 for d in train) / max(len(train), 1)


@given(digests=DIGESTS, size=st.integers(1, 30), less=st.integers(1, 30))
def test_a_smaller_sketch_is_the_sketch_of_that_size(
    digests: list[int], size: int, less: int
) -> None:
    """What is stored finds what a sketch made at that size would."""
    smaller = Sketch.of([array(digests)], max(size, less)).smaller(less)
    direct = Sketch.of([array(digests)], less)
    assert (smaller.limit, smaller.digests.tolist()) == (direct.limit, direct.digests.tolist())


def test_the_way_of_hashing_is_the_one_that_stored_sketches_know() -> None:
    """A pandas that hashes otherwise makes stored sketches useless: this says so first."""
    assert hash_version() == "2ed230bbba38ac37-74a0b3e448d4d725"
