"""How many writes wait unlogged on this node, so that clients are paused instead of refused.

Groups report their numbers, and the sum is kept, because every request asks for it.
"""

from collections.abc import Callable, Sized
from typing import Protocol

COUNTED_BYTES = 8 << 10  # of waiting writes count as one more: with the default limit 64 MiB may wait


class WaitingProposals(Protocol):
    """The proposals of a group, as `Backpressure` sees them."""

    waiting_bytes: int

    @property
    def waiting(self) -> Sized:
        """Those that are not logged yet."""


class Backpressure:
    """`most` waiting writes saturate the node. It is relieved when at most half of them wait.

    `total` is the number of waiting writes of all groups. While `saturated` is true no more should be read
    from clients. `paused` holds the calls that let the paused clients go on.
    """

    def __init__(self, most: int) -> None:
        self.total = 0
        self.saturated = False
        self.paused: list[Callable[[], None]] = []
        self._most = most
        self._waiting: dict[int, int] = {}  # by group id

    def report(self, group: int, proposals: WaitingProposals) -> None:
        """These writes of the group with the id `group` are not logged yet."""
        waiting = len(proposals.waiting) + proposals.waiting_bytes // COUNTED_BYTES
        self.total += waiting - self._waiting.get(group, 0)
        self._waiting[group] = waiting
        self.saturated = self.total >= self._most

    def on_relief(self, call: Callable[[], None]) -> None:
        """Run `call` once, at the next `relieve` that finds at most half of the bound waiting."""
        self.paused.append(call)

    def relieve(self) -> None:
        """Let the paused clients go on, if there is room."""
        if self.total * 2 <= self._most:
            paused, self.paused = self.paused, []
            for call in paused:
                call()
