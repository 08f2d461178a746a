"""Requests that came to a group which has lost the slots of their keys: planned again, and asked again.

A group refuses a command for a slot that is not its own, and nothing of it is done. The node of the client
has learned by then, or learns within moments, which group owns the slot. So the requests are gathered anew,
as if they had just come: their keys may be in another group, or in several, and in redirect mode the client
is sent to another node. What was done in the same segment stays done.
"""

from collections.abc import Callable
from typing import Any, ClassVar

from msgspec import field

from kraft.node.ports import Clock
from kraft.resp.values import Reply
from kraft.server.errors import SLOT_MOVED
from kraft.server.ports import NodeHost
from kraft.server.segments import Gather, Segment
from kraft.server.session_state import SessionState
from kraft.server.statistics import Statistics


class MovedSegment(Segment):
    """The requests of `first` whose reply among `known`, those to all its requests, is SLOT_MOVED.

    They are planned again until `until` (monotonic seconds). Then that is the reply.
    """

    AGAIN_SECONDS: ClassVar[float] = 0.01  # what a replica is late, in most cases

    first: Any = None
    known: list[Reply] = field(default_factory=list)
    until: float = 0.0
    gather: Gather | None = None
    clock: Clock | None = None
    current: Segment | None = None  # what is asked for now
    places: list[int] = field(default_factory=list)  # of the requests that have no reply yet
    gone: bool = False  # the client does not wait any more
    host: Any = None
    state: Any = None
    done: Any = None

    def ask(self, host: NodeHost, state: SessionState, done: Callable[[Any], None]) -> None:
        """`done` gets the replies to all requests of the first segment, perhaps before this returns."""
        self.host, self.state, self.done = host, state, done
        self.places = [place for place, reply in enumerate(self.known) if reply is SLOT_MOVED]
        self._plan()

    def leave(self) -> None:
        self.gone = True
        if self.current is not None:
            self.current.leave()

    def _plan(self) -> None:
        """Ask for the requests that are left, as far as they are of one kind."""
        requests = [self.first.requests[place] for place in self.places]
        segment = self.current = self.first.again(self.gather, requests, self.state, self._now())
        if not segment.items:
            self._take(segment.complete([]))
            return
        segment.ask(self.host, self.state, self._answered)
        if self.gone:
            segment.leave()

    def _answered(self, outcome: Any) -> None:
        segment = self.current
        if segment is None:
            raise LookupError("nothing was asked")
        try:
            failed = isinstance(outcome, Exception)
            replies = segment.failures(outcome, self.host) if failed else segment.replies(outcome)
            if segment.settled or segment.shapes:
                replies = segment.complete(replies)
            self.first.hits += segment.hits
            self.first.misses += segment.misses
        except Exception as error:  # a bug costs this client alone
            self.done(error)
        else:
            self._take(replies)

    def _take(self, replies: list[Reply]) -> None:
        """Keep the replies to the first of the requests that are left, and go on with the others."""
        again = []
        for place, reply in zip(self.places, replies, strict=False):
            self.known[place] = reply
            if reply is SLOT_MOVED:
                again.append(place)
        self.places = again + self.places[len(replies) :]
        if not self.places or (again and self._now() >= self.until):
            self.done(self.known)
        elif again and self.clock is not None:
            self.clock.call_later(self.AGAIN_SECONDS, self._plan)
        else:
            self._plan()

    def _now(self) -> float:
        return 0.0 if self.clock is None else self.clock.seconds()

    def replies(self, outcome: list[Reply]) -> list[Reply]:
        return outcome

    def report(self, statistics: Statistics, replies: list[Reply], now: float) -> None:
        self.first.report(statistics, replies, now)
