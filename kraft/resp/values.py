"""The values of the client protocol: what a request and a reply are, apart from their bytes.

Requests are `list[bytes]`, the arguments, at least one. Replies are plain Python: `str` a simple string,
`bytes` a bulk string, `int`, `None` the null, `list` an array, `dict` a map (a flat array in RESP2), `float`,
`bool`, and the classes below.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Error:
    """An error reply; `text` starts with its prefix, `ERR ...`."""

    text: str


@dataclass(frozen=True, slots=True)
class Verbatim:
    """Text for people: a bulk string in RESP2 and RESP3 alike."""

    text: str


@dataclass(frozen=True, slots=True)
class Push:
    """A value that a client did not ask for: a push in RESP3, an array in RESP2."""

    elements: tuple["Reply", ...]


Request = list[bytes]
Reply = (
    str | bytes | int | float | bool | None | list["Reply"] | dict["Reply", "Reply"] | Error | Verbatim | Push
)
