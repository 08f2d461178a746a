"""KRAFT RANGE on real nodes: from every node, across crashes, while others write."""

import pytest

from tests.cluster.harness import wait_until

pytestmark = pytest.mark.slow

KEYS = 3000


def fill(server):
    with server.client() as client:
        for first in range(0, KEYS, 500):
            pairs = [word for n in range(first, first + 500) for word in (f"key:{n:04}", f"value {n}")]
            assert client.call("MSET", *pairs) == "OK"


def all_of(servers, *words, between=lambda step: None):
    """All elements of a range that asks one server after the other."""
    cursor, found, step = b"", [], 0
    while cursor is not None:
        between(step)
        server = servers[step % len(servers)]
        wait_until(server.serves_writes, "the node serves")
        with server.client() as client:
            more = ["AFTER", cursor] if step else []
            cursor, some = client.call("KRAFT", "RANGE", *words, *more)
        found += some
        step += 1
    return found


def test_every_node_has_the_same_order_and_sees_the_write_before(cluster):
    """Also what another node wrote or removed just before, what expired, and nothing after a flush."""
    fill(cluster.leader())
    pairs = [word for n in range(KEYS) for word in (b"key:%04d" % n, b"value %d" % n)]
    for server in cluster:
        assert all_of([server], "", "") == pairs
        assert server.ask("KRAFT", "RANGE", "PREFIX", "key:29", "LIMIT", 1, "REV") == [
            b"key:2999", [b"key:2999", b"value 2999"],
        ]  # fmt: skip
    for number in range(30):
        writer, reader = cluster[f"K{number % 3 + 1}"], cluster[f"K{(number + 1) % 3 + 1}"]
        assert writer.ask("SET", f"fresh:{number:02}", number) == "OK"
        assert writer.ask("DEL", f"fresh:{number - 5:02}") == (1 if number >= 5 else 0)
        expected = [b"fresh:%02d" % n for n in range(max(0, number - 4), number + 1)]
        assert reader.ask("KRAFT", "RANGE", "PREFIX", "fresh:", "KEYSONLY") == [None, expected]
    assert cluster["K1"].ask("SET", "fresh:00", "x", "PX", 1) == "OK"
    wait_until(lambda: cluster["K1"].ask("GET", "fresh:00") is None, "it has expired")
    for server in cluster:
        assert server.ask("KRAFT", "RANGE", "fresh:00", "fresh:01") == [None, []]
    assert cluster["K2"].ask("FLUSHALL") == "OK"
    for server in cluster:
        assert server.ask("KRAFT", "RANGE", "", "") == [None, []]


def test_a_range_across_nodes_restarts_and_a_change_of_leader(cluster):
    """What exists throughout is returned in order, exactly once, whatever happens between two calls."""
    fill(cluster.leader())

    def between(step):
        leader = cluster.leader()
        if step in (2, 5):
            leader.kill()
            leader.start()
        else:
            leader.ask("SET", f"key:0000:{step}", "x")
            leader.ask("DEL", f"key:{step * 10:04}")

    found = all_of(list(cluster), "PREFIX", "key:", "LIMIT", 400, "KEYSONLY", between=between)
    assert found == sorted(set(found))
    assert {b"key:%04d" % n for n in range(KEYS) if n % 10} <= set(found)
