"""A body made once for all who request it at about the same time: in slices, and only while one waits."""

from collections.abc import Callable, Iterator
from math import inf

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from kraft.web.limits import PAUSE_SECONDS_MAX, SLICE_SECONDS, WORK_SHARE


class SharedBody:
    """The body of one page, never older than the request for it.

    It is joined from `pieces`, each of which takes little time; between slices the reactor serves others.
    Those whose request arrived after it was begun share the next one. That begins after a pause, so that
    making bodies takes WORK_SHARE of the reactor's time at most. When all who wait for a body are gone, its
    work ends.
    """

    def __init__(self, pieces: Callable[[], Iterator[bytes]], clock: IReactorTime) -> None:
        self._make = pieces
        self._clock = clock
        self._present: list[Deferred[bytes]] = []  # who wait for the body that is being made
        self._rest: Iterator[bytes] | None = None  # of its pieces, once there are some
        self._pieces: list[bytes] = []
        self._worked = 0.0  # seconds spent on it
        self._body = b""  # the last one that is whole
        self._body_began = self._began = -inf  # when the last one and the present one were begun
        self._next: list[Deferred[bytes]] = []  # who wait for the one after it
        self._not_before = clock.seconds()  # when that one may begin
        self._call: IDelayedCall | None = None  # the next slice, or the next body

    def get(self, requested_at: float) -> Deferred[bytes]:
        """The body, now or after some turns. Fails with what `pieces` raises. May be cancelled.

        `requested_at`: when the request arrived. In a pipeline that may be before a body that is there.
        """
        wanted: Deferred[bytes] = Deferred(self._cancelled)
        if self._body_began >= requested_at:
            wanted.callback(self._body)
        elif self._present and self._began >= requested_at:
            self._present.append(wanted)
        else:
            self._next.append(wanted)
            self._schedule()
        return wanted

    def _schedule(self) -> None:
        """Begin the next body, now or when the pause is over, unless one is being made."""
        if not self._next or self._present or self._call is not None:
            return
        pause = self._not_before - self._clock.seconds()
        if pause > 0:
            self._call = self._clock.callLater(pause, self._begin)
        else:
            self._begin()

    def _begin(self) -> None:
        self._present, self._next = self._next, []
        self._began, self._worked = self._clock.seconds(), 0.0
        self._work()

    def _work(self) -> None:
        """Make pieces for one slice of time, and go on in the next turn."""
        self._call = None
        started = self._clock.seconds()
        result: bytes | Failure
        try:
            if self._rest is None:
                self._rest = self._make()
            while (piece := next(self._rest, None)) is not None:
                self._pieces.append(piece)
                if self._clock.seconds() - started >= SLICE_SECONDS:
                    self._worked += self._clock.seconds() - started
                    self._call = self._clock.callLater(0, self._work)
                    return
            result = self._body = b"".join(self._pieces)
            self._body_began = self._began
        except Exception:
            result = Failure()
        self._worked += max(0.0, self._clock.seconds() - started)
        for wanted in self._end():
            wanted.callback(result)
        self._schedule()

    def _end(self) -> list[Deferred[bytes]]:
        """The present body is done or not wanted any more. Returns those who wait for it."""
        waiting, self._present = self._present, []
        self._rest, self._pieces = None, []
        self._not_before = self._clock.seconds() + min(self._worked / WORK_SHARE, PAUSE_SECONDS_MAX)
        return waiting

    def _cancelled(self, wanted: Deferred[bytes]) -> None:
        """One who waited is gone; without others there is nothing to do."""
        waiting = self._present if wanted in self._present else self._next
        waiting.remove(wanted)
        if waiting or self._call is None or (waiting is self._next and self._present):
            return
        self._call.cancel()
        self._call = None
        if waiting is self._present:
            self._end()
        self._schedule()
