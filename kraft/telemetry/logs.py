"""Logs: events with fields; sentences at a terminal, entries of systemd's journal, or one line of JSON each.

`configure` is called once at the start of the process; every other module is given a logger. Lines go to a
file or to the original standard output (`sys.__stdout__`), never to `sys.stdout`: twistd replaces the latter
with a writer into Twisted's log, whose events come back here. Logging never raises, and after `LogSink.start`
it never waits: `line_writer` has the thread that writes.

When systemd's journal reads standard output, events go to the journal's own socket, with their fields. If
that cannot be reached, each line begins with its priority, such as `<3>` for an error, and journald strips
it: see sd-daemon(3).
"""

import os
import sys
import time
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from functools import partial
from io import TextIOBase
from typing import Any, TextIO

import msgspec
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent
from zope.interface import implementer

from kraft.config import LogConfig
from kraft.telemetry.journal_socket import JournalSocket
from kraft.telemetry.lean_structlog import FilteringBoundLogger, Processor, structlog
from kraft.telemetry.line_writer import LineWriter, Stream
from kraft.telemetry.renderers import PRIORITIES, JournalRenderer, TerminalRenderer, can_redraw, use_colors

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
KEYS_MAX = 256  # of one rate limit; the oldest are forgotten first
ERASE_LINE = "\r\x1b[K"
BURST = 20  # enough for one event per node of a large cluster, or a few administrator commands in a row
_FIRST = ("timestamp", "level", "event", "node")
_TWISTED_LEVELS = {
    LogLevel.debug: "debug",
    LogLevel.info: "debug",  # such as "Starting factory ...": of no use next to kraft's own events
    LogLevel.warn: "warning",
    LogLevel.error: "error",
    LogLevel.critical: "critical",
}


def configure(log: LogConfig, node: str = "", stream: Stream | None = None) -> "LogSink":
    """Set up logging for the process. Every event carries the id of the node, if one is given.

    The default stream is standard output. The format `auto` is sentences if it is a terminal, entries with
    fields if systemd's journal reads it, else JSON.
    """
    place = stream if stream is not None else sys.__stdout__
    journal = _journal(place) if log.format == "auto" else None
    sink = LogSink(journal or place, log.level, place)
    structlog.configure(
        processors=[
            sink.admit,
            _of_node(node),
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            *_form(log.format, sink, journal is not None),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            LEVELS["debug"]
        ),  # the sink filters, as its level may change
        logger_factory=lambda *_: sink,
    )
    return sink


def _form(chosen: str, sink: "LogSink", to_journal: bool) -> list[Processor]:
    if to_journal:
        return [JournalRenderer()]
    if chosen != "json" and sink.at_terminal():
        return [TerminalRenderer(lambda: sink.level, colors=use_colors())]
    if chosen == "text":
        plain = structlog.dev.plain_traceback
        return [
            _escaped,
            structlog.dev.ConsoleRenderer(colors=False, pad_event_to=20, exception_formatter=plain),
        ]
    return [_in_order, structlog.processors.JSONRenderer(_dumps)]


def logger(name: str) -> FilteringBoundLogger:
    """A logger with the current configuration; `name` is the program or library that logs."""
    bound: FilteringBoundLogger = structlog.get_logger().bind(logger=name)
    return bound


def log_at(out: FilteringBoundLogger, level: str, event: str, /, **fields: object) -> None:
    """Log one event at a level that is known only at run time."""
    out.log(LEVELS[level], event, **fields)


class RateLimit:
    """Admits a few events of a kind per `period` seconds, for events that others could repeat at will."""

    def __init__(self, seconds: Callable[[], float], period: float = 5.0) -> None:
        self._seconds = seconds
        self._period = period
        self._seen: dict[
            str, tuple[float, int, int]
        ] = {}  # kind -> (start of the period, admitted, held back)

    def admit(self, kind: str, burst: int = 1) -> int | None:
        """The number of events of this kind held back before this one; None if this one is held back too.

        A period begins with the first admitted event and admits up to `burst`.
        """
        now = self._seconds()
        began, admitted, held = self._seen.get(kind, (now - self._period, 0, 0))
        if now - began < self._period:
            if admitted >= burst:
                self._seen[kind] = (began, admitted, held + 1)
                return None
            self._seen[kind] = (began, admitted + 1, held)
            return 0
        self._seen.pop(kind, None)
        self._seen[kind] = (now, 1, 0)
        if len(self._seen) > KEYS_MAX:
            self._seen.pop(next(iter(self._seen)), None)
        return held


@implementer(ILogObserver)
class TwistedBridge:
    """Logs Twisted's own events as events named `twisted`.

    twistd logs before the service can configure anything; such events are logged with the default settings.
    An outsider who makes Twisted complain can do so at will, so events from one source with one wording are
    rate limited.
    """

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._limit = RateLimit(seconds)

    def __call__(self, event: LogEvent) -> None:
        """Log one event, with its traceback if it has one."""
        if not structlog.is_configured():
            configure(LogConfig())
        level = _TWISTED_LEVELS.get(event.get("log_level", LogLevel.info), "info")
        source = event.get("log_namespace", "")
        held = 0 if level == "debug" else self._limit.admit(f"{source} {event.get('log_format')}", BURST)
        if held is None:
            return
        fields: dict[str, object] = {"message": formatEvent(event), "source": source}
        failure = event.get("log_failure")
        if failure is not None:
            fields["exception"] = failure.getTraceback()
        if held:
            fields["held_back"] = held
        log_at(logger("twisted"), level, "twisted", **fields)


