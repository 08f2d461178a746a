"""The properties that must hold for all nodes together after every step, and those that must hold at the end.

Consensus has its own checker, `kraft.raft.invariants`, which sees every step of every node here. This module
adds checks that need a whole cluster: it compares what nodes say and do with what is in their directories.
Directories are identified by incarnation; a wiped directory still counts for what it had acknowledged.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kraft.host.group.group import Group
from kraft.kv.commands import decode as decode_commands
from kraft.kv.commands import needed_version
from kraft.kv.versions import MACHINE_VERSION, decode_version
from kraft.peerwire.messages import Beat, Message, SnapshotOffer
from kraft.raft.invariants import InvariantChecker, decided
from kraft.raft.membership.configuration import Configuration, Member
from kraft.raft.membership.replica_number import UNNUMBERED, ReplicaNumber, node_of
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
from tests.simulation.committed_log import CommittedLog
from tests.simulation.equal_replicas import EqualReplicas
from tests.simulation.logged import Logged
from tests.simulation.resending import Resending
from tests.simulation.slot_owners import SlotOwners
from tests.simulation.violation import Violation, demand

if TYPE_CHECKING:
    from tests.simulation.cluster import SimulatedCluster
    from tests.simulation.durable_state import DurableState, GroupLog
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
SLACK_BYTES = 4_000  # allowance over a bound: an entry, no-ops and their overhead
MAX_STALENESS = 2.0  # of the configuration of every node
STALENESS_SLACK = 2.0  # followers may still follow a deposed leader that does not know it yet
TRANSFERS_MAX = 8  # of one group on one node: from a leader to all others, and one to itself


def former(incarnation: str) -> str:
    """The name under which the directory before a restored backup is kept."""
    return f"before the backup of {incarnation}"


def _has(durable: "DurableState | None", group: int, entry: Entry, member: Member) -> bool:
    """Whether the replica that is a member is there, and holds the entry."""
    log = None if durable is None or durable.number(group) != member.number else durable.groups.get(group)
    return log is not None and log.holds(entry.index, entry.term)


class Watched(Raft):
    """A second door to a node: the checker sees every `Ready`, and state and role are the node's."""

    __slots__ = ("_checker", "places", "seen")

    def __init__(self, node: Raft, checker: InvariantChecker) -> None:
        self.state = node.state
        self._roles = node._roles
        self._checker = checker
        self.places: tuple[int, ...] = ()  # in the log and in the state, when the checks last saw them
        self.seen: tuple[object, ...] = ()  # these, and what else may change

    def take_ready(self) -> Ready | None:
        ready = super().take_ready()
        if ready is not None:
            self._checker.ready(self, ready)
            self.seen = ()  # the checker has seen another step
        return ready


