"""The forms of an event: a sentence for a person at a terminal, and an entry of systemd's journal.

Both use the sentences of the status page (`recent/journal`). Each renderer is the last processor of
structlog: it makes the text that is written.
"""

import os
import re
import time
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

import msgspec

from kraft.telemetry.journal_socket import entry
from kraft.telemetry.lean_structlog import structlog
from kraft.telemetry.recent.journal import sentence

PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}  # as in syslog(3)
IDENTIFIER = "kraft"
_BLOCKS = ("exception", "stacks")  # fields with lines of their own
_FRAME = {"timestamp", "level", "event", "node", "logger", *_BLOCKS}
_LOUD = {"warning": "\x1b[33m", "error": "\x1b[31m", "critical": "\x1b[1;31m"}
_PLAIN = "\x1b[0m"
_SLOW_REPLAY_SECONDS = 1.0
_FIELD = re.compile(r"[^A-Z0-9_]")

_Event = MutableMapping[str, Any]
_Words = str | Callable[[Mapping[str, Any]], str]


def _started(fields: Mapping[str, Any]) -> str:
    http = str(fields.get("http", ""))
    page = f", status page http://{http}/" if http and not http.startswith("unix:") else ""
    return f"is ready: clients {fields.get('client')}{page}"


def _replayed(fields: Mapping[str, Any]) -> str:
    seconds = float(fields.get("seconds", 0))
    return f"replayed its log in {seconds:.0f} s" if seconds >= _SLOW_REPLAY_SECONDS else ""


def _role(fields: Mapping[str, Any]) -> str:
    """The steps of an election are no news at a terminal; its outcome is."""
    place = f"group {fields.get('group')} in term {fields.get('term')}"
    if fields.get("role") == "leader":
        return f"leads {place}"
    leader = fields.get("leader")
    return f"follows {leader} in {place}" if leader and fields.get("role") == "follower" else ""


# Where a person who watches needs other words than the page, which looks back.
_WORDS: dict[str, _Words] = {
    "node_starting": "starts: kraft {version}, data in {data}",
    "state_loading": "loads its data: {keys} of {of} keys",
    "log_replaying": "replays its log: {entries} of {of} entries",
    "state_loaded": "has loaded its data in {seconds} s",
    "log_replayed": _replayed,
    "node_started": _started,
    "node_stopping": "stops",
    "node_stopped": "has stopped",
    "role_changed": _role,
    "state_report": "{state}: {summary}",
    "clients_unrestricted": "there are no users: whoever reaches {listen} may do everything (docs/users.md)",
    "http_refused": "a request to the HTTP port from {address} had a wrong token",
    "login_failed": "a login of {user} from {client} was refused ({outcome})",
    "secret_exposed": "{file} may be read by every user (mode {mode}): {mend}",
    "twisted": "{message}",
}

_HINTS = {"node_stopping": "; Ctrl-C again ends it at once"}  # for whoever sits at the terminal


def in_words(event: str, fields: Mapping[str, Any]) -> str:
    """The event as a sentence that goes on from the name of the node; '' if it is no news for a person."""
    words = _WORDS.get(event)
    if words is None:
        return sentence(event, fields)
    return words(fields) if callable(words) else words.format_map(_Known(fields))


def with_fields(event: str, fields: Mapping[str, Any]) -> str:
    """The event by its name, with its fields."""
    pairs = (f"{key}={_value(value)}" for key, value in fields.items() if key not in _FRAME)
    return " ".join((event, *pairs))


class TerminalRenderer:
    """One line for each event that is news for a person; at level debug, all events with their fields."""

    def __init__(self, level: Callable[[], str], *, colors: bool) -> None:
        """`level` is the one in force, which may change at any time."""
        self._level = level
        self._colors = colors

    def __call__(self, _logger: object, level: str, event: _Event) -> str:
        """The text. Raises DropEvent for an event that is no news."""
        name = str(event["event"])
        detailed = self._level() == "debug"
        words = "" if detailed else in_words(name, event) + _HINTS.get(name, "")
        if not (words or detailed or level in _LOUD or any(block in event for block in _BLOCKS)):
            raise structlog.DropEvent
        loud = f"{level}: " if level in _LOUD else ""
        if loud and self._colors:
            loud = f"{_LOUD[level]}{loud}{_PLAIN}"
        head = f"{time.strftime('%H:%M:%S')} {event.get('node') or IDENTIFIER} {loud}"
        held = f" ({event['held_back']} more like this)" if words and "held_back" in event else ""
        return head + _escaped(words or with_fields(name, event)) + held + _blocks(event)


class JournalRenderer:
    """A sentence with the name of the event, or else name and fields, as MESSAGE.

    `journalctl -g` and runbooks look for the name. Each field is also a field of the journal.
    """

    def __call__(self, _logger: object, level: str, event: _Event) -> str:
        """The text of the entry."""
        name = str(event["event"])
        words = in_words(name, event)
        words = f"{words} [{name}]" if words else with_fields(name, event)
        node = event.get("node")
        message = f"{node} {words}" if node else words
        fields = {
            "MESSAGE": _escaped(message) + _blocks(event),
            "PRIORITY": str(PRIORITIES[level]),
            "SYSLOG_IDENTIFIER": IDENTIFIER,
        }
        own = {key: value for key, value in event.items() if key not in ("timestamp", "level", *_BLOCKS)}
        fields |= {f"KRAFT_{_FIELD.sub('_', key.upper())[:50]}": _value(value) for key, value in own.items()}
        return entry(fields)


def can_redraw() -> bool:
    """Whether a terminal can write a line anew."""
    return os.environ.get("TERM", "") not in ("", "dumb", "unknown")


def use_colors() -> bool:
    """Whether a terminal is to be given colours (https://no-color.org/)."""
    return not os.environ.get("NO_COLOR") and can_redraw()


class _Known(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return "?"


def _value(value: object) -> str:
    if isinstance(value, str):
        return value
    return msgspec.json.encode(value, enc_hook=str).decode()


def _blocks(event: Mapping[str, Any]) -> str:
    """Tracebacks and stacks, below the line."""
    return "".join("\n" + _escaped(str(event[key]).rstrip(), keep="\n\t") for key in _BLOCKS if key in event)


def _escaped(text: str, keep: str = "") -> str:
    """Control characters in words of others must neither forge lines nor steer the terminal."""
    return "".join(c if c.isprintable() or c in keep else ascii(c)[1:-1] for c in text)
