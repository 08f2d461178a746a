"""An early prevote when the leader's process has closed its link: that is news.

No leader holds a lease yet, so nobody relies on a full election timeout of calm. Followers draw a small
random delay, so that one of them usually asks first; while it stays without a leader, a node asks a few times
more, because a peer that has not noticed the loss yet refuses.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from kraft.node.ports import Clock
from kraft.raft.ports import Jitter

if TYPE_CHECKING:
    from kraft.host.group.group import Group

ATTEMPTS = 4


class FastElection:
    """Delayed campaigns; `window` is the longest delay in seconds."""

    def __init__(self, clock: Clock, jitter: Jitter, window: float) -> None:
        self._clock = clock
        self._jitter = jitter
        self._window_ms = max(2, round(window * 1000))

    def begin(self, group: "Group", wake: Callable[["Group"], None], attempts: int = ATTEMPTS) -> None:
        """Campaign soon, unless a leader turns up first."""
        term = group.raft.term
        delay = (1 + self._jitter(self._window_ms)) / 1000.0

        def campaign() -> None:
            if group.raft.leader or group.raft.term != term:
                return
            group.raft.campaign()
            wake(group)
            if attempts > 1:
                self.begin(group, wake, attempts - 1)

        self._clock.call_later(delay, campaign)
