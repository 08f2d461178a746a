"""The invariants of consensus, stated a second time, and independently of the code that upholds them.

`check_node` compares one node before and after a step. `InvariantChecker` knows the whole cluster, as only a
test can, and checks the properties of RP figure 3, of membership changes (RD 4), and of snapshots. It is fed
with every step and looks only at what changed. Both raise `InvariantViolation`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from kraft.raft.errors import invariant
from kraft.raft.membership.configuration import Base, Configuration, decode
from kraft.raft.membership.replica_number import UNNUMBERED, ReplicaNumber
from kraft.raft.messages import AppendReply, Entry, EntryKind, Heartbeat, HeartbeatReply, VoteReply
from kraft.raft.raft import Raft
from kraft.raft.ready import Outgoing, Persist, Ready
from kraft.raft.state import ReplicaState


class ReplicaView(NamedTuple):
    """The part of a replica's state that `check_node` compares."""

    role: str
    term: int
    vote: str
    leader: str
    commit: int
    applied: int
    durable: int
    last_index: int
    base: int = 0


def _fields(state: ReplicaState) -> tuple[str, int, str, str, int, int, int, int, int]:
    """Those of the view of `state` now."""
    log = state.log
    return (
        state.role,
        state.term,
        state.vote,
        state.leader,
        state.commit,
        state.applied,
        log.durability.durable,
        log.last_index,
        log.base.index,
    )


def check_state(view: ReplicaView) -> None:
    """Raise `InvariantViolation` unless `view` is a possible state."""
    invariant(view.applied <= view.commit, "only committed entries are applied")
    invariant(view.base <= view.applied, "only applied entries are forgotten")
    invariant(view.commit <= view.last_index, "committed entries are in the log")
    invariant(view.durable <= view.last_index, "durable entries are in the log")
    if view.role in ("precandidate", "candidate"):
        invariant(not view.leader, "a node that campaigns knows no leader")


def check_node(node: Raft, before: ReplicaView, after: ReplicaView) -> None:
    """Raise `InvariantViolation` unless `node` may go from `before` to `after` without a restart."""
    state = node.state
    check_state(after)
    invariant(after.term >= before.term, "terms never go back")
    invariant(after.commit >= before.commit, "the commit index never goes back")
    invariant(after.applied >= before.applied, "nothing is applied twice")
    invariant(after.durable >= min(before.durable, before.commit), "committed entries stay durable")
    invariant(after.base >= before.base, "entries that are forgotten do not come back")
    if after.role in ("precandidate", "candidate"):
        invariant(has_say(state), "only voters campaign")
    if after.term == before.term:
        invariant(before.vote in ("", after.vote), "one vote for each term")
        invariant(not before.leader or after.leader in ("", before.leader), "one leader for each term")
        if before.role == after.role == "leader":
            invariant(after.last_index >= before.last_index, "a leader only appends")
            counted = after.commit > before.commit
            own = not counted or after.commit <= after.base or state.term_at(after.commit) == after.term
            invariant(own, "a leader commits by counting only entries of its own term")
    if after.role == "leader":
        invariant(after.leader == state.id, "a leader follows itself")
        invariant(after.vote == state.id, "a leader has its own vote")
        for follower in node.progress():
            invariant(follower.match < follower.next <= after.last_index + 1, "progress lies in the log")


def has_say(state: ReplicaState) -> bool:
    """Whether the node may be elected: it votes, or did before a configuration that may be taken back."""
    electors = set(state.configuration.electors)
    if state.configuration_index > state.commit:
        electors.update(state.base_at(state.applied).configuration.electors)
    return state.id in electors


def decided(configuration: Configuration, who: Callable[[str], bool]) -> bool:
    """Whether the nodes for which `who` is true are a majority of `configuration`, if it is joint of both.

    This repeats `membership.quorum` on purpose. A newcomer under the id of a present member has no say.
    """
    if 2 * sum(map(who, configuration.voters)) <= len(configuration.voters):
        return False
    target = configuration.target
    if target is None:
        return True
    present = {m.id: m for m in configuration.members}
    strange = {m.id for m in target.members if present.get(m.id, m).incarnation != m.incarnation}
    return 2 * sum(who(v) for v in target.voters if v not in strange) > len(target.voters)


class _Known(NamedTuple):
    """One (index, term) as first seen: the entry and the term before it."""

    entry: Entry
    previous_term: int


class _InForce(NamedTuple):
    """The configuration of a node after its last step, and the index of its entry."""

    entry: int
    configuration: Configuration


