"""Slots move back and forth for many minutes, while nodes are killed, paused and cut off.

Unchanged clients work meanwhile: redis-py through all nodes, then the clients of a cluster. See
`tests.cluster.slot_moves` for what they demand, and `test_group_endurance` for the faults. Three seconds
after the last fault every slot has an owner, and no lock is left.
"""

import itertools
import json
import subprocess
import sys
from collections import Counter
from functools import partial

import pytest
import redis
from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import RedisClusterException

from tests.cluster.faults import on_every_node
from tests.cluster.harness import crowding, wait_until
from tests.cluster.load import PAUSE_SECONDS
from tests.cluster.redis_benchmark import benchmarks
from tests.cluster.slot_moves import Clients, SlotMoves, Splits, Tally, fill, unfinished, wait_for_owners
from tests.cluster.test_clients import node_environment, node_program
from tests.cluster.test_cluster_client_endurance import COMPLAINTS, NETWORK
from tests.cluster.test_group_endurance import NO_RETRY, SECONDS, run, started
from tests.cluster.test_group_transactions import (
    FUNDS,
    audits,
    expected,
    keys_of_each_group,
    serves,
    transfers,
)

OWNERS_SECONDS = 3.0  # after the last fault
COUNTERS = 40
PAUSED_SECONDS = 4.0
MOVERS = 2

pytestmark = [pytest.mark.endurance, pytest.mark.timeout(SECONDS + 600)]

__all__ = ["started"]  # a fixture


def settled(cluster, moves):
    """Every slot has an owner soon after the last fault, and all moves end."""
    wait_for_owners(cluster, OWNERS_SECONDS * crowding())
    wait_until(lambda: all(unfinished(server) == [] for server in cluster), "all moves are over", 120)
    done = sum(each.done for each in moves)
    refusals: Counter[str] = sum((each.refusals for each in moves), Counter())
    sys.stdout.write(f"{done} moves, refused {dict(refusals)}" + "\n")
    assert done > SECONDS / 10


@pytest.mark.parametrize("changes", [(SlotMoves, SlotMoves), (Splits,)], ids=["moves", "splits"])
def test_redis_py_through_all_nodes(started, changes):
    """Counters, expiries, tokens, transactions over groups and lists of all keys stay right, while slots
    move or groups are split and merged.
    """
    cluster, cuts = started()
    wait_until(partial(serves, cluster), "every group knows transactions")
    fill(cluster["K1"])
    accounts = [key for number in range(3) for key in keys_of_each_group(f"account{number}")]
    with redis.Redis(port=cluster["K1"].client_port) as client:
        client.mset(dict.fromkeys(accounts, FUNDS))
    clients, moves = (
        Clients(expected, retry=NO_RETRY),
        [each(cluster, seed) for seed, each in enumerate(changes)],
    )
    done: list[int] = []
    lost: list[str] = []
    totals: list[int] = []
    roles = itertools.cycle(clients.roles())
    workers = [
        *(
            worker
            for role, _ in zip(roles, range(3), strict=False)
            for worker in on_every_node(cluster, role)
        ),
        *on_every_node(cluster, partial(transfers, accounts, done, lost)),
        *on_every_node(cluster, partial(audits, accounts, totals)),
        *(each.run for each in moves),
    ]
    run(cluster, cuts, workers, lambda: clients.done, 5)
    settled(cluster, moves)
    sys.stdout.write(f"{dict(clients.counts)}, {len(done)} transfers, {len(totals)} audits\n")
    assert set(totals) == {FUNDS * len(accounts)}
    for server in cluster:
        clients.check(server)
        with redis.Redis(port=server.client_port) as client:
            assert sum(map(int, client.mget(accounts))) == FUNDS * len(accounts)


def cluster_client(servers):
    """It gives a node that is paused up soon, and sends nothing again by itself."""
    nodes = [ClusterNode("127.0.0.1", server.client_port) for server in servers]
    return RedisCluster(startup_nodes=nodes, socket_timeout=PAUSED_SECONDS, retry=NO_RETRY)


def count_in_cluster(tallies, failures, servers, stop):
    """RedisCluster increments counters in all slots."""
    while not stop.is_set():
        try:
            with cluster_client(servers) as client:
                for step in itertools.count():
                    if stop.wait(PAUSE_SECONDS):
                        return
                    tallies[step % len(tallies)].increment(client, expected)
        except (*NETWORK, RedisClusterException) as failure:
            failures[type(failure).__name__] += 1
            stop.wait(0.05)  # a node is down, or none tells the slots


def test_clients_of_a_cluster(started, need):
    """RedisCluster, the cluster of ioredis and redis-benchmark follow the slots."""
    cluster, cuts = started(routing="redirect")
    failures: Counter[str] = Counter()
    counters = [[Tally(f"count:{number}:{n}") for n in range(COUNTERS)] for number in range(4)]
    reports: list[subprocess.CompletedProcess[str]] = []
    moves = [SlotMoves(cluster, seed) for seed in range(MOVERS)]
    registers = subprocess.Popen(
        [*node_program(need, "ioredis_registers.js"), *(str(server.client_port) for server in cluster)],
        env=node_environment("ioredis"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with registers:
        workers = [
            *(partial(count_in_cluster, tallies, failures, list(cluster)) for tallies in counters),
            partial(benchmarks, need("redis-benchmark"), list(cluster), reports),
            *(each.run for each in moves),
        ]

        def counted():
            return sum(tally.acknowledged for tallies in counters for tally in tallies)

        run(cluster, cuts, workers, counted, 6)
        told, _ = registers.communicate("", 60)
    settled(cluster, moves)
    result = json.loads(told.splitlines()[-1])
    sys.stdout.write(f"{counted()} counted, {dict(failures)}, ioredis {result}\n")
    sys.stdout.write(f"redis-benchmark {dict(Counter(each.returncode for each in reports))}\n")
    assert not result["mistakes"], result
    assert result["done"] > SECONDS
    assert registers.returncode == 0
    lines = [line for each in reports for line in (each.stdout + each.stderr).splitlines() if "rror" in line]
    assert not [line for line in lines if not any(word in line for word in (*COMPLAINTS, "CLUSTERDOWN"))]
    with cluster_client(list(cluster)) as client:
        for tallies in counters:
            for tally in tallies:
                tally.check(int(client.get(tally.key) or 0))
