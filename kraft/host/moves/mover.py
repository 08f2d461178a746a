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

from kraft.host.moves.attempt import AttemptEnd, MoveAttempt
from kraft.host.moves.move_source import STEP_BYTES, MoveSource
from kraft.host.moves.move_troubles import MoveTroubles
from kraft.host.requests.proposal import WriteOutcome
from kraft.kv.commands import Cancel, Close, EndMove, MapCommand, MoveCommand, Release, RenewMove, Unfreeze
from kraft.kv.move_reply import MoveOutcome, MoveReply, move_reply
from kraft.kv.slot_map import MapOutcome, MapReply, PlannedMove, map_reply
from kraft.kv.slots import SlotRange, SlotState


class Mover:
    """The moves out of one group, one after the other in the order of their planning.

    One that fails lets the others go first until it may be tried again; slots that are frozen go before all.
    One that an administrator has stopped waits for no other: it ends while an attempt is under way.
    """

    def __init__(self, source: MoveSource) -> None:
        self._source = source
        self._troubles = MoveTroubles(source.clock)
        self._attempt: MoveAttempt | None = None
        self._asked: object = None  # the step that is under way without an attempt, None when there is none
        self._frozen_since = 0.0  # monotonic seconds, 0 while no slot is frozen without an attempt

    def tick(self, *, leads: bool) -> None:
        """One tick of the host passed."""
        if not leads:
            self._lose()
            return
        if self._attempt is not None:
            self._attempt.check_time()  # which may end it
        if self._asked is not None:
            return
        if self._attempt is not None:
            self._end_stopped(self._attempt.move)
        else:
            self._go_on()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way: no attempt, and no step."""
        return self._attempt is None and self._asked is None

    def problem(self, id_: int) -> str:
        """Why the last attempt of a move failed, '' if none has."""
        return self._troubles.problem(id_)

    def sent(self, id_: int) -> int | None:
        """How many keys of a move were sent by the attempt that is under way, None without one."""
        attempt = self._attempt
        return attempt.keys if attempt is not None and attempt.move.id == id_ else None

    @property
    def frozen_seconds(self) -> float:
        """For how long this leader has seen slots frozen, 0 without any."""
        since = self._frozen_since if self._attempt is None else self._attempt.frozen_since
        return self._source.clock.seconds() - since if since else 0.0

    def _lose(self) -> None:
        """Another node leads the group."""
        if self._attempt is not None:
            self._attempt.end()
        self._attempt = self._asked = None
        self._troubles.clear()
        self._frozen_since = 0.0

    # -- what is next ---------------------------------------------------------------------------------

    def _go_on(self) -> None:
        frozen, planned = self._frozen(), self._source.planned
        self._watch(frozen)
        self._troubles.keep({move.id for move in planned})
        if frozen:
            self._ask_receiver(frozen)
            return
        for move in planned:
            if self._troubles.may_step(move):
                self._begin(move)
            if not self.is_idle:
                return

    def _end_stopped(self, tried: PlannedMove) -> None:
        """While the move `tried` is under way, go on with one that is stopped: its slots are other ones."""
        for move in self._source.planned:
            if move.stopping and move.id != tried.id and self._troubles.may_step(move):
                self._begin(move)
                return

    def _begin(self, move: PlannedMove) -> None:
        """Do what is next for a move of which no slot is frozen, if there is anything."""
        parts = self._source.parts(move)
        if parts and all(part.state == SlotState.GONE and part.epoch >= move.number for part in parts):
            close = Close(move.number)
            self._ask(move.receiver, close, partial(self._closed, move), move)
        elif any(part.epoch >= move.number for part in parts):
            self._renew(move)
        elif move.stopping:
            self._cancel(move)
        elif self._troubles.may_attempt(move.id):
            self._attempt = MoveAttempt(self._source, move, self._attempt_over)
            self._attempt.begin()

    def _attempt_over(self, attempt: MoveAttempt, how: AttemptEnd, problem: str) -> None:
        move = attempt.move
        self._frozen_since = attempt.frozen_since
        self._attempt = None
        if problem:
            self._troubles.attempt_failed(move.id, problem)
            self._source.counts.failed += 1
            self._source.event("move_attempt_failed", move, reason=problem)
        if self._asked is not None:  # another move is about to end; the state says what is next after that
            self._watch(self._frozen())
        elif how is AttemptEnd.CANCELLED:
            self._renew(move)
        elif how is AttemptEnd.BEGUN_BEFORE:
            self._cancel(move)
        else:
            self._go_on()

    def _frozen(self) -> list[SlotRange]:
        """The parts that are frozen for one move, in ascending order."""
        table = self._source.keyspace.slots
        found = [] if table is None or not table.frozen else table.ranges
        frozen = [part for part in found if part.state == SlotState.FROZEN]
        return [part for part in frozen if part.move == frozen[0].move]

    def _watch(self, frozen: list[SlotRange]) -> None:
        """Remember since when slots are frozen, and report it once they are in use again."""
        if frozen and not self._frozen_since:
            self._frozen_since = self._source.clock.seconds()
        elif self._frozen_since and not frozen:
            self._source.observer.slots_frozen(self._source.group, self.frozen_seconds)
            self._frozen_since = 0.0

    # -- a move that is over --------------------------------------------------------------------------

    def _ask_receiver(self, frozen: list[SlotRange]) -> None:
        """Slots are frozen, and no attempt goes on with them: the receiver knows what becomes of them."""
        number, receiver = frozen[0].move, frozen[0].peer
        step = Cancel(number, frozen[0].first, frozen[-1].last, self._source.slots.share(receiver))
        self._ask(receiver, step, partial(self._told, frozen))

    def _told(self, frozen: list[SlotRange], reply: MoveReply) -> None:
        number, first, last = frozen[0].move, frozen[0].first, frozen[-1].last
        if reply.outcome is MoveOutcome.ACTIVE:
            self._source.slots.taken(frozen[0].peer, first, last, number)
            self._ask(self._source.group, Release(number, first, last, reply.count), self._settled)
        elif reply.outcome is MoveOutcome.CANCELLED:
            self._ask(self._source.group, Unfreeze(number, first, last), self._settled)

    def _settled(self, _: Any) -> None:
        """The state of the source has changed: see what is next."""
        self._go_on()

    def _cancel(self, move: PlannedMove) -> None:
        step = Cancel(move.number, move.first, move.last, self._source.slots.share(move.receiver))
        self._ask(move.receiver, step, partial(self._cancelled, move), move)

    def _cancelled(self, move: PlannedMove, reply: MoveReply) -> None:
        if reply.outcome is MoveOutcome.CANCELLED:
            self._renew(move)
        else:
            self._troubles.pause(move)

    def _renew(self, move: PlannedMove) -> None:
        """The receiver has cancelled this number."""
        if move.stopping:
            self._end(move, moved=False)
        else:
            self._ask_map(RenewMove(move.number), move, lambda _: None)

    def _closed(self, move: PlannedMove, reply: MoveReply) -> None:
        if reply.outcome is MoveOutcome.CLOSED:
            self._end(move, moved=True)
        else:
            self._troubles.pause(move)

    def _end(self, move: PlannedMove, *, moved: bool) -> None:
        self._ask_map(EndMove(move.number, moved), move, partial(self._ended, move, moved))

    def _ended(self, move: PlannedMove, moved: bool, reply: MapReply) -> None:
        if reply.outcome is MapOutcome.ENDED:  # else it was asked before, and this replica has not heard
            self._source.counts.ended(moved=moved)
            self._source.event("slots_moved" if moved else "move_cancelled", move)

    # -- steps ----------------------------------------------------------------------------------------

    def _ask(
        self,
        group: int,
        step: MoveCommand,
        done: Callable[[MoveReply], None],
        move: PlannedMove | None = None,
    ) -> None:
        """Let `group` log a step, of a planned `move` if no slot is frozen. `done` gets the reply."""
        self._asked = asked = object()
        answered = partial(self._answered, asked, done, move)
        self._source.requests.write(group, [step], STEP_BYTES, answered)

    def _answered(
        self,
        asked: object,
        done: Callable[[MoveReply], None],
        move: PlannedMove | None,
        outcome: WriteOutcome,
    ) -> None:
        """Without a reply the state says what is next."""
        if asked is not self._asked:
            return
        self._asked = None
        if isinstance(outcome, list):
            done(move_reply(outcome[0]))
        elif move is not None:
            self._troubles.pause(move)

    def _ask_map(self, command: MapCommand, move: PlannedMove, done: Callable[[MapReply], None]) -> None:
        """Let group 0 log a change of the map. The state of this node's replica shows what is next, once it
        has heard of the change.
        """
        self._asked = asked = object()
        self._source.requests.write(0, [command], STEP_BYTES, partial(self._mapped, asked, move, done))

    def _mapped(
        self, asked: object, move: PlannedMove, done: Callable[[MapReply], None], outcome: WriteOutcome
    ) -> None:
        if asked is not self._asked:
            return
        self._asked = None
        self._troubles.pause(move)
        if isinstance(outcome, list):
            done(map_reply(outcome[0]))
