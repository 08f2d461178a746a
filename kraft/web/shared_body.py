"""A body made once for all who request it at about the same time: in slices, and only while one waits."""

from collections.abc import Callable, Iterator

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from kraft.web.limits import SHARED_SECONDS_MAX, SLICE_SECONDS, WORK_SHARE


class SharedBody:
    """The body of one page.

    It is joined from `pieces`, each of which takes little time; between slices the reactor serves others.
    Those who request it meanwhile get the same body, and so do those who come so soon afterwards that making
    it again would take more than WORK_SHARE of the reactor's time. When all who wait are gone, the work ends.
    """

    def __init__(self, pieces: Callable[[], Iterator[bytes]], clock: IReactorTime) -> None:
        self._make = pieces
        self._clock = clock
        self._rest: Iterator[bytes] = iter(())
        self._pieces: list[bytes] = []
        self._worked = 0.0  # seconds spent on the present body
        self._waiting: list[Deferred[bytes]] = []
        self._next: IDelayedCall | None = None
        self._body = b""
        self._shared_until = clock.seconds()

    def get(self) -> Deferred[bytes]:
        """The body, now or after some turns. Fails with what `pieces` raises. May be cancelled."""
        wanted: Deferred[bytes] = Deferred(self._cancelled)
        if self._clock.seconds() < self._shared_until:
            wanted.callback(self._body)
            return wanted
        self._waiting.append(wanted)
        if len(self._waiting) == 1:
            self._pieces, self._worked = [], 0.0
            self._rest = self._make()
            self._work()
        return wanted

    def _work(self) -> None:
        """Make pieces for one slice of time, and go on in the next turn."""
        self._next = None
        started = self._clock.seconds()
        try:
            while (piece := next(self._rest, None)) is not None:
                self._pieces.append(piece)
                if self._clock.seconds() - started >= SLICE_SECONDS:
                    self._worked += self._clock.seconds() - started
                    self._next = self._clock.callLater(0, self._work)
                    return
        except Exception:
            self._end(Failure())
            return
        now = self._clock.seconds()
        self._worked += max(0.0, now - started)
        self._body = b"".join(self._pieces)
        self._shared_until = now + min(self._worked / WORK_SHARE, SHARED_SECONDS_MAX)
        self._end(self._body)

    def _end(self, result: bytes | Failure) -> None:
        self._pieces, self._rest = [], iter(())
        waiting, self._waiting = self._waiting, []
        for wanted in waiting:
            wanted.callback(result)

    def _cancelled(self, wanted: Deferred[bytes]) -> None:
        """One who waited is gone; without others there is nothing to do."""
        self._waiting.remove(wanted)
        if not self._waiting and self._next is not None:
            self._next.cancel()
            self._next = None
            self._pieces, self._rest = [], iter(())
