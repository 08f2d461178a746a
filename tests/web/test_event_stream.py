"""Server-sent events: what open pages are told, without sockets."""

import json
from typing import Any

import pytest
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from kraft.web.event_stream import GATHER_SECONDS, POLL_SECONDS, event
from kraft.web.limits import ROUND_SECONDS, SUBSCRIBER_STALLED_SECONDS, SUBSCRIBERS_MAX
from kraft.web.report import encode
from tests.web.reports import report
from tests.web.test_site import Browser, FakeNode

ASK = b"GET /events%s HTTP/1.1\r\nHost: k\r\nAuthorization: Bearer %s\r\n\r\n"
CHARTS = ("throughput", "reads", "writes")


class AbortableTransport(StringTransport):
    """As a socket: it may be cut."""

    def abortConnection(self) -> None:
        self.disconnecting = True
        self.aborted = True


class Page:
    """An open page on a connection of its own to the port of `browser`."""

    def __init__(self, browser: Browser, query: bytes = b"", token: bytes = b"-") -> None:
        self.transport = AbortableTransport()
        protocol = browser.site.buildProtocol(None)
        assert protocol is not None
        self.protocol = protocol
        self.protocol.makeConnection(self.transport)
        self.protocol.dataReceived(ASK % (query, token))

    @property
    def head(self) -> bytes:
        written: bytes = self.transport.value()
        return written.partition(b"\r\n\r\n")[0]

    def heard(self) -> list[dict[str, Any]]:
        """Every event since it was asked last, as EventSource would understand the chunks."""
        body = b""
        rest = self.transport.value()
        if rest.startswith(b"HTTP/"):
            rest = rest.partition(b"\r\n\r\n")[2]
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            body += rest[: int(size, 16)]
            rest = rest[int(size, 16) + 2 :]
        self.transport.clear()
        events = [each for each in body.decode().split("\n\n") if each.startswith("data: ")]
        assert all("\n" not in each for each in events)
        return [json.loads(each.removeprefix("data: ")) for each in events]

    def leave(self) -> None:
        self.protocol.connectionLost(Failure(ConnectionDone()))


def cluster() -> Browser:
    """The port of K1, which has two other nodes."""
    return Browser(FakeNode(report("K1").status))


def answered(browser: Browser) -> None:
    """K2 and K3 answer the questions that are open."""
    for url, answer in browser.fetch.asked:
        if not answer.called:
            answer.callback(encode(report(url[:2]), pretty=False))


def test_the_first_event_is_whole_and_the_next_only_what_changed() -> None:
    browser = cluster()
    page = Page(browser)
    assert b"content-type: text/event-stream" in page.head.lower()
    assert b"cache-control: no-store" in page.head.lower()
    answered(browser)

    [first] = page.heard()
    assert first["whole"]
    page_parts = {
        "verdict", "topology", "groups", "group-table", "nodes", "suggestions", "traffic", "storage",
        "events", "live", "ranges", "coverage",
    }  # fmt: skip
    charts = {f"{id_}-{part}" for id_ in CHARTS for part in ("reading", "plot", "words")}
    assert set(first["parts"]) == page_parts | charts
    assert "All well: 3 nodes answer" in first["parts"]["verdict"]
    columns = first["series"]["columns"]
    assert set(columns) == {"read", "read_p50", "read_p99", "write", "write_p50", "write_p99"}
    assert {len(column) for column in columns.values()} == {300}

    browser.node.value = report("K1", group={"commit": 121}).status
    browser.clock.advance(ROUND_SECONDS)
    answered(browser)
    [second] = page.heard()
    assert not second["whole"]
    assert set(second["parts"]) == {"groups"}
    assert second["series"]["columns"]["read"] == columns["read"][-1:]


def test_a_node_that_hangs_delays_nobody_for_long() -> None:
    browser = cluster()
    page = Page(browser)
    assert page.heard() == []

    browser.clock.advance(GATHER_SECONDS)

    [first] = page.heard()
    assert "K1 is healthy; waiting for the other nodes" in first["parts"]["verdict"]


def test_others_are_asked_only_while_somebody_listens() -> None:
    browser = cluster()
    browser.clock.pump([ROUND_SECONDS] * 3)
    assert browser.fetch.asked == []

    one, other = Page(browser), Page(browser)
    for _ in range(3):
        answered(browser)
        browser.clock.advance(ROUND_SECONDS)
    assert len(browser.fetch.asked) == 2 * 4  # two nodes, a round at once and one a second, for two pages

    one.leave()
    other.leave()
    answered(browser)
    browser.clock.pump([ROUND_SECONDS] * 3)
    assert len(browser.fetch.asked) == 2 * 4


def test_a_new_leader_is_news_at_once() -> None:
    """Also in between two rounds, and then once."""
    browser = cluster()
    page = Page(browser)
    answered(browser)
    page.heard()

    browser.node.value = report("K1", leader="K2", group={"term": 8}).status
    browser.clock.advance(POLL_SECONDS)
    assert len(browser.fetch.asked) == 2 * 2
    for url, answer in browser.fetch.asked[2:]:
        answer.callback(encode(report(url[:2], leader="K2", group={"term": 8}), pretty=False))
    [news] = page.heard()
    assert '<dd class="fact-leader">K2</dd>' in news["parts"]["groups"]

    browser.clock.advance(POLL_SECONDS)
    assert len(browser.fetch.asked) == 2 * 2


def test_who_comes_second_need_not_wait() -> None:
    browser = cluster()
    Page(browser)
    answered(browser)

    [whole] = Page(browser).heard()

    assert whole["whole"]


