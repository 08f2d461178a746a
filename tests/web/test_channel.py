"""One connection to the HTTP port under clients that are hasty, slow, silent or gone, without sockets."""

import re
from collections.abc import Iterator
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableDescriptor
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from kraft.web.channel import Channel
from kraft.web.limits import (
    ANSWER_SECONDS,
    BUSY_MAX,
    CLOSE_SECONDS,
    CONNECTIONS_MAX,
    DISCARDED_BYTES_MAX,
    FRESH_MAX,
    HEAD_SECONDS,
    IDLE_SECONDS,
)
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


@pytest.fixture
def browser() -> Browser:
    return Browser(clock=TurnClock())


@pytest.fixture
def client(browser: Browser) -> Client:
    [client] = opened(browser, 1)
    return client


# -- pipelines


@pytest.mark.parametrize("request_", [LIVE, METRICS, LIVE.replace(b"livez", b"status")])
def test_a_pipeline_is_served_one_request_a_turn(client: Client, request_: bytes) -> None:
    """However many requests arrive at once, other connections are served between two of them."""
    client.send(request_ * 300)
    assert client.answers == 1

    for served in range(2, 301):
        client.turn()
        assert client.answers == served
    assert set(client.codes) == {200}


def test_nothing_is_read_while_requests_of_a_pipeline_wait(client: Client) -> None:
    """The rest of an endless pipeline stays with the client."""
    client.send(LIVE * 100)
    assert client.socket.producerState == "paused"

    for _ in range(100):
        client.turn()
    assert client.answers == 100
    assert client.socket.producerState == "producing"


def test_a_client_that_does_not_read_gets_no_further_answer(client: Client) -> None:
    """Until it reads; and after ANSWER_SECONDS it is gone."""
    client.channel.pauseProducing()
    client.send(LIVE * 3)
    client.turn()
    assert client.answers == 1

    client.channel.resumeProducing()
    client.turn()
    assert client.answers == 2

    client.channel.pauseProducing()
    client.browser.clock.advance(ANSWER_SECONDS - 0.1)
    assert not client.is_closed
    client.browser.clock.advance(0.1)
    assert client.is_closed
    assert client.answers == 2


def test_a_pipeline_behind_a_request_that_waits(client: Client) -> None:
    """A bounded part of it is read, and it is served after that request."""
    client.send(SYNC + LIVE * 1000)
    assert client.answers == 0
    assert client.socket.producerState == "paused"

    client.browser.node.reads[0][1](object())
    client.turn()
    client.turn()

    assert client.answers == 3


def test_a_client_that_left_ends_its_pipeline(client: Client) -> None:
    """What it had sent costs nothing more."""
    client.send(METRICS * 300)
    client.leave()

    client.turn()

    assert client.browser.telemetry.scrapes == 1
    assert timers(client.browser) == 0


# -- deadlines


@pytest.mark.parametrize("head", [b"", b"GET /livez HTTP/1.1\r\nHost: k\r\n", b"G"])
def test_a_head_has_a_deadline_however_slowly_it_arrives(client: Client, head: bytes) -> None:
    if head:
        client.send(head)
    for number in range(int(HEAD_SECONDS) - 1):
        client.browser.clock.advance(1)
        if head:
            client.send(b"x%d: y\r\n" % number if b"\n" in head else b"E")
    assert not client.is_closed
    assert client.answers == 0

    client.browser.clock.advance(1)

    assert client.codes == ([408] if head else [])
    assert client.is_closed or client.socket.write_closed


def test_a_connection_may_rest_between_two_requests_but_not_in_the_second(client: Client) -> None:
    client.send(LIVE)
    client.turn()
    client.browser.clock.advance(IDLE_SECONDS - 1)
    client.send(b"GET")
    client.browser.clock.advance(HEAD_SECONDS - 1)
    assert not client.socket.write_closed

    client.browser.clock.advance(1)

    assert client.codes == [200, 408]


def test_an_idle_connection_is_closed(client: Client) -> None:
    client.send(LIVE)
    client.turn()
    client.browser.clock.advance(IDLE_SECONDS)

    assert client.is_closed
    assert client.codes == [200]


def test_a_last_answer_that_is_not_read_does_not_keep_the_connection(client: Client) -> None:
    client.send(b"GET /livez HTTP/1.0\r\n\r\n")
    assert client.is_closed
    assert not client.socket.disconnected

    client.browser.clock.advance(CLOSE_SECONDS)

    assert client.socket.disconnected


