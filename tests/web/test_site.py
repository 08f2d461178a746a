"""The HTTP port, spoken to as a browser or scraper does, without sockets."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from kraft.node.errors import NoLeader
from kraft.node.status import GroupStatus, MemberStatus, Status
from kraft.telemetry.recent.facts import Facts
from kraft.telemetry.recent.history import History
from kraft.web.access import Access
from kraft.web.limits import HEAD_SECONDS, URL_BYTES_MAX
from kraft.web.site import Site

GROUP = GroupStatus(
    group=0, role="leader", term=7, leader="K1", first_index=1, last_index=9, commit=9, applied=9,
    voters=("K1",), learners=(), keys=3, expiring_keys=1, expired_keys=0, dataset_bytes=300, revision=4,
    pending_proposals=0, replicas=(),
)  # fmt: skip
MEMBER = MemberStatus("K1", "i1", "127.0.0.1:10001", "127.0.0.1:10011", "", True, True, None, None)
STATUS = Status(
    node="K1", version="0.1", cluster="c", incarnation="i1", state="serving", problem="", disk_full=False,
    client="127.0.0.1:10011", http="", uptime_seconds=1.0, members=(MEMBER,), groups=(GROUP,),
)  # fmt: skip


class FakeNode:
    def __init__(self, status: Status = STATUS) -> None:
        self.value = status
        self.fails = False
        self.reads: list[tuple[int, Callable[[object], None]]] = []

    def status(self) -> Status:
        if self.fails:
            raise RuntimeError("secret detail")
        return self.value

    def read(self, group: int, done: Callable[[object], None]) -> None:
        self.reads.append((group, done))


class FakeTelemetry:
    def __init__(self) -> None:
        self.failed: list[tuple[str, str]] = []
        self.refused: list[str] = []
        self.newest = 1000
        self.scrapes = 0
        self.pieces: Iterable[bytes] = (b"a 1\n", b"b 2\n")

    def http_refused(self, address: str, reason: str) -> None:
        self.refused.append(reason)

    def page_failed(self, page: str, error: Exception) -> None:
        self.failed.append((page, str(error)))

    def facts(self, *, full: bool) -> Facts:
        if not full:
            return Facts()
        longer = tuple(History(900, {"read": ((5,),)}, step) for step in (15, 300))
        return Facts(history=History(self.newest, {"read": ((5,),)}), longer=longer)

    def exposition_type(self, accept: str) -> str:
        return f"text/x-metrics; accept={accept}"

    def expose(self, content_type: str) -> Iterator[bytes]:
        self.scrapes += 1
        yield from self.pieces


class FakeFetch:
    """The other nodes: who was asked, and answers to be given later."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Deferred[bytes]]] = []

    def __call__(self, address: str, path: str) -> Deferred[bytes]:
        answer: Deferred[bytes] = Deferred()
        self.asked.append((address + path, answer))
        return answer


class Browser:
    """One connection to the port."""

    def __init__(self, node: FakeNode | None = None, clock: Any = None, **access: Any) -> None:
        self.node = node or FakeNode()
        self.clock: Any = clock or Clock()
        self.telemetry = FakeTelemetry()
        self.fetch = FakeFetch()
        self.access = Access(self.clock, self.telemetry, **access)
        self.site = Site(self.node, self.telemetry, self.clock, self.fetch, self.access)
        self.transport = StringTransport()
        protocol = self.site.buildProtocol(None)
        assert protocol is not None
        self.protocol = protocol
        self.protocol.makeConnection(self.transport)

    def send(self, data: bytes) -> tuple[int, dict[str, str], bytes]:
        """Code, headers (lower case) and body of what came back."""
        self.clock.advance(0)
        self.transport.clear()
        self.protocol.dataReceived(data)
        return self.received()

    def received(self) -> tuple[int, dict[str, str], bytes]:
        head, _, body = self.transport.value().partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        return int(first.split()[1]), headers, body

    def get(self, path: str, method: str = "GET", headers: str = "") -> tuple[int, dict[str, str], bytes]:
        return self.send(f"{method} {path} HTTP/1.1\r\nHost: k\r\n{headers}\r\n".encode())


