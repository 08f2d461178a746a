"""Offline recovery: one survivor's directory becomes a cluster of its own when a majority is gone for good.

Raft cannot decide this; an administrator does: from now on the whole log of one node counts as committed. One
transaction writes the two things that make it so. A configuration entry after all others, in a new term, has
this node as the only voter and every other incarnation retired. It overrides any membership change that was
under way, and the election that the node then wins alone commits the whole log. A new cluster id keeps away
members of the old cluster that come back after all: neither side talks to the other.

A cluster id is the hash of its founders. The founder of a recovered cluster has this node's id and address,
and, in place of its incarnation, a random mark drawn for the purpose. So the id is new even if the node had
founded the old cluster alone, or was recovered before. As no node has that incarnation, no directory can join
the cluster as its founder.

With several groups, slots may have moved when the majority was lost, and the logs of this node may end where
no group has them, or two have. The entries that give each slot one owner follow the configuration in the logs
(`kraft.kv.slot_settlement`). For that the logs are applied to the states, in memory.

State files are read and left as they are; so is the log until `carry_out`.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

import apsw
import msgspec

from kraft.kv import commands
from kraft.kv.errors import BrokenInvariant, UnknownCommand
from kraft.kv.slot_settlement import SettledSlots, SlotSettlement
from kraft.node.values import Identity, Loaded, Transaction
from kraft.raft.membership.configuration import Configuration, Member
from kraft.raft.messages import Entry, EntryKind, HardState
from kraft.raft.ports import Restored
from kraft.raft.ready import Persist
from kraft.storage import migrations
from kraft.storage.damage import forget_damage, remembered_damage
from kraft.storage.directory import RealDirectory, prepare_directory
from kraft.storage.errors import DirectoryUnusable, NoSpace, StorageError
from kraft.storage.lock import DirectoryLock
from kraft.storage.log import identity, replicas
from kraft.storage.log.database import LogDatabase
from kraft.storage.log.files import HIGHWATER_FILE, LOG_FILE
from kraft.storage.log.highwater import HighwaterFile, HighwaterMark
from kraft.storage.log.loading import load, reading
from kraft.storage.log.replicas import ReplicaRow
from kraft.storage.offline.replicated_states import states_at_the_end
from kraft.storage.ports import LoadReport, StorageSettings
from kraft.storage.state.files import StateFiles

ClusterId = Callable[[tuple[Member, ...], int], str]  # `host.formation.cluster_id`: of founders and groups


class RecoveryRefused(StorageError):
    """The directory is in order, but no cluster can be recovered from it."""


@dataclass(frozen=True, slots=True)
class GroupFindings:
    """One group's log as it was found.

    `term` is the highest term seen, `last_term` that of the last entry, `last_stamp` its time in Unix ms (0:
    none). Entries up to `committed` are known to be committed; the `uncommitted` entries after them hold
    `commands` client commands. The state is saved up to `checkpoint` (0: not at all), in state file
    `number`. `fenced`: that state is known to differ from the other replicas'.
    """

    group: int
    first_index: int
    last_index: int
    last_term: int
    last_stamp: int
    term: int
    committed: int
    commands: int
    checkpoint: int
    number: int
    fenced: bool
    configuration: Configuration

    @property
    def uncommitted(self) -> int:
        """The number of entries that are not known to be committed."""
        return self.last_index - self.committed


@dataclass(frozen=True, slots=True)
class Findings:
    """What a directory holds; `member` is its node, with the address in force; group 0 comes first.

    `settled` are the slots that have no owner or several, and what becomes of them; `unsettled` is why that
    cannot be mended, '' if it can. `damage` is what a process found damaged while it ran, '' for nothing: it
    is in none of what was read here.
    """

    identity: Identity
    member: Member
    groups: tuple[GroupFindings, ...]
    settled: tuple[SettledSlots, ...] = ()
    unsettled: str = ""
    damage: str = ""

    @property
    def configuration(self) -> Configuration:
        """The configuration in force as far as this node knows, of group 0."""
        return self.groups[0].configuration

    @property
    def majorities(self) -> tuple[tuple[str, ...], ...]:
        """The voters of each group, and in a joint configuration also the new ones, each list once.

        Decisions of a group need a majority of its lists.
        """
        configurations = [group.configuration for group in self.groups]
        configurations += [each.target for each in configurations if each.target is not None]
        return tuple(dict.fromkeys(each.voters for each in configurations))


def gone_min(voters: tuple[str, ...]) -> int:
    """How many of `voters` must be gone before they have no majority."""
    return len(voters) - len(voters) // 2


def open_recovery(
    directory: str,
    settings: StorageSettings = StorageSettings(),  # noqa: B008 - frozen
    report: LoadReport | None = None,
) -> "Recovery":
    """Lock and read a stopped node's directory. Raises `StorageError` when it cannot be recovered from.

    `report` is told how far reading its keys has come.
    """
    if not Path(directory).is_dir():
        raise DirectoryUnusable(f"data directory {directory}: there is no such directory")
    if not Path(directory, LOG_FILE).exists():
        raise RecoveryRefused(f"data directory {directory}: no node has its data here, {LOG_FILE} is missing")
    prepare_directory(directory)
    lock = DirectoryLock(directory)
    try:
        return Recovery(RealDirectory(directory), lock, settings, report)
    except BaseException:
        lock.release()
        raise


class Recovery:
    """A directory that is locked for recovery until `close`. `findings` is what it holds."""

    def __init__(
        self,
        directory: RealDirectory,
        lock: DirectoryLock,
        settings: StorageSettings,
        report: LoadReport | None = None,
    ) -> None:
        self._directory = directory
        self._lock = lock
        self._settings = settings
        try:
            loaded, rows, settlement = _read(directory, settings, report)
            found = _findings(loaded, rows, settlement)
            self.findings = replace(found, damage=remembered_damage(directory))
            self._steps = {} if self.findings.unsettled or settlement is None else settlement.steps
        except OSError as error:
            raise DirectoryUnusable(f"{directory.path('')}: {error.strerror or error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the lock."""
        self._lock.release()

    def carry_out(self, cluster_id: ClusterId, mark: str) -> Identity:
        """Make the node the only voter of a new cluster, durable on return. Returns its new identity.

        `mark` is 32 random hex digits. Raises `StorageError`: then nothing has changed, unless the disk
        failed, when either may be the case.
        """
        found = self.findings
        founder = Member(found.member.id, mark, found.member.peer)
        cluster = cluster_id((founder,), found.identity.groups)
        identity = replace(found.identity, cluster=cluster, members=(founder,))
        writes = tuple(
            (group.group, _sole_voter(_replica_of(found, group), group, self._steps.get(group.group, ())))
            for group in found.groups
        )
        database = LogDatabase(
            self._directory, node_id=identity.id, incarnation=_no_incarnation, settings=self._settings
        )
        try:
            if not database.commit([Transaction(writes, identity)]):
                raise NoSpace(f"{self._directory.path(LOG_FILE)}: the disk is full")
            database.close()
            forget_damage(self._directory)
        except BaseException:
            database.abandon()
            raise
        return identity


