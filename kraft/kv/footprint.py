"""Which keys a command writes or reads: what it locks in a transaction, and which locks it has to wait for.

A footprint may be larger than what the command does to the present state, never smaller: it does not depend
on the state.
"""

from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Any

import msgspec

from kraft.kv.commands import (
    AppendValue,
    BitField,
    BitOperation,
    ChangeUsers,
    ClearExpiry,
    CompareAndSet,
    Copy,
    Delete,
    DeleteIf,
    DeleteLibrary,
    Evaluated,
    Exec,
    Expire,
    Extend,
    Flush,
    FlushLibraries,
    FlushScripts,
    GetDelete,
    GetExpire,
    Guarded,
    Increment,
    IncrementFloat,
    LoadScript,
    Lock,
    Look,
    Once,
    Put,
    PutLibrary,
    Rename,
    ScriptCall,
    Set,
    SetBit,
    SetIf,
    SetMany,
    SetManyIf,
    SetRange,
    Unlock,
)
from kraft.kv.ledger import LedgerKind

RowName = tuple[LedgerKind, bytes]
"""A row of the ledger."""

Name = bytes | int | RowName
"""A key, a `LedgerKind`, which is all rows of that kind, or one of them, in a read beside its kind.

Only kinds are locked. The row says which of them a read needs, so that no others have to be sent to it.
"""


class Whole(IntEnum):
    """What a command does with all keys of the group at once."""

    NOTHING = 0
    READ = 1  # how many there are
    WRITE = 2


class Footprint(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a command writes and reads. A name that is written need not be among those that are `read`."""

    written: tuple[Any, ...] = ()
    read: tuple[Any, ...] = ()
    whole: int = Whole.NOTHING


def footprint(command: Any) -> Footprint:
    """That of a command or a step of a transaction; not of the call of a script, which is never logged."""
    return _FOOTPRINTS[type(command)](command)


def declared(command: Any) -> Footprint:
    """As `footprint`, of a command on its way to the leader: a script has the keys that it declares."""
    if type(command) is Once:
        return declared(command.command)
    if type(command) is ScriptCall:
        return Footprint(tuple(command.keys), (command.lock,) if command.lock else ())
    if type(command) is Exec and ScriptCall in map(type, command.steps):
        return together([declared(step) for step in command.steps])
    return footprint(command)


def first_key(command: Any) -> bytes | None:
    """The first key of a command on its way to the leader, None if it has none.

    Of a transaction it is that of the first step with one: the same whenever the same words are sent.
    """
    for step in command.steps if type(command) is Exec else (command,):
        found = declared(step)
        for name in (*found.written, *found.read):
            if isinstance(name, bytes):
                return name
    return None


def together(parts: Sequence[Footprint]) -> Footprint:
    """The union, without names that come twice."""
    written = dict.fromkeys([name for part in parts for name in part.written])
    read = dict.fromkeys([name for part in parts for name in part.read if name not in written])
    return Footprint(tuple(written), tuple(read), max([part.whole for part in parts], default=0))


def _key(command: Any) -> Footprint:
    return Footprint((command.key,))


def _keys(command: Any) -> Footprint:
    return Footprint(command.keys)


def _pairs(command: Any) -> Footprint:
    return Footprint(command.pairs[::2])


def _name(command: Any) -> Footprint:
    return Footprint((command.name,))


def _look(command: Look) -> Footprint:
    return Footprint((), command.keys, Whole.NOTHING if command.keys else Whole.READ)


def _exec(command: Exec) -> Footprint:
    watched = tuple([watch.key for watch in (*command.watched, *command.read)])
    return together((*map(footprint, command.steps), Footprint((), watched)))


def _evaluated(command: Evaluated) -> Footprint:
    watched = tuple([watch.key for watch in command.watched])
    return together((*map(footprint, command.steps), Footprint((), watched)))


def _guarded(command: Guarded) -> Footprint:
    return together((footprint(command.command), Footprint((), (command.name,))))


_FOOTPRINTS: dict[type, Callable[[Any], Footprint]] = {
    **dict.fromkeys((Put, Set, SetIf, GetDelete, GetExpire, DeleteIf, CompareAndSet, AppendValue), _key),
    **dict.fromkeys((Increment, IncrementFloat, SetRange, SetBit, BitField, Expire, ClearExpiry), _key),
    **dict.fromkeys((SetMany, SetManyIf), _pairs),
    **dict.fromkeys((Lock, Unlock, Extend), _name),
    **dict.fromkeys((LoadScript, FlushScripts), lambda _: Footprint((LedgerKind.SCRIPT,))),
    **dict.fromkeys((PutLibrary, DeleteLibrary, FlushLibraries), lambda _: Footprint((LedgerKind.LIBRARY,))),
    ChangeUsers: lambda _: Footprint((LedgerKind.USER,)),
    Delete: _keys,
    BitOperation: lambda command: Footprint((command.destination,), command.sources),
    Rename: lambda command: Footprint((command.source, command.destination)),
    Copy: lambda command: Footprint((command.destination,), (command.source,)),
    Flush: lambda _: Footprint(whole=Whole.WRITE),
    Look: _look,
    Exec: _exec,
    Evaluated: _evaluated,
    Guarded: _guarded,
    Once: lambda command: footprint(command.command),
}
