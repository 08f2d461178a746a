"""What the commands of one group change: its keys, its time and its revision."""

from collections.abc import Sequence

from kraft.int64 import INT64_MAX
from kraft.kv.commands import Expiry
from kraft.kv.footprint import Footprint
from kraft.kv.keyspace import Keyspace
from kraft.kv.replies import CommandFailure
from kraft.kv.slots import MoveState, save_move, save_ranges

EXPIRY_MS_MAX = INT64_MAX  # later expiries are cut to it: 292 million years


class MachineState:
    """The keys, the `stamp` of the batch (Unix ms), and the `revision` of the last change.

    `repeats` counts commands of KRAFT ONCE that were answered by the reply to the first use of their token,
    `expired` the keys that fell due.
    `users_changed` is set by a change of users, and `slots_changed` by one of slots, of their map or of the
    groups; whoever has taken note of it sets it back.
    A command that changes something takes the next revision, and the keys it changed carry it.
    """

    __slots__ = ("expired", "keyspace", "repeats", "revision", "slots_changed", "stamp", "users_changed")

    def __init__(self) -> None:
        self.keyspace = Keyspace()
        self.stamp = 0
        self.revision = 0
        self.repeats = 0
        self.expired = 0
        self.users_changed = False
        self.slots_changed = False

    def put(self, key: bytes, value: bytes, expires: int = 0) -> None:
        """The one change of a command; it takes the next revision."""
        self.revision += 1
        self.keyspace.put(key, value, self.revision, expires)

    def remove(self, keys: Sequence[bytes]) -> int:
        """Drop keys in one command, with one revision for all of them. Returns how many existed."""
        removed = sum([self.keyspace.remove(key) is not None for key in keys])
        self.revision += bool(removed)
        return removed

    def refusal(self, wanted: Footprint, own: bytes = b"") -> CommandFailure | None:
        """Why a command with this footprint cannot be done now; None when it can.

        The locks of the transaction `own` are no obstacle.
        """
        refused, slots = None, self.keyspace.slots
        if slots is not None:
            refused = slots.refusal((*wanted.written, *wanted.read), whole=bool(wanted.whole))
        if refused is None and self.keyspace.transactions.locks.obstacle(wanted, own) is not None:
            return CommandFailure.LOCKED
        return refused

    def clear(self) -> None:
        """Drop all keys. A move whose keys arrive here is cancelled by that: some are lost."""
        space = self.keyspace
        space.clear()
        space.removals.forget(self.revision)  # not each key: that would take time
        table = space.slots
        if table is None:
            return
        for move in list(table.moves.values()):
            if move.state != MoveState.ACTIVE:
                table.use_up(move.first, move.last, move.number)
                table.drop(move.number)
                save_move(space.ledger, table, move.number, self.revision)
        save_ranges(space.ledger, table, self.revision)
        self.slots_changed = True

    def expire(self) -> None:
        """Drop the keys that are due at the stamp."""
        self.expired += self.keyspace.expire(self.stamp)

    def due(self, expiry: int, expiry_ms: int) -> int:
        """The time (Unix ms) that an `Expiry` and its number mean at this stamp."""
        due = self.stamp + expiry_ms if expiry == Expiry.RELATIVE else expiry_ms
        return min(due, EXPIRY_MS_MAX)
