"""Clients of this node that wait for a lock (`KRAFT LOCK ... WAIT`): who asks for it next, and when.

A client that waits costs the log nothing. It asks once: the reply says which revision of the key keeps it
waiting, and when that expires. Then this replica is watched, which applies what frees the lock. Only the
first client in the queue of a key asks again: when its key is gone or has another revision here, or at the
time at which it expires. So clients of one node get a lock in the order of their arrival; between nodes,
whoever asks first gets it. A change of the leader does not matter to a client that waits.

A client that leaves gives up its place. If its command is in the log at that moment, and is given the lock,
the lock is freed at once, since nobody knows its token; if that fails, it expires.
"""

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

from kraft.host.applied_state import AppliedState
from kraft.host.requests.proposal import WriteDone, WriteOutcome
from kraft.host.requests.round import View
from kraft.kv.commands import Command, CommandFailure, Lock, Unlock
from kraft.kv.keyspace import Keyspace
from kraft.node.errors import Refused, Stopping, TooManyWaiters
from kraft.node.ports import Cancellable, Clock

WAITERS_MAX = 1024  # of a group on one node: some 100 us of a turn if each waits for another key
AGAIN_SECONDS_MIN = 0.01  # when log time is slow to reach an expiry
_COMMAND_BYTES = 64  # beside the key and the owner

NOT_GIVEN: list[Any] = [[0, 0, 0, 0]]
"""The outcome for a client whose time is over: as the reply of the state machine if the lock is held."""


class LockWaiter:
    """One client that waits. `done` is None once it has its answer."""

    __slots__ = ("asking", "command", "done", "late", "left", "timer")

    def __init__(self, command: Lock, done: WriteDone) -> None:
        self.command = command
        self.done: WriteDone | None = done
        self.asking = False  # its command is on its way through the log
        self.late = False  # its time is over
        self.left = False
        self.timer: Cancellable | None = None

    def settle(self, outcome: WriteOutcome) -> None:
        """Give the client its answer, if it has none and is still there."""
        done, self.done = self.done, None
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if done is not None:
            done(outcome)


