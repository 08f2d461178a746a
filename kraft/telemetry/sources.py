"""The parts of a node that telemetry reads when a scrape or a status page asks.

What happens often is counted where it happens, and read here. Everything else reaches telemetry through its
observers, as it happens.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

from kraft.node.latencies import Latencies
from kraft.node.status import Status

_Value = TypeVar("_Value")


class StatusSource(Protocol):
    """The node itself."""

    def status(self) -> Status:
        """The state of the node, its members and its groups now."""


class StorageSource(Protocol):
    """The data directory and the threads that work on it."""

    def sizes(self) -> Mapping[str, int]:
        """Bytes on disk, by kind of file."""

    def queues(self) -> Mapping[str, int]:
        """Number of waiting calls, by thread."""


class CommandCounts(Protocol):
    """What is counted of one command. Of its requests, `rejected` and `failed` were answered by an error."""

    kind: str
    latencies: Latencies
    rejected: int
    failed: int


class RequestCounts(Protocol):
    """What is counted of requests, since the start."""

    bytes_received: int
    bytes_sent: int
    hits: int
    misses: int

    @property
    def commands(self) -> Mapping[str, CommandCounts]:
        """By the name of the command."""

    @property
    def errors(self) -> Mapping[str, int]:
        """How many replies were errors, by their first word."""


class UserCounts(Protocol):
    """The users of the cluster."""

    @property
    def count(self) -> int:
        """How many there are, `default` among them."""

    @property
    def default_open(self) -> bool:
        """Whether whoever connects may be the user `default` without a password."""


class ClientSource(Protocol):
    """The client port."""

    @property
    def statistics(self) -> RequestCounts:
        """What is counted of requests."""

    @property
    def connections_max(self) -> int:
        """Upper limit of client connections, in effect."""

    @property
    def connections_configured(self) -> int:
        """The configured limit of client connections."""

    @property
    def users(self) -> UserCounts:
        """The users who may log in."""

    @property
    def dataset_bytes_max(self) -> int:
        """Upper limit of the data, in bytes."""

    @property
    def output_buffer_bytes(self) -> int:
        """Bytes of replies that clients have not read yet."""


class LogSource(Protocol):
    """The log of this node."""

    @property
    def lines_lost(self) -> int:
        """Lines that could not be written."""


class DiskSource(Protocol):
    """The file system of the data directory."""

    def free_bytes(self) -> int:
        """Free space for this user, in bytes. Raises OSError."""


class SourceErrors(Protocol):
    """Receives the errors of sources."""

    def source_failed(self, source: str, error: Exception) -> None:
        """Reading `source` raised `error`."""


@dataclass(frozen=True, slots=True)
class DataDisk:
    """The file system of `directory`."""

    directory: str

    def free_bytes(self) -> int:
        """Free space for this user, in bytes. Raises OSError."""
        return shutil.disk_usage(self.directory).free


@dataclass(slots=True)
class Sources:
    """The sources known so far; one that is None is not read.

    A source that raises is reported to `errors` and costs only the values that come from it.
    """

    node: StatusSource | None = None
    storage: StorageSource | None = None
    clients: ClientSource | None = None
    disk: DiskSource | None = None
    log: LogSource | None = None
    errors: SourceErrors | None = None

    def read(self, name: str, read: Callable[[], _Value]) -> _Value | None:
        """The result of `read`, or None if it raises."""
        try:
            return read()
        except Exception as error:
            if self.errors is not None:
                self.errors.source_failed(name, error)
            return None
