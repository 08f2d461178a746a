"""The values of the client protocol: requests and replies, apart from their bytes.

A request is a `list[bytes]` of at least one argument. Replies are plain Python values: `str` is a simple
string, `bytes` a bulk string, `None` the null, `list` an array, `dict` a map (a flat array in RESP2); `int`,
`float`, `bool` and the classes below stand for themselves.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Error:
    """An error reply; `text` starts with its prefix, `ERR ...`."""

    text: str


@dataclass(frozen=True, slots=True)
class Verbatim:
    """Text for people: a bulk string in both RESP2 and RESP3."""

    text: str


@dataclass(frozen=True, slots=True)
class NullArray:
    """An array that there is not: the null in RESP3, `*-1` in RESP2."""


@dataclass(frozen=True, slots=True)
class SetOf:
    """Elements without an order: a set in RESP3, an array in RESP2."""

    elements: tuple["Reply", ...]


@dataclass(frozen=True, slots=True)
class Encoded:
    """A reply in an array, already in the bytes of the protocol that was spoken at its time."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Push:
    """A value that a client did not ask for: a push in RESP3, an array in RESP2."""

    elements: tuple["Reply", ...]


@dataclass(frozen=True, slots=True)
class RenderedArray:
    """A long array of `count` elements that are rendered already, for the protocol of its connection."""

    count: int
    chunks: list[bytes]


class InlineRequest(list[bytes]):
    """A request that came as a line of text; `line` is that line without its line end."""

    __slots__ = ("line",)

    def __init__(self, arguments: list[bytes], line: bytes) -> None:
        super().__init__(arguments)
        self.line = line


class OversizedRequest(list[bytes]):
    """A complete request over a limit; `lengths` holds the true lengths of all arguments.

    The first argument over a limit and all arguments after it are not kept: they are empty here.
    """

    __slots__ = ("lengths",)

    def __init__(self, arguments: list[bytes], lengths: list[int]) -> None:
        super().__init__(arguments)
        self.lengths = lengths


Request = list[bytes]
Reply = (
    str
    | bytes
    | int
    | float
    | bool
    | None
    | list["Reply"]
    | dict["Reply", "Reply"]
    | Error
    | Verbatim
    | NullArray
    | SetOf
    | Encoded
    | Push
    | RenderedArray
)
