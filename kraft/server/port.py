"""The state that all client connections of a node share: settings, counters, the list of sessions."""

import itertools
from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import execute

from kraft import __version__
from kraft.acl.catalog import Catalog
from kraft.config.values import Config
from kraft.host.ports import ScriptEvaluator
from kraft.node.ports import Cancellable, Clock
from kraft.resp.parser import ParserLimits
from kraft.server.capacity import Capacity
from kraft.server.password_queue import InThread, PasswordQueue
from kraft.server.ports import NodeHost, ServerObserver
from kraft.server.routing import Routing
from kraft.server.session_state import SessionState
from kraft.server.statistics import RATE_SECONDS, Rates, RateSamples, Statistics
from kraft.server.users import Users


class OpenSession(Protocol):
    """One connection as the others see it."""

    state: SessionState

    @property
    def unsent_bytes(self) -> int:
        """The bytes of replies that wait in this process for the client to read."""

    @property
    def unfinished_bytes(self) -> int:
        """The bytes of a request that has not arrived completely."""

    @property
    def waiting_bytes(self) -> int:
        """The bytes received for the requests that wait, and for those done since nothing waited."""

    @property
    def fd(self) -> int:
        """The number of the socket in this process, -1 if it has none."""

    def input_ended(self) -> None:
        """Answer the requests that were received, then close."""

    def abort(self, reason: str) -> None:
        """Close at once and count `reason` as the cause."""

    def rights_changed(self) -> None:
        """End what is under way that the rights in `state` do not allow."""


