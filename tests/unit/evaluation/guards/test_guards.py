"""The whole package: a night's rows, in real files, under every guard, against the champion's."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from understudy.evaluation.guards import Absent, Profile, find, profile_of
from understudy.gate.evidence import Finding
from understudy.spec.guards import Guards

pytestmark = pytest.mark.unit
Rows = Callable[..., pd.DataFrame]
Night = Callable[..., Path]


@pytest.fixture(scope="module")
def champion(frame: Rows, night: Night, tmp_path_factory: pytest.TempPathFactory) -> Profile:
    """Return what is kept of the rows that the champion was trained on."""
    folder = night(tmp_path_factory.mktemp("champion"), frame(seed=1), frame(200, seed=2))
    return Profile.from_json(profile_of(folder).to_json())


@pytest.fixture
def tonight(frame: Rows, night: Night, tmp_path: Path) -> Night:
    """Return what writes fresh rows of the kind of the champion's, changed, into a folder."""

    def write(
        change: Callable[[pd.DataFrame], pd.DataFrame] = lambda rows: rows, **facts: Any
    ) -> Path:
        return night(tmp_path, change(frame(seed=3)), change(frame(200, seed=4)), **facts)

    return write


def looked(
    folder: Path, champion: Profile | Absent | None, guards: Guards | None = None, as_of: str = ""
) -> dict[str, Finding]:
    """Return the worst finding of each guard."""
    order = ["passed", "undecided", "failed"]
    found = find(guards or Guards(), folder, champion, as_of=as_of).findings
    return {one.guard: one for one in sorted(found, key=lambda one: order.index(one.result))}


def changed(frame: pd.DataFrame, **columns: Callable[[pd.DataFrame], Any]) -> pd.DataFrame:
    """Return rows with other columns."""
    return frame.assign(**columns)


def test_rows_like_the_champions_pass(tonight: Night, champion: Profile) -> None:
    """Fresh rows of the same kind raise no alarm at all."""
    found = looked(tonight(), champion, Guards(max_age="3d"), as_of="2026-02-12T00:00:00")
    assert set(found) == {
        "schema", "categories", "drift", "target_drift", "leakage", "rows", "age",
    }  # fmt: skip
    assert {one.result for one in found.values()} == {"passed"}


@pytest.fixture(scope="module")
def of_streets(frame: Rows) -> Rows:
    """Return what draws rows of many regions that are about as frequent as each other."""

    def draw(rows: int, seed: int, streets: int = 150) -> pd.DataFrame:
        drawn = np.random.default_rng(seed).integers(0, streets, rows)
        return frame(rows, seed).assign(region=[f"street {one}" for one in drawn])

    return draw


@pytest.mark.parametrize("seed", range(5))
def test_many_texts_of_the_same_kind_pass(
    night: Night, of_streets: Rows, tmp_path: Path, seed: int
) -> None:
    """Which of them are frequent is chance: those that were so are rarer in every other row."""
    before = night(tmp_path / "before", of_streets(1500, seed), of_streets(300, 100 + seed))
    tonight = night(tmp_path / "tonight", of_streets(1500, 200 + seed), of_streets(400, 300 + seed))
    found = looked(tonight, profile_of(before))
    assert found["drift"].result == "passed", found["drift"].reason
    assert found["categories"].result == "passed", found["categories"].reason


def test_many_texts_that_became_others_are_told(
    night: Night, of_streets: Rows, tmp_path: Path
) -> None:
    """Three quarters of the rows have streets that the champion's had not."""
    before = night(tmp_path / "before", of_streets(1500, 1), of_streets(300, 2))
    tonight = night(tmp_path / "tonight", of_streets(1500, 3, 600), of_streets(400, 4, 600))
    found = looked(tonight, profile_of(before))
    for guard in ("drift", "categories"):
        assert found[guard].result == "failed"
        assert "'region'" in found[guard].reason


def test_guards_that_are_off_do_not_look(tonight: Night, champion: Profile) -> None:
    """Nothing is said of them."""
    names = ("schema", "categories", "drift", "target_drift", "leakage", "rows")
    off: dict[str, Any] = dict.fromkeys(names, "off")
    assert set(looked(tonight(), champion, Guards(**off))) == set()


def test_the_first_model_has_nothing_to_be_compared_with(tonight: Night) -> None:
    """Tonight's rows are looked at alone."""
    found = looked(tonight(), None)
    assert {name: one.result for name, one in found.items()} == {
        "leakage": "passed",
        "rows": "passed",
    }


