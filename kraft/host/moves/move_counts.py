"""What this node has done to move slots."""

from dataclasses import dataclass


@dataclass(slots=True)
class MoveCounts:
    """Counts of the moves out of the groups that this node led.

    `moved` and `cancelled` are moves, `failed` attempts that another one followed. `bytes` were sent.
    """

    moved: int = 0
    cancelled: int = 0
    failed: int = 0
    bytes: int = 0

    def ended(self, *, moved: bool) -> None:
        """A move is over."""
        self.moved += moved
        self.cancelled += not moved

    @property
    def outcomes(self) -> dict[str, int]:
        """The number of moves by outcome."""
        return {"moved": self.moved, "cancelled": self.cancelled, "failed": self.failed}
