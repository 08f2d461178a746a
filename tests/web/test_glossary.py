"""The glossary: a page of this node, tooltips, and a page of the documentation, from one text."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from kraft.telemetry.metrics.requests import CLASSES
from kraft.telemetry.metrics.status import ROLES
from kraft.telemetry.recent.facts import Facts
from kraft.telemetry.recent.history import History
from kraft.web import assets
from kraft.web.glossary import ON_PAGE, TERMS, anchor, explanations, find, render_glossary, term
from kraft.web.page import render_page
from tests.web.reports import group, placed, report, view
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


@pytest.mark.parametrize(
    ("word", "explained"),
    [("Commit index", "commit index"), ("learners", "learner"), ("p50 ms", "p50"), ("no such word", None)],
)
def test_plurals_and_short_forms_are_found(word, explained):
    assert find(word) == explained


def test_every_explanation_is_used_and_every_use_explained():
    """A button opens the explanation of its word, without a script too; so each needs one in the document."""
    facts = Facts(history=History(1000, dict.fromkeys((*CLASSES, "sync"), ())), users=1)
    one = view(report("K1", facts=facts, group={"learners": ("K4",)}), report("K2"), report("K3"))
    two = replace(report("K1").status, groups=(group("K1"), group("K1", group=1)))
    used = set()
    for shown in (one, view(replace(report("K1"), status=two)), placed()):
        document = render_page(shown)
        there = set(re.findall(r'<div id="([^"]+)" class="about" popover="">', document))
        assert there == {f"about-{anchor(each)}" for each in ON_PAGE}
        used |= set(re.findall(r'popovertarget="([^"]+)"', document))
    assert used == there
    assert all(f'href="glossary#{anchor(each)}"' in explanations() for each in ON_PAGE)


def test_a_word_without_an_explanation_is_only_a_word():
    assert term("a < b") == "a &lt; b"


def test_the_page_is_served_by_the_node_itself_and_loads_nothing_else():
    code, headers, body = Browser().get("/glossary")
    outline = Outline(body.decode())
    loaded = {a.get("src") or a["href"] for tag, a in outline.found if tag in ("script", "link", "img")}
    assert (code, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert loaded == {assets.STYLE.name, assets.MARK.name}
    assert all(f'id="{anchor(term)}"' in body.decode() for term in TERMS)


def test_links_between_terms_lead_somewhere():
    """A word that is marked in a definition is a term, or is only stressed."""
    outline = Outline(render_glossary())
    targets = {attributes["href"] for tag, attributes in outline.found if tag == "a"} - {"."}
    ids = {f"#{attributes['id']}" for _, attributes in outline.found if "id" in attributes}
    assert targets <= ids
    assert "#precandidate" in targets


def test_pages_that_a_node_does_not_serve_are_named():
    document = render_glossary()
    assert "<code>docs/once.md</code>" in document
    assert "](" not in document


def test_the_status_page_leads_to_it():
    outline = Outline(render_page(view(report("K1"), report("K2"), report("K3"))))
    assert ("a", {"href": "glossary"}) in outline.found


def test_the_page_has_no_words_of_developers():
    """Roles of an election are said in words; ids of directories are not shown."""
    shown = view(report("K1", leader="", group={"role": "precandidate"}), report("K2"), report("K3"))
    document = render_page(shown)
    assert "looks for a leader" in document
    assert not re.search("precandidate|incarnation", document)
