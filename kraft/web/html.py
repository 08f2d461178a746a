"""HTML from values: what is text is escaped, always, unless it is `Html` already."""

from collections.abc import Iterable
from html import escape


class Html(str):
    """Markup; everything else that is shown is text."""

    __slots__ = ()


Child = object  # Html, or anything with a text


def text(child: Child) -> Html:
    """`child` as markup."""
    return child if isinstance(child, Html) else Html(escape(str(child)))


def element(name: str, /, *children: Child, **attributes: str | None) -> Html:
    """One element. `class_` gives `class`, `data_x` gives `data-x`; None leaves an attribute out."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{given}>{join(children)}</{name}>")


def join(children: Iterable[Child]) -> Html:
    """One after the other."""
    return Html("".join(map(text, children)))
