"""Tables: numbers to the right, and neighbouring columns below a heading that they share."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from kraft.web.glossary import term
from kraft.web.html import Child, Html, element


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `group` is the heading that it shares with its neighbours; `number`: what it holds."""

    name: str
    group: str = ""
    number: bool = False


@dataclass(frozen=True, slots=True)
class Rest:
    """A cell that takes the place of all further cells of its row."""

    content: Child


def table(columns: Sequence[Column], rows: Iterable[Sequence[Child | Rest]]) -> Html:
    """A table. The first cell of each row is its heading."""
    body = [element("tr", *_cells(columns, row)) for row in rows]
    return element("table", element("thead", *_heads(columns)), element("tbody", *body))


def _heads(columns: Sequence[Column]) -> list[Html]:
    """One row of headings, or two if some columns share one."""
    deep = any(column.group for column in columns)
    upper: list[Html] = []
    lower: list[Html] = []
    for group, members in groupby(columns, key=lambda column: column.group):
        heads = list(members)
        if group:
            upper.append(
                element("th", term(group), scope="colgroup", colspan=str(len(heads)), class_="columns")
            )
        rows = {"rowspan": "2"} if deep and not group else {}
        for place, column in enumerate(heads):
            first = "first" if group and place == 0 else ""
            kind = " ".join(filter(None, (_kind(columns, columns.index(column)), first)))
            cell = element("th", term(column.name), scope="col", class_=kind or None, **rows)
            (lower if group else upper).append(cell)
    return [element("tr", *upper), element("tr", *lower)] if lower else [element("tr", *upper)]


def _cells(columns: Sequence[Column], row: Sequence[Child | Rest]) -> list[Html]:
    cells = [element("th", row[0], scope="row")]
    for place, cell in enumerate(row[1:], 1):
        if isinstance(cell, Rest):
            cells.append(element("td", cell.content, colspan=str(len(columns) - place), class_="rest"))
        else:
            cells.append(element("td", cell, class_=_kind(columns, place)))
    return cells


def _kind(columns: Sequence[Column], place: int) -> str | None:
    """How the cells of a column stand: words that follow a column of numbers keep their distance from it."""
    if columns[place].number:
        return "number"
    return "apart" if place and columns[place - 1].number else None
