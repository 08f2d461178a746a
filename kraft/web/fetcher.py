"""HTTP requests to other nodes, with limits on time and size."""

import os
from functools import cached_property
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import OK, UNAUTHORIZED
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from kraft.tcp.security import TlsFault
from kraft.web.access import Access
from kraft.web.limits import ANSWER_BYTES_MAX, ASK_LINGER_SECONDS, ASK_SECONDS


class NoAnswer(Exception):
    """The request failed; the argument is the reason in words."""


class FetchSecurity(Protocol):
    """TLS of requests. `required`: a port without TLS is not asked."""

    @property
    def required(self) -> bool: ...

    def dial(self, endpoint: IStreamClientEndpoint) -> IStreamClientEndpoint:
        """An endpoint that connects when TLS is established."""


@implementer(IAgentEndpointFactory)
class _Endpoints:
    """Where Twisted's client connects, and how."""

    def __init__(self, reactor: Any, security: FetchSecurity | None) -> None:
        self._reactor = reactor
        self._security = security

    def endpointForURI(self, uri: Any) -> IStreamClientEndpoint:
        """The endpoint of a URL."""
        endpoint = HostnameEndpoint(self._reactor, uri.host, uri.port, timeout=ASK_SECONDS)
        if uri.scheme == b"https" and self._security is not None:
            return self._security.dial(endpoint)
        return endpoint


class Fetcher:
    """`ports.Fetch` on real sockets. Connections are kept open between rounds.

    While the ports of a cluster change to TLS, one that has none yet is asked without, and is shown no token:
    whoever controls the network can let TLS fail.
    """

    def __init__(self, reactor: Any, access: Access, security: FetchSecurity | None = None) -> None:
        """`access` has the token to show."""
        self._reactor = reactor
        self._access = access
        self._security = security
        self._schemes = ["http"]
        if security is not None:
            self._schemes = ["https"] if security.required else ["https", "http"]

    @cached_property
    def _agent(self) -> Any:
        """Twisted's client, which is loaded with the first request: many nodes never make one."""
        from twisted.web.client import Agent, HTTPConnectionPool

        pool = HTTPConnectionPool(self._reactor)
        pool.maxPersistentPerHost = 1
        pool.cachedConnectionTimeout = ASK_LINGER_SECONDS
        return Agent.usingEndpointFactory(self._reactor, _Endpoints(self._reactor, self._security), pool)

    def __call__(self, address: str, path: str) -> Deferred[bytes]:
        """The body of GET `path` at `address` (host:port). Fails with NoAnswer."""
        asked: Deferred[Any] = self._request(address, path, list(self._schemes))
        body: Deferred[bytes] = asked.addCallback(_body)
        return body.addTimeout(ASK_SECONDS, self._reactor, _late).addErrback(_in_words)

    def _request(self, address: str, path: str, schemes: list[str]) -> Deferred[Any]:
        """A response by the first of `schemes` that leads to one."""
        scheme = schemes.pop(0)
        url, token = f"{scheme}://{address}{path}".encode(), self._access.token
        withheld = bool(token) and scheme == "http" and self._security is not None
        asked: Deferred[Any] = self._agent.request(b"GET", url, _headers("" if withheld else token))
        if withheld:
            asked.addCallback(_tokenless)
        if schemes:
            asked.addErrback(lambda _: self._request(address, path, schemes))
        return asked


class Body(TwistedProtocol):
    """Collects the body of a response into `done`, which fails with NoAnswer if the body is too long."""

    def __init__(self) -> None:
        self.done: Deferred[bytes] = Deferred(lambda _: self._close())
        self._pieces: list[bytes] = []
        self._size = 0

    def dataReceived(self, data: bytes) -> None:
        """Keep a piece of the body."""
        self._size += len(data)
        if self._size <= ANSWER_BYTES_MAX:
            self._pieces.append(data)
        elif not self.done.called:
            self._pieces.clear()
            self._close()
            self.done.errback(NoAnswer(f"its answer is longer than {ANSWER_BYTES_MAX} bytes"))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The response ended, complete or not."""
        from twisted.web.client import ResponseDone

        if self.done.called:
            return
        if reason.check(ResponseDone):
            self.done.callback(b"".join(self._pieces))
        else:
            self.done.errback(NoAnswer("it closed the connection"))

    def _close(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()


def _headers(token: str) -> Any:
    from twisted.web.http_headers import Headers

    return Headers({"authorization": [f"Bearer {token}"]} if token else {})


def _body(response: Any) -> Deferred[bytes]:
    body = Body()
    response.deliverBody(body)
    if response.code != OK:
        body.done.addCallback(lambda _: Failure(NoAnswer(f"it answers HTTP {response.code}")))
    return body.done


def _tokenless(response: Any) -> Any:
    """A response to a request without the token: a refusal has its reason here."""
    if response.code != UNAUTHORIZED:
        return response
    told = Failure(NoAnswer("it has no TLS yet, and no token is sent without"))
    return _body(response).addBoth(lambda _: told)


def _late(_outcome: object, seconds: float) -> Failure:
    return Failure(NoAnswer(f"no answer within {seconds:g} s"))


def _in_words(failure: Failure) -> Failure:
    if failure.check(NoAnswer):
        return failure
    if failure.check(ConnectError):
        number = getattr(failure.value, "osError", None)
        return Failure(NoAnswer(os.strerror(number) if isinstance(number, int) else str(failure.value)))
    if failure.check(TlsFault):
        return Failure(NoAnswer(f"TLS: {failure.value}"))
    return Failure(NoAnswer("it closed the connection"))
