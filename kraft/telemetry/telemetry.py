"""All that one node tells with, joined: its numbers, its log, and an observer for each package.

`tap` makes one `Telemetry`, hands its observers out, and names the sources of a scrape as they come up.
"""

import shutil
import time
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from structlog.typing import FilteringBoundLogger

import kraft
from kraft.telemetry.logs import RateLimit
from kraft.telemetry.metrics.registry import About, Metrics
from kraft.telemetry.metrics.status import Clients, Status
from kraft.telemetry.observers import (
    EventLog,
    HostTelemetry,
    RaftTelemetry,
    ServerTelemetry,
    StorageTelemetry,
    TransportTelemetry,
)
from kraft.telemetry.probe import Clock, ReactorLag
from kraft.telemetry.recent.chronicle import Chronicle
from kraft.telemetry.recent.facts import Facts


class Storage(Protocol):
    """The data directory and the threads that work on it."""

    def sizes(self) -> Mapping[str, int]:
        """Bytes by kind."""

    def queues(self) -> Mapping[str, int]:
        """Calls that wait, by thread."""


class Telemetry:
    """One node's metrics and events; `raft`, `host`, `storage`, `transport`, `server` are observers."""

    def __init__(
        self,
        node: str,
        logger: FilteringBoundLogger,
        *,
        peers: Sequence[str] = (),
        commands: Collection[str] = (),
    ) -> None:
        """`peers` and `commands` (lower case) are those known in advance; other commands count as `other`."""
        about = About(node, kraft.__version__, peers=peers, commands=commands)
        self.metrics = Metrics(about, wall_seconds=time.time)
        self._chronicle = Chronicle(self.metrics, time.time)
        self.events = EventLog(logger, RateLimit(time.monotonic), self._chronicle.journal)
        self.raft = RaftTelemetry(self.metrics, self.events)
        self.host = HostTelemetry(self.metrics, self.events)
        self.storage = StorageTelemetry(self.metrics, self.events)
        self.transport = TransportTelemetry(self.metrics, self.events)
        self.server = ServerTelemetry(self.metrics, self.events)
        self._lag: ReactorLag | None = None

    def watch(self, status: Callable[[], Status], storage: Storage, directory: str) -> None:
        """What a scrape asks from now on; `directory` has the node's data."""
        sources = self.metrics.sources
        sources.status = status
        sources.storage_sizes = storage.sizes
        sources.queues = storage.queues
        sources.disk_free_bytes = lambda: shutil.disk_usage(directory).free
        sources.failed = self._source_failed

    def watch_clients(self, clients: Clients) -> None:
        """The client port is open: what a scrape asks of it from now on."""
        self.metrics.sources.clients = lambda: clients

    def config_reloaded(self, changed: Sequence[str], need_restart: Sequence[str]) -> None:
        """The configuration was read again: the options that hold now, and those that wait for a restart."""
        self.metrics.reloaded("done")
        self.events.tell("config_reloaded", changed=list(changed))
        if need_restart:
            self.events.tell("config_needs_restart", options=list(need_restart))

    def config_refused(self, *problems: str) -> None:
        """The configuration that was read again cannot be used."""
        self.metrics.reloaded("refused")
        self.events.tell("config_refused", problems=list(problems))

    def start(self, clock: Clock) -> None:
        """Begin to measure the reactor's lag, and to remember the last minutes."""
        self._lag = ReactorLag(clock, self.metrics.reactor_lag.observe)
        self._lag.start()
        self._chronicle.start(clock)

    def stop(self) -> None:
        """End what `start` began."""
        if self._lag is not None:
            self._lag.stop()
        self._chronicle.stop()

    def expose(self, accept: str) -> tuple[str, bytes]:
        """Content type and body of a scrape."""
        return self.metrics.expose(accept)

    def facts(self, *, full: bool) -> Facts:
        """What goes with the status; `full` with the history of the last minutes."""
        return self._chronicle.facts(full=full)

    def page_failed(self, page: str, error: Exception) -> None:
        """A page of the HTTP port could not be made."""
        trace = "".join(traceback.format_exception(error))
        self.events.tell_seldom(f"page {page}", "page_failed", page=page, exception=trace)

    def _source_failed(self, source: str, error: Exception) -> None:
        trace = "".join(traceback.format_exception(error))
        self.events.tell_seldom(f"scrape {source}", "scrape_failed", source=source, exception=trace)
