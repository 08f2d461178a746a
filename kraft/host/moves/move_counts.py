"""What this node has done to move slots."""

from dataclasses import dataclass


@dataclass(slots=True)
class MoveCounts:
    """Counts of the moves out of the groups that this node led.

    `moved` and `cancelled` are moves, `failed` attempts that another one followed. `keys` and `bytes` were
    sent. `freezes` is how often slots were frozen and released, and `freeze_seconds` how long in total;
    `freeze_seconds_max` is the longest one.
    """

    moved: int = 0
    cancelled: int = 0
    failed: int = 0
    keys: int = 0
    bytes: int = 0
    freezes: int = 0
    freeze_seconds: float = 0.0
    freeze_seconds_max: float = 0.0

    def ended(self, *, moved: bool) -> None:
        """A move is over."""
        self.moved += moved
        self.cancelled += not moved

    def sent(self, keys: int, size: int) -> None:
        """So many keys, and bytes, were sent."""
        self.keys += keys
        self.bytes += size

    def frozen(self, seconds: float) -> None:
        """Slots were frozen for so long, and are released."""
        self.freezes += 1
        self.freeze_seconds += seconds
        self.freeze_seconds_max = max(self.freeze_seconds_max, seconds)
