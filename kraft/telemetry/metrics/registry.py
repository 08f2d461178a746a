"""All metrics of one node, on a registry of their own.

Observers count and time things as they happen. Gauges that the status of the node has anyway are read at the
scrape; a source that fails leaves its own gauges out of that scrape and no others.
"""

import platform
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

import kraft
import twisted
from kraft.telemetry.metrics import declarations
from kraft.telemetry.metrics.declarations import Counter, Declaration, Histogram
from kraft.telemetry.metrics.holders import CounterHolder, HistogramHolder, Holder, Readings
from kraft.telemetry.metrics.requests import RequestMetrics
from kraft.telemetry.metrics.status import read_status
from kraft.telemetry.sources import Sources

PROTOCOLS = ("inline", "resp2", "resp3")
REASONS = (
    "max_clients", "output_limit", "idle_timeout", "handshake_timeout", "protocol_error", "internal_error",
    "killed",
    "user_removed",
    "rights_revoked",
)  # fmt: skip
OPERATIONS = ("commit", "checkpoint", "highwater", "fetch", "state", "snapshot")
READ_KINDS = ("read_index", "lease", "stale")
DECLARATIONS: tuple[Declaration, ...] = tuple(
    value for value in vars(declarations).values() if isinstance(value, Declaration)
)


@dataclass(frozen=True, slots=True)
class KnownLabels:
    """Label values that are known before the node starts, so that the first scrape shows them with zeros.

    `commands` are the names that a client may send, in lower case; any other counts as `other`.
    """

    groups: Sequence[int] = (0,)
    peers: Sequence[str] = ()
    commands: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class LastSnapshot:
    """The newest durable checkpoint of a group: its Unix time in seconds, and bytes of keys and values."""

    written_at: float
    size_bytes: int