class LockQueue:
    """The clients that wait for one key, of revision `holder`, that expires at `expires` (Unix ms)."""

    __slots__ = ("expires", "holder", "timer", "waiters")

    def __init__(self) -> None:
        self.waiters: deque[LockWaiter] = deque()
        self.holder = 0
        self.expires = 0  # 0: never
        self.timer: Cancellable | None = None

    def disarm(self) -> None:
        """Do not ask at the expiry that was known."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class LockWrites(Protocol):
    """Where a client asks for a lock."""

    def write(self, commands: Sequence[Command], size: int, done: WriteDone) -> None:
        """As `Host.write`, for one group."""


class LockWaits:
    """The `count` clients of this node that wait for locks of a group. `queues` has a queue for each key.

    `state` is that of the replica here; one that stays empty is never looked at: `read` tells of the keys.
    """

    def __init__(self, state: AppliedState, writes: LockWrites, clock: Clock) -> None:
        self.queues: dict[bytes, LockQueue] = {}
        self._state = state
        self._writes = writes
        self._clock = clock
        self.count = 0
        self._refusal: Refused | None = None

    def wait(self, command: Lock, seconds: float, done: WriteDone) -> Callable[[], None]:
        """Take the lock, or wait for it for so many seconds. Returns what the client calls if it leaves.

        `done` gets the outcome of the command, NOT_GIVEN, or an exception as from `Writes.write`. A client
        that has left gets NOT_GIVEN.
        """
        if self._refusal is not None or self.count >= WAITERS_MAX:
            self._clock.call_soon(partial(done, self._refusal or TooManyWaiters()))
            return leave_nothing
        waiter = LockWaiter(command, done)
        waiter.timer = self._clock.call_later(seconds, partial(self._late, waiter))
        self.count += 1
        queue = self.queues.setdefault(command.name, LockQueue())
        queue.waiters.append(waiter)
        if len(queue.waiters) == 1:
            self._ask(queue)
        return partial(self._leave, waiter)

    def applied(self) -> None:
        """This replica may have applied entries: let the first client of a free lock ask for it."""
        for name, queue in list(self.queues.items()):
            self._look(name, queue)

    def read(self, name: bytes, view: View) -> None:
        """The key `name` was read where the group is. Raises NotInExcerpt if it was left out."""
        if name in self.queues:
            self._compare(name, self.queues[name], view.keyspace, view.revision, view.now_ms)

    def ask_again(self) -> None:
        """Let the first client of each key ask for its lock."""
        for queue in list(self.queues.values()):
            if queue.waiters and not queue.waiters[0].asking:
                self._ask(queue)

    def refuse(self, refusal: Refused | None = None) -> None:
        """The node stops: no client waits any longer. One whose command is in the log may get it still."""
        self._refusal = refusal or Stopping()
        for queue in list(self.queues.values()):
            for waiter in list(queue.waiters):
                waiter.late = True
                if not waiter.asking:
                    self._settle(waiter, self._refusal)

    def _ask(self, queue: LockQueue) -> None:
        waiter = queue.waiters[0]
        waiter.asking = True
        queue.disarm()
        command = waiter.command
        size = _COMMAND_BYTES + len(command.name) + len(command.owner)
        self._writes.write((command,), size, partial(self._answered, queue, waiter))

    def _answered(self, queue: LockQueue, waiter: LockWaiter, outcome: WriteOutcome) -> None:
        waiter.asking = False
        name = waiter.command.name
        if not isinstance(outcome, Exception) and outcome[0] is CommandFailure.LOCKED:
            self._held_up(queue, waiter)
            return
        if isinstance(outcome, Exception) or isinstance(outcome[0], CommandFailure):
            self._settle(waiter, outcome)
            if queue.waiters:
                self._ask(queue)
            return
        reply: Any = outcome[0]
        given, token, expires, stamp = reply
        if given and waiter.left:
            self._writes.write((Unlock(name, token),), _COMMAND_BYTES + len(name), _ignore)
            given, outcome = 0, NOT_GIVEN
        queue.holder, queue.expires = token, expires
        if given or waiter.late or waiter.left:
            self._settle(waiter, outcome if given or self._refusal is None else self._refusal)
        if queue.waiters:
            self._arm(queue, stamp)
            self._look(name, queue)

    def _held_up(self, queue: LockQueue, waiter: LockWaiter) -> None:
        """A transaction held the key for so long that nothing was done. The client's own time counts."""
        if waiter.late or waiter.left:
            self._settle(waiter, self._refusal or NOT_GIVEN)
        if queue.waiters:
            self._ask(queue)

    def _look(self, name: bytes, queue: LockQueue) -> None:
        """Look at the key here, unless the state is wrong."""
        machine = self._state.machine
        if not self._state.fenced:
            self._compare(name, queue, machine.keyspace, machine.revision, machine.stamp)

    def _compare(self, name: bytes, queue: LockQueue, space: Keyspace, revision: int, stamp: int) -> None:
        """Compare the key, as it was at `revision` and `stamp`, with what is known of it."""
        if not queue.waiters or queue.waiters[0].asking:
            return
        if revision < queue.holder:
            return  # the replica has not yet applied what the leader replied
        record = space.records.get(name)
        if record is None or (space.slots is not None and not space.slots.shows(name)):
            self._ask(queue)  # the key is gone, or its slot: then the reply is NOT_OWNER
        elif (record.revision, record.expires) != (queue.holder, queue.expires):
            queue.holder, queue.expires = record.revision, record.expires
            self._arm(queue, stamp)

    def _arm(self, queue: LockQueue, stamp: int) -> None:
        """Ask again at the expiry of the key; log time is `stamp` now, or a little later."""
        queue.disarm()
        if queue.expires:
            seconds = max((queue.expires - stamp) / 1000, AGAIN_SECONDS_MIN)
            queue.timer = self._clock.call_later(seconds, partial(self._expired, queue))

    def _expired(self, queue: LockQueue) -> None:
        queue.timer = None
        if queue.waiters and not queue.waiters[0].asking:
            self._ask(queue)

    def _late(self, waiter: LockWaiter) -> None:
        waiter.timer = None
        waiter.late = True
        if not waiter.asking:
            self._settle(waiter, NOT_GIVEN)

    def _leave(self, waiter: LockWaiter) -> None:
        """The client is gone, or so it seems: it does not get the lock."""
        waiter.left = True
        if not waiter.asking and waiter in self._waiters_of(waiter):
            self._settle(waiter, NOT_GIVEN)

    def _waiters_of(self, waiter: LockWaiter) -> deque[LockWaiter]:
        queue = self.queues.get(waiter.command.name)
        return deque() if queue is None else queue.waiters

    def _settle(self, waiter: LockWaiter, outcome: WriteOutcome) -> None:
        """Answer a client and take it out of its queue."""
        name = waiter.command.name
        queue = self.queues[name]
        queue.waiters.remove(waiter)
        self.count -= 1
        if not queue.waiters:
            queue.disarm()
            del self.queues[name]
        waiter.settle(outcome)


def leave_nothing() -> None:
    """What a client calls that leaves and has no place to give up."""


def _ignore(_: WriteOutcome) -> None:
    """Nobody waits for the outcome."""