# -- a client that closes its sending side


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_a_client_that_sends_no_more_gets_its_answers(client: Client, count: int, end: bytes) -> None:
    """As nc does with -N. A line may end without CR, as one typed by hand does."""
    client.send(b"GET /livez HTTP/1.1\r\nHost: k\r\n\r\n".replace(b"\r\n", end) * count)
    client.shut()
    for _ in range(count):
        client.turn()

    assert client.codes == [200] * count
    assert client.is_closed


def test_a_client_that_sends_no_more_may_wait_for_its_answer(client: Client) -> None:
    client.send(SYNC)
    client.shut()
    client.shut()  # as after each attempt to read on
    assert not client.is_closed

    client.browser.node.reads[0][1](object())
    client.turn()

    assert client.codes == [200]
    assert client.is_closed


def test_a_head_that_ends_early_is_answered(client: Client) -> None:
    client.send(b"GET /livez HTTP/1.0\n")
    client.shut()

    assert client.codes == [400]
    assert b"empty line" in client.socket.value()
    assert client.is_closed


def test_a_client_that_leaves_without_a_word_is_closed(client: Client) -> None:
    client.shut()

    assert client.is_closed
    assert client.answers == 0


# -- refusals


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"POST /status HTTP/1.1\r\nHost: k\r\nContent-Length: 1000000000\r\n\r\n", 413),
        (
            b"GET /status HTTP/1.1\r\nHost: k\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            413,
        ),
        (b"PUT / HTTP/1.1\r\nHost: k\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n", 413),
        (b"GET /" + b"x" * 2000 + b" HTTP/1.1\r\nHost: k\r\n\r\n", 414),
        (b"GET /livez\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nno colon\r\nHost: k\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\n" + b"a: b\r\n" * 1000 + b"\r\n", 400),
        (b"*1\r\n$4\r\nPING\r\n", 400),
        (b"x" * 20_000, 431),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n", 400),
    ],
)
def test_what_cannot_be_served_gets_one_answer_and_a_close(client: Client, sent: bytes, code: int) -> None:
    """The rest of what the client sends is dropped, so that it can read the answer; but not for ever."""
    client.send(sent + LIVE)

    assert client.codes == [code]
    assert client.socket.value().endswith(b"\n")
    assert client.socket.write_closed
    client.send(b"x" * 100_000)
    assert not client.is_closed
    client.browser.clock.advance(CLOSE_SECONDS)
    assert client.socket.disconnected
    assert client.codes == [code]


def test_what_is_dropped_after_a_refusal_is_bounded(client: Client) -> None:
    client.send(b"nonsense\r\n")
    client.send(b"x" * DISCARDED_BYTES_MAX)
    assert not client.is_closed

    client.send(b"x")

    assert client.socket.disconnected


def test_a_refused_client_that_closes_is_closed(client: Client) -> None:
    client.send(b"nonsense\r\n")
    client.shut()

    assert client.is_closed


# -- places


def test_silent_connections_give_way_the_oldest_first(browser: Browser) -> None:
    """Any number of them keeps no health check away. One that was answered before stays."""
    browser.get("/livez")
    silent = opened(browser, CONNECTIONS_MAX - 1)
    silent[0].send(b"GET /livez HT")
    browser.clock.turn()
    assert not any(each.is_closed for each in silent)

    for number in range(200):
        probe = Client(browser)
        silent += opened(browser, 1)
        probe.send(LIVE)
        assert probe.codes == [200]
        assert silent[number].socket.disconnected
        assert not silent[number + 2].socket.disconnected
        probe.leave()
    assert not browser.transport.disconnecting


def test_connections_that_rest_give_way_when_none_is_silent(browser: Browser) -> None:
    resting = opened(browser, CONNECTIONS_MAX - 1)
    browser.get("/livez")
    for each in reversed(resting):
        each.send(LIVE)

    last = Client(browser)
    last.send(LIVE)
    opened(browser, 1)

    assert browser.transport.disconnected
    assert not any(each.is_closed for each in [*resting, last][1:])


def test_connections_that_are_closing_give_way_first(browser: Browser) -> None:
    """A client that does not read its last answer takes the place of nobody."""
    browser.get("/livez")
    [silent] = opened(browser, 1)
    closing = opened(browser, CONNECTIONS_MAX - 2)
    for each in closing[::2]:
        each.send(LIVE.replace(b"1.1", b"1.0"))
    for each in closing[1::2]:
        each.send(b"nonsense\r\n")

    opened(browser, len(closing))

    assert all(each.socket.disconnected for each in closing)
    assert not silent.is_closed
    assert not browser.transport.disconnecting


