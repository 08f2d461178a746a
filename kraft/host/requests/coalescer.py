"""Waits for clients that were answered together, so that their next requests share a batch or a round.

After a batch is answered its clients usually send again at once, in one of the next iterations of the
reactor. The next batch waits from poll to poll of the reactor until a few in a row have brought no request.
It never waits for time to pass.

If the first such poll ended it, two halves of the clients that once got into different rounds would stay
apart: each is answered while the other one waits, and comes back when the other's round has begun.
"""

from kraft.host.requests.proposals import Proposals
from kraft.host.requests.read_rounds import ReadRounds
from kraft.host.turns import Turns
from kraft.node.ports import Clock

POLLS_MAX = 16
EMPTY_POLLS_MAX = 4  # in a row: some 40 us, less than what one more round costs three nodes


class Coalescer:
    """Coalesces the requests on one replica. While it is `under_way` no batch or round should begin. Then it
    wakes the group.
    """

    __slots__ = (
        "_clock",
        "_empty_polls",
        "_group",
        "_polls",
        "_proposals",
        "_rounds",
        "_seen",
        "_turns",
        "under_way",
    )

    def __init__(
        self, group: int, proposals: Proposals, rounds: ReadRounds, clock: Clock, turns: Turns
    ) -> None:
        self.under_way = False
        self._group = group
        self._clock = clock
        self._turns = turns
        self._proposals = proposals
        self._rounds = rounds
        self._polls = self._empty_polls = 0
        self._seen = 0

    def begin(self) -> None:
        """Wait for requests of the clients that were just answered."""
        if not self.under_way:
            self.under_way = True
            self._polls = self._empty_polls = self._seen = 0
            self._clock.call_soon(self._poll)

    def _poll(self) -> None:
        demand = len(self._proposals.waiting) + len(self._rounds.waiting)
        self._polls += 1
        self._empty_polls = 0 if demand > self._seen else self._empty_polls + 1
        self._seen = demand
        if self._empty_polls < EMPTY_POLLS_MAX and self._polls < POLLS_MAX:
            self._clock.call_soon(self._poll)
        else:
            self.under_way = False
            self._turns.wake(self._group)
