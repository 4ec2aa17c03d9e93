"""A study that several workers share, and that is killed: nothing is lost, nothing done twice."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState

from shared import samplers, study_storage, workers
from shared.errors import ParameterError, UnavailableError
from shared.objective import pruner
from shared.samplers import PLACE, SURPLUS, sampler
from shared.search_space import Space
from shared.study import (
    Budget,
    SharedStudy,
    busy_seconds,
    died_of,
    has_died,
    open_study,
    summary,
)
from tabular.model_spaces import space_of

PROJECT = Path(samplers.__file__).parents[1]

pytestmark = pytest.mark.unit

# Begins trials and is killed while it has one; says so first.
WORKER = """
import sys, time
from pathlib import Path
sys.path[:0] = [sys.argv[1], sys.argv[2]]
from test_study import shared
study, runs = shared(Path(sys.argv[3]), sys.argv[4], int(sys.argv[5]))
for done in range(3):
    trial = runs.next()
    if done < 2:
        runs.succeeded(trial, 1.0, {})
print(trial.number, flush=True)
time.sleep(60)
"""
SPACE = '{"max_depth": {"low": 1, "high": 20}, "min_samples_leaf": [1, 2, 3, 4, 5, 6]}'


def space(sampler_name: str) -> Space:
    """Return a space of 120 points."""
    return space_of(SPACE, "", "decision_tree", "regression", grid=sampler_name == "grid")


def shared(folder: Path, name: str, most: int, dead: list[FrozenTrial] | None = None) -> Any:  # noqa: ANN401 - study and its wrapper
    """Return a study in a file, and what works on it."""
    tried = space(name)
    storage = study_storage.open_storage(str(folder), "s")
    study = open_study(storage, "s", "minimize", sampler(name, tried, 7), pruner("none"))
    told = [] if dead is None else dead
    return study, SharedStudy(study, tried, Budget(most, None), told.append)


def work(folder: Path, name: str, most: int) -> None:
    """Do trials until the study is over."""
    _, runs = shared(folder, name, most)
    while (trial := runs.next()) is not None:
        runs.succeeded(trial, float(trial.params["max_depth"]), {})


def points(folder: Path, name: str) -> list[tuple[Any, ...]]:
    """Return the parameters of the finished trials, by place."""
    study, runs = shared(folder, name, 0)
    complete = [trial for trial in runs.trials() if trial.state == TrialState.COMPLETE]
    placed = {samplers.place_of(study, one): tuple(one.params.values()) for one in complete}
    assert len(placed) == len(complete)
    return [placed[place] for place in range(len(placed))]


@pytest.mark.parametrize("name", samplers.NAMES)
def test_workers_share_exactly_the_budget(tmp_path: Path, name: str) -> None:
    """Four at once do so many trials, not one more, and none has the place of another."""
    threads = [threading.Thread(target=work, args=(tmp_path, name, 17)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = points(tmp_path, name)
    assert len(found) == 17
    if name != "tpe":
        work(tmp_path / "alone", name, 17)
        assert found == points(tmp_path / "alone", name)


def test_a_grid_has_every_point_once(tmp_path: Path) -> None:
    """Also where it is tried in two goes."""
    work(tmp_path, "grid", 50)
    work(tmp_path, "grid", 120)
    assert Counter(points(tmp_path, "grid")).most_common(1)[0][1] == 1
    assert len(points(tmp_path, "grid")) == 120


@pytest.mark.parametrize("name", ["grid", "random"])
def test_a_killed_worker_loses_and_repeats_nothing(tmp_path: Path, name: str) -> None:
    """Its trial is failed at once, its place taken over: the same points as without the kill."""
    here = (str(PROJECT), str(Path(__file__).parent))
    arguments = [sys.executable, "-c", WORKER, *here, str(tmp_path), name, "9"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline().strip() == "2"
        os.kill(worker.pid, signal.SIGKILL)
    dead: list[FrozenTrial] = []
    _, runs = shared(tmp_path, name, 9, dead)
    while (trial := runs.next()) is not None:
        runs.succeeded(trial, 1.0, {})
    assert [one.number for one in dead] == [2]
    assert summary(runs.trials()) == {
        "trials_complete": 9,
        "trials_pruned": 0,
        "trials_failed": 0,
        "trials_died": 1,
    }
    again = next(one for one in runs.trials() if PLACE in one.user_attrs)
    assert again.params == dead[0].params
    work(tmp_path / "alone", name, 9)
    assert points(tmp_path, name) == points(tmp_path / "alone", name)


def test_parameters_that_kill_are_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A place is taken over twice; then the study goes on without it."""
    monkeypatch.setattr("shared.study.is_gone", lambda _worker: True)
    _, runs = shared(tmp_path, "random", 1)
    tried = [runs.next() for _ in range(4)]
    assert [trial is None for trial in tried] == [False, False, False, True]
    last = runs.trials()[-1]
    assert has_died(last)
    assert "not tried again" in died_of(last)
    assert not any(SURPLUS in one.user_attrs for one in runs.trials())


def test_minutes_are_those_of_work(tmp_path: Path) -> None:
    """A pause does not count; a budget that is spent ends the study."""
    tried = space("random")
    storage = study_storage.open_storage(str(tmp_path), "s")
    study = open_study(storage, "s", "minimize", sampler("random", tried, 7), pruner("none"))
    runs = SharedStudy(study, tried, Budget(None, 0.5 / 60), lambda _dead: None)
    done = 0
    while (trial := runs.next()) is not None:
        threading.Event().wait(0.1)
        runs.succeeded(trial, 1.0, {})
        done += 1
    assert 2 <= done <= 6
    assert busy_seconds(runs.trials()) >= 0.5


def test_a_worker_of_this_machine_is_known_by_its_process() -> None:
    """Its id alone could be another one's by now; elsewhere the time tells."""
    me = workers.this_worker()
    assert not workers.is_gone(me)
    assert workers.is_gone({**me, "began": "1"})
    assert not workers.is_gone({**me, "machine": "elsewhere", "began": "1"})
    assert workers.is_gone({**me, "machine": "elsewhere", "seen": me["seen"] - 120})


def test_a_file_with_half_a_line_is_mended(tmp_path: Path) -> None:
    """A machine without power may leave one; nobody was told of it."""
    work(tmp_path, "random", 2)
    (file,) = tmp_path.glob("*.journal")
    with file.open("ab") as opened:
        opened.write(b'{"op_code":')
    work(tmp_path, "random", 4)
    assert len(points(tmp_path, "random")) == 4


def test_where_studies_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A parameter, a variable, or this user's folder; never a password in a parameter."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv(study_storage.VARIABLE, raising=False)
    assert study_storage.address_of("", "tabular") == str(tmp_path / "tabular" / "studies")
    address = "postgresql+psycopg://ada:s3cret@127.0.0.1:1/studies"
    monkeypatch.setenv(study_storage.VARIABLE, address)
    assert (
        study_storage.address_of("", "tabular")
        == study_storage.address_of("env:OPTUNA_STORAGE", "tabular")
        == address
    )
    for given, words in (
        (address, "storage holds a password: postgresql+psycopg://127.0.0.1:1/studies"),
        ("env:NOWHERE", "no variable NOWHERE"),
        ("redis://127.0.0.1", "of the kind 'redis'"),
    ):
        with pytest.raises(ParameterError, match=re.escape(words)):
            study_storage.address_of(given, "tabular")
    with pytest.raises(UnavailableError, match="cannot be used") as caught:
        study_storage.open_storage(address, "s")
    assert "s3cret" not in str(caught.value)
