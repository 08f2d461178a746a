"""Clients mark their writes, so that each one is recognised in the log, whoever proposed it and when."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeGuard

from kraft.kv.commands import Command, Exec, Flush, Lock, Put, Unlock, decode
from kraft.raft.messages import Entry, EntryKind
from tests.simulation.homes import Place

MARK = re.compile(rb"<\d+\.\d+>")  # of one write of one client; see `mark`
WAITER = re.compile(rb"\(\d+\.\d+\)")  # the owner of a lock that a client waits for; see `waiter`


@dataclass(frozen=True, slots=True)
class Asked:
    """What a node does for a client that waits for the lock: ask for it for `owner`, or free `token`."""

    owner: bytes = b""
    token: int = 0


@dataclass(frozen=True, slots=True)
class Logged:
    """A marked write as it is in the log, or what a node `asked` for a client that waits.

    `flush`: it removes all keys of its group. `in_vain`: it is a script that did nothing, as what it had read
    has changed; None if that is not known.
    """

    mark: bytes
    place: Place
    stamp: int
    asked: Asked | None = None
    flush: bool = False
    in_vain: bool | None = None


def mark(client: int, count: int) -> bytes:
    """A mark that identifies one write of a client wherever its entry appears."""
    return b"<%d.%d>" % (client, count)


def waiter(client: int, count: int) -> bytes:
    """The owner that a client which waits for the lock has for one request."""
    return b"(%d.%d)" % (client, count)


def marked_in(entry: Entry) -> Iterator[tuple[bytes, int, Logged]]:
    """The marked writes of an entry, and what nodes asked in it, in order.

    Each comes with a key of its home, and the number of a command that takes effect if it does.
    """
    commands: list[Command] = decode(entry.data) if entry.kind == EntryKind.COMMANDS else []
    at, stamp = (0, entry.index), entry.stamp
    for number, (command, following) in enumerate(zip(commands, [*commands[1:], None], strict=False)):
        if _is_mark(command):
            flush = number > 0 and _is_flush(commands[number - 1])
            yield command.key, number, Logged(command.value, at, stamp, flush=flush)
        elif type(command) is Lock and WAITER.fullmatch(command.owner):
            yield command.name, number, Logged(b"", at, stamp, Asked(owner=command.owner))
        elif type(command) is Unlock and not _is_mark(following):
            yield command.name, number, Logged(b"", at, stamp, Asked(token=command.token))


def _is_flush(command: Command) -> bool:
    return type(command) is Flush or (type(command) is Exec and command.steps == (Flush(),))


def _is_mark(command: Command | None) -> TypeGuard[Put]:
    return type(command) is Put and MARK.fullmatch(command.value) is not None