def _no_incarnation() -> NoReturn:
    raise RuntimeError("a directory that holds a log has its incarnation")


# Reading


def _read(
    directory: RealDirectory, settings: StorageSettings, report: LoadReport | None
) -> tuple[Loaded, dict[int, ReplicaRow], SlotSettlement | None]:
    """What the directory holds, verified as at a start; the row of each group that has one.

    The settlement is not begun; None where no slot can have moved.
    """
    place = directory.path(LOG_FILE)
    with reading(place) as connection:
        _check_schema(connection)
        id_ = identity.read_identity(connection).id
        loaded, _, rows = load(connection, _marks(directory), place, id_, settings.tail_bytes)
        loaded = _with_states(directory, loaded, rows, settings, report)
        whole = all(
            group in loaded.groups and loaded.groups[group].last_index
            for group in range(loaded.identity.total)
        )
        if loaded.identity.total < 2 or not whole:
            return loaded, rows, None
        try:
            machines = states_at_the_end(connection, loaded, rows)
        except UnknownCommand as error:
            raise RecoveryRefused(str(error)) from error
    return loaded, rows, SlotSettlement(machines, loaded.identity.groups)


def _check_schema(connection: apsw.Connection) -> None:
    if migrations.check(connection, migrations.load()) < migrations.ALWAYS:
        raise RecoveryRefused(
            f"{connection.filename} was written by an older kraft: start the node with this version, stop it,"
            " then repeat this"
        )


