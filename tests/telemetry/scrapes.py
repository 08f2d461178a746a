"""Scrapes of a whole node, and the parts of a node that a scrape reads."""

from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families as parse_text

from kraft.node.status import GroupStatus, MemberStatus, ReplicaStatus, Status
from kraft.telemetry.event_log import EventLog
from kraft.telemetry.logs import RateLimit, logger
from kraft.telemetry.metrics.declarations import PREFIX
from kraft.telemetry.metrics.exposition import expose, exposition_type
from kraft.telemetry.metrics.registry import KnownLabels, MetricsRegistry
from kraft.telemetry.observers import (
    HostTelemetry,
    RaftTelemetry,
    ServerTelemetry,
    StorageTelemetry,
    TransportTelemetry,
)
from kraft.telemetry.start_progress import StartProgress


def exposed(metrics: MetricsRegistry, accept: str = "") -> tuple[str, bytes]:
    """Content type and body of a scrape."""
    type_ = exposition_type(accept)
    return type_, b"".join(expose(metrics.registry, type_))


REPLICA = ReplicaStatus("K2", 8, 1, "replicate", 0.5, -250, inflight_messages=3)
GROUP = GroupStatus(
    group=0, role="leader", term=7, leader="K1", first_index=1, last_index=9, commit=9, applied=8,
    voters=("K1", "K2"), learners=(), keys=3, expiring_keys=1, expired_keys=5, dataset_bytes=300, revision=4,
    pending_proposals=2, replicas=(REPLICA,), checkpoint_index=6, pending_bytes=40, oldest_stamp_ms=90_500,
)  # fmt: skip
STATUS = Status(
    node="K1", version="0.1", cluster="c", incarnation="i1", state="serving", problem="", disk_full=False,
    client="", http="", uptime_seconds=1.0, members=(), groups=(GROUP,),
)  # fmt: skip


class StatusOf:
    """A node with this status."""

    def __init__(self, status: Status) -> None:
        self._status = status

    def status(self) -> Status:
        return self._status


class Broken:
    """A node whose status cannot be read."""

    def status(self) -> Status:
        raise ZeroDivisionError


@dataclass(frozen=True)
class Disk:
    free: int

    def free_bytes(self) -> int:
        return self.free


class Errors:
    def __init__(self) -> None:
        self.told: list[tuple[str, type[Exception]]] = []

    def source_failed(self, source: str, error: Exception) -> None:
        self.told.append((source, type(error)))


class Storage:
    def __init__(self, sizes: dict[str, int] | None = None) -> None:
        self._sizes = sizes or {"log": 1}

    def sizes(self) -> dict[str, int]:
        return self._sizes

    def queues(self) -> dict[str, int]:
        return {"writer": 4}


def member(id_: str) -> MemberStatus:
    return MemberStatus(id_, "i", "", "", "", True, False, None, None)


class Node:
    """Metrics with all observers, and a scrape of them."""

    def __init__(self) -> None:
        labels = KnownLabels(peers=("K2",), commands=("get", "set"))
        self.now = 100.0
        self.metrics = MetricsRegistry(labels, wall_seconds=lambda: self.now)
        events = EventLog(logger("kraft"), RateLimit(lambda: 0.0))
        self.raft = RaftTelemetry(self.metrics, events)
        self.host = HostTelemetry(self.metrics, events, StartProgress(events))
        self.storage = StorageTelemetry(self.metrics, events, StartProgress(events))
        self.transport = TransportTelemetry(self.metrics, events)
        self.server = ServerTelemetry(self.metrics, events)

    def scrape(self) -> dict[str, float]:
        """`name{label=value,...}` without the prefix -> value."""
        _, body = exposed(self.metrics)
        found = {}
        for family in parse_text(body.decode()):
            for sample in family.samples:
                labels = ",".join(f"{key}={value}" for key, value in sample.labels.items())
                name = sample.name.removeprefix(PREFIX)
                found[f"{name}{{{labels}}}" if labels else name] = sample.value
        return found
