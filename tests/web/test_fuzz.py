"""Whatever arrives at the HTTP port gets a plain answer or a close, and leaves no traceback and no 5xx."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import provider

from tests.web.http_client import Client, TurnClock
from tests.web.test_site import Browser

METHODS = [b"GET", b"HEAD", b"POST", b"OPTIONS", b"CONNECT", b"TRACE", b"PRI", b"get", b"!#$%", b"", b"\xff"]
TARGETS = [
    b"/", b"/metrics", b"/status", b"/status?full", b"/livez", b"/readyz", b"/readyz?sync", b"/glossary",
    b"/events", b"*", b"//", b"/../../etc/passwd", b"/%00", b"/%ff", b"/\xe9", b"http://k/metrics", b"k:80",
    b"/livez#x", b"/livez?%", b"/livez?&&==", b"/livez?" + b"a&" * 300, b"?", b"",
]  # fmt: skip
VERSIONS = [b"HTTP/1.1", b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/1.1 x", b"", b"\x00"]
NAMES = [
    b"Accept", b"Accept-Encoding", b"Connection", b"Content-Length", b"Content-Type", b"Cookie", b"Expect",
    b"Host", b"If-Modified-Since", b"If-None-Match", b"Range", b"TE", b"Trailer", b"Transfer-Encoding",
    b"Upgrade", b"X-Forwarded-For", b"Authorization", b" x", b"", b"\xe9", b"a b",
]  # fmt: skip
VALUES = [
    b"text/plain;q=\xe9", b"application/openmetrics-text;version=1.0.0", b"*/*", b"gzip, br", b"close",
    b"keep-alive", b"0", b"-1", b"1", b"99999999999999999999", b"0x10", b"\xb2", b"multipart/form-data",
    b"a=b; c", b"100-continue", b"bytes=0-", b"chunked", b"identity", b"h2c", b"\x00", b"Basic \xff==", b"",
    b"x" * 3000, "\N{SNOWMAN}".encode(), b"Sat, 99 Nov 2026",
]  # fmt: skip

header = st.tuples(
    st.sampled_from(NAMES) | st.binary(max_size=20), st.sampled_from(VALUES) | st.binary(max_size=50)
)
request = st.builds(
    lambda method, target, version, headers, end: (
        method + b" " + target + b" " + version + end
        + b"".join(name + b": " + value + end for name, value in headers) + end
    ),
    st.sampled_from(METHODS),
    st.sampled_from(TARGETS) | st.binary(max_size=30),
    st.sampled_from(VERSIONS),
    st.lists(header, max_size=6),
    st.sampled_from([b"\r\n", b"\r\n", b"\n", b"\r"]),
)  # fmt: skip
garbage = st.lists(request | st.binary(max_size=300), min_size=1, max_size=4).map(b"".join)


@contextmanager
def failures_logged() -> Iterator[list[LogEvent]]:
    """The failures that Twisted logs meanwhile."""
    failures: list[LogEvent] = []

    @provider(ILogObserver)
    def observe(event: LogEvent) -> None:
        if "log_failure" in event:
            failures.append(event)

    globalLogPublisher.addObserver(observe)
    try:
        yield failures
    finally:
        globalLogPublisher.removeObserver(observe)


@pytest.fixture
def logged() -> Iterator[list[LogEvent]]:
    """The failures that Twisted logs during the test."""
    with failures_logged() as failures:
        yield failures


def play(browser: Browser, data: bytes, cuts: list[int], *, shut: bool) -> Client:
    """A client sends `data` in pieces, closes its sending side or not, and some time passes."""
    client = Client(browser)
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    for start, end in pairwise(places):
        if start != end:
            client.send(data[start:end])
        browser.clock.turn()
    if shut and not client.is_closed:
        client.shut()
    for _ in range(5):
        browser.clock.turn()
    for _, done in browser.node.reads:
        done(object())
    browser.node.reads.clear()
    for _ in range(5):
        browser.clock.turn()
    return client


def plain(client: Client) -> bool:
    """Whether only this port's own answers were given, none of them a failure."""
    sent = client.socket.value()
    return not re.search(rb"HTTP/1\.[01] 5", sent) and b"<html><head><title>" not in sent


@given(data=garbage, cuts=st.lists(st.integers(0, 1 << 16), max_size=3), shut=st.booleans())
@settings(deadline=None, max_examples=300)
def test_nothing_from_outside_leaves_a_traceback(data: bytes, cuts: list[int], *, shut: bool) -> None:
    with failures_logged() as failures:
        browser = Browser(clock=TurnClock())
        client = play(browser, data, cuts, shut=shut)
        client.leave()

    assert failures == []
    assert browser.telemetry.failed == []
    assert plain(client), client.socket.value()


@pytest.mark.parametrize("method", METHODS[:8])
@pytest.mark.parametrize("target", TARGETS[:11])
def test_every_page_answers_every_method(logged: list[LogEvent], method: bytes, target: bytes) -> None:
    """`OPTIONS *` too: with the answer of this port, never one of the library below."""
    client = play(
        Browser(clock=TurnClock()), method + b" " + target + b" HTTP/1.1\r\nHost: k\r\n\r\n", [], shut=False
    )

    served = method in (b"GET", b"HEAD")
    wanted = (200, 404) if served else (405,)
    assert client.codes
    assert client.codes[0] in wanted
    assert b"server: kraft\r\n" in client.socket.value().lower()
    assert logged == []


@pytest.mark.parametrize("name", [b"Accept", b"Accept-Encoding", b"Cookie", b"Host", b"If-None-Match"])
@pytest.mark.parametrize("value", [b"text/plain;q=\xe9", b"\xff\xfe", "\N{SNOWMAN}".encode(), b""])
def test_a_header_that_is_not_ascii_is_no_matter(logged: list[LogEvent], name: bytes, value: bytes) -> None:
    for path in (b"/metrics", b"/status", b"/", b"/livez"):
        client = play(
            Browser(clock=TurnClock()),
            b"GET %s HTTP/1.1\r\n%s: %s\r\n\r\n" % (path, name, value),
            [],
            shut=True,
        )
        assert client.codes == [200]
    assert logged == []