class Checks:
    """Examines only what ran and changed since the last step, so that it can run after every step."""

    def __init__(self, cluster: "SimulatedCluster") -> None:
        self.resending = Resending()
        self.replicas = EqualReplicas()
        self._cluster = cluster
        self._checkers = {group: InvariantChecker() for group in range(cluster.group_count)}
        self._ran = cluster.world.ran
        self.committed = [CommittedLog(group) for group in self._checkers]
        self._owners = SlotOwners(cluster.group_count)
        self._checked = dict.fromkeys(
            self._checkers, 0
        )  # the index up to which a majority of disks is known to hold it
        self._numbered: dict[tuple[int, ReplicaNumber], str] = {}  # the node of each replica with a number
        # The index up to which a replica holds the committed entries, by (incarnation, group).
        self._kept: dict[tuple[str, int], int] = {}

    def put_back(self, incarnation: str) -> None:
        """An old directory was restored: it may lack entries that it had."""
        for key in [k for k in self._kept if node_of(k[0]) == incarnation]:
            del self._kept[key]

    def after_step(self) -> None:
        ran = self._ran
        while ran:
            clock = ran.pop()
            clock.ran = False
            if clock.dead:
                continue
            for group in clock.owner.host.groups.values():
                raft = group.raft
                if type(raft) is not Watched:
                    raft = self._watch(clock.owner, group)
                state = raft.state
                log = state.log
                seen = (
                    log.last_index,
                    log.durability.durable,
                    state.commit,
                    group.state.index,
                    state.term,
                    state.role,
                    state.leader,
                    state.vote,
                    state.applied,
                    log.base.index,
                )
                if seen != raft.seen:
                    raft.seen = seen
                    self._changed(clock.owner, group, raft, seen[:4])

    def _changed(self, process: "Process", group: Group, raft: Watched, places: tuple[int, ...]) -> None:
        """Check a replica of which something has changed."""
        before, raft.places = raft.places, places
        self._checkers[group.id].step(raft)
        if places != before:
            self._moved(process, group)
            if not before or before[-1] != group.state.index:
                self.replicas.compare_state(process, group)
                if group.state.machine.keyspace.slots is not None:
                    self._owners.look(group)

    def _watch(self, process: "Process", group: Group) -> Watched:
        count = process.host.slots.groups
        demand(group.id < count, f"there is a group {group.id} in a cluster of {count} groups")
        for created in range(len(self._checkers), group.id + 1):
            self._checkers[created] = InvariantChecker()
            self.committed.append(CommittedLog(created))
            self._checked[created] = 0
        if group.numbers.own != UNNUMBERED:
            owner = self._numbered.setdefault((group.id, group.numbers.own), process.id)
            demand(owner == process.id, f"{owner} and {process.id} have a replica {group.numbers.own}")
        checker = self._checkers[group.id]
        group.raft = raft = Watched(group.raft, checker)
        checker.restarted(raft)
        return raft

    def _moved(self, process: "Process", group: Group) -> None:
        self._on_its_disk(process, group)
        self._remember(group)
        self._keeps_committed(process, group)
        if group.raft.state.commit > max(1, self._checked[group.id]):
            self._checked[group.id] = group.raft.state.commit
            self._on_most_disks(process, group)
        if not self._cluster.nodes[process.id].damaged:
            self.replicas.compare_checkpoint(process, group)
        self._bounded(process, group)

    def log_of(self, node: str, group: int) -> "GroupLog | None":
        """The durable log in the current directory of a node."""
        return self._cluster.nodes[node].durable.groups.get(group)

    def _remember(self, group: Group) -> None:
        """Record entries that have become committed."""
        committed, state = self.committed[group.id], group.raft.state
        if state.commit > len(committed.entries):
            states = self._cluster.durable_states.values()
            logs = (log for each in states if (log := each.groups.get(group.id)) is not None)
            for entry in committed.grow(state.commit, state.term_at, logs, self._cluster.world.now):
                if entry.kind == EntryKind.VERSION:
                    self._raised(decode_version(entry.data))

    def _raised(self, version: int) -> None:
        """A machine version is raised only when all members support it."""
        for member in self.committed[0].configuration.members:
            node = self._cluster.nodes[member.id]
            replaced = node.durable.identity.incarnation != member.incarnation
            able = replaced or node.newest_program >= version
            demand(able, f"version {version} is raised, and {member.id} never ran a program that has it")
        self._cluster.world.counts["version raised"] += 1

    def understood(self, process: "Process", messages: Sequence[tuple[int, Message]]) -> bool:
        """Whether a process of an older program takes these bytes for messages.

        It knows no entry that raises the version beyond its own. What it cannot even tell from others must
        never reach it.
        """
        known = process.machine_version
        if known == MACHINE_VERSION:
            return True
        for _, message in messages:
            for entry in message.entries if isinstance(message, Append) else ():
                if entry.kind == EntryKind.VERSION and decode_version(entry.data) > known:
                    self._cluster.world.counts["raise refused by an older program"] += 1
                    return False
                if entry.kind == EntryKind.COMMANDS:
                    needed = needed_version(decode_commands(entry.data))
                    demand(needed <= known, f"{process.id} of version {known} gets a command of {needed}")
            version = message.machine_version if isinstance(message, SnapshotOffer) else known
            demand(version <= known, f"{process.id} of version {known} is offered a state of {version}")
        return True

    def _on_its_disk(self, process: "Process", group: Group) -> None:
        """Demand that entries a node considers durable are on its disk, with the same term."""
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
        history, log = self.committed[group.id].entries, self.log_of(process.id, group.id)
        if log is None:
            return
        kept = min(log.last_index, len(history))
        while kept > log.base.index and log.term(kept) != history[kept - 1].term:
            kept -= 1
        key = (group.raft.state.incarnation, group.id)
        before = self._kept.get(key, 0)
        demand(kept >= before, f"{process.id} held the committed entries to {before}, and lost some: {kept}")
        self._kept[key] = kept

    def _on_most_disks(self, process: "Process", group: Group) -> None:
        """Demand that a majority holds the last committed entry, which by log matching covers all before."""
        index = group.raft.state.commit
        where = f"{process.id} calls index {index} of group {group.id} committed; it is not on most disks"
        self._demand_holders([group], group.id, self.committed[group.id].entries[index - 1], where)

    def _demand_holders(self, replicas: Sequence[Group], group: int, entry: Entry, what: str) -> None:
        """Demand a majority of holders; during a membership change either configuration may have been
        counted.
        """
        some = [each.raft.state.configuration for each in replicas]
        some.append(self.committed[group].configuration)
        some += [c.target for c in some if c.target is not None]
        demand(any(decided(c, lambda v, c=c: self._holds(c, v, group, entry)) for c in some), what)  # type: ignore[misc]

    def _holds(self, configuration: Configuration, voter: str, group: int, entry: Entry) -> bool:
        """Whether its directory holds the entry, or the one before a restored backup does."""
        member = configuration.member(voter)
        if member is None:
            return False
        own, before = (self._cluster.durable_states.get(name) for name in (member.node, former(member.node)))
        return _has(own, group, entry, member) or _has(before, group, entry, member)

    def _bounded(self, process: "Process", group: Group) -> None:
        raft, node = self._cluster.nodes[process.id].config.raft, group.raft
        log, commit = node.state.log, node.state.commit
        uncommitted, kept = log.bytes_after(commit), log.tail_bytes
        if uncommitted > raft.uncommitted_bytes + SLACK_BYTES:  # an entry was logged when there was room
            sizes = [log.bytes_after(i) - log.bytes_after(i + 1) for i in range(commit, log.last_index)]
            demand(
                uncommitted - max(sizes) <= raft.uncommitted_bytes + SLACK_BYTES,
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
        """Check messages that leave `process` now: what they acknowledge must be on its disk."""
        for id_, message in messages:
            if type(message) is Append or type(message) is SnapshotOffer:
                self.resending.sent(process, peer, id_, message)
            if type(message) in CONSENSUS and id_ in process.host.groups:  # it may have left meanwhile
                node = process.host.groups[id_].raft
                self._checkers[id_].sent(node, Outgoing(peer, message))
            if type(message) is Beat:
                self._vouched(process, peer)
            elif type(message) is Vote:
                self._promised(process.id, id_, message.term, process.id)
            elif type(message) is VoteReply and message.granted:
                self._promised(process.id, id_, message.term, peer)

    def _vouched(self, process: "Process", peer: str) -> None:
        """A beat speaks for groups that are quiet: their leader has committed nothing that the peer lacks."""
        for id_, (term, index) in process.host.beats.spoken_for(peer).items():
            state = process.host.groups[id_].raft.state
            self._cluster.world.counts["quiet group spoken for"] += 1
            wrong = state.leads and state.term == term and state.commit != index
            demand(
                not wrong,
                f"{process.id} calls group {id_} quiet at {index}, and has committed {state.commit}",
            )

    def _promised(self, voter: str, group: int, term: int, candidate: str) -> None:
        state = self._cluster.nodes[voter].durable.groups[group].hard_state
        demand(
            state.term > term or (state.term == term and state.vote == candidate),
            f"{voter} promised {candidate} its vote in term {term}, and its disk says {state}",
        )

    def acknowledged(self, process: "Process", group: int, marked: bytes) -> None:
        """Check a write that is reported to its client as done: a majority of disks must hold it."""
        asked = process.host.groups.get(group)
        if asked is not None:
            self._remember(asked)  # it may have become committed in this very step
        committed = self.committed[group]
        demand(bool(committed.places(marked)), f"the acknowledged write {marked!r} is not committed")
        what = f"the acknowledged write {marked!r} is not on most disks"
        hosts = [asked] if asked is not None else self._replicas(group)
        self._demand_holders(hosts, group, committed.entry_of(marked), what)

    def _replicas(self, group: int) -> list[Group]:
        """All replicas of a group that run: any of them may have counted for a node that has none."""
        return [p.host.groups[group] for p in self._cluster.processes() if group in p.host.groups]

    def recent(self, process: "Process", group: int) -> None:
        """Check that a stale read on `process` is within its bound.

        The bound starts at the arrival of a heartbeat and ignores its delay, so it is checked only in runs
        without long delays and without faulty clocks.
        """
        if self._cluster.timely:
            since = self._cluster.world.now - MAX_STALENESS - STALENESS_SLACK
            known = bisect_left(self.committed[group].times, since)
            applied = process.host.groups[group].state.index
            demand(applied >= known, f"{process.id} shows index {applied}, and {known} is old already")

    def left(self, id_: str, group: int, incarnation: str) -> None:
        """A node has destroyed its replica of a group."""
        member = self.committed[group].configuration.member(id_)
        early = member is not None and member.incarnation == incarnation
        demand(not early, f"{id_} has destroyed its replica of group {group}, which is a member")

    # -- at the end, when all members are up and have applied everything

    def equal_digests(self) -> None:
        """Demand that the states of all members have the same digest."""
        for group in self._checkers:
            states = {
                process.host.groups[group].state.machine.digest()
                for process in self._cluster.processes()
                if process.id in self._cluster.members() and group in process.host.groups
            }
            demand(len(states) == 1, f"the states of group {group} have several digests")

    def equal_logs(self) -> None:
        """Demand that each member's directory holds the committed entries from the start of its log."""
        for group, committed in enumerate(self.committed):
            for node in (m.id for m in committed.configuration.members):
                log = self.log_of(node, group)
                if log is None:
                    raise Violation(f"{node} has no log of group {group}")
                equal = log.entries == committed.entries[log.base.index :]
                demand(equal, f"the log of group {group} on {node} differs")

    def effects(self, logged: Sequence[Logged], outcomes: Mapping[bytes, str]) -> None:
        """Demand that every write reported as done took effect once, and every refused one never.

        `outcomes` maps the mark of each write to done, refused or unknown.
        """
        times = Counter(write.mark for write in logged if write.asked is None)
        for marked, outcome in outcomes.items():
            count = times[marked]
            demand(count <= 1, f"the write {marked!r} was executed {count} times")
            demand(outcome != "done" or count == 1, f"the acknowledged write {marked!r} is lost")
            demand(outcome != "refused" or count == 0, f"the refused write {marked!r} was executed")
