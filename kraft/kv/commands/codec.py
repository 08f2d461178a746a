"""Batches of commands as bytes and back: the data of a COMMANDS entry, and of a forwarded write."""

from collections.abc import Iterable, Sequence

import msgspec

from kraft.kv.commands.bits import BitCommand
from kraft.kv.commands.keys import KeyCommand
from kraft.kv.commands.lock import Guarded, LockCommand
from kraft.kv.commands.strings import StringCommand
from kraft.kv.errors import UnknownCommand

FORMAT_VERSION = 1  # first byte of an encoded batch

Command = StringCommand | KeyCommand | BitCommand | LockCommand


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


def needed_version(commands: Iterable[Command]) -> int:
    """The lowest machine version that has all of `commands`."""
    needed = 1
    for command in commands:
        needed = max(needed, command.since)
        if type(command) is Guarded:
            needed = max(needed, command.command.since)
    return needed


_VERSION = bytes([FORMAT_VERSION])
_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(list[Command])
