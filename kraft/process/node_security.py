"""TLS of one node: how its ports take connections and how it dials others, with files that may change.

The files are read again at SIGHUP and when they have changed on the disk. New connections use the new ones,
and those that exist go on. Files that cannot be used change nothing.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from twisted.internet.interfaces import IStreamClientEndpoint, ITransport

from kraft.config import Config, ConfigError
from kraft.node.ports import Cancellable, Clock
from kraft.process.secret import exposed_mode
from kraft.process.tls_files import OFF, read_tls
from kraft.tcp.security import HandshakeEndpoint, SecuredEndpoint
from kraft.telemetry.observers import TlsTelemetry
from kraft.tls.connections import (
    REQUIRED,
    AcceptedConnections,
    DialledConnections,
    of_cluster,
    peer_node,
)
from kraft.tls.credentials import Credentials
from kraft.transport.sockets import text_of

WATCH_SECONDS = 5.0  # between two looks at the files; a change counts once it has stayed for one
EXPIRY_SECONDS = 14 * 86_400  # as in the alert KraftCertificateExpiresSoon
REMIND_SECONDS = 86_400  # between two warnings about that
_PAGE = b"this port takes TLS only: use https://\n"
FAREWELLS = {
    "peer": b"",
    "client": b"-ERR this port takes TLS only; connect with redis-cli --tls, or kraft shell --tls\r\n",
    "http": b"HTTP/1.1 400 Bad Request\r\nserver: kraft\r\ncontent-type: text/plain; charset=utf-8\r\n"
    b"content-length: %d\r\nconnection: close\r\n\r\n%b" % (len(_PAGE), _PAGE),
}


@dataclass(frozen=True, slots=True)
class SecuredPort:
    """How a listening port takes connections; implements `tcp.security.PortSecurity`. `name` is that of its
    section.
    """

    name: str
    creator: AcceptedConnections
    takes_plain: bool
    observer: TlsTelemetry

    @property
    def farewell(self) -> bytes:
        """What a client without TLS is told."""
        return FAREWELLS[self.name]

    def secured(self, address: object) -> None:  # noqa: ARG002  the signature of the port
        """A handshake is complete."""
        self.observer.secured(self.name)

    def taken_plain(self, address: object) -> None:  # noqa: ARG002  the signature of the port
        """A connection without TLS is taken."""
        self.observer.taken_plain(self.name)

    def refused(self, address: object, reason: str) -> None:
        """A connection ended before it was secured."""
        self.observer.refused(self.name, text_of(address), reason)


@dataclass(frozen=True, slots=True)
class SecuredLinks:
    """TLS on links; implements `transport.ports.LinkSecurity`. `creator` gives that for one peer."""

    required: bool
    creator: Callable[[str], DialledConnections]

    def dial(self, endpoint: IStreamClientEndpoint, peer: str) -> IStreamClientEndpoint:
        """An endpoint that begins TLS, and takes no other node than `peer` at the other end."""
        return SecuredEndpoint(endpoint, self.creator(peer))

    def node_of(self, transport: ITransport) -> str:
        """The node whose certificate the other end has shown."""
        return peer_node(transport)


@dataclass(frozen=True, slots=True)
class SecuredFetches:
    """TLS of requests to the HTTP ports of other nodes; implements `web.fetcher.FetchSecurity`."""

    creator: DialledConnections
    required: bool

    def dial(self, endpoint: IStreamClientEndpoint) -> IStreamClientEndpoint:
        """An endpoint with TLS. The other end must show a certificate of the CA."""
        return HandshakeEndpoint(endpoint, self.creator)


class NodeSecurity:
    """The TLS of a node. `ports` has the secured ones by the names of their sections.

    links: for links to other nodes, None without TLS there; `fetches` likewise for the HTTP ports of others.
    """

    def __init__(
        self, config: Config, path: str | None, clock: Clock, observer: TlsTelemetry, credentials: Credentials
    ) -> None:
        """`path` is the configuration file; `credentials` are those that its options name."""
        self._config = config
        self._source = path or "command line"
        self._clock = clock
        self._observer = observer
        self._credentials = credentials
        self._creators: list[AcceptedConnections | DialledConnections] = []
        self._dialled: dict[str, DialledConnections] = {}
        self._timer: Cancellable | None = None
        self._loaded = self._seen = self._look()
        self._reminded_at = 0.0
        self.ports = {
            name: self._port(name, mode, certificates)
            for name, mode, certificates in (
                ("peer", config.peer.tls, REQUIRED),
                ("client", config.client.tls, config.client.certificates),
                ("http", config.http.tls, config.http.certificates),
            )
            if mode != OFF
        }
        self.links = self._links()
        self.fetches = self._fetches()
        self._tell_loaded()

    def _port(self, name: str, mode: str, certificates: str) -> SecuredPort:
        require = of_cluster if name == "peer" else None
        creator = AcceptedConnections(self._credentials, self._config.tls.minimum, certificates, require)
        self._creators.append(creator)
        return SecuredPort(name, creator, mode != REQUIRED, self._observer)

    def _links(self) -> SecuredLinks | None:
        mode = self._config.peer.tls
        return None if mode == OFF else SecuredLinks(mode == REQUIRED, self._dialled_peer)

    def _dialled_peer(self, peer: str) -> DialledConnections:
        if peer not in self._dialled:
            minimum, require = self._config.tls.minimum, partial(of_cluster, node=peer)
            self._dialled[peer] = DialledConnections(self._credentials, minimum, require)
        return self._dialled[peer]

    def _fetches(self) -> SecuredFetches | None:
        mode = self._config.http.tls
        if mode == OFF or self._config.tls.ca is None:
            return None
        creator = DialledConnections(self._credentials, self._config.tls.minimum)
        self._creators.append(creator)
        return SecuredFetches(creator, required=mode == REQUIRED)

    # -- reload ---------------------------------------------------------------------------------------

    def start(self) -> None:
        """Watch the files from now on."""
        self._timer = self._clock.call_later(WATCH_SECONDS, self._watch)

    def stop(self) -> None:
        """Watch them no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _watch(self) -> None:
        self._timer = self._clock.call_later(WATCH_SECONDS, self._watch)
        seen, before = self._look(), self._seen
        self._seen = seen
        if seen != self._loaded and seen == before:
            self.reload(self._config)
        self._remind()

    def _look(self) -> tuple[object, ...]:
        """What changes when a file changes, or is replaced by another one."""
        return tuple(map(_mark, filter(None, (getattr(self._config.tls, part) for part in _PARTS))))

    def reload(self, config: Config) -> None:
        """Read the files that `config` names and use them for new connections, or report why not."""
        running = self._config
        self._config = config
        self._loaded = self._seen = self._look()
        try:
            credentials = read_tls(config, self._source)
        except ConfigError as error:
            self._config = running
            self._observer.files_refused([f"{each.path}: {each.text}" for each in error.problems])
            return
        if credentials is None:
            return
        try:
            for creator in self._creators:
                creator.take(credentials)
        except OSError as error:  # no file descriptor is free
            self._loaded = ()  # so that it is tried again
            self._observer.files_refused([f"tls: {error.strerror}"])
            return
        self._credentials = credentials
        self._dialled.clear()
        self._tell_loaded()

    def _tell_loaded(self) -> None:
        key = self._config.tls.key
        if key is not None and (mode := exposed_mode(key)):
            self._observer.key_exposed(key, mode)
        self._observer.files_loaded(self._credentials.expiry)
        self._reminded_at = 0.0
        self._remind()

    def _remind(self) -> None:
        """Warn about files that expire soon, once a day."""
        now = time.time()
        if now - self._reminded_at < REMIND_SECONDS:
            return
        for use, end in self._credentials.expiry.items():
            if end - now < EXPIRY_SECONDS:
                self._reminded_at = now
                self._observer.expires_soon(use, end - now)


_PARTS = ("certificate", "key", "ca", "crl")


def _mark(path: str) -> tuple[int, ...]:
    try:
        found = Path(path).stat()
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
