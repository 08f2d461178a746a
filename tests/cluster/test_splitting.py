"""One group becomes three, and one again, while unchanged clients use it: no command fails."""

import subprocess
from functools import partial

import pytest
import redis
from redis.cluster import ClusterNode, RedisCluster

from kraft.kv.slots import SLOTS
from kraft.kv.versions import MACHINE_VERSION
from tests.cluster.faults import on_every_node, under_faults
from tests.cluster.harness import maps, wait_until
from tests.cluster.load import PAUSE_SECONDS
from tests.cluster.redis_benchmark import benchmarks
from tests.cluster.slot_moves import Clients, Tally, fill, never, unfinished
from tests.cluster.test_group_transactions import FUNDS, audits, open_transactions, transfers
from tests.cluster.test_moves import covered

pytestmark = pytest.mark.slow

ACCOUNTS = [f"account:{number}" for number in range(12)]
LIBRARY = "#!lua name=mine\nredis.register_function('one', function(keys) return 1 end)"
SCRIPT = "return 1"
ONE_PRIMARY = "Invalid cluster: 1 node"  # which redis-benchmark refuses: one node leads all groups


def is_up_to_date(server):
    """Whether the cluster has formed, and knows all commands."""
    return (server.status() or {}).get("machine_version") == MACHINE_VERSION


def has(cluster, groups):
    """Whether every node knows so many groups with slots, and no move is under way."""
    if any(map(unfinished, cluster)):
        return False
    shown = [[row["slots"] for row in maps(server.order("GROUPS")) if row["slots"]] for server in cluster]
    return all(len(each) == groups and covered(each) == SLOTS for each in shown)


def split(cluster, _, groups=1):
    """The first of so many groups becomes three, whichever node is asked."""
    told = cluster["K2"].order("SPLIT", "0", "INTO", "3")
    assert isinstance(told, list), told
    wait_until(partial(has, cluster, groups + 2), "two more groups have slots")


def merge(cluster, _, groups=1):
    for left in (groups + 1, groups):
        told = cluster["K3"].order("MERGE", left, "INTO", "0")
        assert isinstance(told, list), told
        wait_until(partial(has, cluster, left), f"group {left} has no slots")


def test_redis_py_at_all_nodes(make_cluster):
    """Counters, tokens, transactions, a bank and lists of all keys, and scripts that come and go."""
    cluster = make_cluster()
    cluster.start()
    fill(cluster["K1"])
    with redis.Redis(port=cluster["K1"].client_port) as client:
        client.mset(dict.fromkeys(ACCOUNTS, FUNDS))
    clients = Clients(never)
    done: list[int] = []
    lost: list[str] = []
    totals: list[int] = []
    loads: list[int] = []
    roles = clients.roles()

    def work(server, number, stop):
        roles[number % len(roles)](server, number, stop)

    def scripts(stop):
        """A library and a script are there, or gone, for every key as soon as the reply is."""
        with redis.Redis(port=cluster["K1"].client_port) as client:
            while not stop.wait(PAUSE_SECONDS):
                client.function_load(LIBRARY, replace=True)
                sha = client.script_load(SCRIPT)
                for key in ACCOUNTS:
                    assert client.fcall("one", 1, key) == 1
                    assert client.evalsha(sha, 1, key) == 1
                client.function_delete("mine")
                for key in ACCOUNTS:
                    with pytest.raises(redis.ResponseError, match="Function not found"):
                        client.fcall("one", 1, key)
                loads.append(1)

    def until_loaded(_, __):
        count = len(loads)
        wait_until(lambda: len(loads) > count + 2, "scripts were changed")

    workers = [
        *on_every_node(cluster, work),
        *on_every_node(cluster, partial(transfers, ACCOUNTS, done, lost)),
        *on_every_node(cluster, partial(audits, ACCOUNTS, totals)),
        scripts,
    ]
    under_faults(cluster, workers, lambda: clients.done, [split, until_loaded, merge, until_loaded])
    assert not lost
    assert done
    assert set(totals) == {FUNDS * len(ACCOUNTS)}
    for server in cluster:
        clients.check(server)
    wait_until(lambda: all(open_transactions(server) == 0 for server in cluster), "no lock is left")


def test_cluster_clients_in_redirect_mode(make_cluster, need):
    """RedisCluster and redis-benchmark, which wants two primaries at least, follow the slots."""
    cluster = make_cluster(client={"routing": "redirect"}, cluster={"groups": 2})
    for server in cluster:
        server.start()  # only the leader will serve writes
    wait_until(lambda: all(map(is_up_to_date, cluster)), "all commands are in force")
    tallies = [[Tally(f"count:{worker}:{number}") for number in range(40)] for worker in range(3)]

    def connected():
        nodes = [ClusterNode("127.0.0.1", server.client_port) for server in cluster]
        return RedisCluster(startup_nodes=nodes)

    def count(own, stop):
        with connected() as client:
            while not stop.wait(PAUSE_SECONDS):
                for tally in own:
                    tally.increment(client, never)

    def counted():
        return sum(tally.acknowledged for own in tallies for tally in own)

    reports: list[subprocess.CompletedProcess[str]] = []
    loads = partial(benchmarks, need("redis-benchmark"), list(cluster), reports)
    changes = [partial(split, groups=2), partial(merge, groups=2)]
    under_faults(cluster, [loads, *(partial(count, own) for own in tallies)], counted, changes)
    served = [report for report in reports if ONE_PRIMARY not in report.stdout]
    assert served
    for report in served:
        assert (report.returncode, "rror" in report.stdout) == (0, False), report
    with connected() as client:
        for own in tallies:
            for tally in own:
                tally.check(int(client.get(tally.key) or 0))
