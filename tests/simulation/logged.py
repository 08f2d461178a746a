"""Clients mark their writes, so that each one is recognised in the log, whoever proposed it and when."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeGuard

from kraft.kv.commands import Command, Lock, Put, Unlock, decode
from kraft.raft.messages import Entry, EntryKind

MARK = re.compile(rb"<\d+\.\d+>")  # of one write of one client; see `mark`
WAITER = re.compile(rb"\(\d+\.\d+\)")  # the owner of a lock that a client waits for; see `waiter`


@dataclass(frozen=True, slots=True)
class Asked:
    """What a node does for a client that waits for the lock: ask for it for `owner`, or free `token`."""

    owner: bytes = b""
    token: int = 0


@dataclass(frozen=True, slots=True)
class Logged:
    """A marked write as it is in the log, or what a node `asked` for a client that waits."""

    mark: bytes
    index: int
    stamp: int
    asked: Asked | None = None


def mark(client: int, count: int) -> bytes:
    """A mark that identifies one write of a client wherever its entry appears."""
    return b"<%d.%d>" % (client, count)


def waiter(client: int, count: int) -> bytes:
    """The owner that a client which waits for the lock has for one request."""
    return b"(%d.%d)" % (client, count)


def logged_in(entry: Entry) -> Iterator[Logged]:
    """The marked writes of an entry, and what nodes asked in it, in order."""
    if entry.kind == EntryKind.COMMANDS:
        yield from _marked(entry, decode(entry.data))


def _marked(entry: Entry, commands: Sequence[Command]) -> Iterator[Logged]:
    for command, following in zip(commands, [*commands[1:], None], strict=True):
        if _is_mark(command):
            yield Logged(command.value, entry.index, entry.stamp)
        elif type(command) is Lock and WAITER.fullmatch(command.owner):
            yield Logged(b"", entry.index, entry.stamp, Asked(owner=command.owner))
        elif type(command) is Unlock and not _is_mark(following):
            yield Logged(b"", entry.index, entry.stamp, Asked(token=command.token))


def _is_mark(command: Command | None) -> TypeGuard[Put]:
    return type(command) is Put and MARK.fullmatch(command.value) is not None
