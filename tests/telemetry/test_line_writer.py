"""The thread that writes the log: its reader cannot hold up the node, and lost lines are counted."""

import errno
import json
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import structlog

from kraft.config import LogConfig
from kraft.process.log_file import RotatedFile
from kraft.telemetry import logs
from kraft.telemetry.line_writer import BUFFER_CHARACTERS, LineWriter
from tests.telemetry.streams import FullDisk

LONG = 20.0  # seconds: only a failing test waits so long


@pytest.fixture(autouse=True)
def _unconfigured() -> Iterator[None]:
    yield
    structlog.reset_defaults()


class Pipe:
    """A pipe whose reader does nothing until `drain`; a text stream writes into it."""

    def __init__(self) -> None:
        self.reader, writer = os.pipe()
        self.stream = os.fdopen(writer, "w")

    def fill(self) -> int:
        """Fill it up; how many bytes that took."""
        os.set_blocking(self.stream.fileno(), False)
        size = 0
        try:
            while True:
                size += os.write(self.stream.fileno(), b"." * 4096)
        except BlockingIOError:
            os.set_blocking(self.stream.fileno(), True)
            return size

    def drain(self, until: bytes) -> bytes:
        """Read until `until` has come."""
        data = b""
        while until not in data:
            data += os.read(self.reader, 65536)
        return data


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    os.close(made.reader)
    with suppress(OSError):
        made.stream.close()


def test_a_full_pipe_holds_nobody_up_and_the_gap_is_told_in_its_place(pipe: Pipe) -> None:
    """Lines up to the bound wait; then lines are lost; then one line says how many, before newer lines."""
    filled = pipe.fill()
    sink = logs.configure(LogConfig("info", "json"), "K1", pipe.stream)
    sink.start()
    log = logs.logger("kraft")
    count = 3 * BUFFER_CHARACTERS // 1000

    for i in range(count):
        log.info("a", i=i, data="x" * 1000)
    assert not sink.flush(0.01)
    os.read(pipe.reader, filled)
    reading = threading.Thread(target=lambda: read.append(pipe.drain(b'"event":"after"')))
    read: list[bytes] = []
    reading.start()
    assert sink.flush(LONG)
    log.info("after")
    reading.join(LONG)

    lines = [json.loads(line) for line in read[0].splitlines() if line.startswith(b"{")]
    lost = [line for line in lines if line["event"] == "log_lines_lost"]
    told = 0
    for line in lines[:-1]:  # a thread that takes its first line late leaves two gaps
        assert line in lost or line["i"] == told
        told += line["lines"] if line in lost else 1
    assert told == count
    assert [line["event"] for line in lines[-2:]] == ["log_lines_lost", "after"]
    assert 0 < sum(line["lines"] for line in lost) == sink.lines_lost
    assert {line["level"] for line in lost} == {"warning"}


def test_the_last_lines_are_waited_for_but_not_for_ever(pipe: Pipe) -> None:
    pipe.fill()
    lines = LineWriter(pipe.stream, lambda _: None)
    lines.start()
    lines.write("one\n")

    lines.finish(0.05)
    lines.write("two\n")

    assert not lines.flush(0.0)
    assert pipe.drain(b"two\n").endswith(b"one\ntwo\n")
    assert lines.flush(LONG)


def test_a_line_is_written_whole_though_another_program_made_the_pipe_non_blocking(pipe: Pipe) -> None:
    """Programs that share a terminal or a pipe share this setting (a shell's children do)."""
    os.set_blocking(pipe.stream.fileno(), False)
    lines = LineWriter(pipe.stream, lambda _: None)
    lines.start()
    text = "y" * (1 << 19) + "\n"

    lines.write(text)

    assert pipe.drain(b"\n") == text.encode()
    assert lines.lost == 0


