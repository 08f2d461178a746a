"""One attempt to move slots: copies them while they are in use, freezes them, and gives them to the receiver.

It is what only the leader of the source remembers, and may be lost at any time.
"""

from collections.abc import Callable
from enum import Enum
from functools import partial

from kraft.host.moves.move_source import STEP_BYTES, MoveSource
from kraft.host.moves.source_copy import SourceCopy
from kraft.host.requests.proposal import WriteOutcome
from kraft.kv.commands import Activate, Freeze, Import, MoveCommand, Open, Release, Row
from kraft.kv.move_reply import MoveOutcome, MoveReply, move_reply
from kraft.kv.slot_index import SlotIndex
from kraft.kv.slot_map import PlannedMove
from kraft.kv.slots import SlotState

REST_BYTES, REST_BYTES_MAX = 64 << 10, 8 << 20  # that may be left when the slots are frozen
FROZEN_IMPORTS = 4  # that become one when the slots are frozen, as each costs their clients a round
STILL_MAX = 4  # rounds in which no less was left than before, until twice as much may be left
FREEZE_SECONDS = 0.2
PAUSE_SECONDS = 0.001  # between two looks at keys that give nothing to send
RETRY_SECONDS = 0.005  # after a Freeze or an Activate that has to wait for something


class AttemptEnd(Enum):
    """How an attempt ended, apart from why: the receiver had cancelled its number before, or had heard of it
    from another leader of the source.
    """

    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    BEGUN_BEFORE = "begun before"


AttemptOver = Callable[["MoveAttempt", AttemptEnd, str], None]


