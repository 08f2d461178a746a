"""The text of a library of functions: its first line, and what running it has registered."""

import re
from typing import Any

from kraft.kv.commands import Function
from kraft.resp.inline import UnbalancedQuotes, split_arguments
from kraft.server.errors import Rejected, printable

ENGINE = b"LUA"
FLAGS = ("no-writes", "allow-oom", "allow-stale", "no-cluster", "allow-cross-slot-keys")  # in Redis' order
_NAME = re.compile(rb"[A-Za-z0-9_]+")


def library_header(source: bytes) -> tuple[bytes, bytes]:
    """The name of a library, and its code with an empty first line, so that numbers stay. Raises Rejected."""
    if not source.startswith(b"#!"):
        raise Rejected("ERR Missing library metadata")
    line, end, rest = source.partition(b"\n")
    try:
        words = split_arguments(line)
    except UnbalancedQuotes:
        words = []
    if not (words and end):
        raise Rejected("ERR Invalid library metadata")
    name = None
    for word in words[1:]:
        if word[:5].lower() != b"name=":
            raise Rejected(f"ERR Invalid metadata value given: {printable(word)}")
        if name is not None:
            raise Rejected("ERR Invalid metadata value, name argument was given multiple times")
        name = word[5:]
    if name is None:
        raise Rejected("ERR Library name was not given")
    if not _NAME.fullmatch(name):
        raise Rejected(
            "ERR Library names can only contain letters, numbers, or underscores(_)"
            " and must be at least one character long"
        )
    engine = words[0][2:]
    if engine.upper() != ENGINE:
        raise Rejected(f"ERR Engine '{printable(engine)}' not found")
    return name, end + rest


def registered_functions(reply: Any) -> tuple[Function, ...]:
    """The functions in the reply of `LuaRuntime.register`. Raises Rejected if there are none."""
    functions = []
    for _, name, description, (_, *flags) in reply[1:]:
        given = {flag.decode() for flag in flags}
        functions.append(Function(name, tuple([flag for flag in FLAGS if flag in given]), description))
    if not functions:
        raise Rejected("ERR No functions registered")
    return tuple(functions)