class MetricsRegistry(Collector):
    """All metrics of one node. Observers write to the public holders; a scrape reads `registry`."""

    def __init__(self, labels: KnownLabels, wall_seconds: Callable[[], float]) -> None:
        """`wall_seconds` returns Unix time."""
        self.labels = labels
        self.sources = Sources()
        self.registry = CollectorRegistry(auto_describe=False)
        self.connected: dict[str, bool] = dict.fromkeys(labels.peers, False)
        self.connections: dict[str, int] = dict.fromkeys(PROTOCOLS, 0)
        self.paused_connections = 0
        self.memory_limit = 0  # bytes, 0 while unknown
        self.memory_full = False
        self.tls_expiry: dict[str, float] = {}  # Unix time, by use; empty without TLS
        self.last_snapshots: dict[str, LastSnapshot] = {}  # by group
        self.restore_seconds: dict[str, float] = {}  # by group
        self.last_backup: LastSnapshot | None = None
        self.backup_problem = ""
        self.unshipped = (0, "")  # groups whose logs cannot be had, and why
        self.shipped: dict[str, tuple[int, float]] = {}  # index and Unix time in seconds, by group
        self.reloaded_at = wall_seconds()  # the start has just loaded the configuration
        self._groups = 0  # of the node, as of the last scrape
        self._wall_seconds = wall_seconds
        self._holders: list[Holder] = []
        self._hold_raft([str(group) for group in labels.groups])
        self._hold_peers_and_storage(labels.peers)
        self._hold_clients()
        self.requests = RequestMetrics(labels.commands, self.sources)
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

    def collect(self) -> Iterator[Metric]:
        """Every metric family; the registry calls this at a scrape."""
        readings = Readings()
        self._read_own(readings)
        for name, read in self._reads.items():
            self.sources.read(name, partial(read, readings))
        folded = self._groups > declarations.GROUPS_MAX
        for holder in self._holders:
            yield holder.family(folded=folded)
        yield from self.sources.read("requests", partial(list, self.requests.families())) or ()
        yield from readings.families(folded=folded)

    def reloaded(self, outcome: str) -> None:
        """Count a reload of the configuration; `outcome` is done or refused."""
        self.reloads.add(1, outcome)
        if outcome == "done":
            self.reloaded_at = self._wall_seconds()

    def snapshot_written(self, group: str, seconds: float, size: int) -> None:
        """Count a checkpoint of the keyspace that became durable just now."""
        self.snapshots.add(1, group, "done")
        self.snapshot_duration.observe(seconds, group)
        self.last_snapshots[group] = LastSnapshot(self._wall_seconds(), size)

    def _hold_raft(self, groups: list[str]) -> None:
        counter, histogram = self._counter, self._histogram
        self.leader_changes = counter(declarations.RAFT_LEADER_CHANGES, groups)
        self.elections = counter(
            declarations.RAFT_ELECTIONS, groups, ("prevote", "vote", "transfer"), ("won", "lost", "timeout")
        )
        self.proposals = counter(
            declarations.RAFT_PROPOSALS, groups, ("committed", "rejected", "timeout", "uncertain")
        )
        self.reads = counter(declarations.RAFT_READS, groups, READ_KINDS, ("served", "refused"))
        self.commit_duration = histogram(declarations.RAFT_COMMIT_DURATION, groups)
        self.apply_duration = histogram(declarations.RAFT_APPLY_DURATION, groups)
        self.read_index_duration = histogram(declarations.RAFT_READ_INDEX_DURATION, groups)
        self.snapshots = counter(declarations.SNAPSHOTS, groups, ("done", "failed"))
        self.snapshot_duration = histogram(declarations.SNAPSHOT_DURATION, groups)
        directions = ("send", "receive")
        self.snapshot_transfers = counter(
            declarations.SNAPSHOT_TRANSFERS, groups, directions, ("done", "abandoned", "failed")
        )
        self.snapshot_transfer_bytes = counter(declarations.SNAPSHOT_TRANSFER_BYTES, groups, directions)
        self.move_freeze = histogram(declarations.MOVE_FREEZE)
        self.consistency_checks = counter(declarations.CONSISTENCY_CHECKS, groups, ("taken", "different"))

    def _hold_peers_and_storage(self, peers: Sequence[str]) -> None:
        counter, histogram = self._counter, self._histogram
        self.heartbeat_send_failures = counter(declarations.RAFT_HEARTBEAT_SEND_FAILURES, ("0",), peers)
        self.resent_bytes = counter(declarations.RAFT_RESENT_BYTES, ("0",), peers)
        self.connects = counter(declarations.PEER_CONNECTS, peers)
        self.refused = counter(declarations.PEER_REFUSED)
        self.sent_bytes = counter(declarations.PEER_SENT_BYTES, peers)
        self.received_bytes = counter(declarations.PEER_RECEIVED_BYTES, peers)
        self.send_failures = counter(
            declarations.PEER_SEND_FAILURES, peers, ("no_link", "queue_full", "too_large")
        )
        self.round_trip = histogram(declarations.PEER_ROUND_TRIP, peers)
        self.fsync_duration = histogram(declarations.LOG_FSYNC_DURATION)
        self.checkpoint_duration = histogram(declarations.LOG_CHECKPOINT_DURATION)
        self.batch_entries = histogram(declarations.LOG_BATCH_ENTRIES)
        self.append_bytes = counter(declarations.LOG_APPEND_BYTES)
        self.storage_errors = counter(declarations.STORAGE_ERRORS, OPERATIONS)
        self.reactor_lag = histogram(declarations.REACTOR_LAG)
        self.backups = counter(declarations.BACKUPS, ("done", "failed"))
        self.reloads = counter(declarations.CONFIG_RELOADS, ("done", "refused"))

    def _hold_clients(self) -> None:
        counter = self._counter
        self.connections_opened = counter(declarations.CLIENT_CONNECTIONS_OPENED, PROTOCOLS)
        self.rejected = counter(declarations.CLIENT_REJECTED, REASONS)
        self.denied = counter(declarations.ACCESS_DENIED, ("command", "key", "auth", "tls-cert"))
        self.logins = counter(declarations.LOGINS, ("done", "failed", "busy"))
        self.http_refused = counter(declarations.HTTP_REFUSED, ("missing", "wrong"))
        self.scripts_stopped = counter(declarations.SCRIPTS_STOPPED, ("time", "instructions", "memory"))
        self.tls_connections = counter(
            declarations.TLS_CONNECTIONS, ("peer", "client", "http"), ("tls", "plain", "refused")
        )
        self.tls_reloads = counter(declarations.TLS_RELOADS, ("done", "refused"))
        self.forwarded = counter(declarations.COMMANDS_FORWARDED, ("done", "not_proposed", "uncertain"))

    def _counter(self, declaration: Counter, *known: Collection[str]) -> CounterHolder:
        holder = CounterHolder(declaration, *known)
        self._holders.append(holder)
        return holder

    def _histogram(self, declaration: Histogram, *known: Collection[str]) -> HistogramHolder:
        holder = HistogramHolder(declaration, *known)
        self._holders.append(holder)
        return holder

    def _read_own(self, readings: Readings) -> None:
        versions = (kraft.__version__, platform.python_version(), twisted.__version__)
        readings.set(declarations.BUILD_INFO, 1, *versions)
        readings.set(declarations.CONFIG_LAST_RELOAD_SUCCESS, self.reloaded_at)
        readings.set(declarations.MEMORY_FULL, self.memory_full)
        if self.memory_limit:
            readings.set(declarations.MEMORY_LIMIT_BYTES, self.memory_limit)
        readings.set(declarations.BACKPRESSURE_ACTIVE, self.paused_connections > 0)
        if self.sources.log is not None:
            readings.set(declarations.LOG_LINES_LOST, self.sources.log.lines_lost)
        for use, end in self.tls_expiry.items():
            readings.set(declarations.TLS_CERTIFICATE_EXPIRY, end, use)
        for protocol, number in self.connections.items():
            readings.set(declarations.CLIENT_CONNECTIONS, number, protocol)
        for group, last in self.last_snapshots.items():
            readings.set(declarations.SNAPSHOT_LAST_SUCCESS, last.written_at, group)
            readings.set(declarations.SNAPSHOT_SIZE_BYTES, last.size_bytes, group)
        if self.last_backup is not None:
            readings.set(declarations.BACKUP_LAST_SUCCESS, self.last_backup.written_at)
            readings.set(declarations.BACKUP_SIZE_BYTES, self.last_backup.size_bytes)
        readings.set(declarations.BACKUP_UNSHIPPED_GROUPS, self.unshipped[0])
        for group, (index, reaches) in self.shipped.items():
            readings.set(declarations.BACKUP_SHIPPED_INDEX, index, group)
            readings.set(declarations.BACKUP_SHIPPED_TIMESTAMP, reaches, group)
        for group, seconds in self.restore_seconds.items():
            readings.set(declarations.SNAPSHOT_RESTORE_LAST_DURATION, seconds, group)

    def _read_status(self, readings: Readings) -> None:
        if self.sources.node is None:
            self._read_links(self.connected, readings)
            return
        status = self.sources.node.status()
        self._groups = len(status.groups)
        read_status(status, readings, self._wall_seconds())
        members = [member.id for member in status.members if member.id != status.node]
        self._read_links(members or self.connected, readings)

    def _read_links(self, peers: Collection[str], readings: Readings) -> None:
        """Links to the current members only: a link to a removed member is not missing."""
        for peer in peers:
            readings.set(declarations.PEER_CONNECTED, self.connected.get(peer, False), peer)

    def _read_clients(self, readings: Readings) -> None:
        if self.sources.clients is not None:
            clients = self.sources.clients
            readings.set(declarations.CLIENT_CONNECTIONS_MAX, clients.connections_max)
            readings.set(declarations.DATASET_QUOTA_BYTES, clients.dataset_bytes_max)
            readings.set(declarations.CLIENT_OUTPUT_BUFFER_BYTES, clients.output_buffer_bytes)

    def _read_sizes(self, readings: Readings) -> None:
        if self.sources.storage is not None:
            for kind, size in self.sources.storage.sizes().items():
                readings.set(declarations.STORAGE_SIZE_BYTES, size, kind)

    def _read_queues(self, readings: Readings) -> None:
        if self.sources.storage is not None:
            for thread, length in self.sources.storage.queues().items():
                readings.set(declarations.THREAD_QUEUE_LENGTH, length, thread)

    def _read_disk(self, readings: Readings) -> None:
        if self.sources.disk is not None:
            readings.set(declarations.DISK_FREE_BYTES, self.sources.disk.free_bytes())
