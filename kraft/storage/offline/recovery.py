"""Offline recovery: a survivor's directory becomes a cluster of its own when a majority is gone for good.

Raft cannot decide this; an administrator does: from now on the whole log of one node counts as committed. One
transaction writes the two things that make it so. A configuration entry after all others, in a new term, has
this node as the only voter and every other incarnation retired. It overrides any membership change that was
under way, and the election that the node then wins alone commits the whole log. A new cluster id keeps away
members of the old cluster that come back after all: neither side talks to the other.

A cluster id is the hash of its founders. The founder of a recovered cluster has this node's id and address,
and, in place of its incarnation, a random mark drawn for the purpose. So the id is new even if the node had
founded the old cluster alone, or was recovered before. As no node has that incarnation, no directory can join
the cluster as its founder.

Nodes may have replicas of different groups. So the directories of other survivors may be named as well, and
of each group the log counts whose last entry has the highest term, and among those the highest index: the
same as an election among the survivors would choose. Of a group that comes from another directory, this node
gets the state at the end of the log (`taken_group.TakenGroup`).

With several groups, slots may have moved when the majority was lost, and the logs may end where no group has
them, or two have. The entries that give each slot one owner follow the configuration in the logs
(`kraft.kv.slot_settlement`). For that the logs are applied to the states, in memory.

State files are read and left as they are; so is the log until `carry_out`. Other directories are only read.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

from kraft.kv.errors import BrokenInvariant
from kraft.kv.machine import Machine
from kraft.kv.slot_settlement import SettledSlots, SlotSettlement, Steps
from kraft.kv.versions import MACHINE_VERSION
from kraft.node.values import Identity, LastReplica, Loaded, Transaction
from kraft.raft.membership.configuration import Configuration, Member
from kraft.raft.ready import Persist
from kraft.storage.damage import forget_damage
from kraft.storage.errors import DirectoryUnusable, NoSpace
from kraft.storage.log.database import LogDatabase
from kraft.storage.log.files import LOG_FILE
from kraft.storage.offline.group_findings import GroupFindings, findings_of, last_entry
from kraft.storage.offline.survivor import RecoveryRefused, Survivor
from kraft.storage.offline.taken_group import TakenGroup, sole_voter
from kraft.storage.ports import LoadReport, StorageSettings
from kraft.storage.state.folder import StateFolder

ClusterId = Callable[[tuple[Member, ...], int], str]  # `host.formation.cluster_id`: of founders and groups


@dataclass(frozen=True, slots=True)
class Findings:
    """What the directories hold; `member` is the node, with the address in force; group 0 comes first.

    `settled` are the slots that have no owner or several, and what becomes of them; `unsettled` is why that
    cannot be mended, '' if it can. `damage` is what a process found damaged while it ran, in the directory
    `damaged`, '' for nothing: it is in none of what was read here.
    """

    identity: Identity
    member: Member
    groups: tuple[GroupFindings, ...]
    settled: tuple[SettledSlots, ...] = ()
    unsettled: str = ""
    damage: str = ""
    damaged: str = ""

    @property
    def configuration(self) -> Configuration:
        """The configuration in force as far as is known, of group 0."""
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
    others: Sequence[str] = (),
) -> "Recovery":
    """Lock and read a stopped node's directory. Raises `StorageError` when it cannot be recovered from.

    `report` is told how far reading its keys has come. `others` are the directories of other survivors.
    """
    survivors: list[Survivor] = []
    try:
        for path in (directory, *others):
            _refuse_twice(path, survivors)
            survivors.append(Survivor(path, settings))
        return Recovery(survivors, settings, report)
    except BaseException:
        for survivor in survivors:
            survivor.close()
        raise


def _refuse_twice(path: str, survivors: Sequence[Survivor]) -> None:
    """Refuse a directory that was named before: its lock would say that a process uses it, this one."""
    for survivor in survivors:
        if Path(path).exists() and Path(path).samefile(survivor.path):
            raise RecoveryRefused(f"{path} is the directory {survivor.path}: name each directory once")


class Recovery:
    """Directories that are locked for recovery until `close`. `findings` is what they hold.

    The first one is that of the node.
    """

    def __init__(
        self, survivors: Sequence[Survivor], settings: StorageSettings, report: LoadReport | None = None
    ) -> None:
        self._survivors = survivors
        self._own = survivors[0]
        self._settings = settings
        self._report = report
        self._sources = _sources(survivors)
        self._steps: Steps = {}
        self._machines: dict[int, Machine] = {}  # at the end of all logs, and after the steps
        self.findings = self._find()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the locks."""
        for survivor in self._survivors:
            survivor.close()

    @property
    def _taken(self) -> list[int]:
        """The groups that come from other directories."""
        return [group for group, source in self._sources.items() if source is not self._own]

    def _find(self) -> Findings:
        loaded = self._read()
        groups = tuple(
            self._with_left_out(findings_of(source, group, loaded[source.path]))
            for group, source in self._sources.items()
        )
        identity = _identity(self._survivors)
        settled: tuple[SettledSlots, ...] = ()
        unsettled = ""
        if identity.total > 1 or self._taken:
            self._apply(loaded)
        if identity.total > 1:
            settlement = SlotSettlement(self._machines, identity.groups)
            try:
                settlement.settle()
                settled, self._steps = tuple(settlement.settled), settlement.steps
            except BrokenInvariant as error:
                unsettled = str(error)
                self._apply(self._read())  # without the steps that were possible
        member = _own_member(identity, groups, settled, unsettled, taken=self._taken)
        found = [(source.damage, source.path) for source in self._sources.values() if source.damage]
        damage, damaged = found[0] if found else ("", "")
        return Findings(identity, member, groups, settled, unsettled, damage, damaged)

    def _with_left_out(self, found: GroupFindings) -> GroupFindings:
        """`found`, and the directory that would count if its state were not known to differ."""
        most = max(self._survivors, key=lambda survivor: last_entry(survivor, found.group))
        last = last_entry(most, found.group)
        if last <= (found.last_term, found.last_index):
            return found
        return replace(found, left_out=most.path, left_out_last=last)

    def _read(self) -> dict[str, Loaded]:
        """What counts of each directory, by its path, with the states."""
        found = {}
        for survivor in self._survivors:
            groups = [group for group, source in self._sources.items() if source is survivor]
            found[survivor.path] = survivor.read_states(groups, self._report)
        return found

    def _apply(self, loaded: dict[str, Loaded]) -> None:
        """Apply all logs to the states."""
        found: dict[int, Machine] = {}
        for survivor in self._survivors:
            found |= survivor.machines(loaded[survivor.path])
        newest = max(machine.version for machine in found.values())
        if newest > MACHINE_VERSION:
            text = f"a log raises the machine version to {newest}, and this kraft supports {MACHINE_VERSION}"
            raise RecoveryRefused(f"{text}: use the newer kraft that wrote it")
        self._machines = dict(sorted(found.items()))

    def carry_out(self, cluster_id: ClusterId, mark: str) -> Identity:
        """Make the node the only voter of a new cluster, durable on return. Returns its new identity.

        `mark` is 32 random hex digits. Raises `StorageError`: then nothing has changed, unless the disk
        failed, when either may be the case.
        """
        found = self.findings
        founder = Member(found.member.id, mark, found.member.peer)
        cluster = cluster_id((founder,), found.identity.groups)
        identity = replace(found.identity, cluster=cluster, members=(founder,))
        writes: list[tuple[int, Persist]] = []
        replicas: list[tuple[int, LastReplica]] = []
        for group in found.groups:
            steps = self._steps.get(group.group, ())
            if group.path == self._own.path:
                writes.append((group.group, sole_voter(_replica_of(found, group), group, steps)))
                continue
            machine = self._machines[group.group]
            taken = TakenGroup(found.member, group, self._own.loaded, machine, steps)
            writes.append((group.group, taken.persist(self._write_state(group.group, taken, machine))))
            if taken.replica is not None:
                replicas.append((group.group, taken.replica))
        self._commit(Transaction(tuple(writes), identity, tuple(replicas)))
        return identity

    def _write_state(self, group: int, taken: TakenGroup, machine: Machine) -> int:
        """Write a state file, which nothing names before the commit. Returns its number."""
        row = self._own.rows.get(group)
        number = 1 if row is None else row.state + 1
        folder = StateFolder(self._own.files, self._settings, vfs="", shared=True, read_only=False)
        try:
            folder.remove(group, number)  # of an attempt that was interrupted
            folder.write(group, number, machine.whole(taken.base))
        except OSError as error:
            raise DirectoryUnusable(f"{self._own.path}: {error.strerror or error}") from error
        return number

    def _commit(self, transaction: Transaction) -> None:
        files = self._own.files
        database = LogDatabase(
            files, node_id=self.findings.identity.id, incarnation=_no_incarnation, settings=self._settings
        )
        try:
            if not database.commit([transaction]):
                raise NoSpace(f"{files.path(LOG_FILE)}: the disk is full")
            database.close()
            forget_damage(files)
        except BaseException:
            database.abandon()
            raise


