"""Clients of a cluster for many minutes, while nodes are killed, paused and cut off.

RedisCluster of redis-py, the cluster of ioredis and redis-benchmark, side by side and unchanged, on several
groups in redirect mode. See `test_group_endurance` for what is demanded.
"""

import json
import random
import subprocess
import sys
import time
from collections import Counter
from functools import partial

import pytest
import redis
from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import MovedError, RedisClusterException, SlotNotCoveredError

from tests.cluster.faults import CALL_SECONDS
from tests.cluster.load import PAUSE_SECONDS
from tests.cluster.redis_benchmark import benchmarks
from tests.cluster.test_clients import node_environment, node_program
from tests.cluster.test_group_endurance import NO_RETRY, SECONDS, History, explained, run, started
from tests.cluster.test_group_transactions import keys_of_each_group
from tests.cluster.test_transactions import elements
from tests.serializability import APPEND, DONE, NOT_DONE, READ

TAGGED = [[f"{{{key}}}{n}" for n in range(3)] for key in keys_of_each_group("tag")]  # each row has one slot
NETWORK = (OSError, redis.ConnectionError, redis.TimeoutError)
COMPLAINTS = ("Connection refused", "Server closed the connection", "Connection reset", "Could not connect")

pytestmark = [pytest.mark.endurance, pytest.mark.timeout(SECONDS + 600)]

__all__ = ["started"]  # a fixture


def connected(servers):
    """A client that repeats nothing by itself, so that the fate of each request is known."""
    nodes = [ClusterNode("127.0.0.1", server.client_port) for server in servers]
    return RedisCluster(startup_nodes=nodes, socket_timeout=CALL_SECONDS, retry=NO_RETRY)


def append_in_slots(history, servers, number, stop):
    """RedisCluster appends to lists of one slot in EXEC, and reads them."""
    dice = random.Random(f"{number} {time.monotonic_ns()}")
    while not stop.is_set():
        try:
            with connected(servers) as client:
                while not stop.wait(PAUSE_SECONDS):
                    _append_in_slot(client, history, f"{number}.{time.monotonic_ns()}", dice)
        except (*NETWORK, RedisClusterException):
            stop.wait(0.05)  # a node is down, or none tells the slots


def _append_in_slot(client, history, name, dice):
    row, called = dice.choice(TAGGED), time.monotonic()
    keys = dice.sample(row, dice.randrange(1, len(row) + 1))
    steps = [
        (APPEND, key, f"{name}.{place}") if dice.random() < 0.6 else (READ, key, None)
        for place, key in enumerate(keys)
    ]
    history.begin(name, called, [step for step in steps if step[0] == APPEND])
    try:
        pipeline = client.pipeline(transaction=True)
        for kind, key, element in steps:
            if kind == APPEND:
                pipeline.append(key, f"|{element}")
            else:
                pipeline.get(key)
        replies = pipeline.execute()
    except (SlotNotCoveredError, *NETWORK):
        history.failures["network"] += 1
        raise
    except MovedError:  # a transaction meets it, without retries, when another node leads its group
        history.failures["moved"] += 1
        history.end(name, NOT_DONE, history.attempts[name].operations)
        client.nodes_manager.initialize()
    except redis.ResponseError as failure:
        history.refused(name, failure)
    else:
        found = [
            step if step[0] == APPEND else (READ, step[1], elements(reply))
            for step, reply in zip(steps, replies, strict=True)
        ]
        history.end(name, DONE, found)


def test_clients_of_a_cluster(started, need):
    """One order explains what RedisCluster did; ioredis finds no mistake; no client fails for another reason
    than the network.
    """
    cluster, cuts = started(routing="redirect")
    history = History()
    reports: list[subprocess.CompletedProcess[str]] = []
    registers = subprocess.Popen(
        [*node_program(need, "ioredis_registers.js"), *(str(server.client_port) for server in cluster)],
        env=node_environment("ioredis"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with registers:
        workers = [
            *(partial(append_in_slots, history, list(cluster), number) for number in range(4)),
            partial(benchmarks, need("redis-benchmark"), list(cluster), reports),
        ]
        run(cluster, cuts, workers, lambda: len(history.attempts), 3)
        told, _ = registers.communicate("", 60)
    result = json.loads(told.splitlines()[-1])
    sys.stdout.write(f"ioredis {result}, redis-benchmark {Counter(each.returncode for each in reports)}\n")
    assert not result["mistakes"], result
    assert result["done"] > SECONDS
    assert registers.returncode == 0
    lines = [line for each in reports for line in (each.stdout + each.stderr).splitlines() if "rror" in line]
    assert not [line for line in lines if not any(word in line for word in (*COMPLAINTS, "CLUSTERDOWN"))]
    with connected(cluster) as client:
        lists = {key: elements(client.get(key)) for row in TAGGED for key in row}
    assert explained(history, lists) > SECONDS
