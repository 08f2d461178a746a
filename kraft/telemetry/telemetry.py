"""The telemetry of one node: its metrics, its log, and one observer for each package.

The process makes one `Telemetry`, passes its observers on, and adds the sources of a scrape as they come up.
"""

import resource
import time
import traceback
from collections.abc import Callable, Collection, Iterator, Sequence

from kraft.node.ports import Clock
from kraft.node.supervisor import Supervisor
from kraft.telemetry.backups import BackupTelemetry
from kraft.telemetry.event_log import EventLog
from kraft.telemetry.lean_structlog import FilteringBoundLogger
from kraft.telemetry.logs import RateLimit
from kraft.telemetry.metrics.exposition import expose, exposition_type
from kraft.telemetry.metrics.registry import KnownLabels, MetricsRegistry
from kraft.telemetry.observers import (
    HostTelemetry,
    RaftTelemetry,
    ServerTelemetry,
    StorageTelemetry,
    TlsTelemetry,
    TransportTelemetry,
)
from kraft.telemetry.probe import ReactorProbe
from kraft.telemetry.recent.chronicle import Chronicle
from kraft.telemetry.recent.facts import Facts
from kraft.telemetry.sources import ClientSource, DataDisk, LogSource, StatusSource, StorageSource
from kraft.telemetry.start_progress import StartProgress


class Telemetry:
    """Metrics, log and recent events; `raft`, `host`, `storage` and so on are the observers."""

    def __init__(
        self,
        logger: FilteringBoundLogger,
        *,
        peers: Sequence[str] = (),
        commands: Collection[str] = (),
        groups: Sequence[int] = (0,),
    ) -> None:
        """`peers`, `commands` (lower case) and `groups` are those known in advance.

        Other commands count as `other`.
        """
        self.metrics = MetricsRegistry(KnownLabels(groups, peers, commands), wall_seconds=time.time)
        self._chronicle = Chronicle(self.metrics, time.time)
        self.events = EventLog(logger, RateLimit(time.monotonic), self._chronicle.journal)
        self.raft = RaftTelemetry(self.metrics, self.events)
        self.start_progress = StartProgress(self.events)
        self.host = HostTelemetry(self.metrics, self.events, self.start_progress)
        self.storage = StorageTelemetry(self.metrics, self.events, self.start_progress)
        self.transport = TransportTelemetry(self.metrics, self.events)
        self.backups = BackupTelemetry(self.metrics, self.events)
        self.server = ServerTelemetry(self.metrics, self.events)
        self.tls = TlsTelemetry(self.metrics, self.events)
        self._probe: ReactorProbe | None = None

    def watch(self, node: StatusSource, storage: StorageSource, directory: str) -> None:
        """Read these from now on at a scrape; `directory` holds the node's data."""
        sources = self.metrics.sources
        sources.node = node
        sources.storage = storage
        sources.disk = DataDisk(directory)
        sources.errors = self

    def started_by(self, supervisor: Supervisor) -> None:
        """Report from now on what started the process."""
        self._chronicle.supervisor = supervisor

    def watch_log(self, log: LogSource) -> None:
        """Read the number of lost lines at a scrape."""
        self.metrics.sources.log = log

    def watch_clients(self, clients: ClientSource) -> None:
        """Read the client port, which is open now, at a scrape."""
        self.metrics.sources.clients = clients

    def connections_limited(self, clients: ClientSource) -> None:
        """Report if the limit of open files admits fewer clients than configured."""
        admitted, configured = clients.connections_max, clients.connections_configured
        if admitted < configured:
            files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            fields = {"connections": admitted, "configured": configured, "open_files": files}
            self.events.log("connections_limited", **fields)

    def memory_limited(self, limit: int, source: str, clients: ClientSource) -> None:
        """Report the tightest limit of the memory, in bytes, where it is set, and what it leaves for data."""
        self.metrics.memory_limit = limit
        self.events.log("memory_limit", limit=limit, source=source, dataset_bytes=clients.dataset_bytes_max)

    def memory_full(self, used: int, limit: int, source: str) -> None:
        """The process uses `used` bytes of `limit`, which is set at `source`: writes are refused."""
        self.metrics.memory_full = True
        self.events.log_limited("memory full", "memory_full", used=used, limit=limit, source=source)

    def memory_has_room(self, used: int, limit: int) -> None:
        """Writes are admitted again."""
        self.metrics.memory_full = False
        self.events.log_limited("memory room", "memory_has_room", used=used, limit=limit)

    def watch_changes(self, changed: Callable[[], object]) -> None:
        """Call `changed` from now on after each event that changes the state of the node in words."""
        self.events.changed = changed

    def config_reloaded(self, changed: Sequence[str], need_restart: Sequence[str]) -> None:
        """The configuration was reloaded: options that took effect, and changed ones that need a restart."""
        self.metrics.reloaded("done")
        self.events.log("config_reloaded", changed=list(changed))
        if need_restart:
            self.events.log("config_needs_restart", options=list(need_restart))

    def config_refused(self, *problems: str) -> None:
        """The changed configuration cannot be used."""
        self.metrics.reloaded("refused")
        self.events.log("config_refused", problems=list(problems))

    def stacks_asked(self, stacks: str) -> None:
        """Somebody asked what the threads are doing. From any thread."""
        self.events.log("thread_stacks", stacks=stacks)

    def start(self, clock: Clock) -> None:
        """Start to measure the reactor's lag and to record the last minutes."""
        self._probe = ReactorProbe(clock, self.metrics.reactor_lag.observe)
        self._probe.start()
        self._chronicle.start(clock)

    def stop(self) -> None:
        """Stop what `start` started."""
        if self._probe is not None:
            self._probe.stop()
        self._chronicle.stop()

    def exposition_type(self, accept: str) -> str:
        """The content type of the answer to a scrape with this Accept header."""
        return exposition_type(accept)

    def expose(self, content_type: str) -> Iterator[bytes]:
        """All metrics in a form from `exposition_type`, in pieces that take little time each."""
        return expose(self.metrics.registry, content_type)

    def facts(self, *, full: bool) -> Facts:
        """The facts that go with the status; `full` adds the history of the last minutes."""
        return self._chronicle.facts(full=full)

    def http_refused(self, address: str, reason: str) -> None:
        """A request to the HTTP port had no token or certificate (missing), or a wrong token (wrong).

        What is missing is no news: a browser asks for a password after that answer.
        """
        self.metrics.http_refused.add(1, reason)
        if reason == "wrong":
            self.events.log_limited("http token", "http_refused", address=address)

    def page_failed(self, page: str, error: Exception) -> None:
        """Rendering a page of the HTTP port raised `error`."""
        trace = "".join(traceback.format_exception(error))
        self.events.log_limited(f"page {page}", "page_failed", page=page, exception=trace)

    def source_failed(self, source: str, error: Exception) -> None:
        """Reading a source raised `error`."""
        trace = "".join(traceback.format_exception(error))
        self.events.log_limited(f"scrape {source}", "scrape_failed", source=source, exception=trace)
