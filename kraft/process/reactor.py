"""Twisted's epoll reactor with less work per event.

`EPollReactor` wraps every event in a logging context, dispatches it through four more functions, and keeps a
call of `callLater(0, ...)` as an object in a heap. With small requests that is a sixth of a node's time. Here
an event that says "readable" and nothing else, as nearly all do, calls the `doRead` of its descriptor at
once. Every other event, and every error, takes Twisted's own way.

What differs for code that runs in it: a legacy log message (`twisted.python.log.msg`) of a protocol carries
no prefix that names the connection. An error that ends a connection still does.

`kraft.tap` installs it, unless `twistd --reactor NAME` chose one: `twistd --reactor epoll` runs a node on the
stock reactor. It is also known to twistd, and to every other Twisted program, as `--reactor kraft`.
"""

import sys
from collections.abc import Callable
from select import EPOLLIN
from typing import Any

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.error import ConnectionFdescWentAway
from twisted.internet.main import installReactor
from twisted.logger import Logger
from twisted.python import log

import twisted

PRIVATE = ("_poller", "_selectables", "_doReadOrWrite", "_disconnectSelectable")  # of EPollReactor

_NO_DESCRIPTOR = ConnectionFdescWentAway("File descriptor lost")  # as in Twisted

_log = Logger()


class Reactor(EPollReactor):
    """An epoll reactor that calls `doRead` directly, and has `call_soon`. PRIVATE has what it relies on."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._soon: list[Callable[[], object]] = []

    def call_soon(self, call: Callable[[], object]) -> None:
        """Run `call` once, after all input of this iteration and the timers that are due; in order of calls.

        What is asked for meanwhile runs in the next iteration, after a poll. Like `callLater(0, call)`, but
        it cannot be cancelled.
        """
        self._soon.append(call)

    def stop(self) -> None:
        """Stop the reactor in order. It does so in the next iteration, so it must not sleep before."""
        super().stop()
        self._soon.append(_nothing)

    def timeout(self) -> float | None:
        """Do not sleep while calls wait."""
        return 0.0 if self._soon else super().timeout()

    def runUntilCurrent(self) -> None:
        """Run the calls of other threads, the timers that are due, and what was asked for by `call_soon`."""
        super().runUntilCurrent()
        if self._soon:
            soon, self._soon = self._soon, []
            for call in soon:
                try:
                    call()
                except BaseException:
                    _log.failure("while handling a call that was asked for by call_soon")

    def doPoll(self, timeout: float | None) -> None:
        """Wait for events, at most `timeout` seconds (None: for ever), and handle them."""
        selectables: dict[int, Any] = self._selectables
        events = self._poller.poll(-1 if timeout is None else timeout, len(selectables) or 1)
        for fd, event in events:
            selectable = selectables.get(fd)
            if selectable is None:
                continue  # an event before this one has closed it
            if event == EPOLLIN:
                try:
                    why = selectable.doRead() if selectable.fileno() != -1 else _NO_DESCRIPTOR
                except BaseException:
                    log.callWithLogger(selectable, self._read_failed, selectable)
                    continue
                if why:
                    log.callWithLogger(selectable, self._disconnectSelectable, selectable, why, True)
            else:
                log.callWithLogger(selectable, self._doReadOrWrite, selectable, fd, event)

    doIteration = doPoll

    def _read_failed(self, selectable: Any) -> None:
        """Log the error under way, and end the connection that raised it, and no other."""
        error = sys.exc_info()[1]
        log.err()
        self._disconnectSelectable(selectable, error, True)  # type: ignore[no-untyped-call]


def _nothing() -> None:
    """Keeps the reactor from sleeping."""


def install() -> None:
    """Make it the reactor of this process.

    Raises `ReactorAlreadyInstalledError`, and `ImportError` with the reason where it cannot work: without
    epoll, or with a Twisted that lacks one of the PRIVATE names.
    """
    reactor = Reactor()
    missing = [name for name in PRIVATE if not hasattr(reactor, name)]
    if missing:
        raise ImportError(f"Twisted {twisted.__version__} has no EPollReactor.{missing[0]}")
    installReactor(reactor)
