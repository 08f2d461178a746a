"""What must hold after every step, over all nodes at once, and what must hold at the end.

Consensus has its own checker, `kraft.raft.invariants`, which sees every step of every node here. This module
adds what only a whole cluster can show: what nodes say and do against what is on their platters.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from kraft.host.group import Group
from kraft.raft.invariants import ClusterChecker
from kraft.raft.messages import (
    Append,
    AppendReply,
    Entry,
    EntryKind,
    Heartbeat,
    HeartbeatReply,
    PreVote,
    PreVoteReply,
    Vote,
    VoteReply,
)
from kraft.raft.node import Node
from kraft.raft.ready import Outgoing, Ready

if TYPE_CHECKING:
    from tests.simulation.cluster import Process, SimulatedCluster

CONSENSUS = (Append, AppendReply, Heartbeat, HeartbeatReply, PreVote, PreVoteReply, Vote, VoteReply)
SLACK_BYTES = 4_000  # what a bound may be exceeded by: one entry of any size, no-ops and their overhead


MARK = re.compile(rb"<\d+\.\d+>")  # of one write of one client; see `mark`


class Violation(AssertionError):
    """A safety property does not hold."""


def demand(condition: bool, what: str) -> None:
    if not condition:
        raise Violation(what)


def mark(client: int, count: int) -> bytes:
    """What tells a client's write from all others, wherever its entry turns up."""
    return b"<%d.%d>" % (client, count)


class Watched(Node):
    """A node of which the checker sees every `Ready`."""

    __slots__ = ("_checker",)

    def __init__(self, node: Node, checker: ClusterChecker) -> None:
        self._core = node._core
        self._checker = checker

    def ready(self) -> Ready | None:
        ready = super().ready()
        if ready is not None:
            self._checker.ready(self, ready)
        return ready


