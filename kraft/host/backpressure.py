"""How many writes wait unlogged on this node, so that clients are paused instead of refused.

Groups report their numbers, and the sum is kept: every request asks for it.
"""

from collections.abc import Callable


class Backpressure:
    """`most` waiting writes saturate the node. It is relieved when at most half of them wait."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: dict[int, int] = {}
        self.total = 0  # waiting writes of all groups
        self._relief: list[Callable[[], None]] = []

    @property
    def saturated(self) -> bool:
        """Whether to read no more from clients for now."""
        return self.total >= self._most

    def report(self, group: int, waiting: int) -> None:
        """`waiting` writes of the group with the id `group` are not logged yet."""
        self.total += waiting - self._waiting.get(group, 0)
        self._waiting[group] = waiting

    def on_relief(self, call: Callable[[], None]) -> None:
        """Run `call` once, at the next `relieve` that finds at most half of the bound waiting."""
        self._relief.append(call)

    def relieve(self) -> None:
        """Let the paused clients go on, if there is room."""
        if self._relief and self.total * 2 <= self._most:
            relief, self._relief = self._relief, []
            for call in relief:
                call()
