"""The numbers of one node, on a registry of their own, and how a scrape is answered.

Counters and durations are told by observers as things happen; whatever a status can say is read only when
somebody asks. A source that fails is counted out of that one scrape and blanks nothing else.
"""

import platform
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

import twisted
from kraft.telemetry.metrics import declarations
from kraft.telemetry.metrics.samples import Count, Declaration, Histogram, Readings, Spread
from kraft.telemetry.metrics.samples import Counter as CounterDeclaration
from kraft.telemetry.metrics.status import Clients, Status, read_status

PROTOCOLS = ("inline", "resp2", "resp3")
CLASSES = ("read", "write", "local", "admin")
CODES = (
    "ERR", "MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", "UNCERTAIN", "READONLY", "MASTERDOWN", "LOADING",
    "BUSY", "OOM", "MISCONF", "NOAUTH", "WRONGPASS", "NOPERM", "NOPROTO",
    "CROSSSLOT", "EXECABORT", "NOSCRIPT",
)  # fmt: skip
REASONS = (
    "max_clients", "output_limit", "idle_timeout", "handshake_timeout", "protocol_error", "internal_error",
    "killed",
)  # fmt: skip
OPERATIONS = ("commit", "checkpoint", "highwater", "fetch", "state", "snapshot")
READ_KINDS = ("read_index", "lease", "stale")
OTHER = "other"
DECLARATIONS: tuple[Declaration, ...] = tuple(
    value for value in vars(declarations).values() if isinstance(value, Declaration)
)


@dataclass(frozen=True, slots=True)
class About:
    """What is known of a node before it starts. `commands` are the names a client may send, in lower case."""

    node: str
    version: str
    groups: Sequence[int] = (0,)
    peers: Sequence[str] = ()
    commands: Collection[str] = ()


@dataclass(slots=True)
class Sources:
    """What a scrape asks. `tap` fills it in as the parts of the node come up; None is not asked."""

    status: Callable[[], Status] | None = None
    clients: Callable[[], Clients] | None = None
    storage_sizes: Callable[[], Mapping[str, int]] | None = None  # kind -> bytes
    queues: Callable[[], Mapping[str, int]] | None = None  # thread -> calls that wait for it
    disk_free_bytes: Callable[[], int] | None = None
    failed: Callable[[str, Exception], None] = field(default=lambda _name, _error: None)


@dataclass(frozen=True, slots=True)
class LastSnapshot:
    """The newest durable checkpoint of a group: Unix time in seconds, bytes of keys and values."""

    when: float
    size: int


