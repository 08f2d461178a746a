"""Functions: FCALL, FCALL_RO, and the family FUNCTION.

The leader runs the text of a library, which says what functions it has, and evaluates calls like scripts. The
libraries are part of the replicated state.
"""

import struct

from kraft.host.requests.round import View
from kraft.int64 import parse_int64
from kraft.kv import commands as kv
from kraft.kv.libraries import library, library_names
from kraft.resp.values import Error, Reply, Request, SetOf
from kraft.server.commands.arguments import matches
from kraft.server.commands.dump import RDB_VERSION, checked_body, checksummed, read_string, string_of
from kraft.server.commands.scripts import calls
from kraft.server.commands.spec import CommandContext
from kraft.server.errors import Rejected, printable, subcommand_syntax

_LIBRARY = 245  # the type of a library in an RDB file
_BEFORE_RELEASE = 246  # that of the first candidates of Redis 7.0
_POLICIES = (b"FLUSH", b"APPEND", b"REPLACE")


def fcall(request: Request) -> kv.ScriptCall:
    """FCALL and FCALL_RO function numkeys [key ...] [argument ...]."""
    count = parse_int64(request[2])
    if count is None:
        raise Rejected("ERR Bad number of keys provided")
    read = request[0][-3:].upper() == b"_RO"
    mode = kv.ScriptMode.FUNCTION_READ if read else kv.ScriptMode.FUNCTION
    return calls(request, count, request[1], b"", mode)


def load(request: Request) -> kv.ScriptCall:
    """FUNCTION LOAD [REPLACE] code."""
    for option in request[2:-1]:
        if option.upper() != b"REPLACE":
            raise Rejected(f"ERR Unknown option given: {printable(option)}")
    policy = b"REPLACE" if len(request) > 3 else b""
    return _stores((policy, request[-1]), kv.ScriptMode.LIBRARY)


def restore(request: Request) -> kv.ScriptCall:
    """FUNCTION RESTORE payload [FLUSH | APPEND | REPLACE]."""
    if len(request) > 4:
        raise Rejected(subcommand_syntax(request))
    policy = request[3].upper() if len(request) > 3 else b"APPEND"
    if policy not in _POLICIES:
        raise Rejected("ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.")
    return _stores((policy, *libraries_of(request[2])), kv.ScriptMode.RESTORE)


def _stores(arguments: tuple[bytes, ...], mode: kv.ScriptMode) -> kv.ScriptCall:
    return kv.ScriptCall(b"", b"", (), arguments, int(mode))


def delete(request: Request) -> kv.Command:
    """FUNCTION DELETE library."""
    return kv.DeleteLibrary(request[2])


def deleted(reply: kv.Reply) -> Reply:
    """The shape of FUNCTION DELETE."""
    return "OK" if reply else Error("ERR Library not found")


def flush(request: Request) -> kv.Command:
    """FUNCTION FLUSH [ASYNC | SYNC]."""
    if len(request) > 3:
        raise Rejected(subcommand_syntax(request))
    if len(request) == 3 and request[2].upper() not in (b"ASYNC", b"SYNC"):
        raise Rejected("ERR FUNCTION FLUSH only supports SYNC|ASYNC option")
    return kv.FlushLibraries()


def list_(view: View, request: Request) -> Reply:
    """FUNCTION LIST [LIBRARYNAME pattern] [WITHCODE]."""
    pattern, code = None, False
    words = iter(request[2:])
    for given in words:
        if given.upper() == b"WITHCODE" and not code:
            code = True
        elif given.upper() == b"LIBRARYNAME" and pattern is None:
            pattern = next(words, None)
            if pattern is None:
                raise Rejected("ERR library name argument was not given")
        else:
            raise Rejected(f"ERR Unknown argument {printable(given)}")
    ledger = view.keyspace.ledger
    names = [name for name in library_names(ledger) if pattern is None or matches(pattern, name.decode())]
    found = [library(ledger, name) for name in names]
    return [_described(each.name, each.functions, each.source if code else None) for each in found if each]


def _described(name: bytes, functions: tuple[kv.Function, ...], source: bytes | None) -> Reply:
    described: dict[Reply, Reply] = {
        b"library_name": name,
        b"engine": b"LUA",
        b"functions": [
            {b"name": each.name, b"description": each.description, b"flags": SetOf(each.flags)}
            for each in functions
        ],
    }
    if source is not None:
        described[b"library_code"] = source
    return described


def stats(view: View, _: Request) -> Reply:
    """FUNCTION STATS: nothing runs while a command is answered."""
    ledger = view.keyspace.ledger
    found = [library(ledger, name) for name in library_names(ledger)]
    functions = sum([len(each.functions) for each in found if each])
    counts: Reply = {b"libraries_count": len(found), b"functions_count": functions}
    return {b"running_script": None, b"engines": {b"LUA": counts}}


def kill(_: CommandContext, __: Request) -> Reply:
    """FUNCTION KILL: as of SCRIPT KILL."""
    raise Rejected("NOTBUSY No scripts in execution right now.")


def dump(view: View, _: Request) -> Reply:
    """FUNCTION DUMP: all libraries in the form of Redis."""
    ledger = view.keyspace.ledger
    found = [library(ledger, name) for name in library_names(ledger)]
    body = b"".join([bytes([_LIBRARY]) + string_of(each.source) for each in found if each])
    return checksummed(body, RDB_VERSION)


def libraries_of(payload: bytes) -> list[bytes]:
    """The texts in what FUNCTION DUMP gave. Raises Rejected."""
    body = checked_body(payload)
    sources, place = [], 0
    while place < len(body):
        if body[place] == _BEFORE_RELEASE:
            raise Rejected("ERR Pre-GA function format not supported")
        if body[place] != _LIBRARY:
            raise Rejected("ERR given type is not a function")
        try:
            source, place = read_string(body, place + 1)
        except (IndexError, struct.error, Rejected):
            raise Rejected("ERR failed loading the given functions payload") from None
        sources.append(source)
    return sources