class LogSink:
    """Passes rendered lines to their writer. Events below `level`, which may change at any time, are dropped.

    structlog calls one method per level, named like the level.
    """

    def __init__(
        self, stream: Stream | None, level: str = "info", place: Stream | TextIO | None = None
    ) -> None:
        """`place` is the stream that `stream` stands for: the journal reads it too; by default the same."""
        self._stream = stream if place is None else place
        self._native = place is not None and place is not stream
        self._lines = LineWriter(stream, _report_lost)
        self._journal = stream if isinstance(stream, JournalSocket) else None
        self.level = level
        self._redraws = self.at_terminal() and can_redraw()
        self._erase = ""  # before the next line
        self._marks = _marks(self._stream)
        for name in LEVELS:
            mark = "" if self._native else self._marks.get(name, "")
            setattr(self, name, partial(self.write, mark=mark))

    def admit(self, _logger: object, level: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """A structlog processor that drops events below the level."""
        if LEVELS[level] < LEVELS[self.level]:
            raise structlog.DropEvent
        return event

    def mark(self, level: str) -> str:
        """The prefix of a line of this level on this stream, also for a line that is not an event."""
        return self._marks.get(level, "")

    def at_terminal(self) -> bool:
        """Whether the stream is a terminal."""
        return isinstance(self._stream, TextIOBase) and self._stream.isatty()

    def same_place(self, stream: TextIO | None) -> bool:
        """Whether `stream` writes to the same file, pipe or terminal."""
        if stream is None or not isinstance(self._stream, TextIOBase):
            return False
        try:
            return os.path.sameopenfile(self._stream.fileno(), stream.fileno())
        except (OSError, ValueError):  # closed, or not backed by a file
            return False

    @property
    def native(self) -> bool:
        """Whether entries go to the journal's socket, and not to the stream that the journal also reads."""
        return self._native

    @property
    def lines_lost(self) -> int:
        """How many lines were not written, because their reader stalled or was gone, or the disk was full."""
        return self._lines.lost

    def start(self) -> None:
        """Write on a thread from now on, and never wait for the stream. Call it after the last fork."""
        self._lines.start()

    def run(self, call: Callable[[], object]) -> None:
        """Run `call` between two lines: it may change the file. An OSError of it is ignored."""
        self._lines.run(call)

    def flush(self, seconds: float) -> bool:
        """Wait until all lines are written, and read by the journal, at most so long. Whether they are."""
        end = time.monotonic() + seconds
        return self._lines.flush(seconds) and self._drained(end)

    def finish(self, seconds: float) -> None:
        """The process is about to end: wait for every line from now on, at most so long in all."""
        end = time.monotonic() + seconds
        self._lines.finish(seconds)
        self._drained(end)

    def _drained(self, end: float) -> bool:
        return self._journal is None or self._journal.drain(end - time.monotonic())

    def write(self, line: str, mark: str = "") -> None:
        """Write one event, or lose it. In text form a traceback has several lines; each gets the mark."""
        before, self._erase = self._erase, ""
        self._lines.write(before + mark + line.replace("\n", "\n" + mark) + "\n")

    def write_in_place(self, text: str) -> None:
        """Show short words at a terminal until the next event, or the next words, in their place."""
        if self._redraws:
            self._lines.write(f"{self._erase}{time.strftime('%H:%M:%S')} {text}")
            self._erase = ERASE_LINE


def _report_lost(lines: int) -> None:
    logger("kraft").warning("log_lines_lost", lines=lines)


def _journal(stream: Stream | TextIO | None) -> JournalSocket | None:
    """The journal's socket, if the journal reads `stream` and takes entries with fields.

    journald looks up the unit of a sender by its process id when it reads an entry. What it found it keeps
    while a stream of the process is open that has sent a line: so the stream sends one. It is empty, so that
    it is not stored (systemd, journald-context.c). At its end a node waits until its entries are read.
    """
    if stream is None or not _marks(stream):
        return None
    try:
        journal = JournalSocket()
    except OSError:
        return None
    with suppress(OSError):
        stream.write("\n")
        stream.flush()
    return journal


def _marks(stream: Stream | TextIO | None) -> dict[str, str]:
    """Prefixes by level if `JOURNAL_STREAM` names this stream (systemd.exec(5)), else none."""
    named = os.environ.get("JOURNAL_STREAM", "")
    if not named or not isinstance(stream, TextIOBase):
        return {}
    try:
        stat = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return {}
    same = named == f"{stat.st_dev}:{stat.st_ino}"
    return {level: f"<{priority}>" for level, priority in PRIORITIES.items()} if same else {}


def _of_node(node: str) -> Processor:
    def add(_logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if node:
            event["node"] = node
        return event

    return add


def _escaped(_logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Escape control characters in a traceback, except line breaks; the renderer escapes other fields."""
    trace = event.get("exception")
    if isinstance(trace, str):
        event["exception"] = "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in trace)
    return event


def _in_order(_logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Put time, level, event and node first, so that a line can be read by eye."""
    first = {key: event[key] for key in _FIRST if key in event}
    return first | {key: value for key, value in event.items() if key not in first}


def _dumps(event: object, **_: object) -> str:
    return msgspec.json.encode(event, enc_hook=str).decode()
