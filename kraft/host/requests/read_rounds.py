"""Linearizable reads of one group: all reads that wait in a turn share one read-index round (RD 6.4).

The leader confirms a round with heartbeats; any other replica asks the leader. In both cases the reads then
wait until the round's index is applied here. A round that fails or is lost is simply repeated, because a
read has no effect.

A round here is a *read round*: readers that share one confirmation, named by a `ctx`. The number that
consensus sends in heartbeats to confirm it is a *heartbeat round* (`raft.heartbeats`).
"""

from collections import deque
from collections.abc import Callable

from kraft.host.requests.round import READ_INDEX, Reader, Round, View
from kraft.kv.keyspace import Keyspace
from kraft.kv.machine import Machine
from kraft.node.errors import NoLeader, Refused


class ReadRounds:
    """The read rounds of one group. A round is first wanted, then under way, then confirmed, then answered.

    `waiting` holds the readers whose round has not begun, `under_way` is the round that is not confirmed yet,
    `confirmed` holds rounds whose index is not applied yet. Others read these; only this class changes them.
    """

    def __init__(
        self,
        group: int,
        first_ctx: int,
        round_timeout: float,
        leader_wait: float,
        not_taken: Callable[[Exception], None],
    ) -> None:
        """Times in seconds: a round without a confirmation is repeated after `round_timeout`, and a confirmed
        round that cannot be answered for `leader_wait` is refused. `not_taken` gets what a reader raises.
        """
        self.waiting: list[Reader] = []
        self.under_way: Round | None = None
        self.confirmed: deque[Round] = deque()
        self._group = group
        self._next_ctx = first_ctx
        self._round_timeout = round_timeout
        self._leader_wait = leader_wait
        self._not_taken = not_taken

    @property
    def wanted(self) -> bool:
        """Whether a round should begin: readers wait and no round is under way."""
        return bool(self.waiting) and self.under_way is None

    @property
    def fresh(self) -> bool:
        """Whether a waiting reader must not rely on a lease."""
        return any(reader.fresh for reader in self.waiting)

    def add(self, reader: Reader) -> None:
        """Let `reader` share the next round."""
        self.waiting.append(reader)

    def begin(self, stamp: int, now: float, asked: str = "", kind: str = READ_INDEX) -> int:
        """Start the round of all readers that wait; returns its ctx, which is unique in this process."""
        self._next_ctx += 1
        self.under_way = Round(self._next_ctx, stamp, now, self.waiting, asked, kind)
        self.waiting = []
        return self._next_ctx

    def take_remote(self) -> list[tuple[str, int]]:
        """Remove and return the waiting questions of other nodes, which only a leader may answer."""
        remote = [r.remote for r in self.waiting if r.remote]
        if remote:
            self.waiting = [r for r in self.waiting if not r.remote]
        return remote

    def confirm(self, ctx: int, index: int, stamp: int = 0) -> list[tuple[str, int, int, int]]:
        """Confirm the round `ctx`: it may be answered once `index` is applied.

        Returns (peer, request, index, stamp) for its remote readers, to be sent at once. A ctx that is not
        that of the round under way confirms nothing.
        """
        found, self.under_way = self.under_way, None
        if found is None or found.ctx != ctx:
            self.under_way = found
            return []
        found.index = index
        found.stamp = max(found.stamp, stamp)
        remote = [(*r.remote, index, found.stamp) for r in found.readers if r.remote]
        if remote:
            found.readers = [r for r in found.readers if not r.remote]
        if found.readers:
            self.confirmed.append(found)
        return remote

    def fail(self, ctx: int) -> None:
        """The round `ctx` was not confirmed: its readers wait for the next one."""
        if self.under_way is not None and self.under_way.ctx == ctx:
            self.waiting = self.under_way.readers + self.waiting
            self.under_way = None

    def fail_asked(self, peer: str) -> None:
        """The link to `peer` is gone: fail the round that it was asked to confirm."""
        if self.under_way is not None and self.under_way.asked == peer:
            self.fail(self.under_way.ctx)

    def fail_asked_before(self, leader: str) -> None:
        """`leader` leads now ('' if unknown): fail a round that an earlier leader was asked to confirm.

        The earlier leader may hang without losing its link.
        """
        if self.under_way is not None and self.under_way.asked not in ("", leader):
            self.fail(self.under_way.ctx)

    def answer(self, applied: int, machine: Machine) -> list[Round]:
        """Answer and return all rounds confirmed at or below the index `applied`, that of `machine`."""
        keyspace, stamp, revision = machine.keyspace, machine.stamp, machine.revision
        answered = []
        while self.confirmed and self.confirmed[0].index <= applied:
            confirmed = self.confirmed.popleft()
            answered.append(confirmed)
            view = View(keyspace, read_at(max(confirmed.stamp, stamp), keyspace), revision)
            for reader in confirmed.readers:
                if reader.done is not None:
                    try:
                        reader.done(view)
                    except Exception as error:
                        self._not_taken(error)
        return answered

    def refuse_confirmed(self) -> None:
        """Refuse all confirmed rounds: the state of this replica is wrong and must not be read."""
        confirmed, self.confirmed = self.confirmed, deque()
        self._refuse([reader for round_ in confirmed for reader in round_.readers])

    def expire(self, now: float) -> int:
        """Repeat a round without confirmation, and refuse late readers; returns their number."""
        if not (self.waiting or self.under_way or self.confirmed):
            return 0  # most often
        if self.under_way is not None and self.under_way.begun + self._round_timeout <= now:
            self.fail(self.under_way.ctx)
        late = [r for r in self.waiting if r.deadline <= now]
        if late:
            self.waiting = [r for r in self.waiting if r.deadline > now]
        while self.confirmed and self.confirmed[0].begun + self._leader_wait <= now:
            late += self.confirmed.popleft().readers  # this replica is too far from applying the index
        self._refuse(late)
        return len(late)

    def abandon(self, refusal: Refused | None = None) -> None:
        """Refuse everything because the group stops."""
        readers = self.waiting + (self.under_way.readers if self.under_way else [])
        readers += [r for confirmed in self.confirmed for r in confirmed.readers]
        self.waiting, self.under_way = [], None
        self.confirmed.clear()
        self._refuse(readers, refusal)

    def _refuse(self, readers: list[Reader], refusal: Refused | None = None) -> None:
        for reader in readers:
            if reader.done is not None:
                try:
                    reader.done(refusal or NoLeader(self._group))
                except Exception as error:
                    self._not_taken(error)


def read_at(stamp: int, keyspace: Keyspace) -> int:
    """The stamp of a read at `stamp` or, when a key expires by then, just before the earliest expiry.

    A key whose write was logged but not applied when the round began may be due at the round's stamp while
    its expiry is not logged yet. Such a read comes before the expiry, in the log and therefore in time.
    """
    due = keyspace.due.next() if keyspace.due.live else None
    return stamp if due is None else min(stamp, due - 1)
