"""One attempt to move slots: what only the leader of the source remembers, and may be lost at any time."""

from dataclasses import dataclass

from kraft.host.moves.source_copy import SourceCopy
from kraft.kv.slot_map import PlannedMove

REST_BYTES, REST_BYTES_MAX = 64 << 10, 8 << 20  # that may be left when the slots are frozen
STILL_MAX = 4  # rounds in which no less was left than before, until twice as much may be left


@dataclass(slots=True, eq=False)
class MoveAttempt:
    """The attempt to carry out `move`. `chunk` is the number of the next Import.

    `frozen_at` is when the Freeze was sent (monotonic seconds), 0 before that. `revision` and `stamp` are
    those of the source when it froze the slots. `obstacle` is why the receiver did not activate them at once.
    """

    move: PlannedMove
    copy: SourceCopy | None = None
    chunk: int = 0
    frozen_at: float = 0.0
    revision: int = 0
    stamp: int = 0
    obstacle: str = ""
    _left: int = 0
    _still: int = 0

    def may_freeze(self, left: int) -> bool:
        """Whether little enough is left, in bytes, to freeze the slots.

        A value that is large and always changing never leaves less, so the limit grows.
        """
        self._still += left >= self._left
        self._left = left
        return left <= min(REST_BYTES << (self._still // STILL_MAX), REST_BYTES_MAX)
