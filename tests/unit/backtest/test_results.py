"""What a backtest recommends, and why."""

from __future__ import annotations

from typing import Any

import pytest

from understudy.backtest.results import DIGITS, recommendation, sketch, table

pytestmark = pytest.mark.unit


def result(default: float | None, strict: float | None, always: float = 9.0) -> dict[str, Any]:
    """Return the result of two rule sets by what they served."""
    served = {"hindsight": 1.0, "point": 9.0, "always": always, "frozen": 9.0}
    return {
        "metric": {"name": "rmse", "lower_is_better": True},
        "rules": [{"name": "default", "served": default}, {"name": "strict", "served": strict}],
        "paths": {name: {"served": value} for name, value in served.items()},
    }


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (result(2.0, 2.1), "Recommended: default, since no other rule set serves better by"),
        (result(2.0, 1.995), "Recommended: default, since no other rule set serves better by"),
        (result(2.0, 1.8), "Recommended: strict, since it serves better than default by 10.0%"),
        (result(None, 1.8), "Recommended: strict, since no other"),
        (result(None, None), "No rule set can be recommended"),
    ],
)
def test_one_rule_set_is_recommended_with_its_reason(found: dict[str, Any], said: str) -> None:
    """The default stands unless another one is clearly better."""
    assert recommendation(found).startswith(said)


def test_a_policy_without_rules_that_served_better_is_named() -> None:
    """A person has to know, whatever it protects from."""
    assert recommendation(result(2.0, 2.1, always=1.5)).endswith(
        "; on these nights, promote always served better"
    )


def course(nights: int) -> dict[str, Any]:
    """Return a result in which the default gets worse, and one reference is of no use."""
    found = result(2.0, 2.1, always=2.0)
    found["nights"] = [f"{2000 + year}-01-01T00:00:00" for year in range(nights)]
    for one in (*found["rules"], *found["paths"].values()):
        one["by_night"] = [1.0] * nights
    found["rules"][0]["by_night"] = [1.0 + 7 * night / (nights - 1) for night in range(nights)]
    found["rules"][1]["by_night"] = [None, *[4.5] * (nights - 1)]
    found["paths"]["frozen"]["by_night"] = [99.0] * nights
    return found


def test_each_way_has_its_course_on_one_scale() -> None:
    """Nights without a value are blank; what is far worse is cut off, and sets no scale."""
    title, *drawn, days = sketch(course(8), 80, DIGITS)
    assert title == "rmse by time, 0 1 to 7 8; lower is better"
    assert [line.split("  ")[-1].strip() for line in drawn] == [
        *("01234567", "4444444", "00000000", "00000000", "00000000", "77777777")
    ]
    assert drawn[1].endswith("    4444444"), "the first night had no model"
    assert days.split() == ["2000-01-01", "2007-01-01"]


def test_more_nights_than_there_is_room_are_drawn_by_their_means() -> None:
    """No line is longer than the terminal, and none shorter than ten nights."""
    title, *lines = sketch(course(600), 60)
    assert max(map(len, lines)) == 60
    assert lines[0].rsplit(maxsplit=1)[-1] == "".join(sorted(lines[0].rsplit(maxsplit=1)[-1]))
    assert {"\u2581", "\u2588"} <= set(lines[0])
    assert len(list(sketch(course(600), 5))[1].split()[-1]) == 10
    assert title.startswith("rmse by time, \u2581 1 to \u2588 7.8")


def spoilt(default: float, strict: float, always: float = 18.0) -> dict[str, Any]:
    """Return a result whose rule sets served 2.0 and 2.1, and this where some nights went wrong."""
    found = result(2.0, 2.1)
    faulty = result(default, strict, always)
    injected = {"2012-01-03": "mean", "2012-01-05": "mean", "2012-01-09": "unit"}
    found["faults"] = {"paths": faulty["paths"], "rules": faulty["rules"], "injected": injected}
    return found


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            spoilt(2.02, 2.1),
            (
                "Recommended: default, since no other rule set serves better by more than 0.5%; "
                "the faults make it serve 1.0% worse, and promote always 100.0% worse"
            ),
        ),
        (spoilt(3.0, 2.1), "Recommended: default, since no other"),
    ],
)
def test_with_faults_the_recommendation_says_what_they_cost(
    found: dict[str, Any], said: str
) -> None:
    """What wins by the faults must not lose without them."""
    assert recommendation(found).startswith(said)


def test_what_is_as_good_without_faults_and_better_with_them_is_recommended() -> None:
    """Both numbers are given."""
    found = spoilt(3.0, 2.4)
    found["rules"][1]["served"] = 2.005
    assert recommendation(found).startswith(
        "Recommended: strict, since it serves better than default by -0.2% (20.0% with the faults)"
    )


def test_what_refits_would_have_served_stands_beside_what_was_served() -> None:
    """As it is, with how much better or worse that is; the last line says it of what it names."""
    found = result(2.0, 2.1)
    again = result(1.5, 2.31)
    found["refit"] = {"paths": again["paths"], "rules": again["rules"]}
    for one in (*found["rules"], *found["paths"].values()):
        one.update({"promotions": 1, "verdicts": ["PROMOTE"]})
    plain = {"nights": ["2012-01-01"], "rows": [24], "how": "over all", "failures": {}}
    lines = list(table({**found, **plain}))
    assert lines[1].endswith("rejected  with a refit")
    assert lines[2].endswith("1.5, 25.0% better")
    assert lines[3].endswith("2.31, 10.0% worse")
    assert lines[-1].endswith(
        "; with a refit after each promotion it would have served 25.0% better"
    )


def test_the_table_has_a_column_for_faults() -> None:
    """Above hindsight that has none; which nights went wrong stands below."""
    found = spoilt(2.02, 2.1)
    more = {"promotions": 1, "verdicts": ["PROMOTE"]}
    for one in (*found["rules"], *found["paths"].values()):
        one.update(more)
    plain = {"nights": ["2012-01-01"], "rows": [24], "how": "over all", "failures": {}}
    lines = list(table({**found, **plain}))
    assert lines[1].endswith("rejected  with faults")
    assert lines[2].split()[-1] == "102.00%"
    assert next(line for line in lines if line.startswith("promote always")).endswith("1700.00%")
    assert "Nights with faults: mean 2012-01-03, 2012-01-05; unit 2012-01-09" in lines