def _no_incarnation() -> NoReturn:
    raise RuntimeError("a directory that holds a log has its incarnation")


def _sources(survivors: Sequence[Survivor]) -> dict[int, Survivor]:
    """The directory whose log counts, by group. Raises `RecoveryRefused`.

    A replica whose data is known to differ from the others' counts only where there is no other one.
    """
    own, *others = survivors
    identity = _identity(survivors)
    if not identity.cluster:
        raise RecoveryRefused(f"{identity.id} was never in a cluster: there is nothing to recover")
    for other in others:
        if other.loaded.identity.cluster != identity.cluster:
            which = "of another cluster" if other.loaded.identity.cluster else "in no cluster"
            raise RecoveryRefused(f"{other.path}: {other.loaded.identity.id} is {which}")
    known = {*own.loaded.groups, *own.loaded.replicas}
    groups = sorted(known | set(range(identity.total)) if identity.total > 1 else known or {0})

    def rank(survivor: Survivor, group: int) -> tuple[bool, bool, tuple[int, int], bool]:
        last = last_entry(survivor, group)
        return last > (0, 0), group not in survivor.loaded.fenced, last, survivor is own

    found = {group: max(survivors, key=partial(rank, group=group)) for group in groups}
    missing = [group for group, source in found.items() if last_entry(source, group) == (0, 0)]
    if missing:
        raise _incomplete(identity.id, missing, alone=missing == groups and not others)
    return found