class Checks:
    """Looks only at what moved since the last step, so it may run after each of them."""

    def __init__(self, cluster: "SimulatedCluster") -> None:
        self._cluster = cluster
        self._checkers = {group: ClusterChecker() for group in range(cluster.group_count)}
        self._seen: dict[tuple[str, int], tuple[int, ...]] = {}
        # group -> highest index that anybody calls committed; the first entry, which every node derives from
        # the members it forms with, is committed by definition
        self._committed = dict.fromkeys(self._checkers, 1)
        self._digests: dict[tuple[int, int], tuple[bytes, str]] = {}  # (group, applied) -> digest, first node

    def forget(self, node: str) -> None:
        """A process died: what it held in memory may go back to what is on its platter."""
        for key in [k for k in self._seen if k[0] == node]:
            del self._seen[key]

    def after_step(self) -> None:
        for process in self._cluster.processes():
            for id_, group in process.host.groups.items():
                if type(group.node) is not Watched:
                    group.node = Watched(group.node, self._checkers[id_])
                    self._checkers[id_].restarted(group.node)
                node = group.node
                self._checkers[id_].step(node)
                now = (node.last_index, node.durable, node.commit, group.applied)
                if now != self._seen.get((process.id, id_)):
                    self._seen[(process.id, id_)] = now
                    self._moved(process, group)

    def _moved(self, process: "Process", group: Group) -> None:
        self._on_its_platter(process, group)
        if group.node.commit > self._committed[group.id]:
            self._committed[group.id] = group.node.commit
            self._on_most_platters(process, group)
        self._equal_state(process, group)
        self._bounded(process, group)

    def _entries(self, node: str, group: int) -> list[Entry]:
        log = self._cluster.nodes[node].platter.groups.get(group)
        return log.entries if log is not None else []

    def _on_its_platter(self, process: "Process", group: Group) -> None:
        """What a node takes for durable is on its platter, with the same term."""
        node, rows = group.node, self._entries(process.id, group.id)
        durable = node.durable
        held = durable <= len(rows) and (durable == 0 or rows[durable - 1].term == node.term_at(durable))
        demand(held, f"{process.id} takes index {durable} of group {group.id} for durable, and it is not")

    def _on_most_platters(self, process: "Process", group: Group) -> None:
        """By log matching the last committed entry speaks for all before it."""
        index = group.node.commit
        term = group.node.term_at(index)
        logs = [self._entries(node, group.id) for node in self._cluster.nodes]
        holders = sum(len(rows) >= index and rows[index - 1].term == term for rows in logs)
        demand(
            holders * 2 > len(logs),
            f"{process.id} calls index {index} of group {group.id} committed; it is on {holders} platters",
        )

    def _equal_state(self, process: "Process", group: Group) -> None:
        """Whoever applied the same index holds the same data, and held it whenever that was."""
        digest = group.machine.digest()
        expected, other = self._digests.setdefault((group.id, group.applied), (digest, process.id))
        demand(digest == expected, f"{process.id} and {other} differ at index {group.applied}")

    def _bounded(self, process: "Process", group: Group) -> None:
        raft, node = self._cluster.nodes[process.id].config.raft, group.node
        uncommitted, kept = node.uncommitted_bytes, node.log_bytes
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

    def sent(self, process: "Process", peer: str, messages: Sequence[tuple[int, object]]) -> None:
        """These leave `process` now: whatever they promise must be on its platter."""
        for id_, message in messages:
            if isinstance(message, CONSENSUS):
                node = process.host.groups[id_].node
                self._checkers[id_].sent(node, Outgoing(peer, message))
            if isinstance(message, Vote):
                self._promised(process.id, id_, message.term, process.id)
            elif isinstance(message, VoteReply) and message.granted:
                self._promised(process.id, id_, message.term, peer)

    def _promised(self, voter: str, group: int, term: int, candidate: str) -> None:
        state = self._cluster.nodes[voter].platter.groups[group].hard_state
        demand(
            state.term > term or (state.term == term and state.vote == candidate),
            f"{voter} promised {candidate} its vote in term {term}, and its platter says {state}",
        )

    def acknowledged(self, group: int, marked: bytes) -> None:
        """A client hears that the write with `marked` is done: a majority of platters must hold it."""
        logs = [self._entries(node, group) for node in self._cluster.nodes]
        found = next((e for rows in logs for e in reversed(rows) if marked in e.data), None)
        if found is None:
            raise Violation(f"the acknowledged write {marked!r} is on no platter")
        holders = sum(len(rows) >= found.index and rows[found.index - 1] == found for rows in logs)
        demand(holders * 2 > len(logs), f"the acknowledged write {marked!r} is on {holders} platters")

    # -- at the end, when all nodes are up and have applied everything

    def equal_logs(self) -> None:
        """All platters hold the same entries."""
        for group in range(self._cluster.group_count):
            logs = {node: self._entries(node, group) for node in self._cluster.nodes}
            first = next(iter(logs.values()))
            for node, rows in logs.items():
                demand(rows == first, f"the log of group {group} on {node} differs")

    def effects(self, group: int, outcomes: Mapping[bytes, str]) -> list[bytes]:
        """Every write that a client was told is done is in the log once, every refused one never.

        `outcomes` maps the mark of each write to done, refused or unknown. Returns the marks as logged.
        """
        logged = self._marks(group)
        times = Counter(logged)
        for marked, outcome in outcomes.items():
            count = times[marked]
            demand(count <= 1, f"the write {marked!r} was executed {count} times")
            demand(outcome != "done" or count == 1, f"the acknowledged write {marked!r} is lost")
            demand(outcome != "refused" or count == 0, f"the refused write {marked!r} was executed")
        return logged

    def _marks(self, group: int) -> list[bytes]:
        rows = self._entries(next(iter(self._cluster.nodes)), group)
        return [m for e in rows if e.kind == EntryKind.COMMANDS for m in MARK.findall(e.data)]
