"""Nine nodes in three zones with 64 groups: three more come, and go again, while clients write."""

import sys
import time

import pytest

from tests.cluster.harness import wait_until
from tests.cluster.load import Load
from tests.cluster.test_groups import insist
from tests.cluster.test_placement import are_equal, held, is_settled, voters, votes

pytestmark = [pytest.mark.endurance, pytest.mark.timeout(1500)]

GROUPS = 64
NODES = 9
REPLICATION = 3
ZONES = {f"K{number}": "abc"[number % REPLICATION] for number in range(1, NODES + 4)}
SETTLED_SECONDS = 400
EVEN = 0.1  # how far a node may be from its share


@pytest.fixture
def nine(make_cluster):
    cluster = make_cluster(NODES, cluster={"groups": GROUPS})
    for server in cluster:
        server.configure(cluster.members, cluster={"groups": GROUPS}, node={"zone": ZONES[server.id]})
    cluster.start()
    return cluster


def is_spread(server):
    """Whether three zones vote in every group, and all nodes in nearly as many."""
    found = {group: ids for group, ids in voters(server).items() if group}
    counts = votes(server).values()
    share = REPLICATION * (GROUPS - 1) / len(counts)
    return (
        len(found) == GROUPS - 1
        and all(len({ZONES[id_] for id_ in ids}) == len(ids) == REPLICATION for ids in found.values())
        and all(abs(count - share) <= max(1.0, EVEN * share) for count in counts)
    )


def only_voters_hold(cluster):
    found = voters(cluster["K1"]).items()
    return all(held(each) == {0, *(group for group, ids in found if each.id in ids)} for each in cluster)


def settle(cluster, what):
    """Wait until votes and replicas are where they belong, and print how long it took."""
    begun, first = time.monotonic(), cluster["K1"]
    wait_until(lambda: is_spread(first) and is_settled(first), what, deadline=SETTLED_SECONDS)
    wait_until(lambda: only_voters_hold(cluster), "only voters have a replica", deadline=SETTLED_SECONDS)
    sys.stderr.write(f"{what}: after {time.monotonic() - begun:.0f} s, {sorted(votes(first).values())}\n")


def test_replicas_spread_over_nodes_that_come_and_go(nine):
    first = nine["K1"]
    with Load(list(nine)[:3]) as load:
        load.advance(50)
        assert first.order("REPLICATION", REPLICATION) == "OK"
        settle(nine, "three of nine nodes vote in each group")
        load.advance(50)

        new = [f"K{number}" for number in range(NODES + 1, NODES + 4)]
        for id_ in new:
            [server] = nine.standby(id_, node={"zone": ZONES[id_]})
            insist(first, "ADD", id_, f"127.0.0.1:{server.peer_port}")
        assert first.ask("KRAFT", "REBALANCE", "REPLICAS")
        settle(nine, "twelve nodes have equal shares")
        load.advance(50)

        for id_ in new:
            insist(first, "REMOVE", id_)
            nine.servers.pop(id_).terminate()
        settle(nine, "nine nodes have all again")
        load.advance(50)
    for server in nine:
        load.check(server)
    wait_until(lambda: are_equal(first), "all replicas are equal", deadline=120)
