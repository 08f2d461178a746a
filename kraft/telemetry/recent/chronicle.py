"""What one node remembers of its last minutes, and the facts that it tells of itself."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol, TypeVar

from kraft.telemetry.metrics.samples import Spread
from kraft.telemetry.probe import Clock
from kraft.telemetry.recent.facts import TRAFFIC_SECONDS, Facts
from kraft.telemetry.recent.history import Column, Recorder, traffic
from kraft.telemetry.recent.journal import EVENTS_KEPT, Journal

EVENTS_TOLD = 20  # to a person who reads JSON; other nodes are told all
_Value = TypeVar("_Value")
_CLASSES = ("read", "write", "local", "admin")


class Clients(Protocol):
    """The client port."""

    @property
    def dataset_bytes_max(self) -> int:
        """The bound of the data."""


class Sources(Protocol):
    """Where sizes come from; None is not asked."""

    @property
    def clients(self) -> Callable[[], Clients] | None:
        """The client port, once it is open."""

    @property
    def storage_sizes(self) -> Callable[[], Mapping[str, int]] | None:
        """Bytes by kind."""

    @property
    def disk_free_bytes(self) -> Callable[[], int] | None:
        """Room on the file system of the data."""

    @property
    def failed(self) -> Callable[[str, Exception], None]:
        """Told of a source that raised."""


class Numbers(Protocol):
    """The holders that are read."""

    command_duration: Spread
    fsync_duration: Spread
    connections: dict[str, int]
    paused_connections: int

    @property
    def sources(self) -> Sources:
        """What is asked rather than held."""


class Chronicle:
    """Remembers the last minutes of one node, and tells its facts."""

    def __init__(self, numbers: Numbers, wall_seconds: Callable[[], float]) -> None:
        self.journal = Journal(wall_seconds)
        self._numbers = numbers
        self._wall_seconds = wall_seconds
        sources: dict[str, Callable[[], Column]] = {
            name: partial(numbers.command_duration.counts, name) for name in _CLASSES
        }
        self._recorder = Recorder(wall_seconds, sources | {"sync": numbers.fsync_duration.counts})

    def start(self, clock: Clock) -> None:
        """Begin to record."""
        self._recorder.start(clock)

    def stop(self) -> None:
        """End what `start` began."""
        self._recorder.stop()

    def facts(self, *, full: bool) -> Facts:
        """As of now; `full` with the history and all events that are kept."""
        numbers, history = self._numbers, self._recorder.history()
        sources = numbers.sources
        return Facts(
            wall_seconds=round(self._wall_seconds(), 3),
            dataset_bytes_max=self._dataset_bytes_max(),
            connections=dict(numbers.connections),
            paused_connections=numbers.paused_connections,
            storage_bytes=dict(self._asked("sizes", sources.storage_sizes) or {}),
            disk_free_bytes=self._asked("disk", sources.disk_free_bytes),
            traffic={name: traffic(columns, TRAFFIC_SECONDS) for name, columns in history.classes.items()},
            events=self.journal.latest(EVENTS_KEPT if full else EVENTS_TOLD),
            history=history if full else None,
        )

    def _dataset_bytes_max(self) -> int:
        clients = self._asked("clients", self._numbers.sources.clients)
        return clients.dataset_bytes_max if clients is not None else 0

    def _asked(self, name: str, source: Callable[[], _Value] | None) -> _Value | None:
        """What the source says; one that fails costs its own facts."""
        try:
            return source() if source is not None else None
        except Exception as error:
            self._numbers.sources.failed(name, error)
            return None
