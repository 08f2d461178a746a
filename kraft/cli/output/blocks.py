"""The blocks of a subcommand's output: lines, tables and meters, whose words have styles.

A subcommand makes each block once. `plain` turns it into text for pipes and files; `rich_display` shows it at
a terminal, where a style has a colour, a long line is broken between words, and a table that is too wide has
fewer columns.
"""

from collections.abc import Iterator
from dataclasses import dataclass

# Styles, named by what the words mean.
PLAIN, STRONG, DIM, GOOD, WARN, BAD, NEWS, COMMAND = STYLES = (
    "plain", "strong", "dim", "good", "warn", "bad", "news", "command",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Span:
    """Words of one style."""

    text: str
    style: str = PLAIN


Word = str | Span


def span(word: Word) -> Span:
    """A word, without a style if it is a string."""
    return word if isinstance(word, Span) else Span(word)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text. Where a terminal is too narrow, it goes on below its character number `hang`.

    A line that holds a command is not broken: it is there to be copied.
    """

    spans: tuple[Span, ...]
    hang: int = 0

    @property
    def text(self) -> str:
        """The words without their styles."""
        return "".join(each.text for each in self.spans)

    @property
    def command(self) -> bool:
        """Whether it holds a command."""
        return any(each.style == COMMAND for each in self.spans)


def line(*words: Word, hang: int = 0) -> Line:
    """A line of these words, with nothing between them."""
    return Line(tuple(map(span, words)), hang)


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column of a table. `number`: aligned to the right at a terminal.

    spare: a terminal that is too narrow leaves out the column with the highest value first; one with 0 stays.
    """

    heading: str
    number: bool = False
    spare: int = 0


@dataclass(frozen=True, slots=True)
class TextTable:
    """Rows of words, one for each column."""

    columns: tuple[TableColumn, ...]
    rows: tuple[tuple[Span, ...], ...]

    @property
    def cells(self) -> Iterator[tuple[str, ...]]:
        """The headings and the rows, without styles."""
        yield tuple(column.heading for column in self.columns)
        yield from (tuple(cell.text for cell in row) for row in self.rows)


@dataclass(frozen=True, slots=True)
class Meter:
    """Work under way: `done` of `total`, both in `unit`, in `seconds`.

    `line` says it all in words, `label` only what it is about.
    """

    line: Line
    label: str
    done: int
    total: int
    seconds: float
    unit: str = "bytes"


Block = Line | TextTable | Meter
EMPTY = Line(())