def _incomplete(id_: str, missing: Sequence[int], *, alone: bool) -> RecoveryRefused:
    """Why nothing can be recovered if no directory has these groups; `alone`: there is one, with nothing."""
    if alone:
        return RecoveryRefused(
            f"{id_} was added to a cluster and has received none of its data yet: recover another node"
        )
    return RecoveryRefused(
        f"there is no replica of group {', '.join(map(str, missing))} here: name with --from the data"
        " directories of other nodes that have one; if there is none, restore a backup"
    )


def _identity(survivors: Sequence[Survivor]) -> Identity:
    """The identity of the node, with all groups that one of the survivors knows."""
    identity = survivors[0].loaded.identity
    return replace(identity, created=max(each.loaded.identity.created for each in survivors))


def _own_member(
    identity: Identity,
    groups: Iterable[GroupFindings],
    settled: tuple[SettledSlots, ...],
    unsettled: str,
    taken: Sequence[int],
) -> Member:
    """The node as a member, according to the logs. Raises `RecoveryRefused` when it is not one.

    It need not be a member of the groups `taken` from other directories, except group 0. The only voter is
    not recovered, unless slots are settled by that, or groups are taken: it has all there is.
    """
    id_ = identity.id
    for group in groups:
        if identity.incarnation in group.configuration.retired:
            raise RecoveryRefused(
                f"{id_} was removed from its cluster and knows nothing of what came later:"
                " recover another node"
            )
    if all(group.configuration.electors == (id_,) for group in groups) and not (settled or taken):
        slots = (
            f". Some slots have no owner, or several, which cannot be mended: {unsettled}"
            if unsettled
            else ""
        )
        raise RecoveryRefused(
            f"{id_} is the only voter of its cluster already: there is nothing to recover, start it{slots}"
        )
    found = {group.group: _member_in(group.configuration, identity) for group in groups}
    for number, member in found.items():
        if member is None and (number == 0 or number not in taken):
            where = f" of group {number}" if len(found) > 1 else ""
            raise RecoveryRefused(
                f"{id_} had not caught up to where it became a member{where}: it holds only the beginning of"
                " the data; recover another node"
            )
    return next(member for member in found.values() if member is not None)


def _member_in(configuration: Configuration, identity: Identity) -> Member | None:
    """The node as a member of a group, also if it is about to become one; None if it is none."""
    target = configuration.target
    for member in (*configuration.members, *(target.members if target is not None else ())):
        if (member.id, member.node) == (identity.id, identity.incarnation):
            return member
    return None


def _replica_of(found: Findings, group: GroupFindings) -> Member:
    """The node as a member of a group: its replica there may have a number."""
    own = _member_in(group.configuration, found.identity)
    if own is None:
        raise ValueError(f"{found.identity.id} is no member of group {group.group}")
    return Member(own.id, own.incarnation, found.member.peer)
