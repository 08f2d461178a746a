"""Kinds of configuration values: how each is written in YAML, what it becomes, and its limits.

A kind is part of the `Annotated` type of a field in `values.py`, and all that the loader knows about the
field. `convert` takes the scalar as it was written (YAML's implicit types are not used) and raises ValueError
with a text that says what would be right. `form` describes the valid values for the reference manual.
"""

import re
from dataclasses import dataclass
from typing import Protocol

from kraft.listen_address import quoted, split_address, split_endpoint
from kraft.moment import Moment, parse_moment

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(ms|s|m|h)")
_BARE_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")
_INTEGER = re.compile(r"0|[1-9][0-9]{0,18}")
_WITH_UNIT = re.compile(r"([0-9]{1,9})\s*([kKmMgG])i?[bB]?")
_SCALE = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_TOKEN = re.compile(r"[A-Za-z0-9]{8,64}")
_NODE_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_ENDPOINT_FORMS = {
    "tcp": "tcp:PORT:interface=IP", "tcp6": "tcp6:", "unix": "unix:PATH", "systemd": "systemd:",
}  # fmt: skip


class Kind(Protocol):
    """A kind of value."""

    @property
    def form(self) -> str:
        """The valid values, as text for people."""

    def convert(self, text: str) -> object:
        """The value. Raises ValueError, which says what would be right."""


def format_duration(seconds: float) -> str:
    """The shortest spelling of a duration that this module reads back as the same value."""
    for unit in ("h", "m", "s"):
        count = seconds / _UNITS[unit]
        if count >= 1 and count == int(count):
            return f"{int(count)}{unit}"
    milliseconds = f"{seconds * 1000:.3f}".rstrip("0").rstrip(".")
    return "0s" if seconds == 0 else f"{milliseconds}ms"


@dataclass(frozen=True, slots=True)
class Duration:
    """A time with a unit, converted to seconds. `zero` is the meaning of 0s; '' if 0s is not valid."""

    least: float
    most: float
    zero: str = ""

    @property
    def form(self) -> str:
        """The valid values, as text for people."""
        bounds = f"{format_duration(self.least)} to {format_duration(self.most)}"
        return f"{bounds}, or 0s: {self.zero}" if self.zero else bounds

    def convert(self, text: str) -> float:
        """The duration in seconds."""
        match = _DURATION.fullmatch(text)
        if match is None:
            example = f"{text}s or {text}ms" if _BARE_NUMBER.fullmatch(text) else "10s, 250ms, 1m"
            raise ValueError(
                f"{quoted(text)} is not a duration; write a number with its unit such as {example}"
            )
        seconds = round(float(match[1]) * _UNITS[match[2]], 9)
        if seconds == 0 and self.zero:
            return 0.0
        if not self.least <= seconds <= self.most:
            raise ValueError(f"{text} is out of bounds; write {self.form}")
        return seconds


@dataclass(frozen=True, slots=True)
class Integer:
    """A count, or a size in bytes. `zero` is the meaning of 0; '' if 0 is not valid."""

    least: int
    most: int
    zero: str = ""

    @property
    def form(self) -> str:
        """The valid values, as text for people."""
        bounds = f"{self.least} to {self.most}"
        return f"{bounds}, or 0: {self.zero}" if self.zero else bounds

    def convert(self, text: str) -> int:
        if _INTEGER.fullmatch(text) is None:
            scaled = _WITH_UNIT.fullmatch(text)
            hint = f"write {int(scaled[1]) * _SCALE[scaled[2].lower()]}" if scaled else f"write {self.form}"
            raise ValueError(f"{quoted(text)} is not a plain integer; {hint}")
        number = int(text)
        if number == 0 and self.zero:
            return 0
        if not self.least <= number <= self.most:
            raise ValueError(f"{text} is out of bounds; write {self.form}")
        return number


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several words."""

    words: tuple[str, ...]

    @property
    def form(self) -> str:
        """The valid values, as text for people."""
        return " | ".join(self.words)

    def convert(self, text: str) -> str:
        if text not in self.words:
            raise ValueError(f"{quoted(text)} is not a choice; write one of {', '.join(self.words)}")
        return text


@dataclass(frozen=True, slots=True)
class Switch:
    """A boolean: `true` or `false`. YAML's other spellings are errors."""

    form: str = "true | false"

    def convert(self, text: str) -> bool:
        if text not in ("true", "false"):
            raise ValueError(f"{quoted(text)} is neither; write true or false")
        return text == "true"


@dataclass(frozen=True, slots=True)
class NodeId:
    """The id of a node. It is also used as a directory name, so `.` and `..` are not valid."""

    form: str = "1 to 64 letters, digits, `_`, `.`, `-`"

    def convert(self, text: str) -> str:
        if _NODE_ID.fullmatch(text) is None or text in (".", ".."):
            raise ValueError(f"{quoted(text)} is not a node id; write {self.form}")
        return text


@dataclass(frozen=True, slots=True)
class ZoneName:
    """The name of what may fail as one: a machine, a rack, a site."""

    form: str = "1 to 64 letters, digits, `_`, `.`, `-`"

    def convert(self, text: str) -> str:
        if _NODE_ID.fullmatch(text) is None:
            raise ValueError(f"{quoted(text)} is not the name of a zone; write {self.form}")
        return text


@dataclass(frozen=True, slots=True)
class FilePath:
    """A path. The loader resolves a relative one against the directory of the configuration file."""

    form: str = "a path, relative to the folder of the file"

    def convert(self, text: str) -> str:
        if not text or "\0" in text:
            raise ValueError("a path is needed here, such as /var/lib/kraft/K1")
        return text


@dataclass(frozen=True, slots=True)
class RestoreMoment:
    """A moment to restore."""

    form: str = "a time such as `2026-11-29T18:05:00Z`, a revision, or `latest`"

    def convert(self, text: str) -> Moment:
        return parse_moment(text)


@dataclass(frozen=True, slots=True)
class RestoreToken:
    """What the founders of a restored cluster have in common."""

    form: str = "8 to 64 letters and digits, the same on all members"

    def convert(self, text: str) -> str:
        if _TOKEN.fullmatch(text) is None:
            raise ValueError(f"{quoted(text)} is not a token; write {self.form}")
        return text


@dataclass(frozen=True, slots=True)
class Address:
    """The `host:port` that others dial, with brackets around an IPv6 host."""

    form: str = "`host:port`, `[ipv6]:port`"

    def convert(self, text: str) -> str:
        split_address(text)
        return text


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A Twisted endpoint string to listen on, of one of `kinds`. If `optional`, an empty one means none."""

    optional: bool = False
    kinds: tuple[str, ...] = tuple(_ENDPOINT_FORMS)

    @property
    def form(self) -> str:
        """The valid values, as text for people."""
        form = f"an endpoint: {', '.join(f'`{_ENDPOINT_FORMS[kind]}`' for kind in self.kinds)}"
        return f'{form}, or `""`: none' if self.optional else form

    def convert(self, text: str) -> str:
        if self.optional and not text:
            return text
        kind = split_endpoint(text).kind
        if kind not in self.kinds:
            raise ValueError(f"{quoted(text)} is of the kind {kind}; write {self.form}")
        return text
