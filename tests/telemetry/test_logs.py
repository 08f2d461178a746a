"""Log lines: their two forms, Twisted's events, and how floods are held back."""

import ast
import io
import json
import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import structlog
from structlog.typing import FilteringBoundLogger
from twisted.logger import Logger
from twisted.python.logfile import LogFile

from kraft.config import LogConfig
from kraft.telemetry import logs
from kraft.telemetry.event_log import EventLog
from kraft.telemetry.events import LEVELS
from kraft.telemetry.journal_socket import JournalSocket
from kraft.telemetry.logs import BURST, KEYS_MAX, RateLimit, TwistedBridge
from kraft.telemetry.logs import LEVELS as LEVELS_OF_LOGS
from tests.telemetry.streams import FullDisk, Terminal


@pytest.fixture(autouse=True)
def _unconfigured() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def configure(level: str, form: str, *, stream: io.StringIO, node: str = "") -> FilteringBoundLogger:
    logs.configure(LogConfig(level, form), node, stream)
    return logs.logger("kraft")


def test_where_lines_go_can_be_compared(tmp_path: Path) -> None:
    """By file, not by name: a failure is not told twice in one place."""
    one, other = tmp_path / "a", tmp_path / "b"
    with one.open("w") as a, one.open("a") as again, other.open("w") as b:
        place = logs.configure(LogConfig(), "", a)

        assert place.same_place(again)
        assert not place.same_place(b)
        assert not place.same_place(io.StringIO())
        assert not place.same_place(None)
    assert not place.same_place(b)


def test_a_log_file_is_written_line_by_line(tmp_path: Path) -> None:
    """As JSON, since nobody reads along; it is a place of its own."""
    file = LogFile.fromFullPath(str(tmp_path / "log"), 50, maxRotatedFiles=1)
    place = logs.configure(LogConfig("info", "auto"), "K1", file)

    for name in ("first", "second", "third"):
        logs.logger("kraft").info(name)

    assert json.loads((tmp_path / "log").read_text())["event"] == "third"
    assert json.loads((tmp_path / "log.1").read_text())["event"] == "second"
    assert not (tmp_path / "log.2").exists()
    assert not place.same_place(sys.__stderr__)
    file.close()


def test_json_is_one_line_that_begins_with_when_and_what() -> None:
    out = io.StringIO()
    log = configure("info", "auto", node="K1", stream=out)

    log.info("node_ready", group=0, data=b"\xff", when={1: object})

    line = json.loads(out.getvalue())
    assert out.getvalue().count("\n") == 1
    assert list(line)[:4] == ["timestamp", "level", "event", "node"]
    assert (line["level"], line["event"], line["node"], line["group"]) == ("info", "node_ready", "K1", 0)
    assert line["timestamp"].endswith("Z")


def test_at_a_terminal_lines_are_for_people() -> None:
    out = Terminal()

    configure("info", "auto", node="K1", stream=out).info("peer_connected", peer="K2")

    assert "K1 connected to K2" in out.getvalue()
    assert "{" not in out.getvalue()


def test_what_others_say_cannot_forge_lines_or_steer_the_terminal() -> None:
    """A reason may come from another node, and an exception may quote a client."""
    out = Terminal()
    log = configure("info", "text", stream=out)
    log.warning("peer_refused", reason="no\n2026 [critical] disk_failed \x1b[2J")
    log.warning("peer_disconnected", peer="K2", reason="no\n2026 [critical] disk_failed \x1b[2J")
    assert out.getvalue().count("\n") == 2
    assert "\x1b[2J" not in out.getvalue()

    log.error("page_failed", exception="Traceback:\n  ValueError: \x1b[2J")
    assert "\x1b[2J" not in out.getvalue()
    assert out.getvalue().endswith("Traceback:\n  ValueError: \\x1b[2J\n")


def test_a_full_disk_costs_lines_not_the_log() -> None:
    """What cannot be written now is lost; when there is room again, lines are written again."""
    out = FullDisk()
    log = configure("info", "json", stream=out)
    log.info("lost")
    out.full = False
    log.info("written")

    lost, written = map(json.loads, out.getvalue().splitlines())
    assert (lost["event"], lost["lines"], written["event"]) == ("log_lines_lost", 1, "written")


def test_the_form_can_be_chosen() -> None:
    out = Terminal()
    configure("info", "json", stream=out).info("a")
    assert json.loads(out.getvalue())["event"] == "a"

    plain = io.StringIO()
    configure("info", "text", stream=plain).info("a", n=1)
    assert "\x1b" not in plain.getvalue()
    assert "n=1" in plain.getvalue()


