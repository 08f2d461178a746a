"""Limits the speed of a transfer. Pure arithmetic: a caller that has to wait uses its own clock."""


class Throttle:
    """Limits throughput to `bytes_per_second` (0: unlimited). A chunk is charged after it is sent.

    The charge is a debt that time pays off, so no chunk is kept in memory until it may be sent. Quiet times
    save nothing up: the rate holds over every interval, but for one chunk.
    """

    __slots__ = ("_free_at", "_rate")

    def __init__(self, bytes_per_second: int) -> None:
        self._rate = bytes_per_second
        self._free_at = float("-inf")

    def wait(self, now: float) -> float:
        """Seconds until the next chunk may be sent."""
        return max(0.0, self._free_at - now)

    def spend(self, size: int, now: float) -> None:
        """Charge `size` bytes that were sent at `now` (monotonic seconds)."""
        if self._rate:
            self._free_at = max(self._free_at, now) + size / self._rate