def test_pages_with_different_ranges_get_charts_of_their_own() -> None:
    browser = cluster()
    minutes, day = Page(browser), Page(browser, b"?range=24h")
    answered(browser)
    browser.clock.advance(ROUND_SECONDS)
    answered(browser)

    short, long = minutes.heard(), day.heard()
    whole = long[0]
    assert [each["whole"] for each in (*short[:2], *long[:2])] == [True, False, True, False]
    assert {each["series"]["step"] for each in short} == {1}
    assert {each["series"]["step"] for each in long} == {300}
    assert len(whole["series"]["columns"]["read"]) == whole["series"]["count"] == 288
    assert "over 24 hours" in whole["parts"]["throughput-words"]
    assert browser.fetch.asked[-1][0] == "K3:21/status?full&range=24h"

    browser.clock.advance(ROUND_SECONDS)
    answered(browser)
    assert [each["whole"] for each in (*minutes.heard(), *day.heard())] == [False, False]


def test_who_asks_for_a_range_that_nobody_looked_at_gets_it_in_the_same_round() -> None:
    browser = cluster()
    Page(browser)
    answered(browser)

    day = Page(browser, b"?range=24h")
    assert day.heard() == []
    answered(browser)

    [whole] = day.heard()
    assert whole["series"]["step"] == 300


def test_a_clock_that_is_set_back_sends_everything_again() -> None:
    browser = cluster()
    page = Page(browser)
    answered(browser)
    page.heard()

    browser.telemetry.newest -= 100
    browser.clock.advance(ROUND_SECONDS)
    answered(browser)

    assert [each["whole"] for each in page.heard()] == [True]


def test_a_slow_reader_misses_events_and_then_gets_everything() -> None:
    browser = cluster()
    slow, quick = Page(browser), Page(browser)
    answered(browser)
    slow.heard(), quick.heard()
    producer = slow.transport.producer
    assert producer is not None
    producer.pauseProducing()

    for term in (8, 9, 10):
        browser.node.value = report("K1", group={"term": term}).status
        browser.clock.advance(ROUND_SECONDS)
        answered(browser)
    assert slow.heard() == []
    assert [each["whole"] for each in quick.heard()] == [False] * 3

    producer.resumeProducing()
    browser.clock.advance(ROUND_SECONDS)
    answered(browser)
    [caught_up] = slow.heard()
    assert caught_up["whole"]
    assert ">10<" in caught_up["parts"]["groups"]


def test_a_reader_that_does_not_read_at_all_is_cut_off() -> None:
    browser = cluster()
    page = Page(browser)
    answered(browser)
    producer = page.transport.producer
    assert producer is not None
    producer.pauseProducing()

    for _ in range(int(SUBSCRIBER_STALLED_SECONDS / ROUND_SECONDS) - 1):
        browser.clock.advance(ROUND_SECONDS)
        answered(browser)
    assert not page.transport.disconnecting
    browser.clock.advance(ROUND_SECONDS)
    answered(browser)
    assert page.transport.disconnecting


def test_there_are_so_many_listeners_and_room_again_when_one_leaves() -> None:
    browser = cluster()
    pages = [Page(browser) for _ in range(SUBSCRIBERS_MAX)]

    assert Page(browser).head.startswith(b"HTTP/1.1 503 ")
    pages[3].leave()
    assert Page(browser).head.startswith(b"HTTP/1.1 200 ")


def test_a_closing_port_ends_every_stream_and_leaves_nothing_behind() -> None:
    browser = cluster()
    browser.site.doStart()
    page = Page(browser)
    answered(browser)

    browser.site.doStop()

    assert page.transport.value().endswith(b"0\r\n\r\n")
    page.leave()
    browser.protocol.connectionLost(Failure(ConnectionDone()))
    browser.clock.advance(0)
    assert browser.clock.getDelayedCalls() == []


def test_an_edition_that_fails_is_told_and_the_next_one_comes() -> None:
    browser = cluster()
    page = Page(browser)
    answered(browser)
    page.heard()

    browser.node.fails = True
    browser.clock.advance(ROUND_SECONDS)
    answered(browser)
    assert page.heard() == []
    assert browser.telemetry.failed[0] == ("/events", "secret detail")

    browser.node.fails = False
    browser.clock.advance(ROUND_SECONDS)
    answered(browser)
    assert len(page.heard()) == 1


def test_head_tells_the_type_and_listens_to_nothing() -> None:
    browser = cluster()

    code, headers, body = browser.get("/events", method="HEAD")

    assert (code, headers["content-type"], body) == (200, "text/event-stream", b"")
    assert browser.fetch.asked == []


@pytest.mark.parametrize("text", ["a\nb", "a\r\nb\n\nevent: x", "\u2028", "data: "])
def test_no_text_breaks_the_framing(text: str) -> None:
    framed = event({"text": text})

    assert framed.startswith(b"data: ")
    assert framed.count(b"\n") == 2
    assert b"\r" not in framed
    assert json.loads(framed.removeprefix(b"data: ")) == {"text": text}


def test_a_page_ends_with_its_token() -> None:
    """At its next event; one with another token goes on."""
    old, new = b"0" * 32, b"1" * 32
    browser = Browser(FakeNode(report("K1").status), tokens=[old, new])
    pages = [Page(browser, token=token) for token in (old, new)]
    answered(browser)
    assert all(page.heard() for page in pages)

    browser.access.take([new])
    browser.clock.advance(ROUND_SECONDS)
    answered(browser)
    browser.clock.advance(GATHER_SECONDS)

    assert pages[0].transport.value() == b"0\r\n\r\n"  # the end of the response
    assert pages[1].heard()
