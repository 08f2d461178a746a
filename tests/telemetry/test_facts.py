"""What telemetry adds to the status."""

from kraft.telemetry.metrics.registry import KnownLabels, MetricsRegistry
from kraft.telemetry.recent.chronicle import EVENTS_SHOWN, Chronicle
from kraft.telemetry.recent.journal import ENTRIES_KEPT
from tests.telemetry.clients import Clients, Command, Counts
from tests.telemetry.clock import HostClock


class Storage:
    def sizes(self) -> dict[str, int]:
        return {"log": 5}

    def queues(self) -> dict[str, int]:
        return {}


class Disk:
    def free_bytes(self) -> int:
        return 7


def test_facts_are_what_was_counted_and_what_the_sources_say() -> None:
    clock = HostClock()
    metrics = MetricsRegistry(KnownLabels(), clock.wall_seconds)
    metrics.sources.storage = Storage()
    metrics.sources.disk = Disk()
    chronicle = Chronicle(metrics, clock.wall_seconds)
    chronicle.start(clock)
    metrics.connections["resp2"] = 3
    set_ = Command("write")
    metrics.sources.clients = Clients(statistics=Counts({"set": set_}))
    set_.latencies.add(0.0001, 20)
    metrics.fsync_duration.observe(0.0001)
    clock.clock.advance(1.0)

    facts = chronicle.facts(full=False)

    assert (facts.storage_bytes, facts.disk_free_bytes, facts.dataset_bytes_max) == ({"log": 5}, 7, 1000)
    assert (facts.connections["resp2"], facts.wall_seconds) == (3, 1001.0)
    assert (facts.users, facts.default_open) == (3, False)
    assert (facts.traffic["write"].per_second, facts.traffic["sync"].per_second) == (2.0, 0.1)
    assert facts.history is None


def test_full_facts_have_the_history_and_every_event() -> None:
    clock = HostClock()
    chronicle = Chronicle(MetricsRegistry(KnownLabels(), clock.wall_seconds), clock.wall_seconds)
    chronicle.start(clock)
    clock.clock.advance(1.0)
    for number in range(ENTRIES_KEPT):
        chronicle.journal.note("peer_connected", {"peer": f"K{number}"})

    full = chronicle.facts(full=True)

    assert full.history is not None
    assert full.history.classes == dict.fromkeys(("read", "write", "index", "local", "admin", "sync"), ((),))
    assert len(full.events) == ENTRIES_KEPT
    assert chronicle.facts(full=False).events == full.events[:EVENTS_SHOWN]


def test_a_source_that_fails_costs_its_own_fact() -> None:
    class BrokenDisk:
        def free_bytes(self) -> int:
            raise OSError

    class Errors:
        def source_failed(self, source: str, _error: Exception) -> None:
            failed.append(source)

    failed: list[str] = []
    metrics = MetricsRegistry(KnownLabels(), lambda: 1.0)
    metrics.sources.storage = Storage()
    metrics.sources.disk = BrokenDisk()
    metrics.sources.errors = Errors()

    facts = Chronicle(metrics, lambda: 1.0).facts(full=False)

    assert (facts.storage_bytes, facts.disk_free_bytes, failed) == ({"log": 5}, None, ["disk"])
