"""Events as a person at a terminal and as systemd's journal are given them."""

import io
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from structlog.typing import FilteringBoundLogger

from kraft.config import LogConfig
from kraft.telemetry import journal_socket, logs
from kraft.telemetry.events import LEVELS
from kraft.telemetry.journal_socket import JournalSocket, entry
from kraft.telemetry.logs import LogSink
from tests.telemetry.streams import Terminal


@pytest.fixture(autouse=True)
def _unconfigured(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("NO_COLOR", "1")
    yield
    structlog.reset_defaults()


def terminal(level: str = "info") -> tuple[Terminal, LogSink, FilteringBoundLogger]:
    out = Terminal()
    sink = logs.configure(LogConfig(level, "auto"), "K1", out)
    return out, sink, logs.logger("kraft")


# -- a terminal ---------------------------------------------------------------------------------------


def test_progress_changes_in_its_place_until_the_next_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """The words are erased by the next words, and by the next event."""
    monkeypatch.setenv("TERM", "xterm")
    out, sink, log = terminal()
    log.info("state_loading", group=0, keys=300, of=1000)
    sink.write_in_place("K1 loads its data: 100 of 1,000 keys (10 %)")
    sink.write_in_place("K1 loads its data: 900 of 1,000 keys (90 %)")
    log.info("state_loaded", group=0, seconds=2.5)
    log.info("node_stopping")
    texts = re.sub(r"\d\d:\d\d:\d\d ", "", out.getvalue()).split("\r\x1b[K")
    assert texts == [
        "K1 loads its data: 300 of 1000 keys\nK1 loads its data: 100 of 1,000 keys (10 %)",
        "K1 loads its data: 900 of 1,000 keys (90 %)",
        "K1 has loaded its data in 2.5 s\nK1 stops; Ctrl-C again ends it at once\n",
    ]


@pytest.mark.parametrize(("kind", "term"), [(io.StringIO, "xterm"), (Terminal, "dumb"), (Terminal, "")])
def test_only_a_terminal_that_can_redraw_shows_progress(
    kind: type[io.StringIO], term: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", term)
    out = kind()
    sink = logs.configure(LogConfig("info", "auto"), "K1", out)
    sink.write_in_place("K1 loads its data")
    assert out.getvalue() == ""


def test_a_start_and_a_stop_are_a_few_sentences() -> None:
    """What an operator waits for; the steps of an election and the like are left out."""
    out, _, log = terminal()
    log.info("node_starting", version="0.1.0", data="/var/lib/kraft/K1")
    log.info("log_replayed", groups=1, seconds=0.007)
    log.info("role_changed", group=0, role="precandidate", term=1, leader="")
    log.info("election_ended", group=0, kind="prevote", outcome="won")
    log.info("role_changed", group=0, role="leader", term=2, leader="K1")
    log.info("peer_connected", peer="K2")
    log.info("node_started", client="127.0.0.1:10011", http="127.0.0.1:10021")
    log.info("checkpoint_written", group=0, index=4, keys=0, size=0, seconds=0.047)
    log.info("node_stopping")
    log.info("node_stopped")

    assert out.lines == [
        "K1 starts: kraft 0.1.0, data in /var/lib/kraft/K1",
        "K1 leads group 0 in term 2",
        "K1 connected to K2",
        "K1 is ready: clients 127.0.0.1:10011, status page http://127.0.0.1:10021/",
        "K1 stops; Ctrl-C again ends it at once",
        "K1 has stopped",
    ]


def test_a_long_replay_and_another_leader_are_news() -> None:
    out, _, log = terminal()
    log.info("log_replayed", groups=1, seconds=12.4)
    log.info("role_changed", group=0, role="follower", term=3, leader="K2")
    log.info("role_changed", group=0, role="follower", term=4, leader="")
    log.info("node_started", client="unix:/run/k", http="")
    assert out.lines == [
        "K1 replayed its log in 12 s",
        "K1 follows K2 in group 0 in term 3",
        "K1 is ready: clients unix:/run/k",
    ]


def test_every_warning_is_shown_with_its_level() -> None:
    """With a sentence if there is one, else by name with its fields, and with what was left out before."""
    out, _, log = terminal()
    for event, level in LEVELS.items():
        if level != "info":
            logs.log_at(log, level, event, message="odd", held_back=3)
    assert len(out.lines) == sum(level != "info" for level in LEVELS.values())
    assert all(re.match(r"K1 (warning|error|critical): .+3", line) for line in out.lines)


def test_level_debug_shows_everything_and_may_be_chosen_later() -> None:
    out, sink, log = terminal()
    log.info("election_ended", group=0, outcome="won")
    sink.level = "debug"
    log.info("election_ended", group=0, outcome="won")
    log.debug("twisted", message="x", source="y")
    sink.level = "info"
    log.info("election_ended", group=0, outcome="won")
    assert out.lines == ["K1 election_ended group=0 outcome=won", "K1 twisted message=x source=y"]


def test_lines_fit_a_terminal() -> None:
    """No line of a start is longer than 80 characters with usual names."""
    out, _, log = terminal()
    log.info("node_starting", version="0.1.0", data="/var/lib/kraft/K1")
    log.info("node_started", client="127.0.0.1:10011", http="127.0.0.1:10021")
    assert max(map(len, out.getvalue().splitlines())) <= 90


def test_tracebacks_and_stacks_follow_their_line() -> None:
    out, _, log = terminal()
    log.info("thread_stacks", stacks="Thread MainThread:\n  here")
    log.error("page_failed", page="/", exception="Traceback:\n  ValueError: \x1b[2J")
    assert out.lines == [
        "K1 thread_stacks",
        "Thread MainThread:",
        "  here",
        "K1 error: page_failed page=/",
        "Traceback:",
        "  ValueError: \\x1b[2J",
    ]


def test_colours_are_for_terminals_that_have_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR")
    for term, coloured in (("xterm", True), ("dumb", False), ("", False)):
        monkeypatch.setenv("TERM", term)
        out, _, log = terminal()
        log.warning("peer_disconnected", peer="K2", reason="gone")
        assert ("\x1b[33mwarning: \x1b[0mlost the connection to K2: gone" in out.getvalue()) is coloured


# -- the journal --------------------------------------------------------------------------------------


class Journal:
    """The other end of the socket, and what came in."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)

    def entry(self) -> dict[str, str]:
        data, files, _, _ = socket.recv_fds(self._socket, 1 << 20, 1)
        for fd in files:
            with open(fd, "rb") as file:  # noqa: PTH123
                file.seek(0)
                data = file.read()
        return fields(data)

    def close(self) -> None:
        self._socket.close()


def fields(data: bytes) -> dict[str, str]:
    """The fields of an entry, read as the protocol has it."""
    found = {}
    while data:
        line, _, data = data.partition(b"\n")
        if not line:
            continue
        name, equals, value = line.partition(b"=")
        if not equals:
            size = int.from_bytes(data[:8], "little")
            value, data = data[8 : 8 + size], data[8 + size :]
            assert data[:1] in (b"\n", b"")
        found[name.decode()] = value.decode("utf-8", "surrogateescape")
    return found


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Journal]:
    path = tmp_path / "journal"
    journal = Journal(path)
    monkeypatch.setattr(journal_socket.JournalSocket.__init__, "__defaults__", (str(path),))
    yield journal
    journal.close()


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FilteringBoundLogger]:
    """A logger on a stream that the journal reads."""
    with (tmp_path / "stdout").open("w") as out:
        found = os.fstat(out.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        sink = logs.configure(LogConfig("info", "auto"), "K1", out)
        assert sink.same_place(out)
        yield logs.logger("kraft")
        if isinstance(sink._lines._stream, JournalSocket):
            sink._lines._stream.close()


def test_an_entry_has_a_sentence_and_its_fields(journal: Journal, log: FilteringBoundLogger) -> None:
    log.info("role_changed", group=0, role="leader", term=2, leader="K1")
    assert journal.entry() == {
        "MESSAGE": "K1 leads group 0 in term 2 [role_changed]",
        "PRIORITY": "6",
        "SYSLOG_IDENTIFIER": "kraft",
        "KRAFT_EVENT": "role_changed",
        "KRAFT_NODE": "K1",
        "KRAFT_LOGGER": "kraft",
        "KRAFT_GROUP": "0",
        "KRAFT_ROLE": "leader",
        "KRAFT_TERM": "2",
        "KRAFT_LEADER": "K1",
    }
    log.info("election_ended", group=0, kind="vote", members=["a", "b"])
    told = journal.entry()
    assert told["MESSAGE"] == 'K1 election_ended group=0 kind=vote members=["a","b"]'
    assert told["KRAFT_MEMBERS"] == '["a","b"]'


@pytest.mark.parametrize(("level", "priority"), [("warning", "4"), ("error", "3"), ("critical", "2")])
def test_each_level_has_its_priority(
    journal: Journal, log: FilteringBoundLogger, level: str, priority: str
) -> None:
    logs.log_at(log, level, "disk_full")
    assert journal.entry()["PRIORITY"] == priority


def test_words_of_others_cannot_forge_fields(journal: Journal, log: FilteringBoundLogger) -> None:
    log.warning("peer_disconnected", peer="K2", reason="no\nPRIORITY=0\n_PID=1 \udcff \x1b[2J")
    told = journal.entry()
    assert told["PRIORITY"] == "4"
    assert told["KRAFT_REASON"] == "no\nPRIORITY=0\n_PID=1 \udcff \x1b[2J"
    assert "_PID" not in told
    assert told["MESSAGE"].count("\n") == 0


@pytest.mark.parametrize("size", [127, 128, 255, 256, 65_535])
def test_values_with_line_breaks_of_any_length(size: int) -> None:
    value = "\n" + "x" * (size - 1)
    text = entry({"MESSAGE": value, "B": "1"})
    assert fields(text.encode("utf-8", "surrogateescape")) == {"MESSAGE": value, "B": "1"}


def test_a_traceback_is_part_of_the_message(journal: Journal, log: FilteringBoundLogger) -> None:
    try:
        raise RuntimeError("broken")
    except RuntimeError:
        log.exception("page_failed", page="/")
    message = journal.entry()["MESSAGE"].splitlines()
    assert (message[0], message[-1]) == ("K1 page_failed page=/", "RuntimeError: broken")


def test_an_entry_that_is_larger_than_a_datagram_arrives(journal: Journal, log: FilteringBoundLogger) -> None:
    stacks = "\n".join(f"line {i}" for i in range(100_000))
    log.info("thread_stacks", stacks=stacks)
    assert journal.entry()["MESSAGE"].endswith("line 99999")


def test_a_journal_that_was_restarted_is_found_again(tmp_path: Path, journal: Journal) -> None:
    stream = JournalSocket()
    journal.close()
    (tmp_path / "journal").unlink()
    again = Journal(tmp_path / "journal")
    stream.write("MESSAGE=a")
    assert again.entry() == {"MESSAGE": "a"}
    again.close()
    stream.close()


def test_without_a_journal_lines_have_marks(tmp_path: Path, log: FilteringBoundLogger) -> None:
    """As in a sandbox that hides the socket."""
    log.error("disk_full")
    assert (tmp_path / "stdout").read_text().startswith('<3>{"timestamp"')