def test_lower_levels_are_left_out() -> None:
    out = io.StringIO()
    log = configure("warning", "json", stream=out)

    log.info("a")
    log.error("b")

    assert [json.loads(line)["event"] for line in out.getvalue().splitlines()] == ["b"]


def test_the_level_can_change_under_loggers_that_exist() -> None:
    out = io.StringIO()
    sink = logs.configure(LogConfig("warning", "json"), "", out)
    log = logs.logger("kraft")
    log.info("a")
    sink.level = "debug"
    log.debug("b")

    assert [json.loads(line)["event"] for line in out.getvalue().splitlines()] == ["b"]


def test_the_journal_is_told_priorities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only where the stream is the one that the environment names, and on every line."""
    with (tmp_path / "journal").open("w+") as out, (tmp_path / "other").open("w+") as other:
        named = os.fstat(out.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{named.st_dev}:{named.st_ino}")
        logs.configure(LogConfig("info", "json"), "", other)
        logs.logger("kraft").error("elsewhere")
        sink = logs.configure(LogConfig("debug", "text"), "", out)
        log = logs.logger("kraft")
        for level in LEVELS_OF_LOGS:
            logs.log_at(log, level, "a")
        try:
            raise RuntimeError("broken")
        except RuntimeError:
            log.exception("b")
        out.seek(0)
        other.seek(0)
        marks = [line[:3] for line in out]

        assert marks[:5] == ["<7>", "<6>", "<4>", "<3>", "<2>"]
        assert len(marks) > 7
        assert set(marks[5:]) == {"<3>"}
        assert sink.mark("critical") == "<2>"
        assert other.read(1) == "{"


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """What journald would read; it reads the file `stream` as well."""
    made: list[JournalSocket] = []

    class Native(JournalSocket):
        def __init__(self) -> None:
            super().__init__(str(tmp_path / "socket"))
            made.append(self)

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as reading:
        reading.bind(str(tmp_path / "socket"))
        monkeypatch.setattr(logs, "JournalSocket", Native)
        yield reading
    for each in made:
        each.close()


@contextmanager
def output(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[logs.LogSink]:
    """The log of a node whose standard output is the file `path`."""
    with path.open("w") as out:
        if path.name == "stream":
            named = os.fstat(out.fileno())
            monkeypatch.setenv("JOURNAL_STREAM", f"{named.st_dev}:{named.st_ino}")
        yield logs.configure(LogConfig("info", "auto"), "", out)


def test_the_journal_gets_an_empty_line_by_which_it_remembers_the_unit(
    tmp_path: Path, journal: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the stream that it reads, when entries go to its own socket, and nowhere else."""
    with output(tmp_path / "stream", monkeypatch), output(tmp_path / "other", monkeypatch):
        assert (tmp_path / "stream").read_text() == "\n"
        assert (tmp_path / "other").read_text() == ""


