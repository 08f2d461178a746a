"""Reads of a follower that wait for the locks of transactions: it asks the leader to tell it of their end.

A follower hears that an entry is committed with the next entry, or the next heartbeat. The end of a
transaction may therefore be over at the leader for long before reads at a follower go on. So the follower
asks the leader. That begins a read round as soon as the transaction holds no lock: a round tells followers
the commit index as soon as they have the entries.

There is no reply: who still waits at the next tick asks again, perhaps another leader.
"""

from collections.abc import Iterable

from kraft.host.applied_state import AppliedState
from kraft.host.membership.peers import Peers
from kraft.host.requests.leader_route import LeaderRoute
from kraft.host.requests.reads import Reads
from kraft.host.requests.round import ReadOutcome
from kraft.host.requests.transaction_waits import WaitingRead
from kraft.host.turns import Turns
from kraft.peerwire.hello import WIRE_REPLICAS
from kraft.peerwire.messages import HOLDERS_MAX, LockQuestion
from kraft.raft.raft import Raft


class LockQuestions:
    """The questions of one replica, and those to it: others wait for the transactions in `waiting`."""

    def __init__(
        self,
        group: int,
        raft: Raft,
        state: AppliedState,
        reads: Reads,
        route: LeaderRoute,
        peers: Peers,
        turns: Turns,
    ) -> None:
        self.waiting: set[bytes] = set()
        self._group = group
        self._raft = raft
        self._state = state
        self._reads = reads
        self._route = route
        self._peers = peers
        self._turns = turns
        self._asked: set[bytes] = set()  # since the last tick

    def ask(self, reading: Iterable[WaitingRead]) -> None:
        """On a follower: these reads wait for transactions."""
        transactions = self._state.machine.keyspace.transactions
        awaited = set[bytes]().union(*[read.awaits(transactions) for read in reading])
        leader, new = self._route.target, sorted(awaited - self._asked)[:HOLDERS_MAX]
        hello = self._peers.hello_of(leader)
        if new and hello is not None and hello.wire_max >= WIRE_REPLICAS:
            self._asked.update(new)
            self._turns.post(leader, self._group, LockQuestion(tuple(new)))

    def asked(self, _: str, message: LockQuestion) -> None:
        """Reads of another node wait for transactions."""
        self.waiting.update(message.holders)
        self.look()

    def look(self) -> None:
        """This replica may have applied entries: tell followers of transactions that are over."""
        if not self._raft.state.leads:
            self.waiting.clear()  # they ask the new leader
        elif self.waiting - self._state.machine.keyspace.transactions.prepared.keys():
            self.waiting &= self._state.machine.keyspace.transactions.prepared.keys()
            self._reads.read(_ignore, fresh=True)

    def tick(self) -> None:
        """One tick of the host passed."""
        self._asked.clear()
        if self.waiting:
            self.look()


def _ignore(_: ReadOutcome) -> None:
    """The followers are told on the way."""
