"""Linearizable reads of one group: all that wait in a turn share one read-index round (RD 6.4).

The leader confirms with a round of heartbeats; any other replica asks the leader. Either way the reads then
wait until the index is applied here. A round that fails or is lost is simply asked again: a read has no
effect.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from kraft.kv.keyspace import Keyspace
from kraft.node.errors import NoLeader


class View(msgspec.Struct, frozen=True, gc=False):
    """What a read may look at, during its callback only.

    `now_ms` is the stamp the read is answered at; every key that is there expires later.
    """

    keyspace: Keyspace
    now_ms: int


ReadDone = Callable[[View | Exception], None]


class Reader:
    """One waiting read: of a client here, or (`remote`) the question of another node.

    A `fresh` one trusts no lease.
    """

    __slots__ = ("created", "done", "fresh", "remote")

    def __init__(
        self,
        created: float,
        done: ReadDone | None,
        remote: tuple[str, int] | None = None,
        *,
        fresh: bool = False,
    ) -> None:
        self.created = created
        self.done = done
        self.remote = remote
        self.fresh = fresh


@dataclass(slots=True)
class Round:
    """Readers that share one confirmation."""

    ctx: int
    stamp: int
    begun: float
    readers: list[Reader]
    asked: str  # the peer asked, empty for a round of our own
    kind: str  # read_index, or lease: of an earlier round


class Reads:
    """The read rounds of one group: waiting, asked, confirmed."""

    def __init__(self, group: int, first_ctx: int) -> None:
        self._group = group
        self._next_ctx = first_ctx
        self._waiting: list[Reader] = []
        self._round: Round | None = None
        self._confirmed: deque[tuple[int, Round]] = deque()

    @property
    def wanted(self) -> bool:
        """A round should begin: something waits and none is under way."""
        return bool(self._waiting) and self._round is None

    @property
    def open(self) -> bool:
        """Somebody waits for a round, begun or not."""
        return bool(self._waiting) or self._round is not None

    @property
    def confirmed(self) -> bool:
        """A round waits only for its index to be applied."""
        return bool(self._confirmed)

    @property
    def waiting(self) -> int:
        """Readers whose round has not begun."""
        return len(self._waiting)

    @property
    def fresh(self) -> bool:
        """Somebody who waits trusts no lease."""
        return any(reader.fresh for reader in self._waiting)

    def begun(self, ctx: int) -> float | None:
        """When the round under way began, if it is the one of `ctx`."""
        return self._round.begun if self._round is not None and self._round.ctx == ctx else None

    def add(self, reader: Reader) -> None:
        """Let it share the next round."""
        self._waiting.append(reader)

    def begin(self, stamp: int, now: float, asked: str = "", kind: str = "read_index") -> int:
        """Start the round of all that wait; returns its ctx, unique in this process."""
        self._next_ctx += 1
        self._round = Round(self._next_ctx, stamp, now, self._waiting, asked, kind)
        self._waiting = []
        return self._next_ctx

    def take_remote(self) -> list[tuple[str, int]]:
        """Questions of other nodes that wait here: to be refused when this replica does not lead."""
        remote = [r.remote for r in self._waiting if r.remote]
        if remote:
            self._waiting = [r for r in self._waiting if not r.remote]
        return remote

    def confirm(self, ctx: int, index: int, stamp: int = 0) -> list[tuple[str, int, int, int]]:
        """The round may be answered at `index`; returns (peer, request, index, stamp) for remote readers."""
        found, self._round = self._round, None
        if found is None or found.ctx != ctx:
            self._round = found
            return []
        found.stamp = max(found.stamp, stamp)
        remote = [(*r.remote, index, found.stamp) for r in found.readers if r.remote]
        found.readers = [r for r in found.readers if not r.remote]
        if found.readers:
            self._confirmed.append((index, found))
        return remote

    def fail(self, ctx: int) -> None:
        """The round came to nothing: ask again."""
        if self._round is not None and self._round.ctx == ctx:
            self._waiting = self._round.readers + self._waiting
            self._round = None

    def fail_asked(self, peer: str) -> None:
        """The link to `peer` is gone: what it was asked, it will not answer."""
        if self._round is not None and self._round.asked == peer:
            self.fail(self._round.ctx)

    def fail_asked_before(self, leader: str) -> None:
        """`leader` leads now ('' for nobody): another one that was asked may hang, so do not wait for it."""
        if self._round is not None and self._round.asked not in ("", leader):
            self.fail(self._round.ctx)

    def answer(self, applied: int, keyspace: Keyspace, stamp: int) -> list[tuple[float, int, str]]:
        """Serve all that is confirmed at or below `applied`: begin, readers and kind of each such round."""
        begun = []
        while self._confirmed and self._confirmed[0][0] <= applied:
            _, confirmed = self._confirmed.popleft()
            begun.append((confirmed.begun, len(confirmed.readers), confirmed.kind))
            view = View(keyspace, read_at(max(confirmed.stamp, stamp), keyspace))
            for reader in confirmed.readers:
                if reader.done is not None:
                    reader.done(view)
        return begun

    def refuse_confirmed(self) -> None:
        """What is confirmed cannot be answered here: the state of this replica is not to be trusted."""
        confirmed, self._confirmed = self._confirmed, deque()
        for _, round_ in confirmed:
            for reader in round_.readers:
                if reader.done is not None:
                    reader.done(NoLeader(self._group))

    def expire(self, now: float, round_timeout: float, wait: float) -> int:
        """Repeat a round nobody answered, refuse readers that waited too long; how many were refused."""
        if self._round is not None and self._round.begun + round_timeout <= now:
            self.fail(self._round.ctx)
        late = [r for r in self._waiting if r.created + wait <= now]
        if late:
            self._waiting = [r for r in self._waiting if r.created + wait > now]
        for reader in late:
            if reader.done is not None:
                reader.done(NoLeader(self._group))
        return len(late) + self._expire_confirmed(now - wait)

    def _expire_confirmed(self, created: float) -> int:
        """This replica lags too far behind to serve what was confirmed long ago."""
        count = 0
        while self._confirmed and self._confirmed[0][1].begun <= created:
            _, confirmed = self._confirmed.popleft()
            count += len(confirmed.readers)
            for reader in confirmed.readers:
                if reader.done is not None:
                    reader.done(NoLeader(self._group))
        return count

    def abandon(self) -> None:
        """The group stopped: refuse everything."""
        readers = self._waiting + (self._round.readers if self._round else [])
        readers += [r for _, confirmed in self._confirmed for r in confirmed.readers]
        self._waiting, self._round = [], None
        self._confirmed.clear()
        for reader in readers:
            if reader.done is not None:
                reader.done(NoLeader(self._group))


def read_at(stamp: int, keyspace: Keyspace) -> int:
    """A stamp before every expiry that is to come.

    A key written by an entry that was logged, but not applied when the round began, may be due at the round's
    stamp, and its expiry is not logged yet. Such a read comes before it, in the log and so in time.
    """
    due = keyspace.next_expiry()
    return stamp if due is None else min(stamp, due - 1)
