"""The two displays: the same words in both, and only a terminal gets colours, columns that fit, and bars."""

import io
import re

import pytest

from kraft.cli.output.blocks import (
    BAD,
    COMMAND,
    DIM,
    EMPTY,
    GOOD,
    STRONG,
    Meter,
    Span,
    TableColumn,
    TextTable,
    line,
)
from kraft.cli.output.display import display
from kraft.cli.output.plain import PlainDisplay
from kraft.cli.output.rich_display import RichDisplay

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
TABLE = TextTable(
    (
        TableColumn("NODE"),
        TableColumn("STATE"),
        TableColumn("COMMIT", number=True, spare=1),
        TableColumn("HTTP", spare=2),
    ),
    (
        (Span("K1", STRONG), Span("serving", GOOD), Span("120"), Span("127.0.0.1:10021")),
        (Span("K22", STRONG), Span("no answer", BAD), Span("-"), Span("127.0.0.1:10022")),
    ),
)
SENTENCE = "its disk has only 5 MiB left, which is not enough for a snapshot of all the data that it holds"


class Terminal(io.TextIOWrapper):
    """A stream that says it is a terminal, and what was written to it."""

    def __init__(self, encoding="utf-8"):
        self.bytes = io.BytesIO()
        super().__init__(self.bytes, encoding=encoding, errors="backslashreplace", write_through=True)

    def isatty(self):
        return True

    @property
    def raw(self):
        return self.bytes.getvalue().decode(self.encoding)

    @property
    def text(self):
        return ESCAPE.sub("", self.raw)

    @property
    def lines(self):
        return [each.rstrip() for each in self.text.splitlines()]


@pytest.fixture(autouse=True)
def colours(monkeypatch):
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


@pytest.fixture
def wide(monkeypatch):
    """`wide(columns)`: how wide the terminal is."""

    def set_width(columns, lines=40):
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setenv("LINES", str(lines))

    set_width(100)
    return set_width


def shown(*blocks, encoding="utf-8"):
    terminal = Terminal(encoding)
    RichDisplay(terminal).show(*blocks)
    return terminal


def plain(*blocks):
    out = io.StringIO()
    PlainDisplay(out).show(*blocks)
    return out.getvalue()


def test_plain_text_has_the_words_alone():
    assert plain(TABLE, EMPTY, line(Span("done", GOOD), ": all well")) == (
        "NODE  STATE      COMMIT  HTTP\n"
        "K1    serving    120     127.0.0.1:10021\n"
        "K22   no answer  -       127.0.0.1:10022\n"
        "\n"
        "done: all well\n"
    )


def test_a_terminal_gets_colours_and_numbers_at_the_right(wide):
    terminal = shown(TABLE, EMPTY, line(Span("done", GOOD), ": all well"))
    assert terminal.lines == [
        "NODE  STATE      COMMIT  HTTP",
        "K1    serving       120  127.0.0.1:10021",
        "K22   no answer       -  127.0.0.1:10022",
        "",
        "done: all well",
    ]
    assert "\x1b[32mserving" in terminal.raw
    assert "\x1b[1;31mno answer" in terminal.raw