def test_metrics_are_given_in_the_form_that_is_asked_for() -> None:
    code, headers, body = Browser().get("/metrics", headers="Accept: application/openmetrics-text\r\n")

    assert (code, headers["content-type"]) == (200, "text/x-metrics; accept=application/openmetrics-text")
    assert body == b"a 1\nb 2\n"


def test_live_asks_nobody() -> None:
    browser = Browser()
    browser.node.fails = True

    assert browser.get("/livez")[::2] == (200, b"ok\n")


def test_a_page_that_fails_tells_no_details_and_costs_no_other_page() -> None:
    browser = Browser()
    browser.node.fails = True

    code, _, body = browser.get("/status")

    assert (code, body) == (500, b"this page failed: RuntimeError\n")
    assert browser.get("/metrics")[0] == 200
    assert browser.telemetry.failed == [("/status", "secret detail")]


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (replace(STATUS, state="starting", problem="starting"), b"starting\n"),
        (replace(STATUS, state="leaderless", problem="no quorum"), b"no quorum\n"),
        (replace(STATUS, state="stopping"), b"stopping\n"),
    ],
)
def test_not_ready_says_why(status: Status, reason: bytes) -> None:
    code, _, body = Browser(FakeNode(status)).get("/readyz")

    assert (code, body) == (503, reason)


def test_ready_is_200() -> None:
    assert Browser().get("/readyz")[::2] == (200, b"ok\n")


def test_sync_waits_for_a_read_of_every_group() -> None:
    browser = Browser(FakeNode(replace(STATUS, groups=(GROUP, replace(GROUP, group=1)))))
    browser.protocol.dataReceived(b"GET /readyz?sync HTTP/1.1\r\nHost: k\r\n\r\n")
    (first, first_done), (second, second_done) = browser.node.reads
    assert (first, second) == (0, 1)

    first_done(object())
    assert browser.transport.value() == b""
    second_done(object())

    assert browser.received()[::2] == (200, b"ok\n")


def test_sync_fails_with_the_first_read_that_fails() -> None:
    browser = Browser(FakeNode(replace(STATUS, groups=(GROUP, replace(GROUP, group=1)))))
    browser.protocol.dataReceived(b"GET /readyz?sync HTTP/1.1\r\nHost: k\r\n\r\n")

    for _, done in browser.node.reads:
        done(NoLeader(0))

    assert browser.received()[::2] == (503, b"group 0 cannot be read: NoLeader\n")


def test_a_client_that_left_while_it_waited_is_forgotten() -> None:
    from twisted.internet.error import ConnectionDone
    from twisted.python.failure import Failure

    browser = Browser()
    browser.protocol.dataReceived(b"GET /readyz?sync HTTP/1.1\r\nHost: k\r\n\r\n")
    browser.protocol.connectionLost(Failure(ConnectionDone()))

    browser.node.reads[0][1](object())

    assert browser.transport.value() == b""


def test_status_is_json_of_the_same_values() -> None:
    code, headers, body = Browser().get("/status")

    assert (code, headers["content-type"]) == (200, "application/json")
    assert json.loads(body)["groups"][0]["leader"] == "K1"
    assert json.loads(body)["members"][0]["client"] == "127.0.0.1:10011"


def test_other_nodes_are_told_more_than_people() -> None:
    browser = Browser()

    assert "history" not in json.loads(browser.get("/status")[2])
    full = json.loads(browser.get("/status?full")[2])
    assert (full["history"]["newest"], "longer" in full) == (1000, False)


