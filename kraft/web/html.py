"""HTML from values: everything is escaped unless it is `Html` already."""

from collections.abc import Iterable
from html import escape


class Html(str):
    """A piece of HTML, which is not escaped again."""

    __slots__ = ()


Child = object  # Html, or any value, which is shown as text


def text(child: Child) -> Html:
    """`child` as HTML."""
    return child if isinstance(child, Html) else Html(escape(str(child)))


def element(name: str, /, *children: Child, **attributes: str | None) -> Html:
    """One element. `class_` becomes `class`, `data_x` becomes `data-x`; an attribute of None is left out."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{given}>{join(children)}</{name}>")


def command(line: str) -> Html:
    """A command to type, with a button that copies it; the button is shown by the script that it needs."""
    button = element("button", "copy", type="button", class_="copy", aria_label=f"copy: {line}")
    return join((element("code", line), " ", button))


def join(children: Iterable[Child]) -> Html:
    """The children, one after the other."""
    return Html("".join(map(text, children)))
