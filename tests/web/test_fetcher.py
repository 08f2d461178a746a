"""Asking another node: what a server may answer, and what becomes of it. No sockets."""

from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone

from kraft.web.access import Access
from kraft.web.fetcher import Body, Fetcher, NoAnswer
from kraft.web.limits import ANSWER_BYTES_MAX, ASK_SECONDS
from tests.web.test_site import FakeTelemetry

OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s"


class Asked:
    """One question to 10.0.0.2:10021."""

    def __init__(self, *tokens: bytes) -> None:
        self.reactor = MemoryReactorClock()
        self.access = Access(self.reactor, FakeTelemetry(), tokens)
        self.outcome: list[object] = []
        asked: Deferred[bytes] = Fetcher(self.reactor, self.access)("10.0.0.2:10021", "/status?full")
        asked.addCallbacks(self.outcome.append, lambda failure: self.outcome.append(failure.value))
        _, self.port, factory, *_ = self.reactor.tcpClients[0]
        self.factory: Any = factory

    def connect(self) -> StringTransport:
        """The other side accepts."""
        transport = StringTransport()
        self.protocol = self.factory.buildProtocol(None)
        self.protocol.makeConnection(transport)
        return transport

    def told(self) -> str:
        [outcome] = self.outcome
        assert isinstance(outcome, NoAnswer)
        return str(outcome)


def test_the_body_is_the_answer() -> None:
    asked = Asked()
    transport = asked.connect()

    asked.protocol.dataReceived(OK % (5, b"hello"))

    assert asked.port == 10021
    assert transport.value().startswith(b"GET /status?full HTTP/1.1\r\nHost: 10.0.0.2:10021\r\n")
    assert asked.outcome == [b"hello"]


def test_the_first_token_is_shown() -> None:
    """Other nodes have the same file."""
    asked = Asked(b"a" * 32, b"b" * 32)
    assert b"Authorization: Bearer " + b"a" * 32 + b"\r\n" in asked.connect().value()
    assert b"uthorization" not in Asked().connect().value()


def test_a_refusal_in_the_words_of_the_system() -> None:
    asked = Asked()

    asked.factory.clientConnectionFailed(None, Failure(Refused(osError=111)))
    asked.reactor.advance(1)

    assert asked.told() == "Connection refused"


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel"])
def test_who_hangs_is_given_up(begun: bytes) -> None:
    asked = Asked()
    transport = asked.connect()
    asked.protocol.dataReceived(begun)

    asked.reactor.advance(ASK_SECONDS)

    assert asked.told() == "no answer within 2 s"
    assert transport.disconnecting


def test_another_status_is_no_answer() -> None:
    asked = Asked()
    asked.connect()

    asked.protocol.dataReceived(b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno")

    assert asked.told() == "it answers HTTP 500"


def test_a_body_has_a_longest_length() -> None:
    body, outcome = Body(), list[object]()
    body.makeConnection(StringTransport())
    body.done.addErrback(lambda failure: outcome.append(str(failure.value)))

    body.dataReceived(b"x" * ANSWER_BYTES_MAX)
    assert outcome == []
    body.dataReceived(b"x")
    body.dataReceived(b"x")

    assert outcome == [f"its answer is longer than {ANSWER_BYTES_MAX} bytes"]
    assert body._pieces == []


class Agent:
    """Twisted's client: TLS fails, and without it the answer is `code`."""

    def __init__(self, code: int) -> None:
        self.code = code
        self.asked: list[tuple[bytes, Any]] = []

    def request(self, method: bytes, url: bytes, headers: Any) -> Deferred[Any]:
        self.asked.append((url, headers.getRawHeaders("authorization")))
        if url.startswith(b"https:"):
            return fail(NoAnswer("TLS"))
        response = SimpleNamespace(code=self.code, deliverBody=self.deliver)
        return succeed(response)

    def deliver(self, body: Body) -> None:
        body.makeConnection(StringTransport())
        body.dataReceived(b"hello")
        body.connectionLost(Failure(ResponseDone()))


@pytest.mark.parametrize(
    ("code", "told"), [(200, b"hello"), (401, "it has no TLS yet, and no token is sent without")]
)
def test_no_token_is_shown_to_who_has_no_tls(code: int, told: Any) -> None:
    """Whoever controls the network can let TLS fail."""
    clock, agent = MemoryReactorClock(), Agent(code)
    security: Any = SimpleNamespace(required=False)
    fetcher = Fetcher(clock, Access(clock, FakeTelemetry(), [b"a" * 32]), security)
    fetcher.__dict__["_agent"] = agent
    outcome: list[Any] = []

    fetcher("10.0.0.2:1", "/status").addCallbacks(outcome.append, lambda why: outcome.append(str(why.value)))

    assert outcome == [told]
    shown = [f"Bearer {'a' * 32}"]
    assert agent.asked == [(b"https://10.0.0.2:1/status", shown), (b"http://10.0.0.2:1/status", None)]
