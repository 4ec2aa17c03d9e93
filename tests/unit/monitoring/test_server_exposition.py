"""Prometheus can read what it is told."""

from __future__ import annotations

import pytest

from understudy.monitoring.figures import Champion, Figures
from understudy.monitoring.server import exposition

pytestmark = pytest.mark.unit


def test_every_figure_has_its_labels() -> None:
    """In the order of their values."""
    figures = Figures(champions={"wine": Champion("3", 1700000000.5)})
    figures.nights["wine", "PROMOTED"] += 2
    figures.steps["wine", "train", "FINISHED"] += 1
    figures.step_seconds["wine", "train"] += 12.5
    figures.last_night[("wine",)] = 1700000001.0
    lines = exposition(figures).splitlines()
    assert 'understudy_nights_total{pipeline="wine",outcome="PROMOTED"} 2' in lines
    assert 'understudy_steps_total{pipeline="wine",step="train",status="FINISHED"} 1' in lines
    assert 'understudy_step_seconds_total{pipeline="wine",step="train"} 12.5' in lines
    assert 'understudy_champion_since_timestamp_seconds{model="wine"} 1700000000.5' in lines
    assert 'understudy_champion_version{model="wine"} 3.0' in lines


def test_each_metric_has_a_type_though_it_has_no_sample() -> None:
    """So that a dashboard of a new stack shows no error."""
    text = exposition(Figures())
    assert text.count("# TYPE") == text.count("# HELP") == 8
    assert text.endswith("\n")


def test_a_name_cannot_end_its_quotes() -> None:
    """A model's name is a person's."""
    figures = Figures(champions={'a"b\\c\nd': Champion("1", 0.0)})
    assert r'{model="a\"b\\c\nd"} 0.0' in exposition(figures)