def test_a_new_reader_of_a_fifo_reads_on(tmp_path: Path) -> None:
    """The lines of the time without a reader are lost, and that is said first."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    first = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with path.open("w") as stream:
        sink = logs.configure(LogConfig("info", "json"), "", stream)
        sink.start()
        log = logs.logger("kraft")
        log.info("read")
        assert sink.flush(LONG)
        assert b'"read"' in os.read(first, 65536)
        os.close(first)
        for _ in range(3):
            log.info("unread")
        assert sink.flush(LONG)
        second = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        log.info("again")
        assert sink.flush(LONG)
        told, again = map(json.loads, os.read(second, 65536).splitlines())
        os.close(second)

    assert (told["event"], told["lines"], again["event"]) == ("log_lines_lost", 3, "again")
    assert sink.lines_lost == 3


def test_a_line_that_a_full_disk_cut_does_not_spoil_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest of a torn line is not continued by another line."""
    room = [8]
    real = os.write

    def write(descriptor: int, data: bytes) -> int:
        if room[0] == 0:
            raise OSError(errno.ENOSPC, "no space left on device")
        written = real(descriptor, data[: room[0]])
        room[0] -= written
        return written

    told: list[int] = []
    with (tmp_path / "log").open("w") as stream:
        lines = LineWriter(stream, told.append)
        monkeypatch.setattr(os, "write", write)
        lines.write("0123456789\n")
        lines.write("lost\n")
        room[0] = 1000
        lines.write("whole\n")

    assert (tmp_path / "log").read_text() == "01234567\nwhole\n"
    assert (lines.lost, told) == (2, [1, 1])


def test_a_level_that_leaves_out_the_report_does_not_stop_the_log() -> None:
    """With `log.level: error` the warning about lost lines is not written, but errors are."""
    out = FullDisk()
    sink = logs.configure(LogConfig("error", "json"), "", out)
    logs.logger("kraft").error("lost")
    out.full = False
    logs.logger("kraft").error("written")

    assert [json.loads(line)["event"] for line in out.getvalue().splitlines()] == ["written"]
    assert sink.lines_lost == 1


def test_text_that_utf8_cannot_hold_is_written_all_the_same(tmp_path: Path) -> None:
    """A file name may hold any bytes; Python reads them as lone surrogates."""
    with (tmp_path / "log").open("w") as stream:
        lines = LineWriter(stream, lambda _: None)
        lines.write("a \udcff b\n")
    assert (tmp_path / "log").read_text() == "a \\udcff b\n"


def test_a_rotation_that_cannot_open_the_next_file_loses_no_later_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the process may open no more files: the first line after that opens it."""
    file = RotatedFile.fromFullPath(str(tmp_path / "log"), 1 << 20, maxRotatedFiles=2)
    sink = logs.configure(LogConfig("info", "json"), "", file)
    sink.start()
    log = logs.logger("kraft")
    log.info("before")
    assert sink.flush(LONG)

    def refuse() -> None:
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(file, "_openFile", refuse)
    sink.run(file.rotate)
    log.info("lost")
    assert sink.flush(LONG)
    monkeypatch.undo()
    log.info("after")
    assert sink.flush(LONG)
    file.close()

    assert "before" in (tmp_path / "log.1").read_text()
    events = [json.loads(line)["event"] for line in (tmp_path / "log").read_text().splitlines()]
    assert events == ["log_lines_lost", "after"]
    assert sink.lines_lost == 1


def test_files_rotate_between_lines_whatever_thread_asks(tmp_path: Path) -> None:
    file = RotatedFile.fromFullPath(str(tmp_path / "log"), 1 << 20, maxRotatedFiles=2)
    lines = LineWriter(file, lambda _: None)
    lines.start()
    for i in range(100):
        lines.write(f"{i}\n")
        if i == 50:
            lines.run(file.rotate)
    assert lines.flush(LONG)
    file.close()

    assert (tmp_path / "log.1").read_text().splitlines() == [str(i) for i in range(51)]
    assert (tmp_path / "log").read_text().splitlines() == [str(i) for i in range(51, 100)]


def test_a_log_file_that_a_full_disk_cut_goes_on_with_a_line_of_its_own(tmp_path: Path) -> None:
    file = RotatedFile.fromFullPath(str(tmp_path / "log"), 1 << 20)
    lines = LineWriter(file, lambda _: None)

    class Short:
        """The open file, on a disk with room for two bytes."""

        closed = False

        def write(self, data: bytes) -> int:
            if len(data) <= 3:
                raise OSError(errno.ENOSPC, "no space left on device")
            return int(whole.write(data[:2]))

        def flush(self) -> None:
            """Nothing waits."""

    whole, file._file = file._file, Short()
    lines.write("long\n")
    file._file = whole
    lines.write("whole\n")
    file.close()

    assert (tmp_path / "log").read_text() == "lo\nwhole\n"
    assert lines.lost == 1