def test_no_color_leaves_bold_and_the_layout(wide, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    coloured = {f"{code}" for code in range(30, 38)} | {f"{code}" for code in range(90, 98)}
    raw = shown(TABLE, line(Span("faint", DIM))).raw
    codes = {code for each in re.findall(r"\x1b\[([0-9;]*)m", raw) for code in each.split(";")}
    assert codes & coloured == set()
    assert "1" in codes


def test_a_narrow_terminal_leaves_columns_out_and_names_them(wide):
    wide(36)
    terminal = shown(TABLE)
    assert terminal.lines == [
        "NODE  STATE      COMMIT",
        "K1    serving       120",
        "K22   no answer       -",
        "left out, as there is no room for",
        "it: HTTP",
    ]
    wide(20)
    assert shown(TABLE).lines[0] == "NODE  STATE"
    wide(10)  # what must stay is broken, not lost
    assert "K22" in shown(TABLE).text


@pytest.mark.parametrize("columns", [40, 60, 100])
def test_a_long_line_is_broken_between_words_and_indented(columns, wide):
    wide(columns)
    terminal = shown(line(Span("warning", BAD), "  ", SENTENCE, hang=9))
    assert max(map(len, terminal.lines)) <= columns
    first, *rest = terminal.lines
    assert first.startswith("warning  its disk")
    assert all(each.startswith(" " * 9) and each[9] != " " for each in rest)
    assert " ".join(each[9:] for each in terminal.lines) == SENTENCE


def test_a_line_with_a_command_is_not_broken(wide):
    """A copy of it can be pasted."""
    wide(30)
    command = "systemctl start kraft@K1; journalctl -u kraft@K1 -n 50"
    assert shown(line(" " * 20, "next: ", Span(command, COMMAND))).lines == [" " * 20 + "next: " + command]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_every_encoding_can_show_everything(encoding, wide):
    meter = Meter(line("half"), "K4: snapshot from K1", 1 << 20, 2 << 20, 2.0)
    terminal = shown(TABLE, line("ключ \udcff"), meter, encoding=encoding)
    assert "127.0.0.1:10021" in terminal.text
    assert ("ключ" in terminal.text) == (encoding == "utf-8")
    assert "\\udcff" in terminal.text
    assert ("━" in terminal.text) == (encoding == "utf-8")


@pytest.mark.parametrize("show", [plain, lambda *blocks: shown(*blocks).text])
def test_words_of_others_do_not_steer_the_terminal(show, wide):
    cells = (Span("K1\x1b[2J"), Span("x\ny"), Span("1"), Span("a"))
    table = TextTable(TABLE.columns, (cells,))
    text = show(table, line("bell \x07 \x9b31m"))
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "\x9b" not in text
    assert "K1\\x1b[2J" in text
    assert "x\\ny" in text


def test_a_meter_is_words_in_a_pipe_and_a_bar_at_a_terminal(wide):
    meter = Meter(line("K4 is receiving: 1.0 of 5.0 MiB"), "K4: snapshot from K1", 1 << 20, 5 << 20, 2.0)
    assert plain(meter) == "K4 is receiving: 1.0 of 5.0 MiB\n"
    [bar] = shown(meter).lines
    assert re.fullmatch(r"K4: snapshot from K1 [━╸╺]+ +20 % 1\.0 of 5\.0 MiB 0\.5 MiB/s 0:08 left", bar), bar
    entries = Meter(line("text"), "K4 catches up", 750, 1000, 3.0, "entries")
    assert "75 % 750 of 1,000 entries 250/s 0:01 left" in shown(entries).text


@pytest.mark.parametrize(
    ("columns", "told", "absent"),
    [(70, "1.0 of 5.0 MiB", "MiB/s"), (60, "0:08 left", "MiB/s"), (40, "20 %", "left")],
)
def test_a_meter_on_a_narrow_terminal_keeps_its_bar(columns, told, absent, wide):
    wide(columns)
    [bar] = shown(Meter(line("text"), "K4: snapshot from K1", 1 << 20, 5 << 20, 2.0)).lines
    assert len(bar) <= columns
    assert "━" * 5 in bar
    assert told in bar
    assert absent not in bar


def test_a_meter_that_has_not_begun_or_has_no_size_shows_no_rate(wide):
    assert "0 %" in shown(Meter(line(""), "x", 0, 100, 5.0)).text
    assert "0 %" in shown(Meter(line(""), "x", 0, 0, 0.0)).text
    assert "left" not in shown(Meter(line(""), "x", 5, 100, 0.0)).text


def test_a_screen_is_redrawn_and_its_last_view_stays(wide):
    terminal = Terminal()
    with RichDisplay(terminal).screen() as show:
        show([line("first")])
        show([line("second")])
    opened, _, after = terminal.raw.partition("\x1b[?1049h")[2].partition("\x1b[?1049l")
    assert "first" in opened
    assert "second" in opened
    assert ESCAPE.sub("", after).strip() == "second"


def test_a_screen_that_is_too_small_says_how_much_is_missing(wide):
    wide(40, lines=5)
    terminal = Terminal()
    with RichDisplay(terminal).screen() as show:
        show([line(f"line {number}") for number in range(9)])
        during = terminal.text
    assert "line 3" in during
    assert "line 4" not in during
    assert "5 more lines; a larger terminal shows them"[:39] in during
    assert "line 8" in terminal.text


def test_views_in_a_pipe_follow_each_other():
    out = io.StringIO()
    with PlainDisplay(out).screen() as show:
        show([line("first")])
        show([line("second"), line("more")])
    assert out.getvalue() == "first\n\nsecond\nmore\n"


def test_progress_in_a_pipe_is_a_line_a_second():
    out, now = io.StringIO(), 100.0
    with PlainDisplay(out, clock=lambda: now).live() as show:
        for number in range(25):
            now = 100.0 + number / 10
            show(line(f"step {number // 2}"))
    assert out.getvalue().splitlines() == ["step 0", "step 5", "step 10"]


def test_progress_at_a_terminal_changes_in_place_and_leaves_nothing_behind(wide):
    terminal = Terminal()
    with RichDisplay(terminal).live() as show:
        show(line("step 1"))
        show(line("step 2"))
        assert "step 2" in terminal.text
    assert "\x1b[2K" in terminal.raw.partition("step 2")[2]  # erased
    assert "\x1b[?25h" in terminal.raw.partition("step 2")[2]  # and the cursor is back


def test_short_work_shows_nothing(wide, capsys):
    terminal, now = Terminal(), 0.0
    for made in (RichDisplay(terminal, clock=lambda: now), PlainDisplay(clock=lambda: now)):
        with made.work("reading", "keys") as report:
            report(1, 2)
            report(2, 2)
    assert terminal.raw == ""
    assert capsys.readouterr() == ("", "")


def test_long_work_shows_a_bar_or_two_lines(wide, capsys):
    terminal, now = Terminal(), 0.0

    def clock():
        return now

    for made in (RichDisplay(terminal, clock=clock), PlainDisplay(clock=clock)):
        with made.work("reading", "keys") as report:
            report(1, 400)
            now += 1.5
            report(100, 400)
            report(200, 400)
            now += 1.5
    assert "reading" in terminal.text
    assert "━" in terminal.text
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == ["reading: 100 of 400 keys so far", "reading: done in 3 s"]


@pytest.mark.parametrize(
    ("terminal", "term", "kind"),
    [
        (True, "xterm", RichDisplay),
        (True, "dumb", PlainDisplay),
        (True, "", PlainDisplay),
        (False, "xterm", PlainDisplay),
    ],
)
def test_only_a_terminal_that_can_move_its_cursor_gets_more_than_plain_text(
    terminal, term, kind, monkeypatch, capsys
):
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
    assert type(display()) is kind