class Metrics(Collector):
    """All numbers of one node. Observers write to the public holders; `expose` answers a scrape."""

    def __init__(self, about: About, wall_seconds: Callable[[], float]) -> None:
        self.about = about
        self.sources = Sources()
        self.registry = CollectorRegistry(auto_describe=False)
        self.connected: dict[str, bool] = dict.fromkeys(about.peers, False)
        self.connections: dict[str, int] = dict.fromkeys(PROTOCOLS, 0)
        self.paused_connections = 0
        self.last_snapshots: dict[str, LastSnapshot] = {}  # by group
        self.restore_seconds: dict[str, float] = {}  # by group
        self.reloaded_at = wall_seconds()  # the configuration was read to get here
        self._wall_seconds = wall_seconds
        self._holders: list[Count | Spread] = []
        self._hold_raft([str(group) for group in about.groups])
        self._hold_peers_and_storage(about.peers)
        self._hold_clients(about.commands)
        self._reads = {
            "status": self._read_status,
            "clients": self._read_clients,
            "sizes": self._read_sizes,
            "queues": self._read_queues,
            "disk": self._read_disk,
        }
        self.registry.register(self)
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def expose(self, accept: str = "") -> tuple[str, bytes]:
        """Content type and body of a scrape: OpenMetrics when the Accept header names it, else text."""
        if "application/openmetrics-text" in accept:
            body: bytes = openmetrics.generate_latest(self.registry)  # type: ignore[no-untyped-call]
            return openmetrics.CONTENT_TYPE_LATEST, body
        return CONTENT_TYPE_PLAIN_0_0_4, generate_latest(self.registry)

    def collect(self) -> Iterator[Metric]:
        """What the registry asks for at a scrape."""
        for holder in self._holders:
            yield holder.family()
        readings = Readings()
        self._read_own(readings)
        for name, read in self._reads.items():
            try:
                read(readings)
            except Exception as error:
                self.sources.failed(name, error)
        yield from readings.families()

    def reloaded(self, outcome: str) -> None:
        """The configuration was read again; `outcome` is done or refused."""
        self.reloads.add(1, outcome)
        if outcome == "done":
            self.reloaded_at = self._wall_seconds()

    def snapshot_written(self, group: str, seconds: float, size: int) -> None:
        """A checkpoint of the keyspace became durable just now."""
        self.snapshots.add(1, group, "done")
        self.snapshot_duration.observe(seconds, group)
        self.last_snapshots[group] = LastSnapshot(self._wall_seconds(), size)

    def _hold_raft(self, groups: list[str]) -> None:
        count, spread = self._count, self._spread
        self.leader_changes = count(declarations.RAFT_LEADER_CHANGES, groups)
        self.elections = count(
            declarations.RAFT_ELECTIONS, groups, ("prevote", "vote", "transfer"), ("won", "lost", "timeout")
        )
        self.proposals = count(
            declarations.RAFT_PROPOSALS, groups, ("committed", "rejected", "timeout", "uncertain")
        )
        self.reads = count(declarations.RAFT_READS, groups, READ_KINDS, ("served", "refused"))
        self.commit_duration = spread(declarations.RAFT_COMMIT_DURATION, groups)
        self.apply_duration = spread(declarations.RAFT_APPLY_DURATION, groups)
        self.read_index_duration = spread(declarations.RAFT_READ_INDEX_DURATION, groups)
        self.snapshots = count(declarations.SNAPSHOTS, groups, ("done", "failed"))
        self.snapshot_duration = spread(declarations.SNAPSHOT_DURATION, groups)
        directions = ("send", "receive")
        self.snapshot_transfers = count(
            declarations.SNAPSHOT_TRANSFERS, groups, directions, ("done", "abandoned", "failed")
        )
        self.snapshot_transfer_bytes = count(declarations.SNAPSHOT_TRANSFER_BYTES, groups, directions)
        self.consistency_checks = count(declarations.CONSISTENCY_CHECKS, groups, ("taken", "different"))

    def _hold_peers_and_storage(self, peers: Sequence[str]) -> None:
        count, spread = self._count, self._spread
        self.heartbeat_send_failures = count(declarations.RAFT_HEARTBEAT_SEND_FAILURES, ("0",), peers)
        self.connects = count(declarations.PEER_CONNECTS, peers)
        self.refused = count(declarations.PEER_REFUSED)
        self.sent_bytes = count(declarations.PEER_SENT_BYTES, peers)
        self.received_bytes = count(declarations.PEER_RECEIVED_BYTES, peers)
        self.send_failures = count(
            declarations.PEER_SEND_FAILURES, peers, ("no_link", "queue_full", "too_large")
        )
        self.round_trip = spread(declarations.PEER_ROUND_TRIP, peers)
        self.fsync_duration = spread(declarations.LOG_FSYNC_DURATION)
        self.checkpoint_duration = spread(declarations.LOG_CHECKPOINT_DURATION)
        self.batch_entries = spread(declarations.LOG_BATCH_ENTRIES)
        self.append_bytes = count(declarations.LOG_APPEND_BYTES)
        self.storage_errors = count(declarations.STORAGE_ERRORS, OPERATIONS)
        self.reactor_lag = spread(declarations.REACTOR_LAG)
        self.reloads = count(declarations.CONFIG_RELOADS, ("done", "refused"))

    def _hold_clients(self, commands: Collection[str]) -> None:
        count, spread = self._count, self._spread
        self.connections_opened = count(declarations.CLIENT_CONNECTIONS_OPENED, PROTOCOLS)
        self.rejected = count(declarations.CLIENT_REJECTED, REASONS)
        self.commands = count(declarations.COMMANDS, (*sorted(commands), OTHER), ("ok", "error"))
        self.command_duration = spread(declarations.COMMAND_DURATION, CLASSES)
        self.command_errors = count(declarations.COMMAND_ERRORS, (*CODES, OTHER))
        self.forwarded = count(declarations.COMMANDS_FORWARDED, ("done", "not_proposed", "uncertain"))
        self.redirects = count(declarations.CLIENT_REDIRECTS, ("moved",))
        self.client_received_bytes = count(declarations.CLIENT_RECEIVED_BYTES)
        self.client_sent_bytes = count(declarations.CLIENT_SENT_BYTES)
        self.hits = count(declarations.KEYSPACE_HITS)
        self.misses = count(declarations.KEYSPACE_MISSES)

    def _count(self, declaration: CounterDeclaration, *known: Collection[str]) -> Count:
        """A held counter; without labels it has one known combination, the empty one."""
        holder = Count(declaration, *known)
        self._holders.append(holder)
        return holder

    def _spread(self, declaration: Histogram, *known: Collection[str]) -> Spread:
        holder = Spread(declaration, *known)
        self._holders.append(holder)
        return holder

    def _read_own(self, readings: Readings) -> None:
        versions = (self.about.version, platform.python_version(), twisted.__version__)
        readings.set(declarations.BUILD_INFO, 1, *versions)
        readings.set(declarations.CONFIG_LAST_RELOAD_SUCCESS, self.reloaded_at)
        readings.set(declarations.BACKPRESSURE_ACTIVE, self.paused_connections > 0)
        for protocol, number in self.connections.items():
            readings.set(declarations.CLIENT_CONNECTIONS, number, protocol)
        for group, last in self.last_snapshots.items():
            readings.set(declarations.SNAPSHOT_LAST_SUCCESS, last.when, group)
            readings.set(declarations.SNAPSHOT_SIZE_BYTES, last.size, group)
        for group, seconds in self.restore_seconds.items():
            readings.set(declarations.SNAPSHOT_RESTORE_LAST_DURATION, seconds, group)

    def _read_status(self, readings: Readings) -> None:
        if self.sources.status is None:
            self._read_links(self.connected, readings)
            return
        status = self.sources.status()
        read_status(status, readings, self._wall_seconds())
        members = [member.id for member in status.members if member.id != status.node]
        self._read_links(members or self.connected, readings)

    def _read_links(self, peers: Collection[str], readings: Readings) -> None:
        """Of the members of today: nobody misses the link to one that was removed."""
        for peer in peers:
            readings.set(declarations.PEER_CONNECTED, self.connected.get(peer, False), peer)

    def _read_clients(self, readings: Readings) -> None:
        if self.sources.clients is not None:
            clients = self.sources.clients()
            readings.set(declarations.DATASET_QUOTA_BYTES, clients.dataset_bytes_max)
            readings.set(declarations.CLIENT_OUTPUT_BUFFER_BYTES, clients.output_buffer_bytes)

    def _read_sizes(self, readings: Readings) -> None:
        if self.sources.storage_sizes is not None:
            for kind, size in self.sources.storage_sizes().items():
                readings.set(declarations.STORAGE_SIZE_BYTES, size, kind)

    def _read_queues(self, readings: Readings) -> None:
        if self.sources.queues is not None:
            for pool, length in self.sources.queues().items():
                readings.set(declarations.THREAD_QUEUE_LENGTH, length, pool)

    def _read_disk(self, readings: Readings) -> None:
        if self.sources.disk_free_bytes is not None:
            readings.set(declarations.DISK_FREE_BYTES, self.sources.disk_free_bytes())
