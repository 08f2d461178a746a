"""The glossary: a page of this node, tooltips, and a page of the documentation, from one text."""

import re
from pathlib import Path

import pytest

from kraft.telemetry.metrics.status import ROLES
from kraft.web import assets
from kraft.web.findings import diagnose
from kraft.web.glossary import TERMS, anchor, render_glossary, tooltip
from kraft.web.page import render_page
from kraft.web.sections import sections
from tests.web.reports import report, view
from tests.web.test_page import Outline
from tests.web.test_site import Browser

DOCS = Path(__file__).parents[2] / "docs"


def test_terms_stand_once_and_in_alphabetical_order():
    terms = re.findall(r"^\*\*(.+?)\.\*\*", (DOCS / "glossary.md").read_text(), re.MULTILINE)
    assert terms == sorted(set(terms), key=str.lower)
    assert [term.lower() for term in terms] == list(TERMS)


@pytest.mark.parametrize("term", ["group", "term", "incarnation", "uncertain", "snapshot", *ROLES])
def test_the_words_of_the_page_are_explained(term):
    assert term in TERMS
    assert tooltip(term)


@pytest.mark.parametrize(
    ("word", "explained"), [("Commit", "commit index"), ("learners", "learner"), ("no such word", None)]
)
def test_plurals_and_short_forms_are_found(word, explained):
    found = tooltip(word)
    assert (found is None) == (explained is None)
    assert explained is None or (found or "?") in re.sub("[`*]", "", TERMS[explained])


def test_the_page_is_served_by_the_node_itself_and_loads_nothing_else():
    code, headers, body = Browser().get("/glossary")
    outline = Outline(body.decode())
    loaded = {a.get("src") or a["href"] for tag, a in outline.found if tag in ("script", "link", "img")}
    assert (code, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert loaded == {assets.STYLE.name, assets.ICON.name}
    assert all(f'id="{anchor(term)}"' in body.decode() for term in TERMS)


def test_links_between_terms_lead_somewhere():
    """A word that is marked in a definition is a term, or is only stressed."""
    outline = Outline(render_glossary())
    targets = {attributes["href"] for tag, attributes in outline.found if tag == "a"} - {"."}
    ids = {f"#{attributes['id']}" for _, attributes in outline.found if "id" in attributes}
    assert targets <= ids
    assert "#precandidate" in targets


def test_the_status_page_leads_to_it_and_has_tooltips():
    shown = view(report("K1"), report("K2", group={"role": "precandidate"}), report("K3"))
    outline = Outline(render_page(shown))
    titles = [attributes.get("title") for _, attributes in outline.found]
    assert ("a", {"href": "glossary"}) in outline.found
    assert tooltip("precandidate") in titles
    assert tooltip("term") in titles
    assert "title=" in sections(shown, diagnose(shown))["groups"]
