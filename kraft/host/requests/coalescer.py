"""Waits for clients that were answered together, so that their next requests share a batch or a round.

After a batch is answered its clients usually send again at once, each in an iteration of the reactor of its
own. The next batch waits from poll to poll of the reactor as long as each poll brings more requests. It never
waits for time to pass.
"""

from kraft.host.requests.proposals import Proposals
from kraft.host.requests.read_rounds import ReadRounds
from kraft.host.turns import Turns
from kraft.node.ports import Clock

POLLS_MAX = 16


class Coalescer:
    """Coalesces the requests on one replica. While it is `under_way` no batch or round should begin. Then it
    wakes the group.
    """

    __slots__ = ("_clock", "_group", "_polls", "_proposals", "_rounds", "_seen", "_turns", "under_way")

    def __init__(
        self, group: int, proposals: Proposals, rounds: ReadRounds, clock: Clock, turns: Turns
    ) -> None:
        self.under_way = False
        self._group = group
        self._clock = clock
        self._turns = turns
        self._proposals = proposals
        self._rounds = rounds
        self._polls = 0
        self._seen = 0

    def begin(self) -> None:
        """Wait for requests of the clients that were just answered."""
        if not self.under_way:
            self.under_way = True
            self._polls = self._seen = 0
            self._clock.call_soon(self._poll)

    def _poll(self) -> None:
        demand = len(self._proposals.waiting) + len(self._rounds.waiting)
        self._polls += 1
        if demand > self._seen and self._polls < POLLS_MAX:
            self._seen = demand
            self._clock.call_soon(self._poll)
        else:
            self.under_way = False
            self._turns.wake(self._group)
