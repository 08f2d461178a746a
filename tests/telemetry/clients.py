"""A client port as telemetry sees it."""

from dataclasses import dataclass, field

from kraft.node.latencies import Latencies


@dataclass
class Command:
    kind: str
    latencies: Latencies = field(default_factory=Latencies)
    rejected: int = 0
    failed: int = 0


@dataclass
class Counts:
    commands: dict[str, Command] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)
    bytes_received: int = 0
    bytes_sent: int = 0
    hits: int = 0
    misses: int = 0


@dataclass(frozen=True)
class Users:
    count: int = 3
    default_open: bool = False


@dataclass(frozen=True)
class Clients:
    connections_max: int = 744
    connections_configured: int = 10_000
    dataset_bytes_max: int = 1000
    output_buffer_bytes: int = 70
    users: Users = field(default_factory=Users)
    statistics: Counts = field(default_factory=Counts)
