"""What a peer or a client can repeat at will does not fill the log, whatever it is."""

import io
import json
from collections.abc import Callable, Iterator

import pytest
import structlog

from kraft.config import LogConfig
from kraft.telemetry import logs
from kraft.telemetry.event_log import EventLog
from kraft.telemetry.logs import BURST, RateLimit
from kraft.telemetry.metrics.registry import KnownLabels, MetricsRegistry
from kraft.telemetry.observers import (
    HostTelemetry,
    RaftTelemetry,
    ServerTelemetry,
    StorageTelemetry,
    TransportTelemetry,
)
from kraft.telemetry.start_progress import StartProgress

TIMES = 1000


@pytest.fixture(autouse=True)
def _unconfigured() -> Iterator[None]:
    yield
    structlog.reset_defaults()


class Node:
    """All observers of a node, and what it has logged."""

    def __init__(self) -> None:
        self.now = 0.0
        self._out = io.StringIO()
        logs.configure(LogConfig("info", "json"), "K1", self._out)
        metrics = MetricsRegistry(KnownLabels(), wall_seconds=lambda: self.now)
        events = EventLog(logs.logger("kraft"), RateLimit(lambda: self.now))
        self.raft = RaftTelemetry(metrics, events)
        self.host = HostTelemetry(metrics, events, StartProgress(events))
        self.storage = StorageTelemetry(metrics, events, StartProgress(events))
        self.transport = TransportTelemetry(metrics, events)
        self.server = ServerTelemetry(metrics, events)

    @property
    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self._out.getvalue().splitlines()]


FLOODS: dict[str, Callable[[Node, int], None]] = {
    # by a client's commands
    "a command": lambda node, _: node.host.event("admin_command", command="verify"),
    "KRAFT SNAPSHOT": lambda node, i: node.storage.checkpoint_written(0, 0.1, 5, i, 100),
    "KRAFT SNAPSHOT on a full disk": lambda node, i: node.host.event("checkpoint_failed", group=0, index=i),
    "KRAFT TRANSFER": lambda node, i: node.raft.role_changed(0, "follower", i, "K2"),
    "KRAFT TRANSFER to here": lambda node, i: node.raft.role_changed(0, "leader", i, "K1"),
    "KRAFT ADDRESS": lambda node, i: node.host.event("configuration_changed", group=0, voters=["K1", str(i)]),
    "KRAFT ADD of nobody": lambda node, i: node.transport.unreachable(f"X{i}", "refused", 1),
    "KRAFT VERIFY of a replica that differs": lambda node, i: node.host.event(
        "replica_differs", group=0, replica="K2", index=i, decided=True
    ),
    "KRAFT RESEED": lambda node, i: node.host.event("snapshot_send_started", group=0, peer="K2", index=i),
    "connections beyond the limit": lambda node, _: node.server.rejected("max_clients"),
    # by a peer
    "orders from a peer": lambda node, _: node.host.event("admin_command", command="verify", peer="K2"),
    "rising terms": lambda node, i: node.raft.role_changed(0, "candidate", i, ""),
    "offers of snapshots": lambda node, i: node.host.event(
        "snapshot_receive_started", group=0, peer="K2", index=i, size=5
    ),
    "pieces that cannot be used": lambda node, i: node.host.event(
        "snapshot_receive_stalled", group=0, peer="K2", index=5, reason=str(i)
    ),
    "links that come and go": lambda node, i: node.transport.connected("K2"),
    "links that go": lambda node, i: node.transport.disconnected("K2", str(i)),
    # by anybody
    "strangers at the peer port": lambda node, i: node.transport.refused(f"10.0.0.9:{i}", str(i)),
}


@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_is_cut_off_and_counted(flood: str) -> None:
    """Some lines, then none for a while; the next says how many there would have been."""
    node = Node()
    for i in range(TIMES):
        FLOODS[flood](node, i)
    told = len(node.lines)
    node.now = 5.0
    FLOODS[flood](node, TIMES)

    assert 1 <= told <= BURST
    assert node.lines[told]["held_back"] == TIMES - told


def test_a_flood_hides_nothing_else() -> None:
    """Other orders, other groups and other peers are told."""
    node = Node()
    for _ in range(TIMES):
        node.host.event("admin_command", command="verify")
    before = len(node.lines)
    node.host.event("admin_command", command="remove")
    node.host.event("admin_command", command="verify", peer="K2")
    node.host.event("node_stopping")

    assert [line["event"] for line in node.lines[before:]] == [*["admin_command"] * 2, "node_stopping"]


def test_every_order_of_a_person_is_told() -> None:
    """What a script that adds and removes nodes gives in a row is not taken for a flood."""
    node = Node()
    for i in range(BURST):
        node.host.event("admin_command", command="add", number=i)

    assert [line["number"] for line in node.lines] == list(range(BURST))