class MoveAttempt:
    """The attempt to carry out `move`. It has one step under way at a time.

    `over` is called when it has ended by itself, with the reason if it has failed.
    """

    def __init__(self, source: MoveSource, move: PlannedMove, over: AttemptOver) -> None:
        self.move = move
        self._source = source
        self._over = over
        self._ended = False
        self._copy: SourceCopy | None = None
        self._chunk = 0  # the number of the next Import
        self._sent_at = 0.0  # when the last one was sent (monotonic seconds)
        self._frozen_at = 0.0  # when the Freeze was sent (monotonic seconds), 0 before that
        self._froze: MoveReply | None = None  # the reply of the source, which has its revision and stamp
        self._taken = False  # the receiver has the slots
        self._obstacle = ""  # why the receiver did not activate the slots at once
        self._left = 0
        self._still = 0

    def begin(self) -> None:
        """Ask the receiver for the move."""
        move, source = self.move, self._source
        step = Open(move.number, move.first, move.last, source.slots.share(move.receiver))
        self._ask(move.receiver, step, MoveOutcome.OPEN, self._opened)

    def end(self) -> None:
        """Go on no more: what the attempt leaves shows what is next."""
        self._ended = True
        if self._copy is not None:
            self._copy.end()

    @property
    def keys(self) -> int:
        """How many keys were sent, that the receiver has or is to have."""
        return 0 if self._copy is None else self._copy.keys

    @property
    def frozen_since(self) -> float:
        """When the slots were frozen (monotonic seconds); 0 unless they are, as far as is known."""
        return 0.0 if self._froze is None or self._taken else self._frozen_at

    def check_time(self) -> None:
        """End if the slots are frozen for too long."""
        since = 0.0 if self._taken else self._frozen_at
        if since and self._source.clock.seconds() - since > FREEZE_SECONDS:
            self._fail(self._obstacle or "the slots were frozen for too long")

    # -- the copy -------------------------------------------------------------------------------------

    def _opened(self, reply: MoveReply) -> None:
        if reply.count:  # another leader of this group had begun: what it has sent is not known here
            self._conclude(AttemptEnd.BEGUN_BEFORE, "")
        else:
            self._await_index()

    def _await_index(self) -> None:
        self._source.indexes.when_ready(self._source.group, SlotIndex, self._indexed)

    def _indexed(self) -> None:
        keyspace = self._source.keyspace
        if self._ended:
            return
        if not keyspace.has_index(SlotIndex):
            self._await_index()
            return
        self._copy = SourceCopy(keyspace, self.move.first, self.move.last)
        self._source.event("move_began", self.move)
        self._send()

    def _send(self) -> None:
        """Send what is next, or freeze the slots."""
        copy = self._copy
        if self._ended or copy is None:
            return
        if not self._is_valid(copy):
            self._fail("something else happened to the slots")
            return
        if not self._frozen_at and copy.walked and self._may_freeze(copy.waiting_bytes):
            self._freeze()
            return
        most = self._source.import_bytes
        rows, tokens = copy.chunk(FROZEN_IMPORTS * most if self._frozen_at else most)
        if self._froze is not None and not copy.waiting_bytes:
            self._activate(copy, self._froze, rows, tokens)
        elif rows or tokens:
            self._import(rows, tokens)
        else:  # what was looked at is too little, or the receiver has it
            self._send_after(PAUSE_SECONDS)

    def _send_after(self, seconds: float) -> None:
        """Frozen slots wait for nothing."""
        self._source.clock.call_later(0.0 if self._frozen_at else seconds, self._send)

    def _is_valid(self, copy: SourceCopy) -> bool:
        """Whether to go on: the move is planned as it was, and the state is the one that is copied."""
        if copy.cleared or copy.keyspace is not self._source.keyspace:
            return False
        if self._frozen_at:
            return True
        number = self.move.number
        return any((move.number, move.stopping) == (number, False) for move in self._source.planned)

    def _may_freeze(self, left: int) -> bool:
        """Whether little enough is left, in bytes, to freeze the slots.

        A value that is large and always changing never leaves less, so the limit grows.
        """
        self._still += left >= self._left
        self._left = left
        return left <= min(REST_BYTES << (self._still // STILL_MAX), REST_BYTES_MAX)

    def _import(self, rows: tuple[Row, ...], tokens: tuple[Row, ...]) -> None:
        source, size = self._source, _bytes(rows) + _bytes(tokens)
        self._sent_at = source.clock.seconds()
        source.throttle.spend(size, self._sent_at)
        source.counts.bytes += size
        step = Import(self.move.number, self._chunk, rows, tokens)
        self._ask(self.move.receiver, step, MoveOutcome.OPEN, self._imported, size)

    def _imported(self, reply: MoveReply) -> None:
        self._chunk += 1
        if reply.count != self._chunk:
            self._fail("another leader sends the same slots")
            return
        source = self._source
        self._send_after(max(source.throttle.wait(source.clock.seconds()), source.pause_after(self._sent_at)))

    # -- the change of the owner ----------------------------------------------------------------------

    def _freeze(self) -> None:
        move, source = self.move, self._source
        self._frozen_at = source.clock.seconds()
        share = source.slots.share(source.group)
        step = Freeze(move.number, move.first, move.last, move.receiver, share)
        self._ask(source.group, step, None, self._answered_freeze)

    def _answered_freeze(self, reply: MoveReply) -> None:
        if reply.outcome is MoveOutcome.LOCKED:  # a transaction ends first; the copy goes on meanwhile
            self._frozen_at = 0.0
            self._send_after(RETRY_SECONDS)
            return
        parts = self._source.parts(self.move)
        here = all(part.state == SlotState.FROZEN and part.move == self.move.number for part in parts)
        if reply.outcome is not MoveOutcome.FROZEN or not here:
            self._fail("the slots could not be frozen")
            return
        self._froze = reply
        self._send()

    def _activate(
        self, copy: SourceCopy, froze: MoveReply, rows: tuple[Row, ...], tokens: tuple[Row, ...]
    ) -> None:
        index = self._source.keyspace.slot_index
        if index is not None and index.count(self.move.first, self.move.last) != copy.keys:
            self._fail("the copy does not have as many keys as the slots")
            return
        number, of_source = self.move.number, (froze.revision, froze.stamp)
        step = Activate(number, self._chunk, rows, tokens, *of_source, copy.keys, copy.sum)
        self._source.counts.bytes += _bytes(rows) + _bytes(tokens)
        self._send_activate(step)

    def _send_activate(self, step: Activate) -> None:
        if not self._ended:
            size = _bytes(step.rows) + _bytes(step.tokens)
            self._ask(self.move.receiver, step, None, partial(self._activated, step), size)

    def _activated(self, step: Activate, reply: MoveReply) -> None:
        if reply.outcome in _OBSTACLES:
            self._obstacle = _OBSTACLES[reply.outcome]
            self._source.clock.call_later(RETRY_SECONDS, partial(self._send_activate, step))
        elif reply.outcome is MoveOutcome.ACTIVE:
            self._take_over(reply)
        else:
            self._fail(f"the receiver replied {reply.outcome.name}")

    def _take_over(self, reply: MoveReply) -> None:
        """The receiver has the slots: whoever waits for them here goes there, before the source lets go."""
        move, source = self.move, self._source
        source.observer.slots_frozen(source.group, source.clock.seconds() - self._frozen_at)
        self._taken = True
        source.slots.taken(move.receiver, move.first, move.last, move.number)
        release = Release(move.number, move.first, move.last, reply.count)
        self._ask(source.group, release, MoveOutcome.RELEASED, self._released)

    def _released(self, _: MoveReply) -> None:
        self._conclude(AttemptEnd.DONE, "")

    # -- steps ----------------------------------------------------------------------------------------

    def _ask(
        self,
        group: int,
        step: MoveCommand,
        wanted: MoveOutcome | None,
        done: Callable[[MoveReply], None],
        size: int = 0,
    ) -> None:
        """Let `group` log a step. `done` gets the reply, of any outcome unless one is `wanted`."""
        answered = partial(self._answered, wanted, done)
        self._source.requests.write(group, [step], STEP_BYTES + size, answered)

    def _answered(
        self, wanted: MoveOutcome | None, done: Callable[[MoveReply], None], outcome: WriteOutcome
    ) -> None:
        """Any other reply, and none at all, ends the attempt: the state says what is next."""
        if self._ended:
            return
        if not isinstance(outcome, list):
            self._fail(f"a step was not done: {outcome}")
            return
        reply = move_reply(outcome[0])
        if wanted is None or reply.outcome is wanted:
            done(reply)
        elif reply.outcome is MoveOutcome.CANCELLED:
            self._conclude(AttemptEnd.CANCELLED, "the receiver had cancelled it")
        else:
            self._fail(f"the receiver replied {reply.outcome.name}")

    def _fail(self, reason: str) -> None:
        self._conclude(AttemptEnd.FAILED, reason)

    def _conclude(self, how: AttemptEnd, reason: str) -> None:
        self.end()
        self._over(self, how, reason)


_OBSTACLES = {
    MoveOutcome.EARLY: "the log time of the receiver is behind that of the source: are the clocks right?",
    MoveOutcome.LOCKED: "a FLUSHALL over several groups has locked the receiver",
}


def _bytes(rows: tuple[Row, ...]) -> int:
    return sum([len(row.key) + len(row.value or b"") for row in rows])