@pytest.mark.parametrize(
    ("change", "expected", "told"),
    [
        (lambda f: f.drop(columns="size"), ("schema", "block"), "are gone: 'size'"),
        (
            lambda f: changed(f, size=lambda g: g["size"].astype(str)),
            ("schema", "block"),
            r"'size' \(text, then number\)",
        ),
        (
            lambda f: changed(f, size=lambda g: g["size"].where(g["hour"] > 5)),
            ("schema", "block"),
            r"values are missing more often: 'size' of the training rows 2\d\.\d%, then 0\.0%",
        ),
        (
            lambda f: changed(f, size=lambda g: g["size"].where(g["hour"] > 5, np.inf)),
            ("schema", "block"),
            "values are missing more often: 'size'",
        ),
        (
            lambda f: changed(f, region=lambda g: g["region"].replace("north", "west")),
            ("categories", "warn"),
            "texts that the champion was not trained on: 'region' of the training rows 3",
        ),
        (
            lambda f: changed(f, size=lambda g: g["size"] + 2),
            ("drift", "warn"),
            r"1 of 3 features .* 'size' \(distance 0\.4\d, mean 12[.1]* after 9\.\d+\)",
        ),
        (
            lambda f: changed(f, region=lambda g: g["region"].where(g["hour"] > 12, "north")),
            ("drift", "warn"),
            r"'region' \(distance",
        ),
        (
            lambda f: changed(f, price=lambda g: g["price"] * 2),
            ("target_drift", "warn"),
            "the target 'price' .* is distributed otherwise",
        ),
        (
            lambda f: changed(f, size=lambda g: g["price"]),
            ("leakage", "block"),
            r"these tell the target alone: 'size' \(the target itself\)",
        ),
        (
            lambda f: changed(f, size=lambda g: -(g["price"] ** 3)),
            ("leakage", "block"),
            r"these tell the target alone: 'size' \((0\.99\d|1\.000)\)",
        ),
        (lambda f: f.head(30), ("rows", "block"), "30 rows to train on, 50 are needed"),
        (lambda f: f.head(300), ("rows", "block"), "the champion had 1,000: less than 50%"),
    ],
)
def test_what_is_found(
    tonight: Night,
    champion: Profile,
    change: Callable[[pd.DataFrame], pd.DataFrame],
    expected: tuple[str, str],
    told: str,
) -> None:
    """Each change is found by the guard that is there for it, with the declared level."""
    guard, level = expected
    finding = looked(tonight(change), champion)[guard]
    assert (finding.level, finding.result) == (level, "failed")
    assert re.search(told, finding.reason), finding.reason


def test_rows_of_both_parts(frame: Rows, night: Night, tmp_path: Path, champion: Profile) -> None:
    """Holdout rows that the challenger was trained on, by name and by content alike."""
    train, holdout = frame(seed=3), frame(200, seed=4)
    renamed = train.head(10).assign(row_id=[f"other-{i}" for i in range(10)])
    relabelled = train.head(10).assign(price=0.0)
    for copied, by in ((renamed, "by content"), (relabelled, "by name")):
        folder = night(tmp_path / by, train, pd.concat([holdout, copied]))
        finding = looked(folder, champion)["leakage"]
        assert finding.result == "failed"
        assert "10 of 210 holdout rows" in finding.reason
        assert "the challenger was trained on" in finding.reason
        assert finding.reason.endswith(f"{by}; 1.00% may be")


def test_rows_that_the_champion_was_trained_on(
    frame: Rows, night: Night, tmp_path: Path, champion: Profile
) -> None:
    """They are found although the champion's rows themselves are gone."""
    holdout = pd.concat([frame(200, seed=4), frame(seed=1).head(20)])
    finding = looked(night(tmp_path, frame(seed=3), holdout), champion)["leakage"]
    assert finding.result == "failed"
    assert "20 of 220 holdout rows that were looked for" in finding.reason
    assert "the champion was trained on" in finding.reason


def test_rows_of_few_columns_are_alike_by_chance(frame: Rows, night: Night, tmp_path: Path) -> None:
    """Twins across the parts say nothing where the training rows have as many among themselves."""
    coarse = [
        frame(n, seed=s)[["row_id", "hour", "region"]].assign(price=1.0 * (s > 0))
        for n, s in ((1000, 3), (200, 4))
    ]
    finding = looked(night(tmp_path, *coarse, features=["hour", "region"]), None)["leakage"]
    assert finding.result == "passed"