def _marks(directory: RealDirectory) -> dict[int, HighwaterMark]:
    if not directory.exists(HIGHWATER_FILE):
        return {}
    file = directory.record_file(HIGHWATER_FILE)
    try:
        return HighwaterFile(file, directory.path(HIGHWATER_FILE)).marks
    finally:
        file.close()


def _with_states(
    directory: RealDirectory,
    loaded: Loaded,
    rows: dict[int, ReplicaRow],
    settings: StorageSettings,
    report: LoadReport | None,
) -> Loaded:
    """`loaded` with the state files, which are read whole: a start would refuse a damaged one."""

    def replica(group: int) -> ReplicaRow:
        return rows.get(group) or replicas.unwritten(loaded.identity.incarnation, group)

    files = StateFiles(
        directory, loaded, replica, settings=settings, shared=False, read_only=True, report=report
    )
    files.abandon()
    return files.loaded


def _findings(loaded: Loaded, rows: dict[int, ReplicaRow], settlement: SlotSettlement | None) -> Findings:
    identity = loaded.identity
    if not identity.cluster:
        raise RecoveryRefused(f"{identity.id} was never in a cluster: there is nothing to recover")
    if not loaded.groups or any(not group.last_index for group in loaded.groups.values()):
        raise RecoveryRefused(
            f"{identity.id} was added to a cluster and has received none of its data yet:"
            " recover another node"
        )
    left = [str(group) for group, replica in sorted(loaded.replicas.items()) if not replica.held]
    if left:
        raise RecoveryRefused(
            f"{identity.id} has no replica of group {', '.join(left)}: recover a node that has all groups;"
            " if there is none, restore a backup"
        )
    groups = tuple(
        _group(number, restored, loaded, rows.get(number))
        for number, restored in sorted(loaded.groups.items())
    )
    unsettled = ""
    try:
        if settlement is not None:
            settlement.settle()
    except BrokenInvariant as error:
        unsettled = str(error)
    settled = tuple(settlement.settled) if settlement is not None and not unsettled else ()
    member = _own_member(identity, groups, settled, unsettled)
    return Findings(identity, member, groups, settled, unsettled)


def _group(number: int, restored: Restored, loaded: Loaded, row: ReplicaRow | None) -> GroupFindings:
    checkpoint = loaded.checkpoints.get(number)
    later = [entry for entry in restored.tail if entry.index > restored.commit]
    return GroupFindings(
        group=number,
        first_index=restored.first_index,
        last_index=restored.last_index,
        last_term=restored.terms[-1][1] if restored.terms else restored.base.term,
        last_stamp=restored.last_stamp,
        term=restored.hard_state.term,
        committed=restored.commit,
        commands=_count_commands(later),
        checkpoint=0 if checkpoint is None else checkpoint[0].base.index,
        number=0 if row is None else row.state,
        fenced=number in loaded.fenced,
        configuration=restored.configurations[-1][1]
        if restored.configurations
        else restored.base.configuration,
    )


