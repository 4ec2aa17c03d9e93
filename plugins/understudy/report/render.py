"""Draws the page of a decision record. jinja2 is imported when a page is drawn."""

from __future__ import annotations

import functools
import hashlib
import html
import json
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from understudy.redact import redacted
from understudy.report import words
from understudy.report.contents import PageContents, contents, interval_told
from understudy.report.document import read

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

_LONGEST_RULES: Final = 50_000
# Run ids come from the record, which may have been written by anybody: others are not linked.
_RUN_ID: Final = re.compile(r"[0-9A-Za-z_-]{1,64}")
_CONTENT_POLICY: Final = (
    "default-src 'none'; style-src '{style}'; base-uri 'none'; form-action 'none'"
)


@dataclass(frozen=True, slots=True)
class Links:
    """Where a page can lead to.

    Attributes:
        ui: Address of MLflow's UI as a browser reaches it; where it is no HTTP address, the page
            names runs and links none.
        experiment_id: The experiment with the night's runs.
        run_id: The run that has the record; what ``understudy replay`` takes.
    """

    ui: str = ""
    experiment_id: str = ""
    run_id: str = ""

    def run(self, run_id: str) -> str:
        """Return the address of a run, or '' where there is none to link."""
        # The address may hold the user and password that Airflow reaches MLflow with; a page is
        # passed on.
        base = redacted(self.ui).rstrip("/")
        if not base.startswith(("http://", "https://")) or not _RUN_ID.fullmatch(run_id):
            return ""
        if not self.experiment_id:
            return f"{base}/#/runs/{run_id}"
        return f"{base}/#/experiments/{quote(self.experiment_id, safe='')}/runs/{run_id}"


NOWHERE: Final = Links()


def render(
    record: Mapping[str, Any], summary: Mapping[str, Any] | None = None, links: Links = NOWHERE
) -> str:
    """Return the page of a decision record: one HTML file that loads nothing and runs nothing.

    Args:
        record: The parsed ``decision/decision.json``, of any schema that was ever written.
        summary: The parsed ``decision/summary.json``; None where there is none, or where only
            logged metrics were compared: the page then has no pictures of predictions.
        links: Where the page can lead to.

    Raises:
        DecisionError: when the document is no decision record that this version can show.
    """
    found = contents(read(record), summary or {})
    return drawn(found, links)


def render_or_tell(
    record: Mapping[str, Any], summary: Mapping[str, Any] | None = None, links: Links = NOWHERE
) -> str:
    """Return the page of a record; where it cannot be drawn at all, one that says so.

    For who has reached a verdict: nothing about a picture may cost it. See ``render``.
    """
    try:
        return render(record, summary, links)
    except Exception as error:  # noqa: BLE001 -- whatever it is, the page says it
        return _plain_page(record, error)


def _plain_page(record: Mapping[str, Any], error: Exception) -> str:
    """Return a page of plain sentences, made without the templates."""
    reasons = (words.shown(reason) for reason in record.get("reasons", ()))
    verdict = words.shown(record.get("verdict", ""), 20)
    items = "".join(f"<li>{html.escape(reason)}</li>" for reason in reasons)
    sentence = html.escape(words.undrawn("This page", error))
    # No style sheet here and so no source for one: what is escaped badly could load nothing.
    policy = "default-src 'none'; base-uri 'none'; form-action 'none'"
    return (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f"<title>{html.escape(verdict)}</title><h1>{html.escape(verdict)}</h1>"
        f"<ul>{items}</ul><p>{sentence}</p></html>\n"
    )


def drawn(found: PageContents, links: Links) -> str:
    """Return the HTML of a page's contents."""
    from markupsafe import Markup

    engine = template_engine()
    # Not escaped: the style sheet is a file of this package and holds nothing of the record's.
    style = Markup(engine.get_template("page.css").render())  # noqa: S704 -- as said above
    # By its digest a browser applies this style sheet and no other, whatever a record smuggles in.
    digest = b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = _CONTENT_POLICY.format(style=f"sha256-{digest}")
    template = engine.get_template("page.html")
    return template.render(
        page=found, record=found.record, links=links, above="", style=style, policy=policy
    )


def decision_part(
    record: Mapping[str, Any],
    summary: Mapping[str, Any] | None = None,
    links: Links = NOWHERE,
    above: str = "",
) -> Markup:
    """Return what ``render`` says of a record, as a part of a page that has our style sheet.

    Args:
        record: As ``render`` takes it.
        summary: Ditto.
        links: Ditto.
        above: What that page says before it, and is not said again.

    Raises:
        DecisionError: when the document is no decision record that this version can show.
    """
    from markupsafe import Markup

    found = contents(read(record), summary or {})
    template = template_engine().get_template("decision.html")
    part = template.render(page=found, record=found.record, links=links, above=above, heading="h2")
    return Markup(part)  # noqa: S704 -- the template has escaped whatever is the record's


@functools.cache
def template_engine(package: str = "understudy.report") -> Environment:
    """Return the engine of a package's templates, which may use the drawings of this one.

    Whatever a template prints is made visible, then escaped.
    """
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    packages = dict.fromkeys((package, "understudy.report"))
    engine = Environment(
        loader=ChoiceLoader([PackageLoader(one) for one in packages]),
        autoescape=True,
        # A misspelt field must fail in a test, and not print as nothing.
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_visible,
    )
    engine.globals.update(words=words)
    engine.filters.update(
        number=words.number,
        stated=words.stated,
        signed=words.signed,
        count=words.count,
        percent=words.percent,
        probability=words.probability,
        short=functools.partial(words.shown, longest=80),
        pretty=_pretty,
        interval=interval_told,
    )
    return engine


def _visible(value: object) -> object:
    """Return what a template is about to print, cleaned; markup of our own macros as it is."""
    return value if hasattr(value, "__html__") else words.shown(value)


def _pretty(document: object) -> Markup:
    from markupsafe import escape

    return escape(words.shown(json.dumps(document, indent=2, ensure_ascii=False), _LONGEST_RULES))
