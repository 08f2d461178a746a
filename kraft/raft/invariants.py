"""What must hold, stated a second time and apart from the code that makes it so.

`check_node` compares one node before and after a step. `ClusterChecker` knows the whole cluster, as only a
test can, and checks the properties of RP figure 3. It is fed with every step and looks at new things only.
Both raise `InvariantViolation`.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from kraft.raft.errors import invariant
from kraft.raft.messages import AppendReply, Entry, VoteReply
from kraft.raft.node import Node
from kraft.raft.ready import Outgoing, Persist, Ready


class View(NamedTuple):
    """What `check_node` compares."""

    role: str
    term: int
    vote: str
    leader: str
    commit: int
    applied: int
    durable: int
    last_index: int

    @classmethod
    def of(cls, node: Node) -> "View":
        """The state of `node` now."""
        return cls(
            node.role,
            node.term,
            node.vote,
            node.leader,
            node.commit,
            node.applied,
            node.durable,
            node.last_index,
        )


def check_state(view: View) -> None:
    """What holds in every state of a node."""
    invariant(view.applied <= view.commit, "only committed entries are applied")
    invariant(view.applied <= view.durable, "only durable entries are applied")
    invariant(view.commit <= view.last_index, "committed entries are in the log")
    invariant(view.durable <= view.last_index, "durable entries are in the log")
    if view.role in ("precandidate", "candidate"):
        invariant(not view.leader, "who campaigns knows no leader")


def check_node(node: Node, before: View, after: View) -> None:
    """What holds between two states of a node that did not restart."""
    check_state(after)
    invariant(after.term >= before.term, "terms never go back")
    invariant(after.commit >= before.commit, "the commit index never goes back")
    invariant(after.applied >= before.applied, "nothing is applied twice")
    invariant(after.durable >= min(before.durable, before.commit), "committed entries stay durable")
    if after.term == before.term:
        invariant(before.vote in ("", after.vote), "one vote for each term")
        invariant(not before.leader or after.leader in ("", before.leader), "one leader for each term")
        if before.role == after.role == "leader":
            invariant(after.last_index >= before.last_index, "a leader only appends")
            counted = after.commit > before.commit
            own = not counted or node.term_at(after.commit) == after.term
            invariant(own, "a leader commits by counting only entries of its own term")
    if after.role == "leader":
        invariant(after.leader == node.id, "a leader follows itself")
        invariant(after.vote == node.id, "a leader has its own vote")
        for follower in node.progress():
            invariant(follower.match < follower.next <= after.last_index + 1, "progress lies in the log")


class _Known(NamedTuple):
    """One (index, term) as first seen: the entry and the term before it."""

    entry: Entry
    previous_term: int


@dataclass(slots=True)
class ClusterChecker:
    """Call `step` after every input of a node, `ready` with each Ready, `sent` with each message as it
    leaves, `restarted` after a crash.
    """

    _views: dict[str, View] = field(default_factory=dict)
    _leaders: dict[int, str] = field(default_factory=dict)  # by term
    _votes: dict[tuple[str, int], str] = field(default_factory=dict)  # by (voter, term), once told
    _committed: dict[int, int] = field(default_factory=dict)  # term by index
    _last_committed: dict[int, int] = field(default_factory=dict)  # by term of the leader that committed it
    _entries: dict[tuple[int, int], _Known] = field(default_factory=dict)  # by (index, term)
    _applied: dict[str, int] = field(default_factory=dict)
    _history: dict[int, Entry] = field(default_factory=dict)  # what was applied at each index

    def step(self, node: Node) -> None:
        """`node` took an input."""
        after = View.of(node)
        before = self._views.get(node.id)
        if before == after:
            return
        self._views[node.id] = after
        if before is None:
            check_state(after)
        else:
            check_node(node, before, after)
        self._check_commit(node, before.commit if before else 0, after.commit)
        elected = before is None or before.role != "leader" or before.term != after.term
        if after.role == "leader" and elected:
            self._check_leader(node, after.term)

    def restarted(self, node: Node) -> None:
        """`node` came back from its disk: what it knew beyond that is gone, and it applies again."""
        self._views.pop(node.id, None)
        self._applied[node.id] = node.applied
        self.step(node)

    def ready(self, node: Node, ready: Ready) -> None:
        """`node` handed out `ready`."""
        self.step(node)
        if ready.persist is not None:
            self._check_entries(node, ready.persist)
        for entry in ready.apply:
            expected = self._applied.get(node.id, entry.index - 1) + 1
            invariant(entry.index == expected, "entries are applied in order, each once")
            self._applied[node.id] = entry.index
            invariant(self._history.setdefault(entry.index, entry) == entry, "state machine safety")

    def sent(self, node: Node, outgoing: Outgoing) -> None:
        """`outgoing` of `node` left, that is after its write when it had to wait for one."""
        message = outgoing.message
        if isinstance(message, VoteReply) and message.granted:
            first = self._votes.setdefault((node.id, message.term), outgoing.to)
            invariant(first == outgoing.to, "one vote for each term, across crashes")
        elif isinstance(message, AppendReply) and not message.rejected and message.term == node.term:
            invariant(message.index <= node.durable, "only durable entries are acknowledged")

    def _check_leader(self, node: Node, term: int) -> None:
        invariant(self._leaders.setdefault(term, node.id) == node.id, "election safety")
        # A node may learn late that it was elected: it need not have what later leaders committed meanwhile.
        last_committed = max((last for t, last in self._last_committed.items() if t < term), default=0)
        invariant(node.last_index >= last_committed, "leader completeness: the log is too short")
        committed = self._committed
        runs = node.term_runs()
        ends = [first - 1 for first, _ in runs[1:]] + [last_committed]
        # Terms rise along both logs, so equal terms at both ends of a run are equal within it.
        for (first, run_term), last in zip(runs, ends, strict=True):
            if first <= last_committed:
                for index in (first, min(last, last_committed)):
                    invariant(committed.get(index, run_term) == run_term, "leader completeness")

    def _check_commit(self, node: Node, before: int, after: int) -> None:
        for index in range(before + 1, after + 1):
            term = node.term_at(index)
            if index not in self._committed:  # its leader is the first to know, in its own term
                self._last_committed[node.term] = index
            invariant(self._committed.setdefault(index, term) == term, "committed entries never change")

    def _check_entries(self, node: Node, persist: Persist) -> None:
        """Log matching: where index and term agree, so do the entry and, by induction, all before it."""
        for entry in persist.entries:
            found = _Known(entry, node.term_at(entry.index - 1))
            known = self._entries.setdefault((entry.index, entry.term), found)
            invariant(known == found, "log matching")
