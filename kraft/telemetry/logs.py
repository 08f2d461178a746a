"""Logs: events with fields, one line each, readable at a terminal and JSON otherwise.

`configure` is called once, by whoever starts the process; everybody else receives a logger. Lines go to a
file, or to the standard output the process was started with, never to `sys.stdout`: twistd replaces that
with a writer into Twisted's log, whose events come back here. A line that cannot be written is lost, without
a raise.

Where standard output is the journal's, each line begins with its priority, `<3>` for an error, which journald
takes off again: the same lines in the same form, and no second way out besides standard output.
"""

import os
import sys
import time
from collections.abc import Callable, MutableMapping
from functools import partial
from io import TextIOBase
from typing import Any, Protocol, TextIO

import msgspec
import structlog
from structlog.typing import FilteringBoundLogger, Processor
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent
from zope.interface import implementer

from kraft.config import LogConfig

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
_PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}  # as in syslog(3)
KEYS_MAX = 256  # of one rate limit; the oldest go first
BURST = 20  # of what is worth reading each time: one for every node of a large cluster, some orders in a row
_FIRST = ("timestamp", "level", "event", "node")
_TWISTED_LEVELS = {
    LogLevel.debug: "debug",
    LogLevel.info: "debug",  # "Starting factory ..." and the like, of no use beside kraft's own events
    LogLevel.warn: "warning",
    LogLevel.error: "error",
    LogLevel.critical: "critical",
}


class Stream(Protocol):
    """Where lines are written: a text stream, or a log file of Twisted, which takes text too."""

    def write(self, text: str, /) -> object:
        """Take a line."""

    def flush(self) -> object:
        """Pass it on."""


def configure(log: LogConfig, node: str = "", stream: Stream | None = None) -> "Sink":
    """Set logging up for the process; every event carries the node's id when one is given.

    The form `auto` is text when `stream` is a terminal, else JSON. `stream` is standard output unless given.
    """
    sink = Sink(stream if stream is not None else sys.__stdout__, log.level)
    at_terminal = sink.at_terminal()
    as_text = log.format == "text" or (log.format == "auto" and at_terminal)
    structlog.configure(
        processors=[
            sink.admit,
            _of_node(node),
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *(_text(colors=at_terminal) if as_text else _json()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS["debug"]),  # the sink's level may change
        logger_factory=lambda *_: sink,
    )
    return sink


def logger(name: str) -> FilteringBoundLogger:
    """A logger as configured by now; `name` says which program or library speaks."""
    bound: FilteringBoundLogger = structlog.get_logger().bind(logger=name)
    return bound


def log(out: FilteringBoundLogger, level: str, event: str, /, **fields: object) -> None:
    """One event at a level known only at run time."""
    out.log(LEVELS[level], event, **fields)


class RateLimit:
    """Lets a few events of a kind through in `period` seconds, for what others could repeat at will."""

    def __init__(self, seconds: Callable[[], float], period: float = 5.0) -> None:
        self._seconds = seconds
        self._period = period
        self._seen: dict[str, tuple[float, int, int]] = {}  # kind -> (period began, let through, held back)

    def admit(self, kind: str, burst: int = 1) -> int | None:
        """None to hold this one back, else how many of the kind were held back before it.

        A period begins with the first that goes through, and has room for `burst`.
        """
        now = self._seconds()
        began, through, held = self._seen.get(kind, (now - self._period, 0, 0))
        if now - began < self._period:
            if through >= burst:
                self._seen[kind] = (began, through, held + 1)
                return None
            self._seen[kind] = (began, through + 1, held)
            return 0
        self._seen.pop(kind, None)
        self._seen[kind] = (now, 1, 0)
        if len(self._seen) > KEYS_MAX:
            self._seen.pop(next(iter(self._seen)), None)
        return held


@implementer(ILogObserver)
class TwistedBridge:
    """Twisted's own log events as events named `twisted`; without arguments, so that twistd can make one.

    twistd logs before a service can configure anything; what is worth telling then is told with the defaults.
    Whoever finds a way to make the framework complain can do so again and again: what comes from one place in
    one wording is told a few times, and counted.
    """

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._limit = RateLimit(seconds)

    def __call__(self, event: LogEvent) -> None:
        """Pass one event on; an error that was logged carries its traceback."""
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
        log(logger("twisted"), level, "twisted", **fields)


class Sink:
    """Where rendered lines go; structlog calls it by the name of the level.

    Events below `level` are left out; it may be set at any time.
    """

    def __init__(self, stream: Stream | None, level: str = "info") -> None:
        self._stream = stream
        self.level = level
        self._marks = _marks(stream)
        for name in LEVELS:
            setattr(self, name, partial(self.write, mark=self._marks.get(name, "")))

    def admit(self, _logger: object, level: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """The processor that leaves events out."""
        if LEVELS[level] < LEVELS[self.level]:
            raise structlog.DropEvent
        return event

    def mark(self, level: str) -> str:
        """What a line of this level begins with here, also one that is not an event."""
        return self._marks.get(level, "")

    def at_terminal(self) -> bool:
        """Whether a person reads along."""
        return isinstance(self._stream, TextIOBase) and self._stream.isatty()

    def same_place(self, stream: TextIO | None) -> bool:
        """Whether what is written to `stream` ends up in the same file, pipe or terminal."""
        if stream is None or not isinstance(self._stream, TextIOBase):
            return False
        try:
            return os.path.sameopenfile(self._stream.fileno(), stream.fileno())
        except (OSError, ValueError):  # closed, or not a file at all
            return False

    def write(self, line: str, mark: str = "") -> None:
        """Write one line, or lose it; the lines of a traceback in readable form are marked one by one."""
        if self._stream is None:
            return
        try:
            self._stream.write(mark + line.replace("\n", "\n" + mark) + "\n")
            self._stream.flush()
        except (BrokenPipeError, ValueError):  # the reader is gone, or the stream is closed
            self._stream = None
        except OSError:
            pass  # a disk that is full may have room for the next one


def _marks(stream: Stream | None) -> dict[str, str]:
    """By level, where the stream is the one that `JOURNAL_STREAM` names (systemd.exec(5)), else none."""
    named = os.environ.get("JOURNAL_STREAM", "")
    if not named or not isinstance(stream, TextIOBase):
        return {}
    try:
        of = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return {}
    same = named == f"{of.st_dev}:{of.st_ino}"
    return {level: f"<{priority}>" for level, priority in _PRIORITIES.items()} if same else {}


def _of_node(node: str) -> Processor:
    def add(_logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if node:
            event["node"] = node
        return event

    return add


def _text(*, colors: bool) -> list[Processor]:
    plain = structlog.dev.plain_traceback
    return [_tame, structlog.dev.ConsoleRenderer(colors=colors, pad_event_to=20, exception_formatter=plain)]


def _tame(_logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A traceback keeps its lines, and cannot steer the terminal; the renderer sees to all other fields."""
    trace = event.get("exception")
    if isinstance(trace, str):
        event["exception"] = "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in trace)
    return event


def _json() -> list[Processor]:
    return [structlog.processors.format_exc_info, _in_order, structlog.processors.JSONRenderer(_dumps)]


def _in_order(_logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Who, when and what before the rest, so that a line can be read by eye."""
    first = {key: event[key] for key in _FIRST if key in event}
    return first | {key: value for key, value in event.items() if key not in first}


def _dumps(event: object, **_: object) -> str:
    return msgspec.json.encode(event, enc_hook=str).decode()
