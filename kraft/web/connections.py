"""The open connections of the HTTP port, and which of them give way when there are too many.

A health check must be answered however many connections strangers hold open. Some places are therefore always
held by connections that wait for their client, and of these the least useful gives way: first one that is
closing, then the oldest that never sent a request, then the one that has been idle the longest since its last
answer. A connection that was just accepted does not give way before its first bytes could be read, which
takes two turns of the reactor. Few are accepted in a turn (`tcp.accept_limit`), so none has to be refused.
"""

from typing import Protocol

from twisted.internet.interfaces import IReactorTime

from kraft.web.limits import CONNECTIONS_MAX


class Place(Protocol):
    """A connection, as far as it matters here."""

    def give_way(self) -> None:
        """Close at once."""


class Connections:
    """All connections by what they wait for. The dicts serve as ordered sets, the oldest first."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._fresh: set[Place] = set()  # not read yet
        self._leaving: set[Place] = set()  # the last answer has not left this process
        self._closing: dict[Place, None] = {}  # the client reads the last answer, or is gone
        self._silent: dict[Place, None] = {}  # no request yet
        self._idle: dict[Place, None] = {}  # answered, no further request yet
        self._busy: set[Place] = set()  # a request is being answered

    @property
    def busy(self) -> int:
        """The number of connections whose request is being answered."""
        return len(self._busy)

    @property
    def _settled(self) -> int:
        waiting = len(self._closing) + len(self._silent) + len(self._idle)
        return waiting + len(self._leaving) + len(self._busy)

    def opened(self, connection: Place) -> None:
        """`connection` is open, and was not read yet."""
        self._fresh.add(connection)
        self._clock.callLater(0, self._clock.callLater, 0, self._read, connection)

    def asked(self, connection: Place) -> None:
        """`connection` has sent a request."""
        self.closed(connection)
        self._busy.add(connection)

    def answered(self, connection: Place) -> None:
        """The request of `connection` was answered, or refused."""
        self.closed(connection)
        self._idle[connection] = None

    def closing(self, connection: Place) -> None:
        """`connection` takes no more requests. In two turns its last answer is on its way."""
        self.closed(connection)
        self._leaving.add(connection)
        self._clock.callLater(0, self._clock.callLater, 0, self._left, connection)

    def closed(self, connection: Place) -> None:
        """`connection` is gone."""
        self._fresh.discard(connection)
        self._leaving.discard(connection)
        self._closing.pop(connection, None)
        self._silent.pop(connection, None)
        self._idle.pop(connection, None)
        self._busy.discard(connection)

    def _left(self, connection: Place) -> None:
        if connection in self._leaving:
            self._leaving.remove(connection)
            self._closing[connection] = None

    def _read(self, connection: Place) -> None:
        """`connection` could be read for the first time: it takes a place like any other now."""
        if connection in self._fresh:
            self._fresh.remove(connection)
            self._silent[connection] = None
        while self._settled > CONNECTIONS_MAX and (waiting := self._closing or self._silent or self._idle):
            oldest = next(iter(waiting))
            del waiting[oldest]
            oldest.give_way()
