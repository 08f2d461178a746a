"""Applies the shipped logs of all groups to the states of an image, up to a moment.

Each group has a log of its own. Its entries carry the time of the leader that logged them, whose clock may
differ from those of other leaders, and one log may be shipped less far than another. So the logs are replayed
side by side: an entry with a step of a transaction over several groups waits until what it rests on is
applied in the other groups (`kraft.kv.transaction_order`), and so does a step of a move of slots. If that is
not within the moment, or was not shipped, the group ends before the entry. What is under way then is
concluded (`kraft.kv.conclusion`): every transaction is restored whole, or not at all, and every slot has one
owner.

A group that was created after the image begins empty where the log of group 0 creates it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from kraft.backup.archive import Archive
from kraft.backup.errors import BackupError, DamagedBackup, NothingThere
from kraft.backup.manifest import GroupImage, Manifest
from kraft.backup.shipped_log import LogPosition
from kraft.kv.checkpoint import HASH_BYTES, Checkpoint
from kraft.kv.commands import Command
from kraft.kv.conclusion import conclude
from kraft.kv.created_groups import created_count
from kraft.kv.entry import apply_entry, commands_of
from kraft.kv.errors import BrokenInvariant, UnknownCommand
from kraft.kv.machine import STEPS, Machine
from kraft.kv.replies import CommandFailure
from kraft.kv.transaction_order import may_apply
from kraft.moment import Moment, when
from kraft.raft.membership.configuration import Base, Configuration
from kraft.raft.membership.replica_number import node_of
from kraft.raft.messages import Entry, EntryKind


@dataclass(frozen=True, slots=True)
class BackupMoment:
    """The image to start from, and the moment to go on to."""

    archive: Archive
    folder: Path
    manifest: Manifest
    moment: Moment


class LogReplay:
    """The replay of one group's log on `machine`, which has the state of `image`.

    `last` is the last entry that was applied, `count` the number of those. `left_out` counts the entries up
    to the moment that were not applied, because a transaction among them is not whole. `retired` are the
    incarnations of all members so far.
    """

    def __init__(self, backup: BackupMoment, image: GroupImage, machine: Machine) -> None:
        self.group = image.group
        self.machine = machine
        self.last = position_of(image)
        self.count = self.left_out = 0
        self.retired = incarnations(image.checkpoint.base.configuration)
        self._revision = backup.moment.revision
        self._entries = entries_of(backup, image, machine)
        self._entry: Entry | None = None  # the next one, with its commands
        self._commands: list[Command] = []
        self._read()

    def advance(self, machines: Mapping[int, Machine]) -> bool:
        """Apply entries until one has to wait for another group. Returns whether any was applied."""
        before = self.count
        while self._entry is not None and self._may_apply(machines):
            self._apply(self._entry)
            self._read()
        return self.count > before

    def end(self) -> None:
        """No group goes on: leave the rest out, and see that it is sound and reaches the moment."""
        if self._entry is not None:
            self.left_out = 1 + sum(1 for _ in self._entries)

    def _read(self) -> None:
        self._entry = entry = next(self._entries, None)
        if entry is not None and entry.kind == EntryKind.COMMANDS:
            try:
                self._commands = commands_of(entry, self.group)
            except UnknownCommand as error:
                raise BackupError(str(error)) from error
        else:
            self._commands = []

    def _may_apply(self, machines: Mapping[int, Machine]) -> bool:
        return all(
            may_apply(command, self.group, machines) for command in self._commands if type(command) in STEPS
        )

    def _apply(self, entry: Entry) -> None:
        if entry.kind != EntryKind.COMMANDS:
            apply_entry(self.machine, entry, self.group)
        elif self._revision is None:
            self.machine.apply(entry.stamp, self._commands)
        else:
            self._apply_up_to(entry.stamp, self._revision)
        if entry.kind == EntryKind.CONFIGURATION:
            self.retired |= incarnations(msgspec.msgpack.decode(entry.data, type=Configuration))
        self.last = LogPosition(entry.index, entry.term, entry.stamp)
        self.count += 1

    def _apply_up_to(self, stamp: int, revision: int) -> None:
        # As when the batch is applied as a whole: no plain command is done after one that a lock holds up.
        held_up = False
        for command in self._commands:
            if held_up and type(command) not in STEPS:
                continue
            (reply,) = self.machine.apply(stamp, (command,))
            held_up = held_up or reply is CommandFailure.LOCKED
            if self.machine.revision >= revision:
                return


def replay(replays: dict[int, LogReplay], founded: int, begin: Callable[[int], LogReplay]) -> None:
    """Apply the logs of all groups, by group, as far as they go. Raises `BackupError`.

    `founded` is with how many groups the cluster was formed. `begin` makes the replay of a group that the log
    of group 0 creates; it is added to `replays`.
    """
    machines = {group: each.machine for group, each in replays.items()}
    advanced = True
    while advanced:
        advanced = False
        for each in replays.values():
            advanced = each.advance(machines) or advanced
        for group in range(len(replays), founded + created_count(machines[0].keyspace.ledger)):
            replays[group] = begin(group)
            machines[group] = replays[group].machine
            advanced = True
    for each in replays.values():
        each.end()
    try:
        conclude(machines, founded)
    except BrokenInvariant as error:
        raise BackupError(f"the states of the groups are of no one cut: {error}") from error


def entries_of(backup: BackupMoment, image: GroupImage, machine: Machine | None = None) -> Iterator[Entry]:
    """The entries after the image up to the moment; with a revision, until `machine` has reached it.

    Raises `NothingThere` if the backup does not reach the moment.
    """
    moment, group = backup.moment, image.group
    log = backup.archive.shipped_log(backup.manifest.cluster, group)
    if moment.image or (moment.revision is not None and image.revision >= moment.revision):
        return
    reached = max(image.stamp_ms, backup.manifest.created_ms)  # it holds all that was written before that
    try:
        for entry in log.entries(position_of(image)):
            if moment.time_ms is not None and entry.stamp > moment.time_ms:
                return
            reached = entry.stamp
            yield entry
            if moment.revision is not None and machine is not None and machine.revision >= moment.revision:
                return
        reach = log.reach
    except DamagedBackup as error:
        raise error.until(
            f"what comes before it reaches to {when(reached)}: restore that with --at"
        ) from None
    if reach is not None and not log.gap:
        reached = max(reached, reach.reaches_ms)
    if moment.time_ms is not None and reached < moment.time_ms:
        text = f"{backup.folder.parent}: the backup of group {group} reaches to {when(reached)}"
        if reach is None:
            raise NothingThere(f"{text}, with its images: no log was shipped. Name an image")
        raise NothingThere(f"{text}: name that time, or --at latest")
    if moment.revision is not None and machine is not None:
        text = f"the backup reaches to revision {machine.revision}, of {when(reached)}"
        raise NothingThere(f"{backup.folder.parent}: {text}: --at latest restores that")


def created_image(group: int) -> GroupImage:
    """What stands for the image of a group that was created later: nothing, before its first entry."""
    return GroupImage.of(group, Checkpoint(Base(0, 0), 0, 0, 0, bytes(HASH_BYTES)))


def position_of(image: GroupImage) -> LogPosition:
    """Where the image of a group stands in the log."""
    return LogPosition(image.index, image.term, image.stamp_ms)


def incarnations(configuration: Configuration) -> set[str]:
    """The incarnations of the nodes of all members of a configuration, former ones included."""
    found = {*map(node_of, configuration.retired), *(member.node for member in configuration.everyone)}
    return found if configuration.target is None else found | incarnations(configuration.target)
