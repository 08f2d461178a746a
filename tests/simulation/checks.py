"""The properties that must hold for all nodes together after every step, and those that must hold at the end.

Consensus has its own checker, `kraft.raft.invariants`, which sees every step of every node here. This module
adds checks that need a whole cluster: it compares what nodes say and do with what is in their directories.
Directories are identified by incarnation; a wiped directory still counts for what it had acknowledged.
"""

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard

from kraft.host.group.group import Group
from kraft.kv.checkpoint import Checkpoint
from kraft.kv.commands import Command, Lock, Put, Unlock, needed_version
from kraft.kv.commands import decode as decode_commands
from kraft.kv.versions import MACHINE_VERSION, decode_version
from kraft.peerwire.messages import Message, SnapshotOffer
from kraft.raft.invariants import InvariantChecker, decided
from kraft.raft.membership.configuration import NOBODY, Configuration, decode
from kraft.raft.messages import (
    Append,
    AppendReply,
    Entry,
    EntryKind,
    Heartbeat,
    HeartbeatReply,
    PreVote,
    PreVoteReply,
    TimeoutNow,
    Vote,
    VoteReply,
)
from kraft.raft.raft import Raft
from kraft.raft.ready import Outgoing, Ready

if TYPE_CHECKING:
    from tests.simulation.cluster import SimulatedCluster
    from tests.simulation.platter import GroupLog
    from tests.simulation.process import Process

CONSENSUS = frozenset(
    (
        Append,
        AppendReply,
        Heartbeat,
        HeartbeatReply,
        PreVote,
        PreVoteReply,
        TimeoutNow,
        Vote,
        VoteReply,
    )
)
SLACK_BYTES = 4_000  # allowance over a bound: one entry of any size, no-ops and their overhead
MAX_STALENESS = 2.0  # of the configuration of every node
STALENESS_SLACK = 2.0  # followers may still follow a deposed leader that does not know it yet
TRANSFERS_MAX = 8  # of one group on one node: from a leader to all others, and one to itself

MARK = re.compile(rb"<\d+\.\d+>")  # of one write of one client; see `mark`
WAITER = re.compile(rb"\(\d+\.\d+\)")  # the owner of a lock that a client waits for; see `waiter`


class Violation(AssertionError):
    """A safety property does not hold."""


def demand(condition: bool, what: str) -> None:
    if not condition:
        raise Violation(what)


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


def former(incarnation: str) -> str:
    """The name under which the directory before a restored backup is kept."""
    return f"before the backup of {incarnation}"


class Watched(Raft):
    """A second door to a node: the checker sees every `Ready`, and state and role are the node's."""

    __slots__ = ("_checker", "places", "standing")

    def __init__(self, node: Raft, checker: InvariantChecker) -> None:
        self.state = node.state
        self._roles = node._roles
        self._checker = checker
        self.places: tuple[int, ...] = ()  # in the log and in the state, and what else may change, when
        self.standing: tuple[object, ...] = ()  # the checks after a step last saw them

    def take_ready(self) -> Ready | None:
        ready = super().take_ready()
        if ready is not None:
            self._checker.ready(self, ready)
            self.standing = ()  # the checker has seen another step
        return ready


