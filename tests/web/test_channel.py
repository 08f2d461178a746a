"""One connection to the HTTP port: pipelines, deadlines, half-closed connections and refusals."""

import pytest

from kraft.web.limits import (
    ANSWER_SECONDS,
    CLOSE_SECONDS,
    DISCARDED_BYTES_MAX,
    HEAD_SECONDS,
    IDLE_SECONDS,
)
from tests.web.http_client import LIVE, METRICS, SYNC, Client, timers

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


def test_a_pipeline_after_a_request_that_waits(client: Client) -> None:
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


def test_requests_of_a_pipeline_share_an_answer(client: Client) -> None:
    """They arrived together, so a body that was begun since is not older than any of them."""
    client.send(METRICS * 3)
    client.turn()
    client.turn()
    assert client.codes == [200] * 3
    assert client.browser.telemetry.scrapes == 1

    client.browser.clock.advance(0.001)
    client.send(METRICS)
    client.turn()
    assert client.browser.telemetry.scrapes == 2
