"""The consistency of a connection's reads: by a round, by a lease, or from the replica as it is."""

from kraft.config.values import ClientConfig, RaftConfig
from kraft.node.errors import TooStale
from tests.server.fakes import Port, Talk, encode

OK = b"+OK\r\n"


def levels_after(client: Talk, *commands: tuple[str, ...]) -> list[str]:
    """How a GET is read once `commands` were given."""
    for words in commands:
        assert client.run(*words) == (b"+RESET\r\n" if words == ("RESET",) else OK)
    client.port.host.levels.clear()
    client.run("GET", "a")
    return client.port.host.levels


def test_readonly_reads_the_replica_until_readwrite(client: Talk) -> None:
    """In forward mode, too."""
    assert levels_after(client) == ["default"]
    assert levels_after(client, ("READONLY",)) == ["stale"]
    assert levels_after(client, ("READWRITE",)) == ["default"]
    assert levels_after(client, ("READONLY",), ("RESET",)) == ["default"]


def test_redirect_mode_reads_the_replica_too() -> None:
    """On a leader and on a follower."""
    port = Port(client=ClientConfig(routing="redirect"))
    port.host.leaders = ["K2"]
    client = port.connect()
    assert client.run("GET", "a") == b"-MOVED 15495 127.0.0.1:10012\r\n"
    assert levels_after(client, ("READONLY",)) == ["stale"]
    assert levels_after(client, ("READWRITE",)) == []
    assert levels_after(client, ("KRAFT", "CONSISTENCY", "STALE")) == ["stale"]


def test_consistency_is_chosen_by_connection() -> None:
    port = Port(raft=RaftConfig(lease_reads=True))
    client, other = port.connect(), port.connect()
    assert levels_after(client, ("KRAFT", "CONSISTENCY", "STALE")) == ["stale"]
    assert levels_after(client, ("KRAFT", "CONSISTENCY", "LINEARIZABLE")) == ["fresh"]
    assert levels_after(client, ("READONLY",)) == ["stale"]
    assert levels_after(client, ("READWRITE",)) == ["fresh"]
    assert levels_after(client, ("kraft", "consistency", "lease")) == ["default"]
    assert levels_after(client, ("KRAFT", "CONSISTENCY", "LINEARIZABLE"), ("RESET",)) == ["default"]
    assert levels_after(other) == ["default"]


def test_the_level_is_that_of_the_moment_of_the_read(client: Talk) -> None:
    """In one pipeline."""
    get, fresh = ("GET", "a"), ("KRAFT", "CONSISTENCY", "LINEARIZABLE")
    batch = [get, ("READONLY",), get, fresh, get]
    client.ask(b"".join(encode(*words) for words in batch))
    assert client.port.host.levels == ["default", "stale", "fresh"]


def test_a_long_answer_stays_at_its_level(client: Talk) -> None:
    """In all of its rounds."""
    client.run("SET", "big", b"x" * 700_000)
    client.run("READONLY")
    assert len(client.ask(encode("GET", "big") * 4)) > 2_800_000
    assert client.port.host.levels == ["stale", "stale"]


def test_a_replica_that_is_too_old_says_so(client: Talk) -> None:
    client.run("READONLY")
    client.port.host.failing = TooStale(0)
    text = b"-MASTERDOWN Last contact with the leader of group 0 is longer ago than reads.max_staleness\r\n"
    assert client.ask(encode("GET", "a") * 2) == text * 2