class Resending:
    """Demands of leaders that they send an entry again only when something says that it was lost.

    That is the end of the link, a full queue, a refusal by the follower, or a snapshot in place of entries.
    Time says nothing: a link may be slow. The few entries that a probe may carry are left out.
    """

    def __init__(self) -> None:
        self._sent: dict[tuple[int, int, str, int], int] = {}  # the last index, by process, group, peer, term

    def excused(self, process: "Process", peer: str) -> None:
        """What was sent to `peer` may be lost."""
        for key in [k for k in self._sent if (k[0], k[2]) == (id(process), peer)]:
            del self._sent[key]

    def sent(self, process: "Process", peer: str, group: int, message: Append | SnapshotOffer) -> None:
        """Entries leave, or a snapshot is offered."""
        if isinstance(message, SnapshotOffer):
            self.excused(process, peer)
        elif message.entries:
            key = (id(process), group, peer, message.term)
            first, last = message.entries[0].index, message.entries[-1].index
            again = f"{process.id} sends entry {first} to {peer} again, and nothing says that it was lost"
            demand(first > self._sent.get(key, 0), again)
            followers = process.host.groups[group].raft.progress()
            if any(f.peer == peer and f.state == "replicate" for f in followers):
                self._sent[key] = last

    def received(self, process: "Process", peer: str, messages: Sequence[tuple[int, Message]]) -> None:
        """Messages arrive."""
        for _, message in messages:
            if type(message) is AppendReply and message.rejected:
                self.excused(process, peer)