@dataclass(slots=True)
class _Membership:
    """The committed configurations, and the incarnations in each, by the index of their entries."""

    by_index: dict[int, Configuration] = field(default_factory=dict)
    present: dict[int, frozenset[str]] = field(default_factory=dict)

    def committed(self, index: int, configuration: Configuration) -> None:
        """Note a committed entry. They may come out of order, as a crash may hide one at first."""
        target = configuration.target
        members = configuration.members + (target.members if target is not None else ())
        self.by_index[index] = configuration
        self.present[index] = frozenset(m.incarnation for m in members)
        left: set[str] = set()
        before: frozenset[str] = frozenset()
        for _, present in sorted(self.present.items()):
            left |= before - present
            invariant(not present & left, "a removed incarnation never returns")
            before = present

    def check_base(self, base: Base) -> None:
        """Check that a snapshot has the committed configuration of its index."""
        known = self.by_index.get(base.configuration_index, base.configuration)
        invariant(known == base.configuration, "a snapshot carries the committed configuration")
        later = [i for i in self.by_index if base.configuration_index < i <= base.index]
        invariant(not later, "a snapshot carries the last configuration before it")


@dataclass(slots=True)
class InvariantChecker:
    """Checks one group of a whole cluster.

    Call `step` after every input of a node, `ready` with each `Ready`, `sent` with each message as it leaves,
    and `restarted` after a crash, or when a node begins anew with another incarnation. `sees_all`: every
    message passes here, so that majorities can be counted again.
    """

    sees_all: bool = True
    _views: dict[str, ReplicaView] = field(default_factory=dict)
    _in_force: dict[str, _InForce] = field(default_factory=dict)
    _leaders: dict[int, str] = field(default_factory=dict)  # by term
    _votes: dict[tuple[str, str, int], str] = field(default_factory=dict)  # by (voter, its incarnation, term)
    _grants: dict[tuple[int, str], set[str]] = field(default_factory=dict)  # by (term, candidate)
    _acknowledged: dict[tuple[str, int], int] = field(default_factory=dict)  # index by (follower, term)
    # Read rounds that were asked for, by (leader, follower, term).
    _rounds: dict[tuple[str, str, int], set[int]] = field(default_factory=dict)
    _committed: dict[int, int] = field(default_factory=dict)  # term by index
    _last_committed: dict[int, int] = field(default_factory=dict)  # by term of the leader that committed it
    _entries: dict[tuple[int, int], _Known] = field(default_factory=dict)  # by (index, term)
    _applied: dict[str, int] = field(default_factory=dict)
    _history: dict[int, Entry] = field(default_factory=dict)  # the entry applied at each index
    _membership: _Membership = field(default_factory=_Membership)

    def step(self, node: Raft) -> None:
        """Check `node` after an input."""
        state = node.state
        fields = _fields(state)
        before = self._views.get(state.id)
        if before == fields:
            return
        self._views[state.id] = after = ReplicaView(*fields)
        if before is None:
            check_state(after)
        else:
            check_node(node, before, after)
        self._check_commit(state, before.commit if before else 0, after.commit)
        elected = before is None or before.role != "leader" or before.term != after.term
        if after.role == "leader":
            if elected:
                self._check_leader(state, after.term)
            elif before is not None:
                self._check_counted(state, before, after)
                self._check_change(state)
        self._in_force[state.id] = _InForce(state.configuration_index, state.configuration)

    def restarted(self, node: Raft) -> None:
        """Note that `node` restarted from its disk, and applies again from there."""
        state = node.state
        self._views.pop(state.id, None)
        self._applied[state.id] = state.applied
        self.step(node)

    def ready(self, node: Raft, ready: Ready) -> None:
        """Check the `ready` that `node` gave out."""
        state = node.state
        self.step(node)
        if ready.persist is not None:
            self._check_entries(state, ready.persist)
            self._check_truncated(state, ready.persist)
        if ready.restored is not None:
            self._check_restored(state, ready.restored)
        for entry in ready.apply:
            expected = self._applied.get(state.id, entry.index - 1) + 1
            invariant(entry.index == expected, "entries are applied in order, each once")
            invariant(entry.index <= state.log.durability.durable, "only durable entries are applied")
            self._applied[state.id] = entry.index
            if entry.index not in self._history and entry.kind == EntryKind.CONFIGURATION:
                self._membership.committed(entry.index, decode(entry.data))
            invariant(self._history.setdefault(entry.index, entry) == entry, "state machine safety")

    def sent(self, node: Raft, outgoing: Outgoing) -> None:
        """Check a message that left `node`, after its write if it had to wait for one."""
        state = node.state
        message = outgoing.message
        if isinstance(message, VoteReply) and message.granted:
            first = self._votes.setdefault((state.id, state.incarnation, message.term), outgoing.to)
            invariant(first == outgoing.to, "one vote for each term, across crashes")
            self._grants.setdefault((message.term, outgoing.to), set()).add(state.id)
        elif isinstance(message, AppendReply) and not message.rejected:
            if message.term == state.term:
                invariant(
                    message.index <= state.log.durability.durable,
                    "only durable entries are acknowledged",
                )
            key = (state.id, message.term)
            self._acknowledged[key] = max(message.index, self._acknowledged.get(key, 0))
        elif isinstance(message, Heartbeat):
            self._rounds.setdefault((state.id, outgoing.to, message.term), set()).add(message.round)
        elif isinstance(message, HeartbeatReply) and message.round and self.sees_all:
            asked = self._rounds.get((outgoing.to, state.id, message.term), ())
            invariant(message.round in asked, "a round is confirmed to the leader that asked, in its term")

    def _check_leader(self, state: ReplicaState, term: int) -> None:
        invariant(self._leaders.setdefault(term, state.id) == state.id, "election safety")
        invariant(has_say(state), "only voters lead")
        if self.sees_all:
            granted = {state.id} | self._grants.get((term, state.id), set())
            invariant(decided(state.configuration, granted.__contains__), "a leader has its majorities")
        # A node may learn late that it was elected, and lack entries that later leaders committed meanwhile.
        last_committed = max((last for t, last in self._last_committed.items() if t < term), default=0)
        invariant(state.log.last_index >= last_committed, "leader completeness: the log is too short")
        committed = self._committed
        runs = state.log.runs()
        ends = [first - 1 for first, _ in runs[1:]] + [last_committed]
        # Terms rise along both logs, so equal terms at both ends of a run are equal within it.
        for (first, run_term), last in zip(runs, ends, strict=True):
            if first <= last_committed:
                for index in (first, min(last, last_committed)):
                    invariant(committed.get(index, run_term) == run_term, "leader completeness")

    def _check_commit(self, state: ReplicaState, before: int, after: int) -> None:
        for index in range(max(before + 1, state.log.base.index), after + 1):
            term = state.term_at(index)
            if index not in self._committed:  # its leader is the first to know, in its own term
                self._last_committed[state.term] = index
            invariant(self._committed.setdefault(index, term) == term, "committed entries never change")

    def _check_counted(self, state: ReplicaState, view: ReplicaView, after: ReplicaView) -> None:
        """A commit is durable on the leader's majorities, by their own acknowledgements."""
        if not self.sees_all or after.commit == view.commit:
            return
        before = self._in_force[state.id]

        def has(configuration: Configuration, index: int) -> bool:
            own = {state.id: after.durable}
            others = self._acknowledged
            return decided(
                configuration, lambda v: max(own.get(v, 0), others.get((v, after.term), 0)) >= index
            )

        # The leader leaves a joint configuration in the same step that commits it, and its target is in force
        # at once: the remaining entries may be counted by the target.
        left = state.configuration == before.configuration.target and has(before.configuration, before.entry)
        counted = has(before.configuration, after.commit) or (left and has(state.configuration, after.commit))
        invariant(counted, "a commit has its majorities")

    def _check_change(self, state: ReplicaState) -> None:
        """One change at a time, none before a commit of this term; voters change by a joint one only."""
        before, now = self._in_force[state.id], state.configuration
        if state.configuration_index == before.entry:
            return
        invariant(before.entry <= state.commit, "one configuration change is in flight")
        invariant(state.leads_with_commit, "no change before this term has committed an entry")
        old = before.configuration
        if old.target is not None:
            invariant(now == old.target, "a joint configuration is left for its target")
        elif now.target is not None:
            same = (now.members, now.voters) == (old.members, old.voters)
            invariant(same, "a joint configuration begins with the present one")
        else:
            invariant(now.voters == old.voters, "voters change by a joint configuration")
        known = {m.incarnation for m in (*old.members, *(old.target.members if old.target else ()))}
        added = [m for m in (now.target or now).members if m.incarnation not in known]
        place = ReplicaNumber(state.term, state.configuration_index)
        numbered = all(m.number in (UNNUMBERED, place) for m in added)
        invariant(numbered, "a replica has the number of the entry that adds it")

    def _check_restored(self, state: ReplicaState, base: Base) -> None:
        """A snapshot is of a committed index; the entries up to there count as given out."""
        invariant(self._committed.setdefault(base.index, base.term) == base.term, "a snapshot is committed")
        self._membership.check_base(base)
        self._applied[state.id] = max(base.index, self._applied.get(state.id, 0))

    def _check_entries(self, state: ReplicaState, persist: Persist) -> None:
        """Log matching: equal index and term mean an equal entry and, by induction, equal ones before it."""
        for entry in persist.entries:
            if entry.index <= state.log.base.index:
                continue
            found = _Known(entry, state.term_at(entry.index - 1))
            known = self._entries.setdefault((entry.index, entry.term), found)
            invariant(known == found, "log matching")

    def _check_truncated(self, state: ReplicaState, persist: Persist) -> None:
        """A truncated configuration is in force only if its entry is written anew or in the base (RD 4.1)."""
        index, first = state.configuration_index, persist.truncate_from
        if first is not None and index >= max(first, state.log.base.index + 1):
            written = {e.index for e in persist.entries if e.kind == EntryKind.CONFIGURATION}
            invariant(index in written, "a configuration is in force that was truncated")
