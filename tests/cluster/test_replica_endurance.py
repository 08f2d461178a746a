"""Replicas and slots move for many minutes, while nodes of five are killed, paused and cut off.

Each group has its data on three to five of the nodes, and `KRAFT REPLICATION` changes that again and again,
while groups are split and merged. Clients at every node, which lacks many of the groups that they ask for,
see one order in real time, every total right, and every token once. `test_group_endurance` has the faults.
"""

import itertools
import sys
import time
from collections import Counter
from functools import partial

import pytest
import redis

from tests.cluster.faults import on_every_node
from tests.cluster.harness import crowding, wait_until
from tests.cluster.load import PAUSE_SECONDS
from tests.cluster.slot_moves import Clients, SlotMoves, Splits, fill, unfinished, wait_for_owners
from tests.cluster.test_group_endurance import (
    LISTS,
    NO_RETRY,
    SECONDS,
    History,
    append_over_groups,
    checked,
    run,
    started,
)
from tests.cluster.test_group_transactions import (
    FUNDS,
    audits,
    expected,
    keys_of_each_group,
    serves,
    transfers,
)
from tests.cluster.test_move_endurance import OWNERS_SECONDS
from tests.cluster.test_placement import are_equal
from tests.cluster.wire import Refusal

NODES = 5
VOTERS = (3, 4, 3, NODES)  # in each group, by turns
PATIENCE_SECONDS = 30.0  # for a change to settle while nodes are down

pytestmark = [pytest.mark.endurance, pytest.mark.timeout(SECONDS + 600)]

__all__ = ["started"]  # a fixture


class ReplicaMoves(SlotMoves):
    """Changes on how many nodes each group is, until told to stop. `done` counts the changes that settled."""

    def run(self, stop):
        for voters in itertools.cycle(VOTERS):
            answer = self._order("REPLICATION", voters)
            if isinstance(answer, Refusal):
                self.refusals[answer.prefix] += 1
            elif answer == "OK":
                self.done += self._settles(stop)
            if stop.wait(PAUSE_SECONDS):
                return

    def _settles(self, stop):
        end = time.monotonic() + PATIENCE_SECONDS
        while not stop.wait(0.1) and time.monotonic() < end:
            answer = self._order("REPLICATION")
            if isinstance(answer, list) and is_over(answer):
                return True
        return False


def is_over(answer):
    """Whether nothing is to be done, by an answer of `KRAFT REPLICATION`."""
    found = dict(zip(answer[::2], answer[1::2], strict=True))
    return (found[b"settling"], found[b"steps"]) == (0, 0)


def test_redis_py_through_nodes_that_lack_groups(started):
    cluster, cuts = started(NODES)
    wait_until(partial(serves, cluster), "every group knows transactions")
    fill(cluster["K1"])
    accounts = [key for number in range(3) for key in keys_of_each_group(f"account{number}")]
    with redis.Redis(port=cluster["K1"].client_port) as client:
        client.mset(dict.fromkeys(accounts, FUNDS))
    history, clients = History(), Clients(expected, retry=NO_RETRY)
    replicas, splits = ReplicaMoves(cluster), Splits(cluster, 1)
    done: list[int] = []
    lost: list[str] = []
    totals: list[int] = []
    workers = [
        *on_every_node(cluster, partial(append_over_groups, history))[:NODES],
        *on_every_node(cluster, partial(transfers, accounts, done, lost))[:NODES],
        *on_every_node(cluster, partial(audits, accounts, totals))[:NODES],
        *(on_every_node(cluster, role)[place] for place, role in enumerate(clients.roles())),
        replicas.run,
        splits.run,
    ]
    run(cluster, cuts, workers, lambda: len(history.attempts), 7)
    wait_for_owners(cluster, OWNERS_SECONDS * crowding())
    wait_until(lambda: all(unfinished(server) == [] for server in cluster), "all moves are over", 120)
    moved = Counter(
        event["event"]
        for server in cluster
        for name in ("replica_begun", "replica_left")
        for event in server.events(name)
    )
    told = (
        f"{replicas.done} changes of replication, refused {dict(replicas.refusals)}; {dict(moved)}",
        f"{splits.done} moves, refused {dict(splits.refusals)}; {dict(clients.counts)}",
        f"{len(done)} transfers, {len(totals)} audits",
    )
    sys.stdout.write("; ".join(told) + "\n")
    assert moved["replica_begun"] > SECONDS / 10
    assert splits.done > SECONDS / 20
    assert checked(cluster, history, LISTS) > SECONDS
    assert set(totals) == {FUNDS * len(accounts)}
    for server in cluster:
        clients.check(server)
        with redis.Redis(port=server.client_port) as client:
            assert sum(map(int, client.mget(accounts))) == FUNDS * len(accounts)
    wait_until(lambda: is_over(cluster["K1"].ask("KRAFT", "REPLICATION")), "the last change has settled", 120)
    wait_until(lambda: are_equal(cluster["K1"]), "all replicas are equal")