class ClientPort:
    """The client port of one node, apart from sockets and commands."""

    def __init__(
        self,
        config: Config,
        host: NodeHost,
        observer: ServerObserver,
        clock: Clock,
        catalog: Catalog,
        capacity: Capacity = Capacity(),  # noqa: B008 - frozen
        in_thread: InThread = execute,
    ) -> None:
        """`catalog` are the commands that rules of users name; `in_thread` calls what takes long."""
        self.host = host
        self.capacity = capacity
        self.clock = clock
        self.observer = observer
        self.version = __version__
        self.routing = Routing(host, redirect=config.client.routing == "redirect")
        self.evaluator: ScriptEvaluator | None = None  # of scripts with keys in several groups
        self.parser_limits = ParserLimits(
            value_bytes=max(config.limits.value_bytes, config.limits.key_bytes),
            request_bytes=config.limits.request_bytes,
            arguments=config.limits.arguments,
        )
        self.memory_full = False  # the process is near its memory limit, whatever uses it
        self.reconfigure(config)
        self.started = clock.seconds()
        self.sessions: dict[int, OpenSession] = {}
        self.users = Users(config.users, catalog, host, observer, clock, self.sessions)
        self.passwords = PasswordQueue(clock, in_thread)
        self.statistics = Statistics()
        self.dataset_bytes_peak = 0  # since the last CONFIG RESETSTAT
        self._statistics_at_reset: Statistics | None = None  # a copy; None before the first CONFIG RESETSTAT
        self._samples = RateSamples()
        self._sampling: Cancellable | None = None
        self._ids = itertools.count(1)
        self._paused = 0
        self._drained: Callable[[], None] | None = None

    def reconfigure(self, config: Config) -> None:
        """Take over the settings in `config.CHANGEABLE`; they may change while sessions are open."""
        self.config = config
        self.limits = config.limits
        self.dataset_bytes_max = config.limits.dataset_bytes or self.capacity.dataset_bytes

    @property
    def connections_max(self) -> int:
        """The limit in effect: the process may have too few files for the configured one.

        Groups that are created while it runs take some of them.
        """
        return min(self.limits.connections, self.capacity.connections(self.host.slots.groups))

    def memory_checked(self, full: bool) -> int:
        """Whether the process is so near a limit of its memory that it may not take more.

        Returns how many bytes are left for data.
        """
        room = self.dataset_bytes_max - self.host.memory.bytes
        self.memory_full = full
        self.host.memory.full = full or room < 0
        return room

    @property
    def full(self) -> bool:
        """Whether writes that need memory are refused."""
        memory = self.host.memory
        return self.memory_full or memory.leader_full or memory.bytes > self.dataset_bytes_max

    def next_id(self) -> int:
        """A client id that no other connection of this process has or had."""
        return next(self._ids)

    def opened(self, session: OpenSession) -> None:
        """Add a new session to the list."""
        self.sessions[session.state.id] = session
        self.users.enter(session.state)
        self.statistics.connections_received += 1
        if self._sampling is None:
            self._samples.clear()
            self._sample()
        self.observer.connection_opened(session.state.protocol_name)

    def closed(self, session: OpenSession) -> None:
        """Remove a session whose connection is gone."""
        if self.sessions.pop(session.state.id, None) is not None:
            self.observer.connection_closed(session.state.protocol_name)
        if not self.sessions and self._sampling is not None:
            self._sampling.cancel()
            self._sampling = None
        self._check_drained()

    def rejected(self, reason: str) -> None:
        """Count a connection that was refused or closed because of `reason`."""
        self.statistics.connections_rejected += reason == "max_clients"
        self.observer.rejected(reason)

    def report_protocol(self, state: SessionState) -> None:
        """Report to the observer if the protocol of a connection has changed."""
        name = "inline" if state.inline else f"resp{state.protocol}"
        if name != state.protocol_name:
            self.observer.connection_switched(state.protocol_name, name)
            state.protocol_name = name

    def paused(self, change: int) -> None:
        """Count one paused connection more (1) or less (-1)."""
        self._paused += change
        self.observer.paused(self._paused)

    def rates(self) -> Rates:
        """Commands and bytes per second of the last seconds."""
        return self._samples.rates(self.clock.seconds(), self.statistics)

    def recent_statistics(self) -> Statistics:
        """The statistics since the last CONFIG RESETSTAT, to read only."""
        before = self._statistics_at_reset
        return self.statistics if before is None else self.statistics.since(before)

    def reset_statistics(self) -> None:
        """CONFIG RESETSTAT: INFO shows what is counted from now on."""
        self._statistics_at_reset = self.statistics.copy()
        self.dataset_bytes_peak = 0

    def _sample(self) -> None:
        """Take samples as long as there are sessions."""
        self.dataset_bytes_peak = max(self.dataset_bytes_peak, self.host.memory.bytes)
        self._samples.add(self.clock.seconds(), self.statistics)
        self._sampling = self.clock.call_later(RATE_SECONDS, self._sample)

    def drain(self, done: Callable[[], None]) -> None:
        """Answer the requests that were received, close every connection, then call `done`.

        Listening must have ended.
        """
        self._drained = done
        for session in list(self.sessions.values()):
            session.input_ended()
        self._check_drained()

    def _check_drained(self) -> None:
        if self._drained is not None and not self.sessions:
            done, self._drained = self._drained, None
            done()

    @property
    def connections_configured(self) -> int:
        """The configured limit of client connections."""
        return self.limits.connections

    @property
    def output_buffer_bytes(self) -> int:
        """The bytes of replies that wait in this process for their clients to read."""
        return sum(session.unsent_bytes for session in self.sessions.values())

    @property
    def leads(self) -> bool:
        """Whether this node leads a group."""
        return any(map(self.routing.leads, range(self.routing.slots.groups)))

    @property
    def is_master(self) -> bool:
        """Whether HELLO, INFO and ROLE call this node a master, by which clients choose where they write.

        The leader is one. So is every other member that forwards writes, with `client.follower_role: master`.
        """
        if self.leads or self.routing.redirect or self.config.client.follower_role == "replica":
            return self.leads
        status = self.host.status()
        return status.state == "serving" and any(member.id == status.node for member in status.members)
