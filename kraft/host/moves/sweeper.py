"""Removes hidden keys, at the leader of a group: what is left of slots that have gone, or did not come."""

from functools import partial

from kraft.host.moves.move_source import MoveSource
from kraft.host.requests.proposal import WriteOutcome
from kraft.kv.commands import Sweep
from kraft.kv.key_index import KeyIndex, Walk
from kraft.kv.keyspace import Keyspace
from kraft.kv.slots import Move, MoveState, slot_of

WALKED_KEYS = 1000  # that one call looks at: some 0.5 ms
SWEPT_KEYS = 250  # in one step: each replica takes some 1 ms to remove them
PAUSE_SECONDS = 0.001  # between two looks at keys of other slots


class Sweeper:
    """Sweeps one group, a move at a time. It begins anew whenever something fails.

    What the leader that carried out a move has sent, it sweeps first. Any other one looks at all keys.
    """

    def __init__(self, source: MoveSource) -> None:
        self._source = source
        self._walk: Walk | None = None
        self._keys: list[bytes] = []  # that have to be removed, as far as they are known
        self._waits = False  # for the index, or for a step

    def tick(self, *, leads: bool) -> None:
        """One tick of the host passed."""
        move = self._left() if leads and not self._waits else None
        if move is None:
            return
        self._waits = True
        source = self._source
        if move.number in source.left:
            self._keys = source.left.pop(move.number)
            self._go_on(source.keyspace, move)
        else:
            source.indexes.when_ready(source.group, KeyIndex, self._indexed)

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
        index = keyspace.index
        if index is None or move is None:
            self._waits = False
            return
        self._walk = index.walk()
        self._go_on(keyspace, move)

    def _go_on(self, keyspace: Keyspace, move: Move) -> None:
        """Look at more keys, until enough are found for a step; each look is followed by a pause."""
        source, walk = self._source, self._walk
        if source.keyspace is not keyspace:
            self._end()
            return
        piece = None if walk is None or len(self._keys) >= SWEPT_KEYS else walk.piece(WALKED_KEYS)
        if piece is not None:
            self._keys += [key for key in piece if move.first <= slot_of(key) <= move.last]
            source.clock.call_later(PAUSE_SECONDS, partial(self._go_on, keyspace, move))
        elif keys := self._next():
            swept = partial(self._swept, keyspace, move, source.clock.seconds())
            source.requests.write(source.group, [Sweep(move.number, keys)], sum(map(len, keys)), swept)
        else:
            self._end()

    def _next(self) -> tuple[bytes, ...]:
        """Keys for one step."""
        keys: list[bytes] = []
        size = 0
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
