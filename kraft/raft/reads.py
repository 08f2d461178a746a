"""Reads that wait for proof that their leader still led after they began (RD 6.4).

Each read opens a round, numbered by the leader. A quorum that has answered this round, or a later one, proves
leadership for the read. Numbers are compared only within one term: a new leader starts with an empty queue.
"""

from collections import deque

from kraft.raft.ready import ReadState


class ReadQueue:
    """Waiting reads in the order of their rounds.

    The host bounds their number: all client reads of one turn share one `ctx`.
    """

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, ReadState]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, round_: int, read: ReadState) -> None:
        """Add `read`, which began `round_`: a number that no message carried before."""
        self._waiting.append((round_, read))

    def release(self, confirmed: int) -> list[ReadState]:
        """Remove and return the reads of all rounds up to `confirmed`."""
        released = []
        while self._waiting and self._waiting[0][0] <= confirmed:
            released.append(self._waiting.popleft()[1])
        return released

    def fail(self) -> list[int]:
        """Remove all reads, and return the `ctx` of each."""
        failed = [read.ctx for _, read in self._waiting]
        self._waiting.clear()
        return failed
