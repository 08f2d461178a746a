"""Commands on all keys on real nodes: scans across nodes and crashes, redis-cli's analyses, a flush."""

import subprocess

import pytest

from tests.cluster.harness import wait_until

pytestmark = pytest.mark.slow

KEYS = 5000


def fill(server):
    with server.client() as client:
        for first in range(0, KEYS, 500):
            pairs = [word for n in range(first, first + 500) for word in (f"key:{n}", "x" * (n % 50))]
            assert client.call("MSET", *pairs) == "OK"


def scan(servers, *, between=lambda step: None):
    """All keys of one scan that asks one server after the other."""
    cursor, found, step = b"0", [], 0
    while step == 0 or cursor != b"0":
        between(step)
        server = servers[step % len(servers)]
        wait_until(server.serves_writes, "the node serves")
        with server.client() as client:
            cursor, keys = client.call("SCAN", cursor, "COUNT", 400)
        found += keys
        step += 1
    return found


def test_a_scan_across_nodes_restarts_and_a_change_of_leader(cluster):
    """What exists throughout is returned, exactly once, whatever happens between two calls."""
    fill(cluster.leader())

    def between(step):
        leader = cluster.leader()
        if step in (2, 6):
            leader.kill()
            leader.start()
        else:
            leader.ask("SET", f"new:{step}", "x")
            leader.ask("DEL", f"key:{step}")

    found = scan(list(cluster), between=between)
    assert len(found) == len(set(found))
    stay = {b"key:%d" % n for n in range(40, KEYS)}
    assert stay <= set(found)


def test_every_node_knows_the_same_keys_and_a_flush_empties_them(cluster):
    """Also after all of them were killed and started again."""
    fill(cluster.leader())
    for server in cluster:
        assert sorted(server.ask("KEYS", "key:1?")) == [b"key:1%d" % n for n in range(10)]
        assert len(server.ask("KEYS", "*")) == KEYS
        assert server.ask("RANDOMKEY").startswith(b"key:")
    follower = cluster.followers()[0]
    assert follower.ask("FLUSHALL") == "OK"
    for server in cluster:
        assert server.ask("DBSIZE") == 0
        assert server.ask("KEYS", "*") == []
    assert follower.ask("SET", "after", "1") == "OK"
    cluster.wait_equal("K1", "K2", "K3")
    cluster.leader().order("KRAFT", "SNAPSHOT")
    cluster.kill_all()
    for server in cluster:
        server.start()
    cluster.wait_serving()
    for server in cluster:
        assert server.ask("KEYS", "*") == [b"after"]


@pytest.mark.parametrize("option", ["--scan", "--bigkeys", "--memkeys"])
def test_redis_cli_looks_at_all_keys(shared_cluster, need, option):
    program, server = need("redis-cli"), shared_cluster["K2"]
    fill(server)
    said = subprocess.run(
        [program, "-p", str(server.client_port), option], capture_output=True, text=True, timeout=60
    )
    assert said.returncode == 0
    assert said.stderr == ""
    if option == "--scan":
        found = [line for line in said.stdout.split() if line.startswith("key:")]
        assert sorted(found) == sorted(f"key:{n}" for n in range(KEYS))
    else:
        assert f"Sampled {server.ask('DBSIZE')} keys in the keyspace!" in said.stdout
