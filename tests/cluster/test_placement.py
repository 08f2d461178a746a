"""Real nodes of which few vote in each group: nodes come, go and die while clients write."""

from collections import Counter

import pytest

from tests.cluster.harness import maps, wait_until
from tests.cluster.load import Load

pytestmark = pytest.mark.slow

GROUPS = 8
ZONES = {"K1": "a", "K2": "a", "K3": "b", "K4": "b", "K5": "c", "K6": "c"}
ZONES["K7"] = "127.0.0.1"  # it is configured without one, which makes it the host of its address


@pytest.fixture
def six(make_cluster):
    """Six nodes in three zones."""
    cluster = make_cluster(6, cluster={"groups": GROUPS})
    for server in cluster:
        server.configure(cluster.members, cluster={"groups": GROUPS}, node={"zone": ZONES[server.id]})
    cluster.start()
    return cluster


def voters(server):
    """The voters of each group, as a node knows them."""
    rows = maps(server.ask("KRAFT", "GROUPS"))
    return {row["group"]: tuple(map(bytes.decode, row["voters"])) for row in rows if not row["joint"]}


def shown(server):
    words = server.ask("KRAFT", "REPLICATION")
    return {words[n].decode(): words[n + 1] for n in range(0, len(words), 2)}


def is_settled(server):
    """Whether nothing is to be done, by this node."""
    now = shown(server)
    return (now["settling"], now["leaving"], now["steps"]) == (0, [], 0)


def is_wide(server):
    """Whether three nodes of three zones vote in every group but group 0."""
    found = voters(server)
    return set(found) == set(range(GROUPS)) and all(
        len(ids) == len({ZONES[id_] for id_ in ids}) == 3 for group, ids in found.items() if group
    )


def held(server):
    """The groups of which a node has a replica."""
    return {group["group"] for group in (server.status() or {}).get("groups", ())}


def only_voters_hold(cluster):
    """Whether every running node has replicas of the groups in which it votes, and of group 0."""
    found = voters(cluster["K1"])
    return all(
        held(server) == {0, *(group for group, ids in found.items() if server.id in ids)}
        for server in cluster
        if server.running
    )


def are_equal(server):
    """Whether every member has the same data of every group."""
    rows = maps(server.order("VERIFY"))
    assert all(row["state"] != "different" for row in rows), rows
    return all(row["state"] == "equal" for row in rows)


def votes(server):
    counts = Counter(id_ for group, ids in voters(server).items() if group for id_ in ids)
    return {member["id"]: counts[member["id"]] for member in maps(server.ask("KRAFT", "MEMBERS"))}


def test_votes_and_replicas_follow_nodes_that_come_go_and_die_while_clients_write(six):
    first = six["K1"]
    with Load(list(six)) as load:
        load.advance(50)
        assert first.order("REPLICATION", 3) == "OK"
        wait_until(lambda: is_wide(first) and is_settled(first), "three nodes vote in each group")
        assert max(votes(first).values()) - min(votes(first).values()) <= 1
        assert len(voters(first)[0]) == 5
        wait_until(lambda: only_voters_hold(six), "only voters have a replica")
        load.advance(50)

        [seventh] = six.standby("K7")
        assert first.order("ADD", "K7", f"127.0.0.1:{seventh.peer_port}") == "OK"
        seventh.wait_serving()
        assert (held(seventh), votes(first)["K7"]) == ({0}, 0)
        load.servers.append(seventh)
        load.advance(50)
        wait_until(lambda: first.ask("KRAFT", "REBALANCE", "REPLICAS", "DRYRUN"), "K7 can be given votes")
        assert first.ask("KRAFT", "REBALANCE", "REPLICAS")
        wait_until(lambda: is_settled(first) and votes(first)["K7"], "K7 has votes")
        wait_until(lambda: only_voters_hold(six), "only voters have a replica")
        load.advance(50)

        assert first.order("REMOVE", "K4") == "OK"
        load.servers.remove(six["K4"])
        six.servers.pop("K4").terminate()
        wait_until(lambda: is_wide(first) and only_voters_hold(six), "others have the replicas of K4")
        load.advance(50)

        six["K6"].kill()
        load.advance(50)
        wait_until(lambda: first.order("REMOVE", "K6") == "OK", "K6 is removed while it is down")
        load.servers.remove(six["K6"])
        six.servers.pop("K6")
        wait_until(lambda: is_wide(first) and only_voters_hold(six), "others have the replicas of K6")
        load.advance(50)

        assert first.order("REPLICATION", "ALL") == "OK"
        members = tuple(sorted(votes(first)))
        wait_until(lambda: set(voters(first).values()) == {members}, "every member votes again")
        load.advance(50)
    for server in six:
        load.check(server)
    wait_until(lambda: are_equal(first), "all replicas are equal")


def test_a_zone_that_is_lost_costs_no_group_its_majority(six):
    assert six["K1"].order("REPLICATION", 3) == "OK"
    wait_until(lambda: is_wide(six["K1"]) and is_settled(six["K1"]), "three nodes vote in each group")
    with Load([six["K1"], six["K2"], six["K5"], six["K6"]]) as load:
        load.advance(50)
        for id_ in ("K3", "K4"):
            six[id_].kill()
        load.advance(200)
    load.check(six["K1"])
