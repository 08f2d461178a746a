"""What a log entry does to the state machine: the same on every replica, and when a backup is restored."""

from kraft.kv import commands
from kraft.kv.commands import Command
from kraft.kv.errors import UnknownCommand
from kraft.kv.machine import Machine
from kraft.kv.replies import Reply
from kraft.kv.versions import MACHINE_VERSION, decode_version
from kraft.raft.messages import Entry, EntryKind


def apply_entry(machine: Machine, entry: Entry, group: int) -> list[Reply]:
    """Apply the next entry of the log of `group`. Raises `UnknownCommand` if this program is too old."""
    if entry.kind == EntryKind.COMMANDS:
        return machine.apply(entry.stamp, commands_of(entry, group))
    if entry.kind == EntryKind.VERSION:
        machine.raise_version(entry.stamp, decode_version(entry.data))
        return []
    if entry.kind == EntryKind.MARKER:
        machine.mark(entry.stamp)
        return []
    return machine.apply(entry.stamp, ())


def commands_of(entry: Entry, group: int) -> list[Command]:
    """The commands of an entry of that kind. Raises `UnknownCommand`."""
    try:
        return commands.decode(entry.data)
    except UnknownCommand as error:
        raise UnknownCommand(
            f"entry {entry.index} of group {group} is of a newer machine version than "
            f"{MACHINE_VERSION}, the highest that it supports: install the kraft that wrote it ({error})"
        ) from error
