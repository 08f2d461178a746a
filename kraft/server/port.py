"""What all client connections of a node share: the host, the limits, the clock and the list of sessions."""

import itertools
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from kraft import __version__
from kraft.config.values import Config
from kraft.node.ports import Clock
from kraft.resp.parser import Limits as ParserLimits
from kraft.server.commands.keys import append_within
from kraft.server.commands.table import TABLE
from kraft.server.ports import Host, ServerObserver
from kraft.server.routing import Routing

if TYPE_CHECKING:
    from kraft.server.session import Session


class ClientPort:
    """The client port of one node, apart from sockets."""

    def __init__(self, config: Config, host: Host, observer: ServerObserver, clock: Clock) -> None:
        self.host = host
        self.config = config
        self.clock = clock
        self.observer = observer
        self.version = __version__
        self.table = TABLE | {b"APPEND": append_within(TABLE[b"APPEND"], config.limits.value_bytes)}
        self.routing = Routing(host, redirect=config.client.routing == "redirect")
        self.limits = config.limits
        self.dataset_bytes_max = config.limits.dataset_bytes or _half_of_memory()
        self.parser_limits = ParserLimits(
            value_bytes=max(config.limits.value_bytes, config.limits.key_bytes),
            request_bytes=config.limits.request_bytes,
            arguments=config.limits.arguments,
        )
        limits = config.limits  # a request of so few bytes has neither a key nor a value over its limit
        self.small_bytes = min(limits.key_bytes, limits.value_bytes, limits.request_bytes)
        self.started = clock.seconds()
        self.sessions: dict[int, Session] = {}
        self.commands_processed = 0
        self.connections_received = 0
        self.connections_rejected = 0
        self.bytes_received = 0
        self.bytes_sent = 0
        self.errors_replied = 0
        self._ids = itertools.count(1)
        self._paused = 0
        self._drained: Callable[[], None] | None = None

    def reconfigure(self, config: Config) -> None:
        """Take over what may change while sessions are open, `config.CHANGEABLE`; the rest is as it was."""
        self.config = config
        self.limits = config.limits
        self.dataset_bytes_max = config.limits.dataset_bytes or _half_of_memory()

    def opened(self, session: "Session") -> int:
        """A new session; returns its client id."""
        number = next(self._ids)
        self.sessions[number] = session
        self.connections_received += 1
        self.observer.connection_opened(session.protocol_name)
        return number

    def closed(self, session: "Session") -> None:
        """The session's connection is gone."""
        if self.sessions.pop(session.id, None) is not None:
            self.observer.connection_closed(session.protocol_name)
        self._check_drained()

    def rejected(self, reason: str) -> None:
        """A limit refused or closed a connection."""
        self.connections_rejected += reason == "max_clients"
        self.observer.rejected(reason)

    def paused(self, change: int) -> None:
        """One connection more (1) or less (-1) is paused."""
        self._paused += change
        self.observer.paused(self._paused)

    def drain(self, done: Callable[[], None]) -> None:
        """Answer what was received, close every connection, then call `done`. Listening must have ended."""
        self._drained = done
        for session in list(self.sessions.values()):
            session.input_ended()
        self._check_drained()

    def _check_drained(self) -> None:
        if self._drained is not None and not self.sessions:
            done, self._drained = self._drained, None
            done()

    @property
    def output_buffer_bytes(self) -> int:
        """Answers that clients have not taken off this process yet."""
        return sum(session.unsent_bytes for session in self.sessions.values())

    @property
    def leads(self) -> bool:
        """This node leads group 0."""
        return self.host.leader(0) == self.host.id

    @property
    def dataset_full(self) -> bool:
        """Commands that may need memory are refused for now."""
        return self.host.dataset_bytes > self.dataset_bytes_max


def _half_of_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