def test_counted_rows_have_no_names(
    frame: Rows, night: Night, tmp_path: Path, champion: Profile
) -> None:
    """Numbers from 0 in each file make no row of one the row of the other."""
    parts = [frame(n, seed=s).assign(row_id=range(n)) for n, s in ((1000, 3), (200, 4))]
    found = find(Guards(), night(tmp_path, *parts), champion)
    assert {one.result for one in found.findings if one.guard == "leakage"} == {"passed"}
    assert found.profile is not None
    assert found.profile.identities is None


@pytest.mark.parametrize(
    ("as_of", "result"), [("2026-02-14", "passed"), ("2026-02-20T12:00:00+00:00", "failed")]
)
def test_age(tonight: Night, as_of: str, result: str) -> None:
    """The newest row of either part counts, as of the night and not as of now."""
    finding = looked(tonight(), None, Guards(max_age="3d"), as_of=as_of)["age"]
    assert (finding.level, finding.result) == ("block", result)
    assert "the newest row is of 2026-02-11 15:00 UTC" in finding.reason


@pytest.mark.parametrize(
    ("champion", "facts", "guard", "why"),
    [
        (Absent("version 3 has no training run"), {}, "drift", "version 3 has no training run"),
        (None, {"target": ""}, "leakage", "not known which column is the target"),
        (None, {"time": ""}, "age", "no column with their time"),
        (None, {"target": "prise"}, "data", "no target 'prise' (did you mean 'price'?)"),
    ],
)
def test_what_cannot_be_checked(
    tonight: Night, champion: Absent | None, facts: dict[str, str], guard: str, why: str
) -> None:
    """It is said, and holds only where the pipeline wants that."""
    folder = tonight(**facts)
    for level in ("warn", "block"):
        asked = Guards(max_age="1d", unchecked=level)
        finding = looked(folder, champion, asked, as_of="2026-02-12")[guard]
        assert (finding.level, finding.result) == (level, "undecided")
        assert why in finding.reason


@pytest.mark.parametrize("lost", ["train.parquet", "holdout.parquet", "content"])
def test_no_rows_to_look_at(tonight: Night, lost: str) -> None:
    """A project that logs something else is judged without these guards."""
    folder = tonight()
    if lost == "content":
        (folder / "train.parquet").write_text("no rows")
    else:
        (folder / lost).unlink()
    found = find(Guards(), folder, None)
    assert [one.result for one in found.findings] == ["undecided"]
    assert found.profile is None


def test_empty_and_strange_rows(
    frame: Rows, night: Night, tmp_path: Path, champion: Profile
) -> None:
    """No rows, nothing but missing values, lists and constants: all have an answer."""
    train = frame(seed=3).assign(hour=None, tags=[["a"]] * 1000, one=1.0)
    folder = night(tmp_path, train, frame(0), features=["size", "hour", "region", "tags", "one"])
    found = looked(folder, champion)
    assert "0 rows to judge on, 20 are needed" in found["rows"].reason
    assert found["leakage"].result in {"passed", "undecided"}
    assert found["schema"].reason.startswith("values are missing more often: 'hour' of the train")


N = 200
KINDS: dict[str, Callable[[np.random.Generator], Any]] = {
    "numbers": lambda draw: draw.normal(size=N),
    "one number": lambda _: np.full(N, 3.0),
    "another number": lambda _: np.full(N, 4.0),
    "NaN": lambda _: np.full(N, np.nan),
    "infinity": lambda _: np.full(N, np.inf),
    "nothing": lambda _: pd.Series([None] * N, dtype="object"),
    "texts": lambda draw: draw.choice(list("abc"), N),
    "no texts": lambda _: pd.Series([None] * N, dtype="str"),
    "names": lambda draw: [f"{draw.integers(2**60):x}" for _ in range(N)],
    "digits as texts": lambda draw: draw.integers(0, 9, N).astype(str),
    "truth values": lambda draw: draw.random(N) < 0.5,
    "times": lambda _: pd.date_range("2026-01-01", periods=N, freq="h", tz="UTC"),
    "lists": lambda _: pd.Series([[1, 2]] * N),
    "three numbers": lambda _: np.where(np.arange(N) < 3, np.arange(N) * 1.0, np.nan),
    "huge numbers": lambda draw: draw.uniform(-1, 1, N) * 1.7e308,
    "tiny numbers": lambda draw: draw.normal(size=N) * 1e-310,
}


