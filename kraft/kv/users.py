"""Users, in the ledger, and what a change of them does to the state.

A user has a row under its name, with its encoded rights. One row without a name lists the names of all users,
and its revision is that of the last change. The first byte of a name says which kind of row it is.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from kraft.kv.commands import ChangeUsers
from kraft.kv.ledger import Ledger, LedgerKind
from kraft.kv.replies import Reply
from kraft.kv.state import MachineState

_USER = LedgerKind.USER
_ALL = b""
_OF_USER = b"u"


def users_revision(ledger: Ledger) -> int:
    """The revision of the last change of users, 0 before the first one."""
    row = ledger.get(_USER, _ALL)
    return 0 if row is None else row.revision


def users_of(ledger: Ledger) -> dict[bytes, bytes]:
    """The encoded users by name."""
    rows = {name: ledger.get(_USER, _OF_USER + name) for name in _names(ledger)}
    return {name: row.value for name, row in rows.items() if row is not None}


def users_bytes(ledger: Ledger) -> int:
    """The memory of all users."""
    return ledger.sizes[_USER]


def _names(ledger: Ledger) -> list[bytes]:
    row = ledger.get(_USER, _ALL)
    return [] if row is None else _decode(row.value)


def _change(state: MachineState, command: ChangeUsers) -> Reply:
    ledger = state.keyspace.ledger
    if users_revision(ledger) != command.seen:
        return 0
    state.revision += 1
    state.users_changed = True
    names = set(_names(ledger))
    for name in command.removed:
        names.discard(name)
        ledger.remove(_USER, _OF_USER + name)
    for name, data in command.put:
        names.add(name)
        ledger.put(_USER, _OF_USER + name, data, state.revision)
    ledger.put(_USER, _ALL, _encode(sorted(names)), state.revision)
    return 1


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[bytes]).decode


FUNCTIONS: dict[type, Callable[[MachineState, Any], Reply]] = {ChangeUsers: _change}
"""The function of each command."""
