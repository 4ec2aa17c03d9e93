"""A page says what the record says, and nothing that is in a record becomes anything but text."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fixtures.examples import examples

from understudy.errors import DecisionError
from understudy.report import Links, render, render_or_tell

Document = dict[str, Any]
LINKS = Links("https://mlflow.example.com/", "12", "0badc0de" * 4)
HOSTILE = (
    "<script>alert(1)</script>",
    "</style><script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "' onmouseover='alert(1)",
    "javascript:alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "]]>--><svg onload=alert(1)>",
    "&lt;script&gt;&#x3c;",
    "exe.\u202efdp\u2066\u0000\ud800",
    "a" * 100_000,
)
VOCABULARY = {
    *("schema", "verdict", "case", "basis", "result", "rule", "level", "task"),
    *("night", "nights", "unscored_champion", "cause"),
}
"""Fields whose texts are words of ours; another word is another page."""
Shape = list[tuple[str, tuple[str, ...]]]
Records = dict[str, tuple[Document, Document | None]]
TAGS = {
    *("html", "head", "meta", "title", "style", "body", "main", "section", "footer"),
    *("h1", "h2", "h3", "p", "ul", "li", "dl", "dt", "dd", "pre", "code", "a", "bdi", "span"),
    *("div", "details", "summary", "figure", "figcaption"),
    *("table", "thead", "tbody", "tr", "th", "td"),
    *("svg", "path", "line", "rect", "circle", "text"),
}


class Skeleton(HTMLParser):
    """What a browser would build of a page: tags with their attributes, and the text apart."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Note a text."""
        self.texts.append(data)

    @property
    def shape(self) -> Shape:
        """Tags with the names of their attributes, in the order of the page."""
        return [(tag, tuple(attributes)) for tag, attributes in self.tags]

    @property
    def text(self) -> str:
        """What a reader sees, with single blanks."""
        return " ".join(" ".join(self.texts).split())


def replaced(document: Any, text: Callable[[str], str], name: str = "") -> Any:  # noqa: ANN401
    """Return a document with every text of unknown origin replaced, names of columns too."""
    if isinstance(document, dict):
        return {
            renamed(key, text) if name in FREE_KEYS else key: replaced(inner, text, key)
            for key, inner in document.items()
        }
    if isinstance(document, list):
        return [replaced(inner, text, name) for inner in document]
    free = isinstance(document, str) and name not in VOCABULARY and not is_digest(document)
    return text(document) if free else document


FREE_KEYS = {"metrics", "numbers", "software"}


def renamed(key: str, text: Callable[[str], str]) -> str:
    """Return the name of a number with what is not ours replaced: a column after its measure."""
    measure, colon, name = key.partition(": ")
    if colon:
        return f"{measure}: {text(name)}"
    return key if key == "limit" or key[-1].isdigit() else text(key)


def is_digest(text: str) -> bool:
    """Return whether a text names a run, which the page links."""
    return len(text) == 32 and set(text) <= set("0123456789abcdef")


def safe(page: str) -> Skeleton:
    """Read a page, and check that it loads nothing, runs nothing and leads nowhere else."""
    found = Skeleton(page)
    assert {tag for tag, _ in found.tags} <= TAGS
    for tag, attributes in found.tags:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        assert not {"src", "srcset", "data", "action", "xlink:href"} & attributes.keys()
        address = attributes.get("href")
        assert address is None or (tag == "a" and address.startswith("https://mlflow.example.com/"))
    assert not {c for c in page if ord(c) < 32} - {"\n", "\t"}
    page.encode()
    return found


def test_a_picture_that_cannot_be_drawn_is_a_sentence(decision_records: Records) -> None:
    """A summary of another version, or of numbers that nobody thought of: the rest is there."""
    record, _ = decision_records["promote"]
    broken = {"schema": "understudy/summary/1", "rows": 9, "task": "regression", "errors": {}}
    text = safe(render(record, broken, LINKS)).text
    assert "The predictions could not be drawn (KeyError: 'edges')" in text
    assert record["verdict"] in text
    assert record["reasons"][0][:60] in text
    told = {"schema": "understudy/summary/1", "rows": 9, "undrawn": "Nothing fits <here>."}
    assert "Nothing fits <here>." in safe(render(record, told, LINKS)).text


