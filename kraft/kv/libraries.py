"""Libraries of functions, in the ledger, and what the commands on them do to the state.

A library has a row under its name, with its text and its functions, and one row for each function, under the
function's name in lower case, with the name of the library. One row without a name lists the libraries, in
the order of their names. The first byte of a name says which kind of row it is.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from kraft.kv.commands import DeleteLibrary, FlushLibraries, Function, PutLibrary
from kraft.kv.ledger import Ledger, LedgerKind
from kraft.kv.replies import Reply
from kraft.kv.state import MachineState

_LIBRARY = LedgerKind.LIBRARY
_NAMES = b""
_OF_LIBRARY, _OF_FUNCTION = b"l", b"f"


class Library(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A library: its `name`, its text, and the functions that it registers."""

    name: bytes
    source: bytes
    functions: tuple[Function, ...]


def library_names(ledger: Ledger) -> list[bytes]:
    """The names of all libraries, in order."""
    row = ledger.get(_LIBRARY, _NAMES)
    return [] if row is None else _decode_names(row.value)


def library(ledger: Ledger, name: bytes) -> Library | None:
    """The library of that name."""
    row = ledger.get(_LIBRARY, _OF_LIBRARY + name)
    return None if row is None else _decode(row.value)


def library_of(ledger: Ledger, function: bytes) -> tuple[Library, Function] | None:
    """The library that has a function of that name, in any case, and the function."""
    row = ledger.get(_LIBRARY, _OF_FUNCTION + function.lower())
    found = None if row is None else library(ledger, row.value)
    if found is None:
        return None
    for each in found.functions:
        if each.name.lower() == function.lower():
            return found, each
    return None


def libraries_bytes(ledger: Ledger) -> int:
    """The memory of all libraries."""
    return ledger.sizes[_LIBRARY]


def _put(state: MachineState, command: PutLibrary) -> Reply:
    ledger = state.keyspace.ledger
    state.revision += 1
    _remove(ledger, command.name)
    for function in command.functions:
        ledger.put(_LIBRARY, _OF_FUNCTION + function.name.lower(), command.name, state.revision)
    data = _encode(Library(command.name, command.source, command.functions))
    ledger.put(_LIBRARY, _OF_LIBRARY + command.name, data, state.revision)
    _list(state, {*library_names(ledger), command.name})
    return command.name


def _delete(state: MachineState, command: DeleteLibrary) -> Reply:
    ledger = state.keyspace.ledger
    if not _remove(ledger, command.name):
        return 0
    state.revision += 1
    _list(state, {*library_names(ledger)} - {command.name})
    return 1


def _flush(state: MachineState, _: FlushLibraries) -> Reply:
    ledger = state.keyspace.ledger
    names = library_names(ledger)
    if names:
        state.revision += 1
        for name in names:
            _remove(ledger, name)
        _list(state, set())
    return "OK"


def _remove(ledger: Ledger, name: bytes) -> bool:
    found = library(ledger, name)
    if found is None:
        return False
    for function in found.functions:
        ledger.remove(_LIBRARY, _OF_FUNCTION + function.name.lower())
    return ledger.remove(_LIBRARY, _OF_LIBRARY + name)


def _list(state: MachineState, names: set[bytes]) -> None:
    if names:
        state.keyspace.ledger.put(_LIBRARY, _NAMES, _encode(sorted(names)), state.revision)
    else:
        state.keyspace.ledger.remove(_LIBRARY, _NAMES)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Library).decode
_decode_names = msgspec.msgpack.Decoder(list[bytes]).decode

FUNCTIONS: dict[type, Callable[[MachineState, Any], Reply]] = {
    PutLibrary: _put,
    DeleteLibrary: _delete,
    FlushLibraries: _flush,
}
"""The function of each command."""
