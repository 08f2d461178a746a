"""Clients of the HTTP port that are hasty, slow, silent or gone, without sockets."""

import re
from typing import Any, cast

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableDescriptor
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from kraft.web.channel import Channel
from tests.web.test_site import Browser

LIVE = b"GET /livez HTTP/1.1\r\nHost: k\r\n\r\n"
METRICS = b"GET /metrics HTTP/1.1\r\nHost: k\r\n\r\n"
SYNC = b"GET /readyz?sync HTTP/1.1\r\nHost: k\r\n\r\n"
EVENTS = b"GET /events HTTP/1.1\r\nHost: k\r\n\r\n"


class TurnClock(Clock):
    """Virtual time in the turns of a reactor: what a call schedules for now runs in the next turn."""

    def turn(self) -> None:
        """Run what is due now, and not what that schedules."""
        due = [call for call in self.getDelayedCalls() if call.getTime() <= self.seconds()]
        for call in cast(list[Any], due):
            if call.active():
                self.calls.remove(call)
                call.called = 1
                call.func(*call.args, **call.kw)


@implementer(IHalfCloseableDescriptor)
class Socket(StringTransport):
    """A transport each of whose directions closes by itself, as those of TCP do."""

    write_closed = False

    def loseWriteConnection(self) -> None:
        self.write_closed = True

    def readConnectionLost(self, reason: Failure) -> None:
        """Part of the interface; a test calls the protocol."""

    def writeConnectionLost(self, reason: Failure) -> None:
        """Likewise."""


class Client:
    """One more connection to the port of `browser`."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        self.socket = Socket()
        protocol = browser.site.buildProtocol(None)
        assert protocol is not None
        self.channel: Channel = protocol
        self.channel.makeConnection(self.socket)

    def send(self, data: bytes) -> None:
        if not self.socket.disconnecting:
            self.channel.dataReceived(data)

    def turn(self) -> None:
        """One turn of the reactor."""
        self.browser.clock.turn()

    def shut(self) -> None:
        """Close the sending side."""
        self.channel.readConnectionLost()

    def leave(self) -> None:
        self.channel.connectionLost(Failure(ConnectionDone()))

    @property
    def answers(self) -> int:
        return len(self.codes)

    @property
    def codes(self) -> list[int]:
        return [int(code) for code in re.findall(rb"HTTP/1\.1 (\d{3}) ", self.socket.value())]

    @property
    def is_closed(self) -> bool:
        return self.socket.disconnecting


def opened(browser: Browser, count: int) -> list[Client]:
    """So many new connections, none of which has sent anything in time."""
    clients = []
    for _ in range(count):
        clients.append(Client(browser))
        browser.clock.turn()
    browser.clock.turn()
    return clients


def timers(browser: Browser) -> int:
    """How many calls are scheduled, beside the deadline of the browser's own connection."""
    return len(browser.clock.getDelayedCalls()) - 1


# -- shared answers


def scrape(browser: Browser, count: int) -> list[Client]:
    clients = [Client(browser) for _ in range(count)]
    for each in clients:
        each.send(METRICS)
    return clients
