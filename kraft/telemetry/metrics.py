"""All that one node tells with, joined: its numbers, its log, and an observer for each package.

`tap` makes one `Telemetry`, hands its observers out, and names the sources of a scrape as they come up.
"""

import shutil
import time
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from structlog.typing import FilteringBoundLogger

import kraft
from kraft.telemetry.logs import RateLimit
from kraft.telemetry.numbers import About, Metrics
from kraft.telemetry.observers import (
    EventLog,
    HostObserver,
    RaftObserver,
    ServerObserver,
    StorageObserver,
    TransportObserver,
)
from kraft.telemetry.probe import Clock, ReactorLag
from kraft.telemetry.status import Status


class Telemetry:
    """One node's metrics and events; `raft`, `host`, `storage`, `transport`, `server` are observers."""

    def __init__(
        self,
        node: str,
        logger: FilteringBoundLogger,
        *,
        peers: Sequence[str] = (),
        commands: Collection[str] = (),
        dataset_quota_bytes: int = 0,
    ) -> None:
        """`peers` and `commands` (lower case) are those known in advance; other commands count as `other`."""
        about = About(
            node, kraft.__version__, peers=peers, commands=commands, dataset_quota_bytes=dataset_quota_bytes
        )
        self.metrics = Metrics(about, wall_seconds=time.time)
        self.events = EventLog(logger, RateLimit(time.monotonic))
        self.raft = RaftObserver(self.metrics, self.events)
        self.host = HostObserver(self.metrics, self.events)
        self.storage = StorageObserver(self.metrics, self.events)
        self.transport = TransportObserver(self.metrics, self.events)
        self.server = ServerObserver(self.metrics, self.events)
        self._lag: ReactorLag | None = None

    def watch(
        self, status: Callable[[], Status], storage_sizes: Callable[[], Mapping[str, int]], directory: str
    ) -> None:
        """What a scrape asks from now on; `storage_sizes` is bytes by kind, `directory` the node's data."""
        sources = self.metrics.sources
        sources.status = status
        sources.storage_sizes = storage_sizes
        sources.disk_free_bytes = lambda: shutil.disk_usage(directory).free
        sources.failed = self._source_failed

    def quota_changed(self, dataset_quota_bytes: int) -> None:
        """The bound of the data was configured anew."""
        self.metrics.about = replace(self.metrics.about, dataset_quota_bytes=dataset_quota_bytes)

    def start(self, clock: Clock) -> None:
        """Begin to measure the reactor's lag."""
        self._lag = ReactorLag(clock, self.metrics.reactor_lag.observe)
        self._lag.start()

    def stop(self) -> None:
        """End what `start` began."""
        if self._lag is not None:
            self._lag.stop()

    def expose(self, accept: str) -> tuple[str, bytes]:
        """Content type and body of a scrape."""
        return self.metrics.expose(accept)

    def page_failed(self, page: str, error: Exception) -> None:
        """A page of the HTTP port could not be made."""
        trace = "".join(traceback.format_exception(error))
        self.events.tell_seldom(f"page {page}", "page_failed", page=page, exception=trace)

    def _source_failed(self, source: str, error: Exception) -> None:
        trace = "".join(traceback.format_exception(error))
        self.events.tell_seldom(f"scrape {source}", "scrape_failed", source=source, exception=trace)
