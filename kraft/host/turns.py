"""The work of the next turn: which groups take part in it, and which messages leave at its end."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Protocol

from kraft.host.replica_numbers import ReplicaNumbers
from kraft.node.ports import Clock
from kraft.peerwire.messages import Message
from kraft.raft.ready import Outgoing


class TurnOwner(Protocol):
    """The host, as `Turns` sees it."""

    def turn(self) -> None:
        """Serve the groups that were woken, and send the messages that were posted."""


class Turns:
    """Gathers work and schedules one turn for all of it, at the end of the reactor's iteration.

    `woken` holds the ids of the groups that take part, in the order in which they were woken; `outbox` the
    (group, message) pairs to send, by peer. The turn takes them away and leaves empty ones. While
    `scheduled` is true a turn follows anyway, so that none is arranged. `numbers` are those of the groups
    whose messages have to carry any.
    """

    __slots__ = ("_clock", "_owner", "numbers", "outbox", "scheduled", "woken")

    def __init__(self, clock: Clock, owner: TurnOwner) -> None:
        self.scheduled = False
        self._clock = clock
        self._owner = owner
        self.woken: dict[int, None] = {}
        self.numbers: dict[int, ReplicaNumbers] = {}
        self.outbox: defaultdict[str, list[tuple[int, Message]]] = defaultdict(list)

    def wake(self, group: int) -> None:
        """Let the group with the id `group` take part in the next turn."""
        self.woken[group] = None
        if not self.scheduled:
            self._schedule()

    def post(self, peer: str, group: int, message: Message) -> None:
        """Send `message` to `peer` at the end of the next turn."""
        if self.numbers and group in self.numbers:
            message = self.numbers[group].framed(peer, message)
        self.outbox[peer].append((group, message))
        if not self.scheduled:
            self._schedule()

    def post_all(self, group: int, messages: Sequence[Outgoing]) -> None:
        """Send the messages of `group`'s consensus at the end of the next turn."""
        outbox = self.outbox
        if self.numbers and group in self.numbers:
            framed = self.numbers[group].framed
            for outgoing in messages:
                outbox[outgoing.to].append((group, framed(outgoing.to, outgoing.message)))
        else:
            for outgoing in messages:
                outbox[outgoing.to].append((group, outgoing.message))
        if outbox and not self.scheduled:
            self._schedule()

    def _schedule(self) -> None:
        self.scheduled = True
        self._clock.call_soon(self._begin)

    def _begin(self) -> None:
        self.scheduled = False
        self._owner.turn()
