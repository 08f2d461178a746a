"""What a node's telemetry adds to its status: plain values, the same for page, JSON and shell."""

from dataclasses import dataclass, field

from kraft.telemetry.recent.history import History, Traffic
from kraft.telemetry.recent.journal import Happening

TRAFFIC_SECONDS = 10  # long enough for a p99, short enough to be called now


@dataclass(frozen=True, slots=True)
class Facts:
    """Of one node, at one moment; each has a default, as a node of another version may not tell it.

    `connections` are clients by protocol; those `paused` wait until writes are logged. `storage_bytes` is
    the size on disk by kind, `disk_free_bytes` None when it cannot be told. `traffic` is the last
    `TRAFFIC_SECONDS` by class of command; `sync` is not one, but the transactions of the log. `events` are
    the newest first. `wall_seconds` is this node's Unix time, `dataset_bytes_max` the
    bound of its data, 0 while unknown. `history` is told to other nodes only.
    """

    wall_seconds: float = 0.0
    dataset_bytes_max: int = 0
    connections: dict[str, int] = field(default_factory=dict)
    paused_connections: int = 0
    storage_bytes: dict[str, int] = field(default_factory=dict)
    disk_free_bytes: int | None = None
    traffic: dict[str, Traffic] = field(default_factory=dict)
    events: tuple[Happening, ...] = ()
    history: History | None = None