def test_other_nodes_are_told_as_much_as_they_ask_for() -> None:
    browser = Browser()
    steps = {
        name: [each["step"] for each in json.loads(browser.get(f"/status?full&range={name}")[2])["longer"]]
        for name in ("1h", "24h")
    }
    assert steps == {"1h": [15], "24h": [15, 300]}
    assert "longer" not in json.loads(browser.get("/status?full&range=5min")[2])


@pytest.mark.parametrize("path", ["/", "/events", "/status"])
@pytest.mark.parametrize("value", ["2h", "", "1h&range=24h", "1H", "%00", "<script>", "1h%0a", "x" * 500])
def test_a_range_that_is_not_known_is_refused_with_those_that_are(path: str, value: str) -> None:
    code, headers, body = Browser().get(f"{path}?range={value}")
    assert (code, headers["content-type"]) == (400, "text/plain; charset=utf-8")
    assert body == b"this time range is not known; there are range=5min range=1h range=24h\n"


def test_the_page_has_the_range_that_is_asked_for() -> None:
    for query, words in (("", b"5 minutes"), ("?range=1h", b"1 hour"), ("?x=1&range=24h", b"24 hours")):
        code, _, body = Browser().get(f"/{query}")
        assert (code, b"Throughput over %s, in" % words in body) == (200, True)


def test_the_page_escapes_what_it_shows() -> None:
    code, headers, body = Browser(FakeNode(replace(STATUS, problem="<script>", cluster="&"))).get("/")

    assert (code, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert b"&lt;script&gt;" in body
    assert b"<script>" not in body
    assert b"127.0.0.1:10011" in body
    assert headers["content-security-policy"].startswith("default-src 'none'")


@pytest.mark.parametrize("path", ["/", "/metrics", "/livez", "/readyz", "/status"])
def test_head_has_the_length_and_no_body(path: str) -> None:
    browser = Browser()
    length = len(browser.get(path)[2])

    code, headers, body = browser.get(path, method="HEAD")

    assert (code, headers["content-length"], body) == (200, str(length), b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "BREW"])
def test_other_methods_are_not_served(method: str) -> None:
    code, headers, _ = Browser().get("/metrics", method=method)

    assert (code, headers["allow"]) == (405, "get, head")


@pytest.mark.parametrize("path", ["/nope", "/metrics/", "/../etc/passwd", "/%00", "//"])
def test_unknown_pages_are_404(path: str) -> None:
    assert Browser().get(path)[0] == 404


def test_a_url_has_a_longest_length() -> None:
    within = Browser()
    assert within.get("/livez?" + "x" * (URL_BYTES_MAX - 7))[0] == 200
    assert not within.transport.disconnecting

    beyond = Browser()
    assert beyond.get("/livez?" + "x" * (URL_BYTES_MAX - 6))[0] == 414
    assert beyond.transport.disconnecting


@pytest.mark.parametrize(
    "request_", [b"Content-Length: 1\r\n\r\nx", b"Content-Length: 9999999999\r\n\r\n" + b"x" * 100,
                 b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"]
)  # fmt: skip
def test_a_body_is_not_received(request_: bytes) -> None:
    browser = Browser()

    code, _, _ = browser.send(b"GET /livez HTTP/1.1\r\nHost: k\r\n" + request_)

    assert code == 413
    assert browser.transport.disconnecting
    assert browser.transport.value().count(b"HTTP/1.1") == 1


def test_a_silent_connection_is_closed() -> None:
    browser = Browser()

    browser.clock.advance(HEAD_SECONDS)

    assert browser.transport.disconnecting


@pytest.mark.parametrize(
    "garbage", [b"\x00\xff\r\n\r\n", b"GET\r\n\r\n", b"*1\r\n$4\r\nPING\r\n", b"x" * 20_000]
)
def test_garbage_is_closed(garbage: bytes) -> None:
    browser = Browser()

    browser.protocol.dataReceived(garbage)

    assert browser.transport.disconnecting or browser.transport.disconnected
