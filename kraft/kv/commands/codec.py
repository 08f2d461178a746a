"""Batches of commands as bytes and back: the data of a COMMANDS entry, and of a forwarded write."""

from collections.abc import Iterable, Sequence

import msgspec

from kraft.kv.commands.exec import Change, Evaluated, Exec, Step
from kraft.kv.commands.group import AddGroups
from kraft.kv.commands.keys import Expiry
from kraft.kv.commands.lock import Guarded
from kraft.kv.commands.move import MoveCommand
from kraft.kv.commands.once import Once
from kraft.kv.commands.placement import ChangePlacement
from kraft.kv.commands.script import ScriptCall
from kraft.kv.commands.slot_map import MapCommand
from kraft.kv.commands.transaction import Commit, Prepare, TransactionCommand
from kraft.kv.commands.user import UserCommand
from kraft.kv.errors import UnknownCommand

FORMAT_VERSION = 1  # first byte of an encoded batch

PlainCommand = Change | Exec | Evaluated | Once | ScriptCall | UserCommand
Command = PlainCommand | TransactionCommand | MoveCommand | MapCommand | AddGroups | ChangePlacement

MAY_CALL: frozenset[type] = frozenset({ScriptCall, Once, Exec})
"""The types of commands that may need an evaluation: `calls_script` tells."""


def encode(commands: Sequence[Command]) -> bytes:
    """A batch as the bytes of a COMMANDS entry."""
    return _VERSION + _encode(commands)


def decode(data: bytes) -> list[Command]:
    """Inverse of `encode`. Raises `UnknownCommand`."""
    if data[:1] != _VERSION:
        raise UnknownCommand(f"a batch of format {data[0] if data else 'none'}, not {FORMAT_VERSION}")
    try:
        return _decoder.decode(memoryview(data)[1:])
    except msgspec.MsgspecError as error:
        raise UnknownCommand(str(error)) from error


def needed_version(commands: Iterable[Command | Step]) -> int:
    """The lowest machine version that has all of `commands`."""
    needed = 1
    for command in commands:
        needed = max(needed, command.since)
        if type(command) not in _NESTED:
            continue
        if type(command) is Once:
            needed = max(needed, needed_version((command.command,)))
        elif type(command) is Guarded:
            needed = max(needed, command.command.since)
        elif type(command) is Exec:
            needed = max(needed, needed_version(command.steps))
        elif type(command) is Prepare or type(command) is Commit:
            needed = max(needed, needed_version((command.work,)))
    return needed


def calls_script(command: Command) -> bool:
    """Whether the leader has to evaluate `command` before it is logged."""
    if type(command) is ScriptCall:
        return True
    inner = command.command if type(command) is Once else command
    return type(inner) is ScriptCall or (type(inner) is Exec and ScriptCall in map(type, inner.steps))


def expires_within(command: Command | Step, times: range) -> bool:
    """Whether `command` lets a key expire at an absolute time (Unix ms) in `times`."""
    if type(command) is Guarded or (type(command) is Once and type(command.command) is Exec):
        return expires_within(command.command, times)
    if type(command) is Prepare or type(command) is Commit:
        return expires_within(command.work, times)
    if type(command) is Exec or type(command) is Evaluated:
        return any(expires_within(step, times) for step in command.steps)
    if getattr(command, "expiry", Expiry.NONE) != Expiry.ABSOLUTE:
        return False
    return command.expiry_ms in times  # type: ignore[union-attr]  # every command with an `expiry` has it


_NESTED: frozenset[type] = frozenset({Once, Guarded, Exec, Prepare, Commit})  # they hold commands

_VERSION = bytes([FORMAT_VERSION])
_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(list[Command])
