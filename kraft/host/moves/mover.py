"""Moves slots out of one group, at its leader.

Everything about a move that matters is in the replicated state of its two groups and of group 0, which has
planned it. So whoever leads the source looks at that, and does what is next:

    slots are frozen                       ask the receiver: Cancel tells what was decided, and decides
    they are gone by the planned move      Close in the receiver; then the move is over
    the number of the move is used up      the receiver has cancelled it: another number, or the move is over
    an administrator has stopped the move  Cancel in the receiver; then the move is over
    else                                   Open in the receiver, and an attempt

An attempt copies the keys and follows their changes. When little is left, it freezes the slots, brings the
receiver the rest with Activate, and releases them. It may end anywhere: what it leaves is one of the cases
above. Slots stay frozen for `FREEZE_SECONDS` at most before the receiver is asked to cancel.

docs/design/slots.md has the reasons.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from kraft.host.applied_state import AppliedState
from kraft.host.key_indexes import KeyIndexes
from kraft.host.moves.attempt import MoveAttempt
from kraft.host.moves.move_counts import MoveCounts
from kraft.host.moves.move_troubles import MoveTroubles
from kraft.host.moves.source_copy import SourceCopy
from kraft.host.ports import HostObserver
from kraft.host.requests.proposal import WriteOutcome
from kraft.host.slots import SlotMap
from kraft.host.snapshots.throttle import Throttle
from kraft.host.transactions.ports import GroupRequests
from kraft.kv.commands import (
    Activate,
    Cancel,
    Close,
    EndMove,
    Freeze,
    Import,
    MapCommand,
    MoveCommand,
    Open,
    Release,
    RenewMove,
    Row,
    Unfreeze,
)
from kraft.kv.key_index import KeyIndex
from kraft.kv.move_reply import MoveOutcome, MoveReply, move_reply
from kraft.kv.slot_map import MapOutcome, MapReply, PlannedMove, map_reply
from kraft.kv.slots import SlotRange, SlotState
from kraft.node.ports import Clock

IMPORT_BYTES = 256 << 10  # of one Import, if a batch may have so many
FREEZE_SECONDS = 0.2
PAUSE_SECONDS = 0.001  # between two looks at keys of other slots
RETRY_SECONDS = 0.005  # after a Freeze or an Activate that has to wait for something
STEP_BYTES = 64  # of a step without rows, approximately


class Mover:
    """The moves out of `group`, one after the other in the order of their planning.

    One that fails lets the others go first until it may be tried again; slots that are frozen go before all.
    It is longer than 300 lines, so that all steps of a move, and what follows each, stand in one place.
    """

    def __init__(
        self,
        group: int,
        state: AppliedState,
        slots: SlotMap,
        requests: GroupRequests,
        indexes: KeyIndexes,
        clock: Clock,
        counts: MoveCounts,
        observer: HostObserver,
        throttle: Throttle,
        batch_bytes: int,
    ) -> None:
        self._group = group
        self._state = state
        self._slots = slots
        self._requests = requests
        self._indexes = indexes
        self._clock = clock
        self._counts = counts
        self._observer = observer
        self._throttle = throttle
        self._import_bytes = min(IMPORT_BYTES, batch_bytes)
        self._attempt: MoveAttempt | None = None
        self._asked: object = None  # the step that is under way, None when there is none
        self._frozen_since = 0.0  # monotonic seconds, 0 while no slot is frozen
        self._troubles = MoveTroubles(clock)
        self._move = 0  # the id of the one whose step is under way, without an attempt

    def tick(self, *, leads: bool) -> None:
        """One tick of the host passed."""
        attempt = self._attempt
        if not leads:
            self._drop("")
            self._troubles.clear()
            self._frozen_since = 0.0
        elif attempt is not None and self._is_late(attempt):
            self._drop(attempt.obstacle or "the slots were frozen for too long")
            self._go_on()
        elif self._asked is None:
            self._go_on()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way: no attempt, and no step."""
        return self._attempt is None and self._asked is None

    def problem(self, id_: int) -> str:
        """Why the last attempt of a move failed, '' if none has."""
        return self._troubles.problem(id_)

    @property
    def frozen_seconds(self) -> float:
        """For how long this leader has seen slots frozen, 0 without any."""
        return self._clock.seconds() - self._frozen_since if self._frozen_since else 0.0

    # -- what is next ---------------------------------------------------------------------------------

    def _go_on(self) -> None:
        frozen, attempt = self._frozen(), self._attempt
        if attempt is not None and not self._is_valid(attempt):
            self._drop("something else happened to the slots")
            attempt = None
        self._watch(frozen)
        if frozen and attempt is None:
            self._ask_receiver(frozen)
        elif attempt is None:
            for move in self._planned():
                if self._troubles.may_step(move.id):
                    self._begin(move)
                if not self.is_idle:
                    return

    def _begin(self, move: PlannedMove) -> None:
        """Do what is next for a move of which no slot is frozen, if there is anything."""
        self._move = move.id
        parts = self._parts(move)
        if parts and all(part.state == SlotState.GONE and part.epoch >= move.number for part in parts):
            close = Close(move.number)
            self._ask(move.receiver, close, MoveOutcome.CLOSED, lambda _: self._end(move, moved=True))
        elif any(part.epoch >= move.number for part in parts):
            self._renew(move)
        elif move.stopping:
            self._cancel(move)
        elif self._troubles.may_attempt(move.id):
            self._attempt = attempt = MoveAttempt(move)
            step = Open(move.number, move.first, move.last, self._slots.share(move.receiver))
            self._ask(move.receiver, step, MoveOutcome.OPEN, partial(self._opened, attempt))

    def _planned(self) -> list[PlannedMove]:
        """The planned moves out of this group, in the order of their planning."""
        plan = self._slots.plan
        return [move for move in (plan.moves if plan else ()) if move.source == self._group]

    def _parts(self, move: PlannedMove) -> list[SlotRange]:
        table = self._state.machine.keyspace.slots
        return [] if table is None else table.within(move.first, move.last)

    def _frozen(self) -> list[SlotRange]:
        """The parts that are frozen for one move, in ascending order."""
        table = self._state.machine.keyspace.slots
        found = [] if table is None or not table.frozen else table.ranges
        frozen = [part for part in found if part.state == SlotState.FROZEN]
        return [part for part in frozen if part.move == frozen[0].move]

    def _is_valid(self, attempt: MoveAttempt) -> bool:
        """Whether an attempt may go on: its move is planned as it was, and the state is the one it copies."""
        copy = attempt.copy
        if copy is not None and (copy.cleared or copy.keyspace is not self._state.machine.keyspace):
            return False
        if attempt.frozen_at:
            return True
        number = attempt.move.number
        return any((move.number, move.stopping) == (number, False) for move in self._planned())

    def _watch(self, frozen: list[SlotRange]) -> None:
        """Remember since when slots are frozen, and report it once they are in use again."""
        if frozen and not self._frozen_since:
            self._frozen_since = self._clock.seconds()
        elif self._frozen_since and not frozen:
            self._observer.slots_frozen(self._group, self.frozen_seconds)
            self._frozen_since = 0.0

    def _is_late(self, attempt: MoveAttempt) -> bool:
        return bool(attempt.frozen_at) and self._clock.seconds() - attempt.frozen_at > FREEZE_SECONDS

    # -- a move that is over --------------------------------------------------------------------------

    def _ask_receiver(self, frozen: list[SlotRange]) -> None:
        """Slots are frozen, and no attempt goes on with them: the receiver knows what becomes of them."""
        number, receiver = frozen[0].move, frozen[0].peer
        self._move = 0
        step = Cancel(number, frozen[0].first, frozen[-1].last, self._slots.share(receiver))
        self._ask(receiver, step, None, partial(self._told, frozen))

    def _told(self, frozen: list[SlotRange], reply: MoveReply) -> None:
        number, first, last = frozen[0].move, frozen[0].first, frozen[-1].last
        if reply.outcome is MoveOutcome.ACTIVE:
            self._ask(self._group, Release(number, first, last, reply.count), None, self._settled)
        elif reply.outcome is MoveOutcome.CANCELLED:
            self._ask(self._group, Unfreeze(number, first, last), None, self._settled)

    def _cancel(self, move: PlannedMove) -> None:
        step = Cancel(move.number, move.first, move.last, self._slots.share(move.receiver))
        cancelled = MoveOutcome.CANCELLED
        self._ask(move.receiver, step, cancelled, lambda _: self._renew(move))

    def _renew(self, move: PlannedMove) -> None:
        """The receiver has cancelled this number."""
        if move.stopping:
            self._end(move, moved=False)
        else:
            self._ask_map(RenewMove(move.number), lambda _: None)

    def _end(self, move: PlannedMove, *, moved: bool) -> None:
        self._troubles.over(move.id)
        self._ask_map(EndMove(move.number, moved), partial(self._ended, move, moved))

    def _ended(self, move: PlannedMove, moved: bool, reply: MapReply) -> None:
        if reply.outcome is MapOutcome.ENDED:  # else it was asked before, and this replica has not heard
            self._counts.ended(moved=moved)
            self._observer.event("slots_moved" if moved else "move_cancelled", **_facts(move))

    # -- an attempt -----------------------------------------------------------------------------------

    def _opened(self, attempt: MoveAttempt, reply: MoveReply) -> None:
        if reply.count:  # another leader of this group had begun: what it has sent is not known here
            self._attempt = None
            self._cancel(attempt.move)
            return
        self._asked = attempt
        self._indexes.when_ready(self._group, KeyIndex, partial(self._indexed, attempt))

    def _indexed(self, attempt: MoveAttempt) -> None:
        keyspace = self._state.machine.keyspace
        if attempt is not self._attempt:
            return
        if not keyspace.has_index(KeyIndex):
            self._indexes.when_ready(self._group, KeyIndex, partial(self._indexed, attempt))
            return
        attempt.copy = SourceCopy(keyspace, attempt.move.first, attempt.move.last)
        self._observer.event("move_began", **_facts(attempt.move))
        self._send(attempt)

    def _send(self, attempt: MoveAttempt) -> None:
        """Send what is next, or freeze the slots."""
        copy = attempt.copy
        if attempt is not self._attempt or copy is None:
            return
        if not self._is_valid(attempt):
            self._drop("something else happened to the slots")
            return
        if not attempt.frozen_at and copy.walked and attempt.may_freeze(copy.waiting_bytes):
            self._freeze(attempt)
            return
        rows, tokens = copy.chunk(self._import_bytes)
        if attempt.frozen_at and not copy.waiting_bytes:
            self._activate(attempt, copy, rows, tokens)
        elif rows or tokens:
            self._import(attempt, rows, tokens)
        else:  # nothing of what was looked at has changed, or is one of these slots
            self._asked = attempt
            self._clock.call_later(0.0 if attempt.frozen_at else PAUSE_SECONDS, partial(self._send, attempt))

    def _import(self, attempt: MoveAttempt, rows: tuple[Row, ...], tokens: tuple[Row, ...]) -> None:
        step = Import(attempt.move.number, attempt.chunk, rows, tokens)
        size = _bytes(rows) + _bytes(tokens)
        self._throttle.spend(size, self._clock.seconds())
        self._counts.bytes += size
        stored = partial(self._imported, attempt)
        self._ask(attempt.move.receiver, step, MoveOutcome.OPEN, stored, size)

    def _imported(self, attempt: MoveAttempt, reply: MoveReply) -> None:
        attempt.chunk += 1
        if reply.count != attempt.chunk:
            self._drop("another leader sends the same slots")
            return
        self._asked = attempt
        wait = 0.0 if attempt.frozen_at else self._throttle.wait(self._clock.seconds())
        self._clock.call_later(wait, partial(self._send, attempt))

    def _freeze(self, attempt: MoveAttempt) -> None:
        move = attempt.move
        attempt.frozen_at = self._clock.seconds()
        share = self._slots.share(self._group)
        step = Freeze(move.number, move.first, move.last, move.receiver, share)
        self._ask(self._group, step, None, partial(self._froze, attempt))

    def _froze(self, attempt: MoveAttempt, reply: MoveReply) -> None:
        if reply.outcome is MoveOutcome.LOCKED:  # a transaction ends first; the copy goes on meanwhile
            attempt.frozen_at = 0.0
            self._asked = attempt
            self._clock.call_later(RETRY_SECONDS, partial(self._send, attempt))
            return
        here = all(
            part.state == SlotState.FROZEN and part.move == attempt.move.number
            for part in self._parts(attempt.move)
        )
        if reply.outcome is not MoveOutcome.FROZEN or not here:
            self._drop("the slots could not be frozen")
            return
        attempt.revision, attempt.stamp = reply.revision, reply.stamp
        self._frozen_since = attempt.frozen_at
        self._asked = attempt
        self._send(attempt)

    def _activate(
        self, attempt: MoveAttempt, copy: SourceCopy, rows: tuple[Row, ...], tokens: tuple[Row, ...]
    ) -> None:
        step = Activate(
            attempt.move.number,
            attempt.chunk,
            rows,
            tokens,
            attempt.revision,
            attempt.stamp,
            copy.keys,
            copy.sum,
        )
        size = _bytes(rows) + _bytes(tokens)
        self._counts.bytes += size
        self._ask(attempt.move.receiver, step, None, partial(self._activated, attempt, step), size)

    def _activated(self, attempt: MoveAttempt, step: Activate, reply: MoveReply) -> None:
        if reply.outcome in _OBSTACLES:
            attempt.obstacle = _OBSTACLES[reply.outcome]
            self._asked = attempt
            self._clock.call_later(RETRY_SECONDS, partial(self._activate_again, attempt, step))
        elif reply.outcome is MoveOutcome.ACTIVE:
            move = attempt.move
            release = Release(move.number, move.first, move.last, reply.count)
            self._ask(self._group, release, MoveOutcome.RELEASED, self._released)
        else:
            self._drop(f"the receiver replied {reply.outcome.name}")
            self._go_on()

    def _activate_again(self, attempt: MoveAttempt, step: Activate) -> None:
        if attempt is self._attempt:
            size = _bytes(step.rows) + _bytes(step.tokens)
            self._ask(attempt.move.receiver, step, None, partial(self._activated, attempt, step), size)

    def _released(self, _: MoveReply) -> None:
        self._drop("")
        self._go_on()

    def _drop(self, problem: str) -> None:
        """End the attempt: the state that it leaves shows what is next. A `problem` delays the next one."""
        attempt, self._attempt, self._asked = self._attempt, None, None
        if attempt is not None and attempt.copy is not None:
            attempt.copy.end()
        if attempt is not None and problem:
            self._troubles.attempt_failed(attempt.move.id, problem)
            self._counts.failed += 1
            self._observer.event("move_attempt_failed", **_facts(attempt.move), reason=problem)

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
        self._asked = asked = object()
        answered = partial(self._answered, asked, wanted, done)
        self._requests.write(group, [step], STEP_BYTES + size, answered)

    def _answered(
        self,
        asked: object,
        wanted: MoveOutcome | None,
        done: Callable[[MoveReply], None],
        outcome: WriteOutcome,
    ) -> None:
        """Any other reply, and none at all, ends the attempt: the state says what is next."""
        if asked is not self._asked:
            return
        self._asked = None
        if not isinstance(outcome, list):
            if self._attempt is None:
                self._troubles.step_failed(self._move)
            self._drop(f"a step was not done: {outcome}")
            return
        reply = move_reply(outcome[0])
        if wanted is None or reply.outcome is wanted:
            done(reply)
        elif self._attempt is not None and reply.outcome is MoveOutcome.CANCELLED:
            move = self._attempt.move
            self._drop("the receiver had cancelled it")
            self._renew(move)
        else:
            self._drop(f"the receiver replied {reply.outcome.name}")

    def _ask_map(self, command: MapCommand, done: Callable[[MapReply], None]) -> None:
        """Let group 0 log a change of the map. The state of this node's replica shows what is next."""
        self._asked = asked = object()
        self._requests.write(0, [command], STEP_BYTES, partial(self._mapped, asked, done))

    def _mapped(self, asked: object, done: Callable[[MapReply], None], outcome: WriteOutcome) -> None:
        if asked is self._asked:
            self._asked = None
            if isinstance(outcome, list):
                done(map_reply(outcome[0]))
            else:
                self._troubles.step_failed(self._move)

    def _settled(self, _: Any) -> None:
        """The state of the source has changed: see what is next."""
        self._go_on()


_OBSTACLES = {
    MoveOutcome.EARLY: "the log time of the receiver is behind that of the source: are the clocks right?",
    MoveOutcome.LOCKED: "a FLUSHALL over several groups has locked the receiver",
}


def _facts(move: PlannedMove) -> dict[str, object]:
    """What every event tells of a move."""
    slots = f"{move.first}-{move.last}"
    return {"move": move.id, "slots": slots, "group": move.source, "receiver": move.receiver}


def _bytes(rows: tuple[Row, ...]) -> int:
    return sum([len(row.key) + len(row.value or b"") for row in rows])
