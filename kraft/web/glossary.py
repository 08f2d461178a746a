"""The glossary: terms and their definitions, from one text for the page, its tooltips and the documentation.

`docs/glossary.md` is a link to the same file. Its form is simple: a paragraph per term, `**Term.**
definition`, in alphabetical order, with `code` and *words* that are terms themselves.
"""

import re
from functools import cache
from pathlib import Path

from kraft.web import assets
from kraft.web.html import Html, element, join

_TEXT = (Path(__file__).parent / "assets" / "glossary.md").read_text(encoding="utf-8")
_TERM = re.compile(r"\*\*(.+?)\.\*\* (.+)")
_MARKED = re.compile(r"(`[^`]+`|\*[^*]+\*)")

TERMS: dict[str, str] = {term[1].lower(): term[2] for term in map(_TERM.fullmatch, _TEXT.split("\n")) if term}


def tooltip(term: str) -> str | None:
    """The first sentence about `term`, as plain text; None if the glossary does not have it.

    Finds plurals, and `commit` for the commit index.
    """
    word = term.lower()
    for entry in (word, word.removesuffix("s"), f"{word} index"):
        if entry in TERMS:
            return re.sub(r"[`*]", "", re.split(r"(?<=\.) ", TERMS[entry])[0])
    return None


@cache
def render_glossary() -> str:
    """The page `/glossary`: one document without a script. It never changes."""
    head = join((
        Html('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        Html('<meta name="color-scheme" content="light dark">'),
        element("title", "Glossary · kraft"),
        Html(f'<link rel="icon" type="image/svg+xml" href="{assets.ICON.name}">'),
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
    """A definition as HTML: `code`, and *words*, which link to their own entry if there is one."""
    return join(_piece(piece) for piece in _MARKED.split(definition))


def _piece(piece: str) -> Html | str:
    if piece.startswith("`"):
        return element("code", piece[1:-1])
    if piece.startswith("*"):
        word = piece[1:-1]
        return element("a", word, href=f"#{anchor(word)}") if word.lower() in TERMS else element("em", word)
    return piece
