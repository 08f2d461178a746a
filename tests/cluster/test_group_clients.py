"""Clients that people use, unchanged, against three nodes and three groups, each of which has a leader."""

import pytest
import redis
from redis.cluster import ClusterNode, RedisCluster

from kraft.kv.slots import slot_of
from tests.cluster.harness import START_DEADLINE, crowding, wait_until
from tests.cluster.test_clients import node_environment, node_program, run
from tests.cluster.wire import Refusal

pytestmark = pytest.mark.slow

NODES = ["K1", "K2", "K3"]
GROUPS = 3
PRIMARIES = RedisCluster.PRIMARIES  # DBSIZE and KEYS go to one node unless told otherwise
LIBRARY = """#!lua name=mine
redis.register_function('twice', function(keys) return 2 * redis.call('GET', keys[1]) end)
"""


def started(make, **client):
    """A cluster in which each node leads the group that it should lead, so that none is handed over later."""
    cluster = make(3, cluster={"groups": GROUPS}, client=client)
    for server in cluster:
        server.start()
    wait_until(lambda: spread(cluster), "each node leads a group", START_DEADLINE * crowding())
    return cluster


def spread(cluster):
    try:
        views = [leaders(server) for server in cluster]
    except OSError:
        return False
    return views == [[server.client_port for server in cluster]] * GROUPS


def leaders(server):
    """The port of the leader of each group, as a node tells it."""
    slots = server.ask("CLUSTER", "SLOTS")
    return [] if isinstance(slots, Refusal) else [each[2][1] for each in slots if len(each) > 2]


@pytest.fixture(scope="module")
def redirecting(tmp_path_factory):
    from tests.cluster.conftest import _maker

    for make in _maker(tmp_path_factory):
        yield started(make, routing="redirect")


@pytest.fixture(scope="module")
def forwarding(tmp_path_factory):
    from tests.cluster.conftest import _maker

    for make in _maker(tmp_path_factory):
        yield started(make)


@pytest.fixture
def prefix(request):
    return "".join(letter for letter in request.node.name if letter.isalnum())  # no pattern for SCAN


# -- redirect mode: clients that know a cluster


@pytest.mark.parametrize("name", NODES)
@pytest.mark.parametrize("protocol", [2, 3])
def test_redis_cluster_of_redis_py(redirecting, name, protocol, prefix):
    """It finds three primaries, adds up what they say, and follows slots."""
    start = ClusterNode("127.0.0.1", redirecting[name].client_port)
    with RedisCluster(startup_nodes=[start], protocol=protocol, decode_responses=True) as client:
        assert len(client.get_primaries()) == 3
        assert client.get_replicas() == []
        keys = [f"{prefix}:{n}" for n in range(200)]
        before = client.dbsize(target_nodes=PRIMARIES)
        for key in keys:
            assert client.set(key, f"of {key}") is True
        assert [client.get(key) for key in keys] == [f"of {key}" for key in keys]
        assert client.dbsize(target_nodes=PRIMARIES) == before + len(keys)
        assert sorted(client.scan_iter(f"{prefix}:*", count=50)) == sorted(keys)
        assert sorted(client.keys(f"{prefix}:*", target_nodes=PRIMARIES)) == sorted(keys)
        with client.pipeline() as pipeline:
            for key in keys:
                pipeline.strlen(key)
            assert pipeline.execute() == [len(f"of {key}") for key in keys]
        slot = slot_of(keys[0].encode())
        assert client.cluster_countkeysinslot(slot) >= 1
        assert keys[0] in client.cluster_get_keys_in_slot(slot, 1000)
        assert client.mset_nonatomic(dict.fromkeys(keys, "1"))
        assert client.mget_nonatomic(keys) == ["1"] * len(keys)
        double = client.register_script("return redis.call('INCR', KEYS[1])")
        assert [double(keys=[key]) for key in keys[:20]] == [2] * 20
        sha = client.script_load("return redis.call('GET', KEYS[1])")
        assert [client.evalsha(sha, 1, key) for key in keys[:20]] == ["2"] * 20
        assert client.script_exists(sha) == [True]
        assert sum(client.delete(key) for key in keys) == len(keys)
        assert client.dbsize(target_nodes=PRIMARIES) == before
        assert client.cluster_info()["cluster_size"] == "3"