class Checks:
    """Examines only what ran and changed since the last step, so that it can run after every step."""

    def __init__(self, cluster: "SimulatedCluster") -> None:
        self.resending = Resending()
        self._cluster = cluster
        self._checkers = {group: InvariantChecker() for group in range(cluster.group_count)}
        self._ran = cluster.world.ran
        # The committed entries from the first on. Every node derives the first entry from the members it
        # forms with: it is committed by definition.
        self._history: dict[int, list[Entry]] = {group: [] for group in self._checkers}
        self._committed_at: dict[int, list[float]] = {group: [] for group in self._checkers}
        self._places: dict[int, dict[bytes, list[int]]] = {group: {} for group in self._checkers}  # of marks
        self._checked = dict.fromkeys(
            self._checkers, 0
        )  # the index up to which a majority of platters is known to hold it
        self._configurations = {group: [NOBODY] for group in self._checkers}  # the committed ones
        self._versions = dict.fromkeys(self._checkers, 1)  # in force, by what is committed
        # (group, applied) -> stamp, revision, version, keys and ledger, and the first node that was there
        self._states: dict[tuple[int, int], tuple[tuple[object, ...], str]] = {}
        self._checkpoints: dict[
            tuple[int, int], tuple[Checkpoint, str]
        ] = {}  # (group, index) -> checkpoint, first node
        # The index up to which a directory holds the committed entries, by (incarnation, group).
        self._kept: dict[tuple[str, int], int] = {}

    def put_back(self, incarnation: str) -> None:
        """An old directory was restored: it may lack entries that it had."""
        for key in [k for k in self._kept if k[0] == incarnation]:
            del self._kept[key]

    def after_step(self) -> None:
        ran = self._ran
        while ran:
            clock = ran.pop()
            clock.ran = False
            if not clock.dead:
                for group in clock.owner.host.groups.values():
                    self._look_at(clock.owner, group)

    def _look_at(self, process: "Process", group: Group) -> None:
        """Check a replica of which something may have changed."""
        raft = group.raft
        if type(raft) is not Watched:
            raft = self._watch(group)
        state = raft.state
        log = state.log
        places = (log.last_index, log.durability.durable, state.commit, group.state.index)
        standing = (state.term, state.role, state.leader, state.vote, state.applied, log.base.index)
        if places == raft.places and standing == raft.standing:
            return
        before, raft.places, raft.standing = raft.places, places, standing
        self._checkers[group.id].step(raft)
        if places != before:
            self._moved(process, group)
            if not before or before[-1] != group.state.index:
                self._equal_state(process, group)

    def _watch(self, group: Group) -> Watched:
        count = len(self._checkers)
        demand(group.id < count, f"there is a group {group.id} in a cluster of {count} groups")
        checker = self._checkers[group.id]
        group.raft = raft = Watched(group.raft, checker)
        checker.restarted(raft)
        return raft

    def _moved(self, process: "Process", group: Group) -> None:
        self._on_its_platter(process, group)
        self._remember(group)
        self._keeps_committed(process, group)
        if group.raft.state.commit > max(1, self._checked[group.id]):
            self._checked[group.id] = group.raft.state.commit
            self._on_most_platters(process, group)
        self._equal_checkpoint(process, group)
        self._bounded(process, group)

    def log_of(self, node: str, group: int) -> "GroupLog | None":
        """The durable log in the current directory of a node."""
        return self._cluster.nodes[node].platter.groups.get(group)

    def _remember(self, group: Group) -> None:
        """Record entries that have become committed."""
        history, node = self._history[group.id], group.raft
        if node.state.commit <= len(history):
            return
        logs = [log for p in self._cluster.platters.values() if (log := p.groups.get(group.id)) is not None]
        for index in range(len(history) + 1, node.state.commit + 1):
            term = node.state.term_at(index)
            found = next((log for log in logs if log.base.index < index and log.holds(index, term)), None)
            if found is None:
                raise Violation(f"the committed index {index} of group {group.id} is in no directory")
            entry = found.entries[index - found.base.index - 1]
            history.append(entry)
            self._committed_at[group.id].append(self._cluster.world.now)
            if entry.kind == EntryKind.CONFIGURATION:
                self._configurations[group.id].append(decode(entry.data))
            self._version_in_force(group.id, entry)
            if entry.kind == EntryKind.COMMANDS:
                for marked in MARK.findall(entry.data):
                    self._places[group.id].setdefault(marked, []).append(index)

    def _version_in_force(self, group: int, entry: Entry) -> None:
        """A version is raised when all members support it; a command is of one that is in force."""
        if entry.kind == EntryKind.VERSION:
            version = decode_version(entry.data)
            for member in self.configuration(0).members:
                node = self._cluster.nodes[member.id]
                replaced = node.platter.identity.incarnation != member.incarnation
                able = replaced or node.newest_program >= version
                demand(able, f"version {version} is raised, and {member.id} never ran a program that has it")
            self._versions[group] = max(self._versions[group], version)
            self._cluster.world.counts["version raised"] += 1
        elif entry.kind == EntryKind.COMMANDS:
            needed, version = needed_version(decode_commands(entry.data)), self._versions[group]
            demand(needed <= version, f"a command of version {needed} is logged, and {version} is in force")

    def version(self, group: int) -> int:
        """The one in force."""
        return self._versions[group]

    def understood(self, process: "Process", messages: Sequence[tuple[int, Message]]) -> bool:
        """Whether a process of an older program takes these bytes for messages.

        It knows no entry that raises a version. What it cannot even tell from others must never reach it.
        """
        known = process.machine_version
        if known == MACHINE_VERSION:
            return True
        for _, message in messages:
            for entry in message.entries if isinstance(message, Append) else ():
                if entry.kind == EntryKind.VERSION:
                    self._cluster.world.counts["raise refused by an older program"] += 1
                    return False
                if entry.kind == EntryKind.COMMANDS:
                    needed = needed_version(decode_commands(entry.data))
                    demand(needed <= known, f"{process.id} of version {known} gets a command of {needed}")
            version = message.machine_version if isinstance(message, SnapshotOffer) else known
            demand(version <= known, f"{process.id} of version {known} is offered a state of {version}")
        return True

    def _on_its_platter(self, process: "Process", group: Group) -> None:
        """Demand that entries a node considers durable are on its platter, with the same term."""
        state, log = group.raft.state, self.log_of(process.id, group.id)
        durable = state.log.durability.durable
        held = durable <= state.log.base.index or (
            log is not None and log.holds(durable, state.term_at(durable))
        )
        demand(held, f"{process.id} takes index {durable} of group {group.id} for durable, and it is not")

    def _keeps_committed(self, process: "Process", group: Group) -> None:
        """Demand that a committed entry stays in a directory, whether or not its node knows that it is
        committed.
        """
        history, log = self._history[group.id], self.log_of(process.id, group.id)
        if log is None:
            return
        kept = min(log.last_index, len(history))
        while kept > log.base.index and log.term(kept) != history[kept - 1].term:
            kept -= 1
        key = (self._cluster.nodes[process.id].platter.identity.incarnation, group.id)
        before = self._kept.get(key, 0)
        demand(kept >= before, f"{process.id} held the committed entries to {before}, and lost some: {kept}")
        self._kept[key] = kept

    def _on_most_platters(self, process: "Process", group: Group) -> None:
        """Demand that a majority holds the last committed entry, which by log matching covers all before."""
        index = group.raft.state.commit
        where = f"{process.id} calls index {index} of group {group.id} committed; it is not on most platters"
        self._demand_holders(group, self._history[group.id][index - 1], where)

    def _demand_holders(self, group: Group, entry: Entry, what: str) -> None:
        """Demand a majority of holders; during a membership change either configuration may have been
        counted.
        """
        some = [group.raft.state.configuration, self.configuration(group.id)]
        some += [c.target for c in some if c.target is not None]
        demand(any(decided(c, lambda v, c=c: self._holds(c, v, group.id, entry)) for c in some), what)  # type: ignore[misc]

    def _holds(self, configuration: Configuration, voter: str, group: int, entry: Entry) -> bool:
        """Whether its directory holds the entry, or the one before a restored backup does."""
        member = configuration.member(voter)
        if member is None:
            return False
        platters = self._cluster.platters
        found = [platters.get(name) for name in (member.incarnation, former(member.incarnation))]
        logs = [platter.groups.get(group) for platter in found if platter is not None]
        return any(log is not None and log.holds(entry.index, entry.term) for log in logs)

    def _equal_state(self, process: "Process", group: Group) -> None:
        """Demand that replicas have the same data at the same applied index, at whatever time they reached
        it.
        """
        machine, place = group.state.machine, (group.id, group.state.index)
        numbers = (machine.stamp, machine.revision, machine.version)
        records, rows = machine.keyspace.records, machine.keyspace.ledger.rows
        known = self._states.get(place)
        if known is None:
            self._states[place] = ((numbers, dict(records), dict(rows)), process.id)
            return
        expected, other = known
        demand((numbers, records, rows) == expected, f"{process.id} and {other} differ at index {place[1]}")

    def _equal_checkpoint(self, process: "Process", group: Group) -> None:
        """Demand equal checkpoints at one index, sums included, unless a fault damaged a directory."""
        checkpoint = group.checkpoints.last
        if checkpoint is None or self._cluster.nodes[process.id].damaged:
            return
        expected, other = self._checkpoints.setdefault(
            (group.id, checkpoint.base.index), (checkpoint, process.id)
        )
        if checkpoint is not expected and checkpoint != expected:
            raise Violation(f"the checkpoints of {process.id} and {other} differ: {checkpoint}, {expected}")

    def _bounded(self, process: "Process", group: Group) -> None:
        raft, node = self._cluster.nodes[process.id].config.raft, group.raft
        uncommitted, kept = node.state.log.bytes_after(node.state.commit), node.state.log.tail_bytes
        demand(
            uncommitted <= raft.uncommitted_bytes + SLACK_BYTES,
            f"{process.id} holds {uncommitted} uncommitted bytes",
        )
        demand(
            kept <= raft.tail_bytes + raft.uncommitted_bytes + SLACK_BYTES,
            f"{process.id} keeps {kept} bytes of its log in memory",
        )
        for follower in node.progress():
            demand(
                follower.inflight <= raft.inflight_messages,
                f"{follower.inflight} messages are on their way to {follower.peer}",
            )
        transfers = len(group.sender.status()) + len(group.receiver.status())
        demand(transfers <= TRANSFERS_MAX, f"{process.id} has {transfers} transfers")

    def sent(self, process: "Process", peer: str, messages: Sequence[tuple[int, Any]]) -> None:
        """Check messages that leave `process` now: what they acknowledge must be on its platter."""
        for id_, message in messages:
            if type(message) is Append or type(message) is SnapshotOffer:
                self.resending.sent(process, peer, id_, message)
            if type(message) in CONSENSUS:
                node = process.host.groups[id_].raft
                self._checkers[id_].sent(node, Outgoing(peer, message))
            if type(message) is Vote:
                self._promised(process.id, id_, message.term, process.id)
            elif type(message) is VoteReply and message.granted:
                self._promised(process.id, id_, message.term, peer)

    def _promised(self, voter: str, group: int, term: int, candidate: str) -> None:
        state = self._cluster.nodes[voter].platter.groups[group].hard_state
        demand(
            state.term > term or (state.term == term and state.vote == candidate),
            f"{voter} promised {candidate} its vote in term {term}, and its platter says {state}",
        )

    def acknowledged(self, process: "Process", group: int, marked: bytes) -> None:
        """Check a write that is reported to its client as done: a majority of platters must hold it."""
        asked = process.host.groups[group]
        self._remember(asked)  # it may have become committed in this very step
        places = self._places[group].get(marked)
        demand(bool(places), f"the acknowledged write {marked!r} is not committed")
        entry = self._history[group][places[0] - 1]  # type: ignore[index]
        what = f"the acknowledged write {marked!r} is not on most platters"
        self._demand_holders(asked, entry, what)

    def entry_of(self, group: int, marked: bytes) -> Entry:
        """The entry of an acknowledged write."""
        return self._history[group][self._places[group][marked][0] - 1]

    def stamp_of(self, group: int, marked: bytes) -> int:
        """The stamp of that entry."""
        return self.entry_of(group, marked).stamp

    def recent(self, process: "Process", group: int) -> None:
        """Check that a stale read on `process` is within its bound.

        The bound starts at the arrival of a heartbeat and ignores its delay, so it is checked only in runs
        without long delays and without faulty clocks.
        """
        if self._cluster.timely:
            since = self._cluster.world.now - MAX_STALENESS - STALENESS_SLACK
            known = bisect_left(self._committed_at[group], since)
            applied = process.host.groups[group].state.index
            demand(applied >= known, f"{process.id} shows index {applied}, and {known} is old already")

    def configuration(self, group: int) -> Configuration:
        """The last committed configuration."""
        return self._configurations[group][-1]

    def configurations(self, group: int) -> Sequence[Configuration]:
        """All configurations that were ever committed."""
        return self._configurations[group]

    # -- at the end, when all members are up and have applied everything

    def equal_digests(self) -> None:
        """Demand that the states of all members have the same digest."""
        for group in self._history:
            states = {
                process.host.groups[group].state.machine.digest()
                for process in self._cluster.processes()
                if process.id in self._cluster.members()
            }
            demand(len(states) == 1, f"the states of group {group} have several digests")

    def equal_logs(self) -> None:
        """Demand that each member's directory holds the committed entries from the start of its log."""
        for group, history in self._history.items():
            for node in (m.id for m in self.configuration(group).members):
                log = self.log_of(node, group)
                if log is None:
                    raise Violation(f"{node} has no log of group {group}")
                equal = log.entries == history[log.base.index :]
                demand(equal, f"the log of group {group} on {node} differs")

    def effects(self, group: int, outcomes: Mapping[bytes, str]) -> list[Logged]:
        """Demand that every write reported as done is in the log once, and every refused one never.

        `outcomes` maps the mark of each write to done, refused or unknown. Returns them as logged.
        """
        logged = self._logged(group)
        times = Counter(write.mark for write in logged if write.asked is None)
        for marked, outcome in outcomes.items():
            count = times[marked]
            demand(count <= 1, f"the write {marked!r} was executed {count} times")
            demand(outcome != "done" or count == 1, f"the acknowledged write {marked!r} is lost")
            demand(outcome != "refused" or count == 0, f"the refused write {marked!r} was executed")
        return logged

    def _logged(self, group: int) -> list[Logged]:
        return [
            found
            for entry in self._history[group]
            if entry.kind == EntryKind.COMMANDS
            for found in _marked(entry, decode_commands(entry.data))
        ]


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
