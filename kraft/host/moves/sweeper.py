"""Removes hidden keys, at the leader of a group: what is left of slots that have gone, or did not come."""

from functools import partial

from kraft.host.applied_state import AppliedState
from kraft.host.key_indexes import KeyIndexes
from kraft.host.requests.proposal import WriteOutcome
from kraft.host.transactions.ports import GroupRequests
from kraft.kv.commands import Sweep
from kraft.kv.key_index import KeyIndex, Walk
from kraft.kv.keyspace import Keyspace
from kraft.kv.slots import Move, MoveState, slot_of
from kraft.node.ports import Clock

WALKED_KEYS = 1000  # that one call looks at: some 0.5 ms
PAUSE_SECONDS = 0.001  # between two looks at keys of other slots


class Sweeper:
    """Sweeps one group, a move at a time. It begins anew whenever something fails."""

    def __init__(
        self,
        group: int,
        state: AppliedState,
        requests: GroupRequests,
        indexes: KeyIndexes,
        clock: Clock,
        batch_bytes: int,
    ) -> None:
        self._group = group
        self._state = state
        self._requests = requests
        self._indexes = indexes
        self._clock = clock
        self._batch_bytes = batch_bytes
        self._walk: Walk | None = None
        self._keys: list[bytes] = []  # that the walk has found
        self._waits = False  # for the index, or for a step

    def tick(self, *, leads: bool) -> None:
        """One tick of the host passed."""
        if leads and not self._waits and self._left() is not None:
            self._waits = True
            self._indexes.when_ready(self._group, KeyIndex, self._indexed)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way."""
        return not self._waits

    def _left(self) -> Move | None:
        """A move of which hidden keys are left."""
        table = self._state.machine.keyspace.slots
        moves = () if table is None else table.moves.values()
        return next((move for move in moves if move.state == MoveState.SWEEP), None)

    def _indexed(self) -> None:
        keyspace, move = self._state.machine.keyspace, self._left()
        index = keyspace.index
        if index is None or move is None:
            self._waits = False
            return
        self._walk = index.walk()
        self._go_on(keyspace, move)

    def _go_on(self, keyspace: Keyspace, move: Move) -> None:
        """Look at more keys, until enough are found for a step; each look is followed by a pause."""
        walk = self._walk
        if walk is None or self._state.machine.keyspace is not keyspace:
            self._end()
            return
        more = len(self._keys) < WALKED_KEYS
        piece = walk.piece(WALKED_KEYS) if more else None
        if piece is not None:
            self._keys += [key for key in piece if move.first <= slot_of(key) <= move.last]
            self._clock.call_later(PAUSE_SECONDS, partial(self._go_on, keyspace, move))
        elif keys := self._next():
            swept = partial(self._swept, keyspace, move)
            self._requests.write(self._group, [Sweep(move.number, keys)], sum(map(len, keys)), swept)
        else:
            self._end()

    def _next(self) -> tuple[bytes, ...]:
        """Keys of about one batch."""
        keys, size = [], 0
        while self._keys and size < self._batch_bytes:
            keys.append(self._keys.pop())
            size += len(keys[-1])
        return tuple(keys)

    def _swept(self, keyspace: Keyspace, move: Move, outcome: WriteOutcome) -> None:
        table = keyspace.slots
        if not isinstance(outcome, list) or table is None or move.number not in table.moves:
            self._end()
        else:
            self._go_on(keyspace, move)

    def _end(self) -> None:
        if self._walk is not None:
            self._walk.end()
        self._walk, self._keys, self._waits = None, [], False
