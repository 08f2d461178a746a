"""What telemetry adds to the status."""

from kraft.telemetry.metrics.registry import About, Metrics
from kraft.telemetry.recent.chronicle import EVENTS_TOLD, Chronicle
from kraft.telemetry.recent.journal import EVENTS_KEPT
from tests.telemetry.clock import HostClock


def test_facts_are_what_was_counted_and_what_the_sources_say() -> None:
    clock = HostClock()
    metrics = Metrics(About("K1", "0"), clock.wall_seconds)
    metrics.sources.storage_sizes = lambda: {"log": 5}
    metrics.sources.disk_free_bytes = lambda: 7
    chronicle = Chronicle(metrics, clock.wall_seconds)
    chronicle.start(clock)
    metrics.connections["resp2"] = 3
    metrics.command_duration.observe(0.0001, "write", count=20)
    metrics.fsync_duration.observe(0.0001)
    clock.clock.advance(1.0)

    facts = chronicle.facts(full=False)

    assert (facts.storage_bytes, facts.disk_free_bytes, facts.dataset_bytes_max) == ({"log": 5}, 7, 0)
    assert (facts.connections["resp2"], facts.wall_seconds) == (3, 1001.0)
    assert (facts.traffic["write"].per_second, facts.traffic["sync"].per_second) == (2.0, 0.1)
    assert facts.history is None


def test_full_facts_have_the_history_and_every_event() -> None:
    clock = HostClock()
    chronicle = Chronicle(Metrics(About("K1", "0"), clock.wall_seconds), clock.wall_seconds)
    chronicle.start(clock)
    clock.clock.advance(1.0)
    for number in range(EVENTS_KEPT):
        chronicle.journal.note("peer_connected", {"peer": f"K{number}"})

    full = chronicle.facts(full=True)

    assert full.history is not None
    assert full.history.classes == dict.fromkeys(("read", "write", "local", "admin", "sync"), ((),))
    assert len(full.events) == EVENTS_KEPT
    assert chronicle.facts(full=False).events == full.events[:EVENTS_TOLD]


def test_a_source_that_fails_costs_its_own_fact() -> None:
    failed: list[str] = []

    def broken() -> int:
        raise OSError

    metrics = Metrics(About("K1", "0"), lambda: 1.0)
    metrics.sources.storage_sizes = lambda: {"log": 5}
    metrics.sources.disk_free_bytes = broken
    metrics.sources.failed = lambda name, _error: failed.append(name)

    facts = Chronicle(metrics, lambda: 1.0).facts(full=False)

    assert (facts.storage_bytes, facts.disk_free_bytes, failed) == ({"log": 5}, None, ["disk"])
