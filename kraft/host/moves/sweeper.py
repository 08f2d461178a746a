"""Removes hidden keys, at the leader of a group: what is left of slots that have gone, or did not come."""

from functools import partial

from kraft.host.moves.move_source import MoveSource
from kraft.host.requests.proposal import WriteOutcome
from kraft.kv.commands import Sweep
from kraft.kv.keyspace import Keyspace
from kraft.kv.slot_index import SlotIndex, SlotWalk
from kraft.kv.slots import Move, MoveState

SWEPT_KEYS = 250  # in one step: each replica takes some 1 ms to remove them


class Sweeper:
    """Sweeps one group, a move at a time. It begins anew whenever something fails."""

    def __init__(self, source: MoveSource) -> None:
        self._source = source
        self._walk: SlotWalk | None = None
        self._keys: list[bytes] = []  # that the walk has found
        self._waits = False  # for the index, or for a step

    def tick(self, *, leads: bool) -> None:
        """One tick of the host passed."""
        if leads and not self._waits and self._left() is not None:
            self._waits = True
            self._source.indexes.when_ready(self._source.group, SlotIndex, self._indexed)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way."""
        return not self._waits

    def _left(self) -> Move | None:
        """A move of which hidden keys are left."""
        table = self._source.keyspace.slots
        moves = () if table is None else table.moves.values()
        return next((move for move in moves if move.state == MoveState.SWEEP), None)

    def _indexed(self) -> None:
        keyspace, move = self._source.keyspace, self._left()
        index = keyspace.slot_index
        if index is None or move is None:
            self._waits = False
            return
        self._walk = index.walk(move.first, move.last)
        self._go_on(keyspace, move)

    def _go_on(self, keyspace: Keyspace, move: Move) -> None:
        """Take the next step, if any keys are left."""
        source = self._source
        keys = self._next() if source.keyspace is keyspace else ()
        if keys:
            swept = partial(self._swept, keyspace, move, source.clock.seconds())
            source.requests.write(source.group, [Sweep(move.number, keys)], sum(map(len, keys)), swept)
        else:
            self._end()

    def _next(self) -> tuple[bytes, ...]:
        """Keys for one step."""
        keys: list[bytes] = []
        size = 0
        if not self._keys and self._walk is not None:
            self._keys = self._walk.piece(SWEPT_KEYS) or []
        while self._keys and len(keys) < SWEPT_KEYS and size < self._source.import_bytes:
            keys.append(self._keys.pop())
            size += len(keys[-1])
        return tuple(keys)

    def _swept(self, keyspace: Keyspace, move: Move, begun: float, outcome: WriteOutcome) -> None:
        table = keyspace.slots
        if not isinstance(outcome, list) or table is None or move.number not in table.moves:
            self._end()
        else:
            pause = self._source.pause_after(begun)
            self._source.clock.call_later(pause, partial(self._go_on, keyspace, move))

    def _end(self) -> None:
        if self._walk is not None:
            self._walk.end()
        self._walk, self._keys, self._waits = None, [], False