def _count_commands(entries: Iterable[Entry]) -> int:
    count = 0
    for entry in entries:
        if entry.kind == EntryKind.COMMANDS:
            try:
                count += len(commands.decode(entry.data))
            except UnknownCommand:
                raise RecoveryRefused(
                    f"entry {entry.index} holds commands that this version of kraft does not know:"
                    " use the newer kraft that wrote it"
                ) from None
    return count


def _own_member(
    identity: Identity,
    groups: tuple[GroupFindings, ...],
    settled: tuple[SettledSlots, ...],
    unsettled: str,
) -> Member:
    """The node as a member, according to its own log. Raises `RecoveryRefused` when it is not one.

    The only voter is not recovered, unless slots are settled by that: it has all there is.
    """
    id_ = identity.id
    for group in groups:
        if identity.incarnation in group.configuration.retired:
            raise RecoveryRefused(
                f"{id_} was removed from its cluster and knows nothing of what came later:"
                " recover another node"
            )
    if all(group.configuration.electors == (id_,) for group in groups) and not settled:
        slots = (
            f". Some slots have no owner, or several, which cannot be mended: {unsettled}"
            if unsettled
            else ""
        )
        raise RecoveryRefused(
            f"{id_} is the only voter of its cluster already: there is nothing to recover, start it{slots}"
        )
    found = [_member_in(group.configuration, identity) for group in groups]
    for group, member in zip(groups, found, strict=True):
        if member is None:
            where = f" of group {group.group}" if len(groups) > 1 else ""
            raise RecoveryRefused(
                f"{id_} had not caught up to where it became a member{where}: it holds only the beginning of"
                " the data; recover another node"
            )
    return next(member for member in found if member is not None)


def _member_in(configuration: Configuration, identity: Identity) -> Member | None:
    """The node as a member of a group, also if it is about to become one; None if it is none."""
    target = configuration.target
    for member in (*configuration.members, *(target.members if target is not None else ())):
        if (member.id, member.node) == (identity.id, identity.incarnation):
            return member
    return None


# Writing


def _replica_of(found: Findings, group: GroupFindings) -> Member:
    """The node as a member of a group: its replica there may have a number."""
    own = _member_in(group.configuration, found.identity)
    if own is None:
        raise ValueError(f"{found.identity.id} is no member of group {group.group}")
    return Member(own.id, own.incarnation, found.member.peer)


def _sole_voter(
    member: Member, group: GroupFindings, steps: Sequence[tuple[int, commands.Command]]
) -> Persist:
    """The entry that overrides every configuration before it, in a term in which no node has voted.

    The `steps` follow it, each in an entry of its own.
    """
    configuration = _sole_voter_configuration(member, group.configuration)
    fault = configuration.fault()
    if fault is not None:
        raise RecoveryRefused(f"group {group.group}: impossible configuration: {fault}")
    entry = Entry(
        group.last_index + 1,
        group.term + 1,
        group.last_stamp,
        EntryKind.CONFIGURATION,
        configuration.encode(),
    )
    # A fenced replica would not lead. Naming its state file again, as a switch does, undoes the fence.
    number = group.number if group.fenced else None
    following = [
        Entry(index, entry.term, stamp, EntryKind.COMMANDS, commands.encode([step]))
        for index, (stamp, step) in enumerate(steps, entry.index + 1)
    ]
    written = (entry, *following)
    return Persist(0, HardState(entry.term), None, written, group.committed, state_file=number)


def _sole_voter_configuration(member: Member, before: Configuration) -> Configuration:
    """The configuration with `member` as the only voter, and every other node retired."""
    retired = {*before.retired, *(other.node for other in before.members)}
    if before.target is not None:
        retired.update(before.target.retired, (other.node for other in before.target.members))
    retired.discard(member.node)
    return msgspec.structs.replace(Configuration.of_voters((member,)), retired=tuple(sorted(retired)))
