"""How many writes wait unlogged on this node, so that clients are paused instead of refused.

The proposals of every group report what they take in and give out, so the sum is known at every request.
"""

from collections.abc import Callable

COUNTED_BYTES = 8 << 10  # of waiting writes count as one more: with the default limit 64 MiB may wait


class Backpressure:
    """`most` waiting writes saturate the node. It is relieved when at most half of them wait.

    While `saturated` is true no more should be read from clients. `paused` holds the calls that let the
    paused clients go on.
    """

    __slots__ = ("_bytes", "_most", "_number", "paused", "saturated")

    def __init__(self, most: int) -> None:
        self.saturated = False
        self.paused: list[Callable[[], None]] = []
        self._most = most
        self._number = 0
        self._bytes = 0

    def add(self, number: int, size: int) -> None:
        """Count `number` more waiting writes of `size` bytes together; both negative for writes that left."""
        self._number += number
        self._bytes += size
        self.saturated = self._number + self._bytes // COUNTED_BYTES >= self._most

    def on_relief(self, call: Callable[[], None]) -> None:
        """Run `call` once, at the next `relieve` that finds at most half of the bound waiting."""
        self.paused.append(call)

    def relieve(self) -> None:
        """Let the paused clients go on, if there is room."""
        if (self._number + self._bytes // COUNTED_BYTES) * 2 <= self._most:
            paused, self.paused = self.paused, []
            for call in paused:
                call()
