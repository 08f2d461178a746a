"""The result of a script on its way from Lua to the client: three forms.

`parsed` makes of Lua's flat list a reply that fits the state machine's replies, because it travels with them:
a string is `bytes`, a number `int`, nil None, and everything else a list that begins with its kind,

    ["a", element ...]   ["m", key, value ...]   ["u", element ...]
    ["e", text]   ["o", text]   ["d", digits]   ["b", 0 or 1]

`shaped` makes the client's reply of that, on the client's node.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from kraft.kv.replies import Reply as Outcome
from kraft.resp.values import Error, Reply, SetOf

_CONTAINERS = {b"[": "a", b"m": "m", b"u": "u"}
_END = object()


def error_reply(text: bytes) -> Outcome:
    """An error."""
    return ["e", text]


def parsed(flat: Sequence[Any]) -> Outcome:
    """The reply of a flat list: kinds and contents, an array or a map as its elements up to a "]"."""
    reply: Outcome = _parse(iter(flat))
    return reply


def _parse(tokens: Iterator[Any]) -> Any:
    kind = next(tokens)
    if kind == b"]":
        return _END
    if kind in _CONTAINERS:
        found: list[Any] = [_CONTAINERS[kind]]
        while (element := _parse(tokens)) is not _END:
            found.append(element)
        return found
    if kind == b"z":
        return None
    if kind == b"1":
        return 1
    if kind in (b"t", b"f"):
        return ["b", int(kind == b"t")]
    content = next(tokens)
    if kind == b"i":
        return int(content)
    if kind == b"d":
        return ["d", b"%.17g" % content]
    if kind == b"s":
        return content
    return [kind.decode(), content]


def shaped(outcome: Any) -> Reply:
    """The client's reply."""
    if type(outcome) is not list:
        reply: Reply = outcome
        return reply
    kind, *rest = outcome
    if kind == "a":
        return [shaped(element) for element in rest]
    if kind == "m":
        return {_hashable(key): shaped(value) for key, value in zip(rest[::2], rest[1::2], strict=True)}
    if kind == "u":
        return SetOf(tuple([shaped(element) for element in rest]))
    if kind == "e":
        return Error(rest[0].decode("utf-8", "surrogateescape"))
    if kind == "o":
        return str(rest[0].decode("utf-8", "surrogateescape"))
    if kind == "d":
        return float(rest[0])
    return bool(rest[0])


def _hashable(key: Any) -> Any:
    shaped_key = shaped(key)
    return None if isinstance(shaped_key, list | dict | SetOf) else shaped_key