def test_connections_accepted_at_once_are_read_before_any_gives_way(browser: Browser) -> None:
    """A burst of clients that all have sent their request is served; beyond a bound they are closed."""
    burst = [Client(browser) for _ in range(FRESH_MAX - 1)]
    assert browser.site.buildProtocol(None) is None
    browser.clock.turn()
    for each in burst:
        each.send(LIVE)
    browser.clock.turn()

    assert all(each.codes == [200] for each in burst)
    left = [each for each in burst if not each.is_closed]
    assert len(left) + (not browser.transport.disconnected) == CONNECTIONS_MAX


def test_requests_that_wait_leave_places_for_health_checks(browser: Browser) -> None:
    """Those beyond BUSY_MAX get an answer at once."""
    waiting = []
    for _ in range(CONNECTIONS_MAX):
        waiting.append(Client(browser))
        waiting[-1].send(SYNC)
    assert [each.codes for each in waiting] == [[]] * BUSY_MAX + [[503]] * (len(waiting) - BUSY_MAX)

    probe = Client(browser)
    probe.send(LIVE)

    assert probe.codes == [200]
    assert not any(each.is_closed for each in waiting[:BUSY_MAX])
    waiting[0].leave()
    again = Client(browser)
    again.send(SYNC)
    assert again.codes == []


def test_a_place_is_free_again_when_its_connection_ends(browser: Browser) -> None:
    for _ in range(3 * CONNECTIONS_MAX):
        client = Client(browser)
        client.send(SYNC)
        client.leave()

    client = Client(browser)
    client.send(SYNC)
    assert client.codes == []


# -- shared answers


def scrape(browser: Browser, count: int) -> list[Client]:
    clients = [Client(browser) for _ in range(count)]
    for each in clients:
        each.send(METRICS)
    return clients


def test_a_scrape_is_made_in_slices_for_all_who_ask(browser: Browser) -> None:
    """The reactor is held for one piece at a time, however many scrape."""

    class Slow:
        made = 0

        def __iter__(self) -> Iterator[bytes]:
            for _ in range(10):
                browser.clock.rightNow += 0.003
                self.made += 1
                yield b"x"

    browser.telemetry.pieces = slow = Slow()
    clients = scrape(browser, 20)
    assert slow.made == 1
    assert all(each.answers == 0 for each in clients)

    for made in range(2, 11):
        browser.clock.turn()
        assert slow.made == made
    browser.clock.turn()
    assert all(each.codes == [200] for each in clients)
    [later] = scrape(browser, 1)
    assert later.codes == [200]
    assert browser.telemetry.scrapes == 1

    browser.clock.advance(0.5)
    scrape(browser, 1)
    assert browser.telemetry.scrapes == 2


def test_a_scrape_ends_when_nobody_waits_for_it(browser: Browser) -> None:
    def slow() -> Iterator[bytes]:
        while True:
            browser.clock.rightNow += 0.003
            yield b"x"

    browser.telemetry.pieces = slow()
    one, other = scrape(browser, 2)
    one.leave()
    for _ in range(3):
        browser.clock.turn()
    assert timers(browser) == 1

    other.leave()

    assert timers(browser) == 0
    browser.telemetry.pieces = [b"y"]
    [again] = scrape(browser, 1)
    assert again.socket.value().endswith(b"\r\n\r\ny")


def test_a_scrape_that_fails_costs_only_those_who_wait(browser: Browser) -> None:
    def broken() -> Iterator[bytes]:
        browser.clock.rightNow += 0.003
        yield b"x"
        raise ValueError

    browser.telemetry.pieces = broken()
    clients = scrape(browser, 3)
    browser.clock.turn()
    assert [each.codes for each in clients] == [[500]] * 3

    browser.telemetry.pieces = [b"y"]
    assert [each.codes for each in scrape(browser, 1)] == [[200]]


def test_a_client_that_leaves_while_the_page_waits_for_other_nodes(browser: Browser) -> None:
    """Nothing is rendered for it, and no failure is reported."""
    from tests.web.reports import report
    from tests.web.test_site import FakeNode

    cluster = Browser(FakeNode(report("K1").status))
    client = Client(cluster)
    client.send(b"GET / HTTP/1.1\r\nHost: k\r\n\r\n")
    client.leave()
    for _, answer in cluster.fetch.asked:
        answer.callback(b"")

    assert cluster.telemetry.failed == []
    assert client.answers == 0


def test_an_event_stream_that_is_pipelined_ends_the_pipeline(client: Client) -> None:
    """Nothing can follow an answer that does not end; what is sent after it is read up to a bound."""
    client.send(EVENTS + LIVE * 1000)

    assert client.codes == [200]
    assert client.socket.producerState == "paused"
    assert isinstance(client.channel.requests[0].notifyFinish(), Deferred)
    client.leave()