def test_functions_and_flush_of_redis_py(redirecting):
    """They reach every primary."""
    start = ClusterNode("127.0.0.1", redirecting["K1"].client_port)
    with RedisCluster(startup_nodes=[start], decode_responses=True) as client:
        client.function_load(LIBRARY)
        for n in range(20):
            client.set(f"n:{n}", n)
            assert client.fcall("twice", 1, f"n:{n}") == 2 * n
        assert set(client.flushall().values()) == {True}
        assert client.dbsize(target_nodes=PRIMARIES) == 0
        assert client.function_delete("mine")


@pytest.mark.parametrize("name", NODES)
def test_cluster_of_ioredis(redirecting, name, need, prefix):
    program = node_program(need, "ioredis_cluster.js")
    port = redirecting[name].client_port
    assert run(*program, port, prefix, env=node_environment("ioredis")) == "ok\n"


def test_redis_cli_follows_the_leaders(redirecting, need, prefix):
    """`-c`: it goes where -MOVED sends it."""
    cli = [need("redis-cli"), "-c", "-p", redirecting["K1"].client_port]
    for n in range(9):
        assert "OK" in run(*cli, "set", f"{prefix}:{n}", n)
    for n in range(9):
        assert run(*cli, "get", f"{prefix}:{n}").split()[-1] == str(n)
        assert run(*cli, "del", f"{prefix}:{n}").split()[-1] == "1"


def test_redis_benchmark_with_a_cluster(redirecting, need):
    """It wants two masters at least."""
    report = run(
        *(need("redis-benchmark"), "--cluster", "-p", redirecting["K2"].client_port, "-t", "set,get,incr"),
        *("-n", 1000, "-c", 12, "-q"),
    )
    assert "rror" not in report
    assert "3 master nodes" in report or "master nodes: 3" in report or report.count("Master") == 3, report


def test_every_node_tells_the_same_of_the_cluster(redirecting):
    nodes = {
        server.id: sorted(
            line.replace(b"myself,", b"") for line in server.ask("CLUSTER", "NODES").splitlines()
        )
        for server in redirecting
    }
    assert nodes["K1"] == nodes["K2"] == nodes["K3"]
    assert all(b" master " in line for line in nodes["K1"])
    shards = {server.ask("CLUSTER", "MYSHARDID") for server in redirecting}
    assert len(shards) == 3
    assert {server.ask("ROLE")[0] for server in redirecting} == {b"master"}


# -- forward mode: clients that know one server


@pytest.mark.parametrize("name", NODES)
def test_one_server_of_redis_py(forwarding, name, prefix):
    """Every node answers for the whole cluster."""
    with redis.Redis(port=forwarding[name].client_port, decode_responses=True) as client:
        keys = [f"{prefix}:{n}" for n in range(300)]
        before = client.dbsize()
        with client.pipeline(transaction=False) as pipeline:
            for n, key in enumerate(keys):
                pipeline.set(key, n).incr(key).get(key)
            expected = [each for n in range(300) for each in (True, n + 1, str(n + 1))]
            assert pipeline.execute() == expected
        assert client.dbsize() == before + len(keys)
        assert sorted(client.scan_iter(f"{prefix}:*", count=20)) == sorted(keys)
        assert sorted(client.keys(f"{prefix}:*")) == sorted(keys)
        assert client.randomkey() is not None
        page = client.execute_command("KRAFT", "RANGE", "PREFIX", f"{prefix}:", "LIMIT", "50")
        assert page[1][::2] == sorted(keys)[:50]
        sha = client.script_load("return redis.call('INCR', KEYS[1])")
        assert [client.evalsha(sha, 1, key) for key in keys[:9]] == [n + 2 for n in range(9)]
        with client.pipeline(transaction=True) as pipeline:
            for key in keys[:5]:  # in several groups
                pipeline.get(key)
            assert pipeline.execute() == [str(n + 2) for n in range(5)]
        assert client.info("keyspace")["db0"]["keys"] == before + len(keys)
        with client.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.delete(key)
            assert sum(pipeline.execute()) == len(keys)
        assert client.wait(1, 1000) >= 1


def test_a_flush_at_one_node_empties_all_groups(forwarding, prefix):
    with redis.Redis(port=forwarding["K2"].client_port) as client:
        for n in range(60):
            client.set(f"{prefix}:{n}", n)
        assert client.flushall() is True
    for server in forwarding:
        assert server.ask("DBSIZE") == 0
