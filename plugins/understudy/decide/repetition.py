"""What earlier nights have used up: challengers on the same rows, and shadow nights. Reads tags."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Final

from understudy.contract import Kind, Tag
from understudy.gate import Gate, Shadow
from understudy.store.night import Night
from understudy.store.tracking import RunStore

_REMEMBERED: Final = 1000
"""Nights that are looked back over. After as many on one holdout its error rate is spent anyway."""


def earlier_challengers(runs: RunStore, night: Night, challenger: str) -> dict[str, int]:
    """Return how many other challengers were compared before, by the digest of their holdout.

    Counted are models, not nights: a night that is cleared, tried again, or judged again because
    the champion changed has one challenger, and a reused training is no new one.

    Args:
        runs: The tracking server's runs.
        night: The night that asks; what it stored itself does not count.
        challenger: Address of the model that it judges.
    """
    wanted = {Tag.MODEL: night.model, Tag.KIND: Kind.NIGHT.value}
    nights = runs.search(
        night.experiment_id, wanted, also=f"tags.`{Tag.HOLDOUT}` != ''", limit=_REMEMBERED
    )
    models: Mapping[str, set[str]] = defaultdict(set)
    for run in nights:
        if run.info.run_id != night.run_id:
            models[run.data.tags[Tag.HOLDOUT]].add(run.data.tags.get(Tag.CHALLENGER, ""))
    return {holdout: len(judged - {challenger}) for holdout, judged in models.items()}


def shadow(runs: RunStore, night: Night, gate: Gate) -> Shadow | None:
    """Return the shadow that a night is in, or None where its verdict is obeyed.

    Counted are the nights of this pipeline that were judged in its shadow, whatever the rules
    were. Raise ``shadow_nights`` to have more of them.
    """
    if not gate.shadow_nights:
        return None
    wanted = {Tag.PIPELINE: night.pipeline, Tag.KIND: Kind.NIGHT.value}
    found = runs.search(
        night.experiment_id,
        wanted,
        also=f"tags.`{Tag.SHADOW}` != ''",
        limit=gate.shadow_nights + 1,
    )
    number = 1 + sum(run.info.run_id != night.run_id for run in found)
    return Shadow(number, gate.shadow_nights) if number <= gate.shadow_nights else None