def of_kinds(features: Mapping[str, str], night: Night, folder: Path, seed: int) -> Path:
    """Write a night with features, each of a kind, beside one that is as usual."""
    parts = []
    for number in (seed, seed + 1):
        draw = np.random.default_rng(number)
        columns = {name: KINDS[kind](draw) for name, kind in features.items()}
        columns |= {"size": draw.normal(size=N), "price": draw.normal(size=N)}
        parts.append(pd.DataFrame({"row_id": [f"{number}-{row}" for row in range(N)], **columns}))
    return night(folder, *parts, features=[*features, "size"], time="")


HALVES = [[*KINDS][:8], [*KINDS][8:]]
"""As many kinds as a finding has numbers for, and the rest of them."""
SAME = {"numbers", "huge numbers", "tiny numbers", "one number"}
"""Kinds that have a distance from each other."""


@pytest.fixture(scope="module")
def kinds(night: Night, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return nights with a column of each kind, one for each of ``HALVES``."""
    place = tmp_path_factory.mktemp("kinds")
    return [of_kinds({kind: kind for kind in half}, night, place / half[0], 20) for half in HALVES]


@pytest.mark.parametrize("half", range(2))
@pytest.mark.parametrize("then", KINDS)
def test_every_column_is_compared_or_said_not_to_be(
    night: Night, kinds: list[Path], tmp_path: Path, then: str, half: int
) -> None:
    """Constant, empty, of another type: never silence, and no values are no sign of no drift."""
    known = profile_of(of_kinds(dict.fromkeys(HALVES[half], then), night, tmp_path, 10))
    found = find(Guards(), kinds[half], Profile.from_json(known.to_json())).findings
    for part in ("training rows", "holdout rows"):
        mine = [one for one in found if one.guard == "drift" and one.numbers["part"] == part]
        for kind in HALVES[half]:
            compared = [one for one in mine if f"distance: {kind}" in one.numbers]
            unchecked = [one for one in mine if f"not compared: {kind}" in one.numbers]
            assert len(compared) + len(unchecked) == 1, (then, kind)
            assert {one.result for one in unchecked} <= {"undecided"}
            assert compared or not {then, kind} <= SAME, (then, kind)


def of_kind(kind: str, night: Night, folder: Path, seed: int) -> Path:
    """Write a night whose feature ``x`` is of a kind, beside one that is as usual."""
    return of_kinds({"x": kind}, night, folder, seed)


@pytest.mark.parametrize("then", sorted(SAME))
def test_another_constant_is_a_change(night: Night, tmp_path: Path, then: str) -> None:
    """Whatever the numbers were before."""
    before = profile_of(of_kind(then, night, tmp_path / "then", 10))
    tonight = of_kind("another number", night, tmp_path / "tonight", 20)
    found = find(Guards(), tonight, before).findings
    assert "failed" in {one.result for one in found if one.guard == "drift"}


@pytest.mark.parametrize(("then", "kind"), [("numbers", "texts"), ("no texts", "numbers")])
def test_what_was_not_compared_is_named(night: Night, tmp_path: Path, then: str, kind: str) -> None:
    """In the reason, where people look."""
    before = profile_of(of_kind(then, night, tmp_path / "then", 10))
    found = find(Guards(), of_kind(kind, night, tmp_path / "tonight", 20), before).findings
    unchecked = [one for one in found if one.guard == "drift" and one.result == "undecided"]
    assert len(unchecked) == 2
    assert all("'x'" in one.reason for one in unchecked)


@pytest.mark.parametrize("kind", ["NaN", "infinity", "nothing", "no texts"])
@pytest.mark.parametrize("then", ["numbers", "texts"])
def test_a_column_without_values_is_a_finding(
    night: Night, tmp_path: Path, then: str, kind: str
) -> None:
    """However pandas stores it: as numbers, as texts, or as a type of its own."""
    before = profile_of(of_kind(then, night, tmp_path / "then", 10))
    found = find(Guards(), of_kind(kind, night, tmp_path / "tonight", 20), before).findings
    schema = next(one for one in found if one.guard == "schema")
    assert schema.result == "failed"
    assert "'x'" in schema.reason
