"""An early prevote after the leader's process has closed its link.

No leader holds a lease at that moment, so no node relies on a full election timeout of silence. Followers
draw a small random delay, so that usually one of them asks first. A peer that has not noticed the loss yet
refuses; a node that stays without a leader therefore asks a few times more.
"""

from functools import partial

from kraft.host.turns import Turns
from kraft.node.ports import Clock
from kraft.raft.ports import Jitter
from kraft.raft.raft import Raft

ATTEMPTS = 4


class FastElection:
    """Delayed campaigns. `window` is the longest delay in seconds."""

    def __init__(self, clock: Clock, jitter: Jitter, window: float, turns: Turns) -> None:
        self._clock = clock
        self._jitter = jitter
        self._window_ms = max(2, round(window * 1000))
        self._turns = turns

    def begin(self, group: int, raft: Raft, attempts: int = ATTEMPTS) -> None:
        """Let the replica `raft` of the group with the id `group` campaign soon, unless a leader turns up."""
        delay = (1 + self._jitter(self._window_ms)) / 1000.0
        self._clock.call_later(delay, partial(self._campaign, group, raft, raft.state.term, attempts))

    def _campaign(self, group: int, raft: Raft, term: int, attempts: int) -> None:
        if raft.state.leader or raft.state.term != term:
            return
        raft.campaign()
        self._turns.wake(group)
        if attempts > 1:
            self.begin(group, raft, attempts - 1)
