"""The endpoints that a node listens on, and the reasons why it cannot, each in one line with what to do."""

import errno
import os
import socket
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.python.failure import Failure
from zope.interface import implementer

from kraft.listen_address import join_address, split_endpoint
from kraft.process.refusal import explain
from kraft.process.shared_port import SharedPort
from kraft.process.unix_port import UnixPort
from kraft.process.unix_socket import SocketInUse
from kraft.tcp.accept_limit import limit_accepts
from kraft.tcp.security import PortSecurity, SecuredFactory


class CannotListen(Exception):
    """A port cannot be opened; the argument is the reason in one line."""


@implementer(IStreamServerEndpoint)
class ServerEndpoint:
    """The endpoint that `description` names, which the configuration has checked.

    It has room for a burst of clients; `waiting_max` bounds the connections that wait to be accepted.
    With `security` its connections have TLS. Other processes may listen there, too, if it is `shared`.
    `listen` fails with CannotListen.
    """

    def __init__(
        self,
        reactor: Any,
        description: str,
        waiting_max: int | None = None,
        security: PortSecurity | None = None,
        *,
        shared: bool = False,
    ) -> None:
        self._reactor = reactor
        self._shared = shared
        self._security = security
        address = split_endpoint(description)
        backlog = address.backlog if waiting_max is None else min(address.backlog, waiting_max)
        self._address = replace(address, backlog=backlog)

    def listen(self, factory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Listen now."""
        if self._security is not None:
            factory = SecuredFactory(factory, self._security)
        return maybeDeferred(self._listen, factory).addCallbacks(self._limited, self._explain)

    def _listen(self, factory: IProtocolFactory) -> Any:
        address = self._address
        if address.kind == "unix":
            port = UnixPort(address.path, factory, address.backlog, address.mode, self._reactor)
            port.startListening()
            return port
        if address.kind == "systemd":
            return self._passed().listen(factory)
        interface = address.interface or ("::" if address.kind == "tcp6" else "")
        if self._shared:
            shared: Any = SharedPort(address.port or 0, factory, address.backlog, interface, self._reactor)
            shared.startListening()
            return shared
        return self._reactor.listenTCP(address.port, factory, address.backlog, interface)

    @staticmethod
    def _limited(port: Any) -> Any:
        limit_accepts(port)
        return port

    def _passed(self) -> Any:
        """The socket that systemd has passed. Twisted took over the list of them when it was imported."""
        address = self._address
        which = f"name={address.name}" if address.name else f"index={address.index}"
        try:
            endpoint: Any = serverFromString(self._reactor, f"systemd:domain={address.domain}:{which}")
        except (LookupError, ValueError):
            text = f"systemd has passed no socket with {which} to this process; start it by its socket unit"
            raise CannotListen(f"{text} (docs/systemd.md), or write a tcp: endpoint") from None
        with socket.socket(fileno=os.dup(endpoint.fileno)) as passed:
            listens = passed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            if passed.family != endpoint.addressFamily or not listens:
                found = f"{passed.family.name.removeprefix('AF_')}, {'' if listens else 'not '}listening"
                raise CannotListen(f"the socket that systemd has passed is another one ({found})")
        return endpoint

    def _explain(self, failure: Failure) -> Failure:
        error: Any = failure.value
        if isinstance(error, CannotListen):
            return failure
        if isinstance(error, SocketInUse):
            return Failure(CannotListen(str(error)))
        cause = error.socketError if isinstance(error, CannotListenError) else error
        if isinstance(cause, OSError):
            text = ": ".join(explain(self._address, cause))
            if self._shared and cause.errno == errno.EADDRINUSE:
                text += "; all that share it are nodes of one user, and name it in client.shared_listen"
            return Failure(CannotListen(text))
        return failure


def bound_address(port: Any) -> str:
    """Where a listening port really listens, such as the port chosen for port 0."""
    host: Any = port.getHost()
    if hasattr(host, "port"):
        return join_address(host.host, host.port)
    name = host.name
    return f"unix:{os.fsdecode(name) if isinstance(name, bytes) else name}"
