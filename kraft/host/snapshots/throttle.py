"""How fast something may go: pure arithmetic, so that whoever waits uses a clock of its own."""


class Throttle:
    """So many bytes per second (0: any number), paid for afterwards.

    What was sent is a debt that time pays off, so nothing need be kept in memory until it may go. Nothing is
    saved up in quiet times: the rate holds over every interval, but for one piece.
    """

    __slots__ = ("_free_at", "_rate")

    def __init__(self, bytes_per_second: int) -> None:
        self._rate = bytes_per_second
        self._free_at = float("-inf")

    def wait(self, now: float) -> float:
        """Seconds until more may be sent."""
        return max(0.0, self._free_at - now)

    def spend(self, size: int, now: float) -> None:
        """`size` bytes were sent at `now`, monotonic seconds."""
        if self._rate:
            self._free_at = max(self._free_at, now) + size / self._rate
