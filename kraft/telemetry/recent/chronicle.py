"""The last minutes of one node: its facts for `/status`, with traffic, history and recent events."""

from collections.abc import Callable
from functools import partial

from kraft.node.ports import Clock
from kraft.node.supervisor import Supervisor
from kraft.telemetry.metrics.registry import MetricsRegistry
from kraft.telemetry.metrics.requests import CLASSES
from kraft.telemetry.recent.facts import TRAFFIC_SECONDS, Facts
from kraft.telemetry.recent.history import Column, traffic
from kraft.telemetry.recent.journal import ENTRIES_KEPT, Journal
from kraft.telemetry.recent.recorder import Recorder

EVENTS_SHOWN = 20  # in the JSON that a person reads; other nodes receive all of them


class Chronicle:
    """Records the last minutes of one node, and gives its facts."""

    def __init__(self, metrics: MetricsRegistry, wall_seconds: Callable[[], float]) -> None:
        """`wall_seconds` returns Unix time."""
        self.journal = Journal(wall_seconds)
        self.supervisor = Supervisor()
        self._metrics = metrics
        self._wall_seconds = wall_seconds
        counts: dict[str, Callable[[], Column]] = {
            name: partial(metrics.requests.durations, name) for name in CLASSES
        }
        self._recorder = Recorder(wall_seconds, counts | {"sync": metrics.fsync_duration.counts})

    def start(self, clock: Clock) -> None:
        """Start recording."""
        self._recorder.start(clock)

    def stop(self) -> None:
        """Stop recording."""
        self._recorder.stop()

    def facts(self, *, full: bool) -> Facts:
        """The facts now; `full` adds the histories and all recent events."""
        metrics, history = self._metrics, self._recorder.history()
        sources = metrics.sources
        return Facts(
            wall_seconds=round(self._wall_seconds(), 3),
            dataset_bytes_max=sources.read("clients", self._dataset_bytes_max) or 0,
            memory_limit=metrics.memory_limit,
            memory_full=metrics.memory_full,
            connections_max=sources.read("clients", self._connections_max) or 0,
            connections_configured=sources.read("clients", self._connections_configured) or 0,
            connections=dict(metrics.connections),
            users=sources.read("clients", self._users) or 0,
            default_open=sources.read("clients", self._default_open) or False,
            paused_connections=metrics.paused_connections,
            storage_bytes=sources.read("sizes", self._storage_bytes) or {},
            disk_free_bytes=sources.read("disk", self._disk_free_bytes),
            backup_made=metrics.last_backup.written_at if metrics.last_backup is not None else 0.0,
            backup_reaches=min((reaches for _, reaches in metrics.shipped.values()), default=0.0),
            backup_problem=metrics.backup_problem,
            backup_unshipped=metrics.unshipped[0],
            backup_unshipped_reason=metrics.unshipped[1],
            traffic={name: traffic(columns, TRAFFIC_SECONDS) for name, columns in history.classes.items()},
            supervisor=self.supervisor,
            tls_expiry=metrics.tls_expiry,
            events=self.journal.latest(ENTRIES_KEPT if full else EVENTS_SHOWN),
            history=history if full else None,
            longer=self._recorder.longer() if full else (),
        )

    def _dataset_bytes_max(self) -> int:
        clients = self._metrics.sources.clients
        return clients.dataset_bytes_max if clients is not None else 0

    def _connections_max(self) -> int:
        clients = self._metrics.sources.clients
        return clients.connections_max if clients is not None else 0

    def _connections_configured(self) -> int:
        clients = self._metrics.sources.clients
        return clients.connections_configured if clients is not None else 0

    def _users(self) -> int:
        clients = self._metrics.sources.clients
        return clients.users.count if clients is not None else 0

    def _default_open(self) -> bool:
        clients = self._metrics.sources.clients
        return clients is not None and clients.users.default_open

    def _storage_bytes(self) -> dict[str, int]:
        storage = self._metrics.sources.storage
        return dict(storage.sizes()) if storage is not None else {}

    def _disk_free_bytes(self) -> int | None:
        disk = self._metrics.sources.disk
        return disk.free_bytes() if disk is not None else None
