"""All of telemetry joined: observers, sources, events and the probe."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from kraft.config import LogConfig
from kraft.telemetry.logs import configure, logger
from kraft.telemetry.telemetry import Telemetry
from tests.telemetry.clients import Clients, Command, Counts
from tests.telemetry.clock import HostClock
from tests.telemetry.scrapes import STATUS, Broken, StatusOf, Storage, exposed


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    configure(LogConfig("critical", "json"), stream=io.StringIO())
    yield
    structlog.reset_defaults()


def test_telemetry_joins_observers_sources_and_the_probe(tmp_path: Path) -> None:
    clock = HostClock(0.0)
    telemetry = Telemetry(logger("kraft"), peers=("K2",), commands=("get",))
    telemetry.watch(StatusOf(STATUS), Storage(), str(tmp_path))
    get = Command("read")
    telemetry.watch_clients(Clients(statistics=Counts({"get": get})))
    telemetry.start(clock)
    get.latencies.add(0.001, 2)
    clock.clock.advance(1)
    body = exposed(telemetry.metrics)[1].decode()
    telemetry.stop()

    assert 'kraft_commands_total{command="get",outcome="ok"} 2.0' in body
    assert "kraft_reactor_lag_seconds_count 1.0" in body
    assert "kraft_disk_free_bytes" in body
    assert "kraft_dataset_quota_bytes 1000.0" in body
    assert clock.clock.getDelayedCalls() == []


def test_a_source_that_fails_is_logged(tmp_path: Path) -> None:
    out = io.StringIO()
    configure(LogConfig("info", "json"), stream=out)
    telemetry = Telemetry(logger("kraft"))
    telemetry.watch(Broken(), Storage(), str(tmp_path / "gone"))

    exposed(telemetry.metrics)
    exposed(telemetry.metrics)

    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    telemetry.page_failed("/", ValueError("why"))
    assert "ValueError: why" in json.loads(out.getvalue().splitlines()[-1])["exception"]
    assert [(line["event"], line["source"]) for line in lines] == [
        ("scrape_failed", "status"),
        ("scrape_failed", "disk"),
    ]


def test_a_configuration_that_is_read_again_is_told() -> None:
    out = io.StringIO()
    configure(LogConfig("info", "json"), stream=out)
    telemetry = Telemetry(logger("kraft"))

    telemetry.config_reloaded(["log.level"], [])
    telemetry.config_reloaded([], ["node.id"])
    telemetry.config_refused("a", "b")

    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line["event"] for line in lines] == [
        "config_reloaded", "config_reloaded", "config_needs_restart", "config_refused",
    ]  # fmt: skip
    assert (lines[0]["changed"], lines[2]["options"], lines[3]["problems"]) == (
        ["log.level"], ["node.id"], ["a", "b"],
    )  # fmt: skip
    assert telemetry.metrics.reloads.value("done") == 2


def test_logs_that_cannot_be_had_are_counted_and_told_once_by_reason() -> None:
    out = io.StringIO()
    configure(LogConfig("info", "json"), stream=out)
    telemetry = Telemetry(logger("kraft"))

    reasons = dict.fromkeys(range(1, 20), "no leader is known") | {30: "K1 leads and does not answer"}
    telemetry.backups.not_shipped(reasons)
    assert "kraft_backup_unshipped_groups 20.0" in exposed(telemetry.metrics)[1].decode()
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [(line["groups"], line["count"], line["reason"]) for line in lines] == [
        ([*range(1, 9)], 19, "no leader is known"),
        ([30], 1, "K1 leads and does not answer"),
    ]
    telemetry.backups.not_shipped({})
    assert "kraft_backup_unshipped_groups 0.0" in exposed(telemetry.metrics)[1].decode()
