"""Compares the replicas of a group: followers report to the leader, which judges and acts on the verdict.

A replica whose state differs from the majority's is *fenced*: it answers no reads and does not lead, even
after a restart, until its state is replaced by a copy of the leader's. Its log is sound, so it goes on voting
and acknowledging entries.
"""

from collections.abc import Callable
from functools import partial

from kraft.host.applied_state import AppliedState
from kraft.host.consistency.verdicts import EQUAL, UNKNOWN, CheckpointSums, ReplicaSum, Verdict
from kraft.host.context import GroupContext
from kraft.host.pending import Pending, settle_all
from kraft.kv.checkpoint import Checkpoint
from kraft.node.errors import NotLeader
from kraft.peerwire.messages import Digest, Fence
from kraft.raft.raft import Raft

REPORT_SECONDS = 10.0  # between reports of the same checkpoint, because one may get lost
VERIFY_SECONDS = 10.0  # for the reports of all replicas, after the leader's own checkpoint

VerifyOutcome = list[object] | NotLeader


class _Verification(Pending[VerifyOutcome], eq=False):
    """A caller that waits for all replicas to report `index`."""

    index: int


class ConsistencyChecker:
    """Compares the replicas of one group. `mismatch` is whether any are known to differ."""

    def __init__(
        self,
        group: int,
        raft: Raft,
        state: AppliedState,
        context: GroupContext,
        checkpoint: Checkpoint | None,
    ) -> None:
        """`checkpoint` is the one that was loaded; it is compared like those that are taken later."""
        self.mismatch = False
        self._group = group
        self._raft = raft
        self._state = state
        self._context = context
        self._sums = CheckpointSums(raft.state.id)
        if checkpoint is not None:
            self._sums.own(checkpoint.base.index, checkpoint.sum)
        self._found_wrong = False  # this replica, since the start or the last copy
        self._members: dict[str, str] = {}  # id -> incarnation, of the nodes whose reports count
        self._reported_differences: set[tuple[int, str, bool]] = set()  # (index, replica, decided)
        self._reported: tuple[str, int] = ("", 0)  # (leader, index)
        self._report_again_at = 0.0
        self._verifications: list[_Verification] = []

    # -- checkpoints and reports ----------------------------------------------------------------------

    def completed(self, checkpoint: Checkpoint) -> None:
        """This replica's checkpoint is durable."""
        self._sums.own(checkpoint.base.index, checkpoint.sum)
        self._context.observer.compared(self._group, "taken")
        self._judge()

    def restored(self, checkpoint: Checkpoint) -> None:
        """This replica's state is now a copy of the leader's."""
        self._sums.restored(checkpoint.base.index, checkpoint.sum)
        self._reported = ("", 0)
        self._found_wrong = False

    def heard(self, peer: str, message: Digest) -> None:
        """A follower reports its checkpoint."""
        if self._raft.state.leads:
            self._sums.heard(peer, message.index, message.sum)
            self._judge()

    def fence(self, _: str, message: Fence) -> None:
        """The leader reports that this replica's state is wrong."""
        if self._sums.disproved(message.index, message.sum):
            self._fence(message.index)

    def follow(self) -> None:
        """This replica no longer leads: callers that wait for a table must ask its successor."""
        self._sums.follow()
        waiting, self._verifications = self._verifications, []
        settle_all(waiting, NotLeader(self._group, self._raft.state.leader))
        self._reported_differences.clear()
        self.mismatch = False

    @property
    def awaited(self) -> bool:
        """Whether an administrator waits for a table."""
        return bool(self._verifications)

    def tick(self, now: float) -> None:
        """Report this replica's sum to the leader, and answer callers that wait for a table."""
        newest, leader = self._sums.newest, self._raft.state.leader
        if newest is not None and leader and not self._raft.state.leads:
            self._report(leader, *newest, now)
        if self._verifications:
            self._answer(now)

    def _report(self, leader: str, index: int, sum_: bytes, now: float) -> None:
        if self._reported != (leader, index) or self._report_again_at <= now:
            self._reported = (leader, index)
            self._report_again_at = now + REPORT_SECONDS
            self._context.turns.post(leader, self._group, Digest(index, sum_))

    # -- questions ------------------------------------------------------------------------------------

    def verify(self, index: int, done: Callable[[VerifyOutcome], None]) -> None:
        """Give `done` the table of all replicas once each has reported `index`, or after VERIFY_SECONDS.

        It gets NotLeader when this replica stops leading first.
        """
        deadline = self._context.clock.seconds() + VERIFY_SECONDS
        self._verifications.append(_Verification(deadline, done, index))

    def equal(self, replica: str) -> int:
        """The last index at which `replica` is known to be equal to the majority; 0 for none."""
        rows = [row for row in self._table() if row.node == replica and row.state == EQUAL]
        return rows[0].index if rows else 0

    def _answer(self, now: float) -> None:
        waiting, self._verifications = self._verifications, []
        for verification in waiting:
            table = self._table()
            missing = any(row.index < verification.index or row.state == UNKNOWN for row in table)
            if missing and now < verification.deadline:
                self._verifications.append(verification)
            else:
                verification.settle(
                    [{"node": r.node, "index": r.index, "sum": r.sum, "state": r.state} for r in table]
                )

    def _table(self) -> tuple[ReplicaSum, ...]:
        configuration = self._raft.state.configuration
        return self._sums.table(configuration.electors, [m.id for m in configuration.everyone])

    # -- the verdict ----------------------------------------------------------------------------------

    def _judge(self) -> None:
        if not self._raft.state.leads:
            return
        self._forget_former_members()
        verdicts = self._sums.judge(self._raft.state.configuration.electors)
        self.mismatch = bool(verdicts)
        known, self._reported_differences = self._reported_differences, set()
        for verdict in verdicts:
            for replica, _ in verdict.differing:
                difference = (verdict.index, replica, verdict.decided)
                self._reported_differences.add(difference)
                if difference not in known:
                    self._report_difference(verdict, replica)
                if verdict.decided:
                    self._act(verdict, replica)

    def _forget_former_members(self) -> None:
        """Reports of a node count only while it is a member, and only those of that incarnation."""
        members = {m.id: m.incarnation for m in self._raft.state.configuration.everyone}
        for id_, incarnation in self._members.items():
            if members.get(id_) != incarnation:
                self._sums.forget(id_)
        self._members = members

    def _report_difference(self, verdict: Verdict, replica: str) -> None:
        observer = self._context.observer
        observer.compared(self._group, "different")
        observer.event(
            "replica_differs",
            group=self._group,
            replica=replica,
            index=verdict.index,
            decided=verdict.decided,
        )

    def _act(self, verdict: Verdict, replica: str) -> None:
        """Have `replica` fenced. The message is sent with every verdict, because one may get lost."""
        if replica == self._raft.state.id:
            self._fence(verdict.index)
        else:
            self._context.turns.post(replica, self._group, Fence(verdict.index, verdict.sum))

    def _fence(self, index: int) -> None:
        """Fence this replica: it answers no reads and does not campaign until its state is replaced."""
        if not self._found_wrong:
            self._found_wrong = True
            self._state.fenced = True
            self._raft.drain(True)
            self._context.disk.fence(self._group, True, partial(self._fenced, index))

    def _fenced(self, index: int) -> None:
        """The fence is durable."""
        self._context.observer.event("replica_fenced", group=self._group, index=index)