def test_a_page_that_cannot_be_drawn_at_all_is_one_of_sentences() -> None:
    """Who has a verdict loses it by no drawing: what was decided, why, and what went wrong."""
    record = {"schema": "understudy/decision/9", "verdict": "REJECT", "reasons": ["<b>rmse</b>"]}
    with pytest.raises(DecisionError):
        render(record)
    text = safe(render_or_tell(record)).text
    assert text.startswith("REJECT REJECT <b>rmse</b> This page could not be drawn (DecisionError")


def test_every_kind_of_record_has_a_page(decision_records: Records, decision_kind: str) -> None:
    """It names the verdict first, holds every reason, and is small enough to store every night."""
    record, summary = decision_records[decision_kind]
    page = render(record, summary, LINKS)
    found = safe(page)
    text = found.text
    assert text.index(record["verdict"]) < text.index("What was compared")
    for reason in record["reasons"]:
        assert reason[:60] in text
    for check in record["checks"]:
        assert check["metric"] in text
    assert len(page) < 250_000
    assert ("Both models on the same rows" in text) == (
        summary is not None and decision_kind != "first"
    )


@pytest.mark.parametrize("hostile", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("case", ["hold", "multiclass", "unscored", "logged"])
def test_text_of_a_record_is_text_on_the_page(
    decision_records: Records, harmless_shape: Callable[[str], Shape], case: str, hostile: str
) -> None:
    """The page of hostile texts has exactly the tags of the page of harmless ones."""
    counter = iter(range(10**6))
    page = render(*changed(decision_records[case], lambda _: f"{next(counter)} {hostile}"), LINKS)
    assert safe(page).shape == harmless_shape(case)
    assert len(page) < 2_000_000


def changed(
    documents: tuple[Document, Document | None], text: Callable[[str], str]
) -> tuple[Document, Document | None]:
    """Return record and summary with other texts; slices stay apart, an empty one stays empty."""
    names: dict[str, str] = {}

    def other(old: str) -> str:
        return names.setdefault(old, text(old)) if old else old

    record, summary = documents
    return replaced(record, other), replaced(summary, other)


@examples(20)
@given(st.text(st.characters(codec=None), min_size=1))
def test_no_text_at_all_becomes_a_tag(
    decision_records: Records, harmless_shape: Callable[[str], Shape], text: str
) -> None:
    """The same for whatever hypothesis comes up with."""
    counter = iter(range(10**6))
    hostile = changed(decision_records["binary"], lambda _: f"{next(counter)} {text}")
    assert safe(render(*hostile, LINKS)).shape == harmless_shape("binary")


@pytest.fixture(scope="module")
def harmless_shape(decision_records: Records) -> Callable[[str], Shape]:
    """Return what returns the shape of a page of which every text is another harmless one."""

    @cache
    def of(case: str) -> Shape:
        counter = iter(range(10**6))
        plain = changed(decision_records[case], lambda _: f"{next(counter)} harmless")
        return safe(render(*plain, LINKS)).shape

    return of


def test_the_browser_is_told_to_allow_our_style_sheet_and_nothing_else(
    decision_records: Records,
) -> None:
    """The policy stands before the style, and names it by its digest."""
    page = render(*decision_records["promote"], LINKS)
    style = page.partition("<style>")[2].partition("</style>")[0]
    digest = b64encode(sha256(style.encode()).digest()).decode()
    (policy,) = (
        attributes["content"]
        for tag, attributes in Skeleton(page).tags
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    assert page.index("Content-Security-Policy") < page.index("<style>")


@pytest.mark.parametrize(
    ("ui", "experiment", "address"),
    [
        ("https://m.example.com/", "7", "https://m.example.com/#/experiments/7/runs/abc"),
        ("https://ann:secret@m.example.com", "7", "https://m.example.com/#/experiments/7/runs/abc"),
        ("http://m", "", "http://m/#/runs/abc"),
        ("http://m", "7/../x", "http://m/#/experiments/7%2F..%2Fx/runs/abc"),
        ("javascript:alert(1)//", "7", ""),
        ("sqlite:///mlflow.db", "7", ""),
        ("", "7", ""),
    ],
)
def test_only_addresses_of_the_web_are_linked(ui: str, experiment: str, address: str) -> None:
    """Credentials never reach a page; a run id that is none is no link."""
    assert Links(ui, experiment).run("abc") == address
    assert Links(ui, experiment).run("javascript:alert(1)") == ""
    assert Links(ui, experiment).run("../../x") == ""


def test_what_repeated_testing_costs_is_said_in_words(decision_records: Records) -> None:
    """The fourth challenger on the same rows gets less of the error rate than the first."""
    text = Skeleton(render(*decision_records["binary"], LINKS)).text
    assert "This is the 4th challenger that was judged on these very rows." in text
    assert "It was judged at an error rate of 0.19 %: each bound of an interval holds with" in text
    assert "99.8 % confidence. That is more than the 95 % that the rules ask for" in text
    assert "this one's share is 0.038 of it" in text


def test_a_tolerance_keeps_its_error_rate_and_the_others_are_said_to_share_theirs(
    decision_records: Records,
) -> None:
    """It stands first where it is the primary metric's, and is not what the rest is judged by."""
    record, summary = decision_records["binary"]
    first = record["checks"][0]
    kept = {**first, "rule": "tolerance", "excess": {**first["excess"], "confidence": 0.94}}
    document = {**record, "checks": [kept, *record["checks"]]}
    text = Skeleton(render(document, summary, LINKS)).text
    assert "It was judged at an error rate of 0.19 %: each bound of an interval holds with" in text
    assert "That is more than the 95 % that the rules ask for" in text
    assert "A tolerance is checked with 97 % however many there were" in text


def test_a_night_in_shadow_says_so_before_its_verdict_is_believed(
    decision_records: Records,
) -> None:
    """Whoever reads only the box still learns that nothing moved."""
    text = Skeleton(render(*decision_records["shadow"], LINKS)).text
    box = text.partition("What was compared")[0]
    assert "The challenger would have been promoted. Nothing moves tonight." in box
    assert "Shadow night 3 of 14" in box


def test_the_page_says_how_to_compute_the_verdict_again(decision_records: Records) -> None:
    """With the run that it belongs to, where that is known."""
    record, summary = decision_records["hold"]
    assert f"understudy replay {LINKS.run_id}" in render(record, summary, LINKS)
    assert "understudy replay RUN" in render(record)


def test_a_warning_looks_like_one_and_not_like_a_failure(decision_records: Records) -> None:
    """A guard that only warns has not failed the challenger."""
    text = Skeleton(render(*decision_records["promote"], LINKS)).text
    guards = text.partition("Guards and budgets")[2]
    assert "drift warning warn 2 of 11 columns" in guards
    assert "distance, the upright line is the limit of 0.1 alcohol 0.181" in guards


def test_numbers_that_are_not_finite_are_told(decision_records: Records) -> None:
    """The record writes them as text; a page shows their names, in no picture."""
    record, summary = decision_records["reject"]
    broken = json.loads(json.dumps(record))
    for number in ("nan", "inf", "-inf"):
        for name in ("challenger", "gain", "needed"):
            broken["checks"][0][name] = number
        broken["checks"][0]["excess"] = {"low": "-inf", "high": number, "confidence": 0.9}
        safe(render(broken, summary, LINKS))


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"schema": "understudy/decision/3"},
        {"schema": "understudy/decision/2"},
        {"schema": "understudy/decision/1", "context": []},
    ],
)
def test_anything_else_is_refused(document: Document) -> None:
    """A document that is no record is named as such."""
    with pytest.raises(DecisionError, match="Allowed: a JSON document of schema"):
        render(document)
