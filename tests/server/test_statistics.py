"""What INFO counts: by command, by error and in all, and how the counters begin again."""

import re

from kraft.server.statistics import RATE_SECONDS
from tests.server.fakes import Port, Talk, encode


def fields(client: Talk, *sections: str) -> dict[str, str]:
    text = client.run("INFO", *sections).decode()
    return dict(line.split(":", 1) for line in text.split("\r\n") if ":" in line)


def row(client: Talk, name: str) -> dict[str, float]:
    text = fields(client, "commandstats")[f"cmdstat_{name}"]
    return {key: float(value) for key, _, value in (part.partition("=") for part in text.split(","))}


def test_every_command_is_counted_by_name(client: Talk) -> None:
    """A run of one command and a mixed one; subcommands have their own name."""
    client.ask(encode("SET", "a", "1") * 3)
    client.ask(encode("GET", "a") + encode("GET", "b") + encode("STRLEN", "a"))
    client.run("CLIENT", "ID")
    assert row(client, "set")["calls"] == 3
    assert row(client, "get")["calls"] == 2
    assert row(client, "strlen")["calls"] == 1
    assert row(client, "client|id")["calls"] == 1
    assert row(client, "info")["calls"] == 4


def test_refused_and_failed_calls_are_told_apart(client: Talk) -> None:
    """A refused call was not executed and is no call; a failed one was."""
    client.ask(
        encode("SET", "a", "text") + encode("INCR", "a") + encode("INCR", "a", "b") + encode("INCR", "n")
    )
    counted = row(client, "incr")
    assert (counted["calls"], counted["rejected_calls"], counted["failed_calls"]) == (2, 1, 1)
    client.run("NOSUCH")
    client.port.host.failing = None
    assert fields(client, "errorstats") == {"errorstat_ERR": "count=3"}
    assert "cmdstat_unknown" not in fields(client, "commandstats")
    assert fields(client, "stats")["total_error_replies"] == "3"


def test_latency_is_the_time_until_the_answer(client: Talk) -> None:
    client.send(encode("SET", "a", "1"))
    client.port.clock.advance(0.010)
    client.port.host.settle()
    client.send(encode("SET", "a", "2") * 9)
    client.port.clock.advance(0.002)
    client.port.host.settle()
    assert row(client, "set")["usec"] == 10_000 + 9 * 2_000
    latencies = fields(client, "latencystats")["latency_percentiles_usec_set"]
    p50, p99, p999 = (float(part.partition("=")[2]) for part in latencies.split(","))
    assert 1_880 <= p50 <= 2_000
    assert 9_400 <= p99 == p999 <= 10_000
    assert re.fullmatch(r"p50=[\d.]+,p99=[\d.]+,p99\.9=[\d.]+", latencies)


def test_hits_and_misses(client: Talk) -> None:
    client.run("SET", "a", "1")
    client.run("MGET", "a", "b", "c")
    client.run("GET", "a")
    stats = fields(client, "stats")
    assert (stats["keyspace_hits"], stats["keyspace_misses"]) == ("2", "2")


def test_rates_are_those_of_the_last_seconds(client: Talk) -> None:
    """Not those since the start; an idle server shows 0."""
    port = client.port
    for _ in range(5):
        client.ask(encode("SET", "a", "1") * 10)
        port.clock.advance(RATE_SECONDS)
    stats = fields(client, "stats")
    assert 9 <= int(stats["instantaneous_ops_per_sec"]) <= 15
    assert float(stats["instantaneous_input_kbps"]) > 0.2
    assert float(stats["instantaneous_output_kbps"]) > 0.04
    for _ in range(10):
        port.clock.advance(RATE_SECONDS)
    assert fields(client, "stats")["instantaneous_ops_per_sec"] == "0"


def test_nothing_is_sampled_without_connections(port: Port) -> None:
    """A timer per second would keep an idle node awake."""
    client = port.connect()
    client.ask(encode("SET", "a", "1") * 1000)
    client.lose()
    assert port.clock.getDelayedCalls() == []
    port.clock.advance(3600)
    assert fields(port.connect(), "stats")["instantaneous_ops_per_sec"] == "0"


def test_resetstat_begins_again(client: Talk) -> None:
    """The counters of Prometheus go on."""
    client.ask(encode("SET", "a", "1") + encode("NOSUCH") + encode("GET", "a"))
    assert client.run("CONFIG", "RESETSTAT") == b"+OK\r\n"
    stats = fields(client, "all")
    assert stats["total_commands_processed"] == "1"
    assert stats["total_error_replies"] == stats["keyspace_hits"] == "0"
    assert "cmdstat_set" not in stats
    assert "errorstat_ERR" not in stats
    assert client.port.names["set"] == 1


def test_the_peak_of_the_data_is_kept(client: Talk) -> None:
    client.run("SET", "a", "x" * 10_000)
    client.port.clock.advance(RATE_SECONDS)
    client.run("DEL", "a")
    memory = fields(client, "memory")
    assert int(memory["used_memory_peak"]) > 10_000 > int(memory["used_memory"])
    assert memory["used_memory_peak_human"].endswith("K")


def test_sections_by_name_and_in_groups(client: Talk) -> None:
    def titles(*sections: str) -> list[str]:
        return re.findall(r"^# (\w+)", client.run("INFO", *sections).decode(), re.MULTILINE)

    assert titles("STATS", "cpu", "nosuch") == ["Stats", "CPU"]
    assert {"Commandstats", "Latencystats"} & set(titles()) == set()
    assert titles("default", "commandstats") == [*titles()[:8], "Commandstats", *titles()[8:]]
    assert set(titles("all")) == set(titles("everything")) >= {"Commandstats", "Errorstats", "Latencystats"}