def test_a_node_that_ends_waits_until_the_journal_has_read_its_entries(
    tmp_path: Path, journal: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the bound that is asked for; journald looks up the unit of a process that must still be there."""
    with output(tmp_path / "stream", monkeypatch) as sink:
        assert sink.flush(0.0)
        logs.logger("kraft").info("node_stopping")
        logs.logger("kraft").info("node_stopped")
        assert not sink.flush(0.01)
        assert b"KRAFT_EVENT=node_stopping" in journal.recv(4096)
        assert not sink.flush(0.01)
        reader = threading.Timer(0.05, journal.recv, (4096,))
        reader.start()
        assert sink.flush(60.0)
        reader.join()


def test_an_exception_is_one_line_with_its_traceback() -> None:
    out = io.StringIO()
    log = configure("info", "json", stream=out)
    try:
        raise RuntimeError("broken")
    except RuntimeError:
        log.exception("fail_stopped")

    assert "RuntimeError: broken" in json.loads(out.getvalue())["exception"]


def test_a_reader_that_is_gone_costs_nothing() -> None:
    class Gone(io.StringIO):
        def write(self, _text: str) -> int:
            raise BrokenPipeError

    for stream in (Gone(), io.StringIO()):
        log = configure("info", "json", stream=stream)
        stream.close()
        log.info("a")
        log.info("b")


def test_twisted_events_come_through_the_bridge() -> None:
    out = io.StringIO()
    configure("info", "json", node="K1", stream=out)
    twisted = Logger(namespace="some.part", observer=TwistedBridge())
    twisted.info("Starting factory {name}", name="x")
    twisted.warn("odd {name}", name="x")
    try:
        raise RuntimeError("broken")
    except RuntimeError:
        twisted.failure("lost")

    odd, lost = map(json.loads, out.getvalue().splitlines())
    assert (odd["event"], odd["level"], odd["message"], odd["source"]) == (
        "twisted",
        "warning",
        "odd x",
        "some.part",
    )
    assert (lost["level"], lost["node"]) == ("critical", "K1")
    assert "RuntimeError: broken" in lost["exception"]


def test_what_the_framework_complains_of_again_and_again_is_counted() -> None:
    """By place and wording: what varies in it, such as an address, makes no difference."""
    now = [0.0]
    out = io.StringIO()
    configure("info", "json", stream=out)
    twisted = Logger(namespace="web", observer=TwistedBridge(lambda: now[0]))
    for i in range(BURST + 100):
        twisted.warn("odd request from {address}", address=i)
    twisted.error("another")
    now[0] = 5.0
    twisted.warn("odd request from {address}", address="later")

    *burst, another, later = map(json.loads, out.getvalue().splitlines())
    assert (len(burst), another["message"]) == (BURST, "another")
    assert (later["message"], later["held_back"]) == ("odd request from later", 100)


def test_a_bridge_made_before_configuration_follows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    early, late = io.StringIO(), io.StringIO()
    monkeypatch.setattr("sys.__stdout__", early)
    twisted = Logger(observer=TwistedBridge())

    twisted.error("early")
    configure("info", "json", stream=late)
    twisted.error("late")

    assert json.loads(early.getvalue())["message"] == "early"
    assert json.loads(late.getvalue())["message"] == "late"


def test_a_flood_becomes_one_line_and_a_number() -> None:
    now = [0.0]
    limit = RateLimit(lambda: now[0], period=5.0)

    assert [limit.admit("a") for _ in range(3)] == [0, None, None]
    assert limit.admit("b") == 0
    now[0] = 4.999
    assert limit.admit("a") is None
    now[0] = 5.0
    assert limit.admit("a") == 3
    assert limit.admit("a") is None


def test_a_burst_is_let_through_before_the_flood_is_held_back() -> None:
    """The period begins with the first; what it holds back is told with the next one that goes through."""
    now = [0.0]
    limit = RateLimit(lambda: now[0], period=5.0)

    assert [limit.admit("a", burst=3) for _ in range(5)] == [0, 0, 0, None, None]
    now[0] = 5.0
    assert [limit.admit("a", burst=3) for _ in range(4)] == [2, 0, 0, None]
    now[0] = 60.0
    assert limit.admit("a", burst=3) == 1


def test_the_kinds_of_a_limit_are_bounded() -> None:
    limit = RateLimit(lambda: 0.0)
    for i in range(KEYS_MAX):
        limit.admit(str(i))
    assert limit.admit("0") is None

    limit.admit("one more")

    assert limit.admit("0") == 0


def test_what_was_held_back_is_told() -> None:
    now = [0.0]
    out = io.StringIO()
    events = EventLog(configure("info", "json", stream=out), RateLimit(lambda: now[0]))
    for _ in range(10):
        events.log_limited("refused", "peer_refused", kind="x", event_="y")
    now[0] = 60.0
    events.log_limited("refused", "peer_refused", kind="x")

    first, second = map(json.loads, out.getvalue().splitlines())
    assert (first["level"], first["kind"], "held_back" in first) == ("warning", "x", False)
    assert second["held_back"] == 9


def test_events_in_the_code_and_documented_ones_are_the_same() -> None:
    """Names given to the methods that log, and to `_Beginning`, anywhere in kraft."""
    used = {"twisted"}
    for path in Path(__file__).parents[2].joinpath("kraft").rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call):
                called = ast.unparse(call.func).rpartition(".")
                methods = {"event": 0, "log": 0, "critical": 0, "warning": 0, "log_limited": 1}
                place = methods.get(called[2]) if called[1] else {"_Beginning": 3}.get(called[2])
                if place is not None and len(call.args) > place:
                    names = [n.value for n in ast.walk(call.args[place]) if isinstance(n, ast.Constant)]
                    used.update(name for name in names if isinstance(name, str))

    assert used == set(LEVELS)
