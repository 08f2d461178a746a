"""Clients in the simulator that wait for the lock (`KRAFT LOCK ... WAIT`), and what their nodes owe them.

Each names itself as the owner, as nothing else in the log is named. So the log shows every command with which
its node asked for it, and `History` makes operations on the lock of these. Demanded at once: a node gives the
lock to its clients in the order of their arrival, to none that has left, and answers every client in time,
whoever leads meanwhile.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from kraft.kv.commands import CommandFailure, Lock
from tests.simulation.cluster import LEADER_WAIT_SECONDS
from tests.simulation.linearizability import INFINITY, Operation
from tests.simulation.locks import ASKED, RELEASE, TAKE
from tests.simulation.logged import Logged
from tests.simulation.process import Process
from tests.simulation.violation import demand
from tests.simulation.world import World

RUNS = 0.25  # how many runs have clients that wait
SHARE = 0.9  # of those that take the lock in such a run
SAME_NODE = 0.7  # how many of them come to the same node
# When the time of a client is over, its last command may wait for a leader and a commit, and be uncertain.
ANSWER_SECONDS = 10.0
AGAIN_SECONDS = 2.0  # until an answer that is late is missed: a process that was held up works in no order


@dataclass(slots=True, eq=False)
class Wait:
    """One request. `reply` is that of the state machine if the lock was given to the client."""

    process: Process
    group: int
    name: bytes  # the key of the lock
    owner: bytes
    ttl_ms: int
    called: float
    answered: float = 0.0
    queued: bool = True  # its node has the group
    given: bool = False
    in_vain: bool = False  # certainly not given
    left: bool = False
    reply: Any = None
    leave: Callable[[], None] = lambda: None


class Waits:
    """All requests of a run, in the order of their arrival."""

    def __init__(self) -> None:
        self.requests: list[Wait] = []

    def began(self, world: World, wait: Wait, seconds: float, done: Callable[[Any], None]) -> None:
        """A request arrives at its process. The client waits for so many seconds; `done` gets the outcome."""
        self.requests.append(wait)
        host, clock = wait.process.host, wait.process.clock

        def answered(outcome: Any) -> None:
            wait.answered = world.now
            self._answered(wait, outcome)
            if not wait.left:
                done(outcome)

        def overdue() -> None:
            late = f"{wait.owner!r} waits for {seconds} s at {wait.process.id}, and gets no answer"
            demand(bool(wait.answered), late)

        wait.queued = wait.group in host.groups
        wait.leave = host.wait_for_lock(
            wait.group, Lock(wait.name, wait.ttl_ms, wait.owner), seconds, answered
        )
        # One after the other: a process that stood still may ask for the client only when it goes on. The
        # first is as late as what a slow process has made for the client, though it may be fast by then.
        again = partial(clock.call_later, AGAIN_SECONDS, overdue)
        first = max(seconds, LEADER_WAIT_SECONDS)
        clock.call_later(first, partial(clock.call_later, ANSWER_SECONDS, again))

    def left(self, wait: Wait) -> None:
        """The client closes its connection."""
        wait.left = True
        wait.leave()

    def _answered(self, wait: Wait, outcome: Any) -> None:
        if not isinstance(outcome, list):
            return
        (reply,) = outcome
        given = not isinstance(reply, CommandFailure) and bool(reply[0])  # else its slot has gone
        wait.given, wait.in_vain = given, not given and not wait.left
        if not wait.given:
            return
        wait.reply = reply
        demand(not wait.left, f"the lock is given to {wait.owner!r}, who has left")
        for other in self.requests[: self.requests.index(wait)]:
            place = (other.process, other.group, other.name, other.queued)
            if place == (wait.process, wait.group, wait.name, True):
                turn = other.answered or other.left
                demand(bool(turn), f"{wait.owner!r} gets the lock before {other.owner!r}, who came first")

    def operations(self, asked: Sequence[Logged]) -> list[Operation]:
        """What the commands in the log did to the lock: of each request, or to free it for one that left."""
        places: dict[bytes, list[int]] = {}
        for place, entry in enumerate(asked):
            if entry.asked is not None and entry.asked.owner:
                places.setdefault(entry.asked.owner, []).append(place)
        found = [_operation(entry) for entry in asked]
        for wait in self.requests:
            for place in places.get(wait.owner, ())[-1:]:
                found[place] = _last(wait, asked[place])
        return found


def _operation(entry: Logged) -> Operation:
    """Of a command whose reply no client has seen: of a request that asked again after it, so in vain."""
    asked: Any = entry.asked
    if asked.token:
        return Operation(RELEASE, asked.token, 0.0, INFINITY, stamp=entry.stamp)
    return Operation(ASKED, None, 0.0, INFINITY, stamp=entry.stamp)


def _last(wait: Wait, entry: Logged) -> Operation:
    if wait.in_vain:
        return Operation(ASKED, None, wait.called, INFINITY, stamp=entry.stamp)
    returned = wait.answered if wait.given else INFINITY
    argument = (wait.ttl_ms, wait.owner)
    return Operation(TAKE, argument, wait.called, returned, wait.reply, stamp=entry.stamp)
