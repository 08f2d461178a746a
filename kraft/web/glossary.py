"""The glossary: terms and their definitions, from one text for the page, its tooltips and the documentation.

`docs/glossary.md` is a link to the same file. Its form is simple: a paragraph per term, `**Term.**
definition`, in alphabetical order, with `code`, *words* that are terms themselves, and links to other pages
of the documentation, which a node does not serve: it names them.
"""

import re
from functools import cache
from pathlib import Path

from kraft.web import assets
from kraft.web.html import Html, element, join, text

_TEXT = (Path(__file__).parent / "assets" / "glossary.md").read_text(encoding="utf-8")
_TERM = re.compile(r"\*\*(.+?)\.\*\* (.+)")
_MARKED = re.compile(r"(`[^`]+`|\*[^*]+\*|\[[^\]]+\]\([^)]+\))")

TERMS: dict[str, str] = {term[1].lower(): term[2] for term in map(_TERM.fullmatch, _TEXT.split("\n")) if term}


# The terms that the status page explains where it uses them: its headings and names of facts.
ON_PAGE = (
    "administration", "applied", "checkpoint", "commands on all keys", "commit index", "group", "lag",
    "last contact", "leader", "learner", "local command", "log", "log sync", "open transaction", "p50", "p99",
    "pending write", "replica", "role", "slot", "snapshot", "state", "term", "tolerance", "user", "voter",
    "wal",
)  # fmt: skip


def find(word: str) -> str | None:
    """The term of `ON_PAGE` that explains `word`: itself, its singular, or that before its unit."""
    lower = word.lower()
    known = (entry for entry in (lower, lower.removesuffix("s"), lower.partition(" ")[0]) if entry in ON_PAGE)
    return next(known, None)


def term(word: str) -> Html:
    """`word`, as a button that shows its explanation, if it has one on the page."""
    entry = find(word)
    if entry is None:
        return text(word)
    return element("button", word, type="button", class_="term", popovertarget=f"about-{anchor(entry)}")


@cache
def explanations() -> Html:
    """The explanations that the buttons of `term` show: by mouse, keyboard or touch, without a script too."""
    return join(_explanation(entry) for entry in ON_PAGE)


def _explanation(entry: str) -> Html:
    first = re.split(r"(?<=\.) ", TERMS[entry])[0]
    more = element("a", "more", href=f"glossary#{anchor(entry)}", aria_label=f"{entry} in the glossary")
    said = element("p", element("b", entry), ": ", re.sub(r"[`*]", "", first), " ", more)
    return element("div", said, id=f"about-{anchor(entry)}", class_="about", popover="")


@cache
def render_glossary() -> str:
    """The page `/glossary`: one document without a script. It never changes."""
    head = join((
        Html('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        Html('<meta name="color-scheme" content="light dark">'),
        element("title", "Glossary · kraft"),
        Html(f'<link rel="icon" type="image/svg+xml" href="{assets.MARK.name}">'),
        Html(f'<link rel="stylesheet" href="{assets.STYLE.name}">'),
    ))  # fmt: skip
    items = [
        join((element("dt", term, id=anchor(term)), element("dd", _marked(definition))))
        for term, definition in TERMS.items()
    ]
    back = element("p", element("a", "back to the status page", href="."), class_="hint")
    main = element("main", element("section", back, element("dl", *items, class_="glossary"), class_="wide"))
    body = element("body", element("header", element("h1", "kraft ", element("span", "glossary"))), main)
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>{body}</html>\n'


def anchor(term: str) -> str:
    """The fragment of the term on the page."""
    return term.lower().replace(" ", "-")


def _marked(definition: str) -> Html:
    """A definition as HTML: `code`, names of pages, and *words*, which link to their own entry if any."""
    return join(_piece(piece) for piece in _MARKED.split(definition))


def _piece(piece: str) -> Html | str:
    if piece.startswith("`"):
        return element("code", piece[1:-1])
    if piece.startswith("*"):
        word = piece[1:-1]
        return element("a", word, href=f"#{anchor(word)}") if word.lower() in TERMS else element("em", word)
    if piece.startswith("["):
        return element("code", "docs/" + piece.rstrip(")").rpartition("(")[2])
    return piece
