"""Many connections to the HTTP port: which of them give way, and what they share."""

from collections.abc import Iterator

from twisted.internet.defer import Deferred

from kraft.web.limits import (
    BUSY_MAX,
    CONNECTIONS_MAX,
)
from tests.web.http_client import EVENTS, LIVE, SYNC, Client, opened, scrape, timers
from tests.web.test_site import Browser

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
    """A burst of clients that all have sent their request is served, whatever their number."""
    burst = [Client(browser) for _ in range(5 * CONNECTIONS_MAX)]
    browser.clock.turn()
    for each in burst:
        each.send(LIVE)
    browser.clock.turn()

    assert all(each.codes == [200] for each in burst)
    left = [each for each in burst if not each.is_closed]
    assert len(left) + (not browser.transport.disconnected) == CONNECTIONS_MAX


def test_a_last_answer_leaves_before_its_connection_gives_way(browser: Browser) -> None:
    """Twisted sends it in the turn after; many are accepted with it that do not close."""
    burst = [Client(browser) for _ in range(2 * CONNECTIONS_MAX)]
    probe = Client(browser)
    browser.clock.turn()
    probe.send(LIVE.replace(b"1.1", b"1.0"))
    assert probe.is_closed
    browser.clock.turn()
    assert not probe.socket.disconnected
    assert any(each.is_closed for each in burst)


def test_a_health_check_among_silent_connections_accepted_at_once_is_answered(browser: Browser) -> None:
    """It came last, and the oldest that are silent give way."""
    silent = [Client(browser) for _ in range(5 * CONNECTIONS_MAX)]
    probe = Client(browser)
    browser.clock.turn()
    probe.send(LIVE)
    browser.clock.turn()

    assert probe.codes == [200]
    assert not probe.is_closed
    assert [each.is_closed for each in silent] == sorted((each.is_closed for each in silent), reverse=True)


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
    first, *others = scrape(browser, 20)
    for made in range(1, 11):
        assert slow.made == made
        assert first.answers == 0
        browser.clock.turn()
    assert first.codes == [200]
    assert all(each.answers == 0 for each in others)  # they asked later than the first body began

    browser.clock.advance(0.25)
    assert browser.telemetry.scrapes == 1
    browser.clock.advance(0.05)
    for _ in range(10):
        browser.clock.turn()

    assert all(each.codes == [200] for each in others)
    assert browser.telemetry.scrapes == 2


def test_a_scrape_ends_when_nobody_waits_for_it(browser: Browser) -> None:
    """What was spent on it counts: clients that ask and leave cost no more than others."""

    def slow() -> Iterator[bytes]:
        while True:
            browser.clock.rightNow += 0.003
            yield b"x"

    browser.telemetry.pieces = slow()
    [one] = scrape(browser, 1)
    for _ in range(3):
        browser.clock.turn()
    assert timers(browser) == 1

    one.leave()

    assert timers(browser) == 0
    browser.telemetry.pieces = [b"y"]
    again, gone = scrape(browser, 2)
    gone.leave()
    assert again.answers == 0
    browser.clock.advance(0.13)
    assert again.socket.value().endswith(b"\r\n\r\ny")
    assert browser.telemetry.scrapes == 2


def test_a_scrape_that_fails_costs_only_those_who_wait(browser: Browser) -> None:
    def broken() -> Iterator[bytes]:
        browser.clock.rightNow += 0.003
        yield b"x"
        raise ValueError

    browser.telemetry.pieces = broken()
    failed, later = scrape(browser, 2)
    browser.clock.turn()
    assert failed.codes == [500]

    browser.telemetry.pieces = [b"y"]
    browser.clock.advance(0.03)
    assert later.codes == [200]
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
