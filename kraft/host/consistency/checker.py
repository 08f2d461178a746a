"""The comparison of replicas carried out: reports to the leader, its judgement, and what follows from it.

A replica whose state is not the majority's is *fenced*: it answers no reader and leads nobody, also after a
restart, until its state is replaced by a copy of the leader's. Its log is as good as any, so it goes on to
vote and to acknowledge entries.
"""

from collections.abc import Callable

from kraft.host.consistency.verdicts import EQUAL, UNKNOWN, Divergence, ReplicaSum, Verdict
from kraft.host.context import GroupContext
from kraft.kv.checkpoint import Checkpoint
from kraft.node.errors import NotLeader
from kraft.peerwire.messages import Digest, Fence, Message
from kraft.raft.raft import Raft

REPORT_SECONDS = 10.0  # between reports of the same checkpoint: one may get lost
VERIFY_SECONDS = 10.0  # for the reports of all replicas after the leader's own checkpoint


class ConsistencyChecker:
    """One group's. `fenced(True)` is called when this replica turns out to be the odd one."""

    def __init__(
        self,
        group: int,
        node: Raft,
        context: GroupContext,
        post: Callable[[str, Message], None],
        fenced: Callable[[bool], None],
        checkpoint: Checkpoint | None,
    ) -> None:
        self.mismatch = False  # some replica is known to differ, or nobody can tell which one
        self._group = group
        self._node = node
        self._context = context
        self._post = post
        self._fenced = fenced
        self._divergence = Divergence(node.state.id)
        if checkpoint is not None:  # what was loaded can be judged like what is written
            self._divergence.own(checkpoint.base.index, checkpoint.sum)
        self._wrong = False  # this replica was found to be the odd one
        self._members: dict[str, str] = {}  # id -> incarnation, of those whose reports count
        self._told: set[tuple[int, str, bool]] = set()  # (index, replica, decided) found different
        self._reported: tuple[str, int] = ("", 0)  # (leader, index)
        self._report_again_at = 0.0
        self._verifying: list[tuple[int, float, Callable[[list[object] | NotLeader], None]]] = []

    @property
    def _leads(self) -> bool:
        return self._node.state.leader == self._node.state.id

    def completed(self, checkpoint: Checkpoint) -> None:
        """This replica's checkpoint is durable."""
        self._divergence.own(checkpoint.base.index, checkpoint.sum)
        self._context.observer.compared(self._group, "taken")
        self._judge()

    def restored(self, checkpoint: Checkpoint) -> None:
        """This replica's state is a copy of the leader's now."""
        self._divergence.restored(checkpoint.base.index, checkpoint.sum)
        self._reported = ("", 0)
        self._wrong = False

    def heard(self, peer: str, message: Digest) -> None:
        """A follower reports its checkpoint."""
        if self._leads:
            self._divergence.heard(peer, message.index, message.sum)
            self._judge()

    def follow(self) -> None:
        """This replica leads no more: who waits for a table has to ask its successor."""
        self._divergence.follow()
        waiting, self._verifying = self._verifying, []
        for _, _, done in waiting:
            done(NotLeader(self._group, self._node.state.leader))
        self._told.clear()
        self.mismatch = False

    def fence(self, message: Fence) -> None:
        """The leader says that this replica's state is wrong."""
        if self._divergence.fenced(message.index, message.sum):
            self._fence(message.index)

    def verify(self, index: int, done: Callable[[list[object] | NotLeader], None]) -> None:
        """`done` gets the table of all replicas when every one has reported `index`, or time is up."""
        self._verifying.append((index, self._context.clock.seconds() + VERIFY_SECONDS, done))

    def equal(self, replica: str) -> int:
        """The index at which `replica` was last like the others; 0 when it was not, or nobody knows."""
        rows = [row for row in self._table() if row.node == replica and row.state == EQUAL]
        return rows[0].index if rows else 0

    def tick(self, now: float) -> None:
        """Report this replica's sum to the leader; answer who waits for a table."""
        newest, leader = self._divergence.newest, self._node.state.leader
        if newest is not None and leader and not self._leads:
            self._report(leader, *newest, now)
        waiting, self._verifying = self._verifying, []
        for index, until, done in waiting:
            table = self._table()
            if now < until and any(row.index < index or row.state == UNKNOWN for row in table):
                self._verifying.append((index, until, done))
            else:
                done([{"node": r.node, "index": r.index, "sum": r.sum, "state": r.state} for r in table])

    def _report(self, leader: str, index: int, sum_: bytes, now: float) -> None:
        if self._reported != (leader, index) or self._report_again_at <= now:
            self._reported = (leader, index)
            self._report_again_at = now + REPORT_SECONDS
            self._post(leader, Digest(index, sum_))

    def _table(self) -> tuple[ReplicaSum, ...]:
        configuration = self._node.state.configuration
        return self._divergence.table(configuration.electors, [m.id for m in configuration.everyone])

    def _judge(self) -> None:
        if not self._leads:
            return
        self._forget_others()
        verdicts = self._divergence.judge(self._node.state.configuration.electors)
        self.mismatch = bool(verdicts)
        known, self._told = self._told, set()
        for verdict in verdicts:
            for replica, _ in verdict.odd:
                found = (verdict.index, replica, verdict.decided)
                self._told.add(found)
                if found not in known:
                    self._tell(verdict, replica)
                if verdict.decided:
                    self._act(verdict, replica)

    def _forget_others(self) -> None:
        """Reports of a node count as long as it is a member, and of that incarnation alone."""
        members = {m.id: m.incarnation for m in self._node.state.configuration.everyone}
        for id_, incarnation in self._members.items():
            if members.get(id_) != incarnation:
                self._divergence.forget(id_)
        self._members = members

    def _tell(self, verdict: Verdict, replica: str) -> None:
        self._context.observer.compared(self._group, "different")
        self._context.observer.event(
            "replica_differs",
            group=self._group,
            replica=replica,
            index=verdict.index,
            decided=verdict.decided,
        )

    def _act(self, verdict: Verdict, replica: str) -> None:
        """Fence the odd one. It is told at every judgement: the word may have been lost."""
        if replica == self._node.state.id:
            self._fence(verdict.index)
        else:
            self._post(replica, Fence(verdict.index, verdict.sum))

    def _fence(self, index: int) -> None:
        def remembered() -> None:
            self._context.observer.event("replica_fenced", group=self._group, index=index)

        if not self._wrong:
            self._wrong = True
            self._fenced(True)
            self._context.disk.fence(self._group, True, remembered)
