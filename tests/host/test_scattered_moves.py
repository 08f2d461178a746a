"""Slots move between groups that have no node in common, asked for at a node that has neither."""

import pytest

from kraft.kv.slots import slot_of
from kraft.node import admin
from tests.host.scattered import Apart
from tests.server.groups import key_in

ONE = key_in(1)
SLOT = slot_of(ONE)


@pytest.fixture
def cluster():
    return Apart()


def moved(cluster, slot=SLOT, to=2):
    """Whether all nodes know that the slot has moved, and that nothing of the move is left."""
    hosts = [process.host for process in cluster.processes()]
    tables = [group.state.machine.keyspace.slots for host in hosts for group in host.groups.values()]
    left = any(table is not None and (table.moves or table.frozen) for table in tables)
    return not left and all(h.slots.group_of(slot) == to and not h.moves.status() for h in hosts)


@pytest.mark.parametrize("asked", ["K1", "K3", "K5"])
def test_slots_move_between_groups_without_a_common_node(cluster, asked):
    client = cluster.connect(asked)
    keys = [ONE, *(b"{%b}%d" % (ONE, n) for n in range(300))]
    for key in keys:
        client.run("SET", key, b"of " + key)
    assert cluster.carried_out(asked, admin.MoveSlots(SLOT, SLOT, 2)) == 1
    assert cluster.run(60, lambda: moved(cluster))
    for id_ in ("K1", "K3", "K5"):
        other = cluster.connect(id_)
        assert other.run("GET", keys[-1]) == b"$%d\r\nof %b\r\n" % (len(keys[-1]) + 3, keys[-1])
        assert other.run("DBSIZE") == b":%d\r\n" % len(keys)
    [there] = [cluster.host("K3").groups[2].state.machine.keyspace]
    assert sorted(there.records) == sorted(keys)
    assert not cluster.host("K1").groups[1].state.machine.keyspace.records


def plan(cluster, id_="K5"):
    assert cluster.carried_out(id_, admin.MoveSlots(SLOT, SLOT, 2)) == 1


def fill(cluster, count=400):
    client = cluster.connect("K5")
    keys = [b"{%b}%d" % (ONE, n) for n in range(count)]
    for first in range(0, count, 200):
        client.run("MSET", *[word for key in keys[first : first + 200] for word in (key, b"of " + key)])
    return keys


def values(cluster, keys):
    """What a node without either group reads."""
    reply = cluster.connect("K5").run("MGET", *keys)
    return reply.split(b"\r\n")[2:-1:2]


STAGES = ("copying", "frozen", "active")


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("group", [0, 1, 2])
def test_a_leader_that_dies_in_a_move_is_followed(cluster, group, stage):
    """The other member of the group cannot lead alone: the dead one comes back."""
    keys = fill(cluster)
    plan(cluster)

    def reached():
        [source] = cluster.leaders(1)
        return stage in [move.state for move in cluster.host(source).moves.status()]

    assert cluster.run(30, lambda: reached() or moved(cluster))
    [gone] = cluster.leaders(group)
    cluster.nodes[gone].crash()
    cluster.run(3)
    cluster.nodes[gone].start()
    assert cluster.run(90, lambda: cluster.led() and moved(cluster))
    assert values(cluster, keys) == [b"of " + key for key in keys]
    for id_ in ("K1", "K2"):
        assert not cluster.host(id_).groups[1].state.machine.keyspace.records


def test_a_move_is_cancelled_from_a_node_with_neither_group(cluster):
    keys = fill(cluster)
    [receiver] = cluster.leaders(2)
    cluster.nodes[receiver].crash()
    assert cluster.run(20, lambda: cluster.host("K5").leader(0) not in ("", receiver))
    plan(cluster)
    cluster.run(3)
    cluster.nodes[receiver].start()
    assert cluster.carried_out("K5", admin.CancelMove(1)) in ("OK",)
    assert cluster.run(60, lambda: not any(p.host.moves.status() for p in cluster.processes()))
    where = cluster.host("K5").slots.group_of(SLOT)
    assert all(process.host.slots.group_of(SLOT) == where for process in cluster.processes())
    assert values(cluster, keys) == [b"of " + key for key in keys]


def test_each_node_tells_of_a_move_what_it_knows(cluster):
    fill(cluster, 2000)
    plan(cluster)
    seen: dict[str, set[str]] = {id_: set() for id_ in cluster.nodes}
    keys: dict[str, int] = dict.fromkeys(cluster.nodes, 0)

    def over():
        for process in cluster.processes():
            for move in process.host.moves.status():
                seen[process.id].add(move.state)
                keys[process.id] = max(keys[process.id], move.keys)
        return moved(cluster)

    assert cluster.run(60, over)
    [source], [receiver] = cluster.leaders(1), cluster.leaders(2)
    assert seen[source] >= {"copying", "frozen", "active"}
    assert seen[receiver] >= {"copying"}
    assert seen["K5"] == {"elsewhere"}
    assert keys["K5"] == 0
    assert keys[source] == keys[receiver] == 2000


def test_a_replica_that_is_destroyed_ends_its_attempt(cluster):
    """The next leader begins anew, and what the old one goes on to send is refused."""
    keys = fill(cluster, 2000)
    plan(cluster)

    def copies():
        [source] = cluster.leaders(1)
        return any(move.keys for move in cluster.host(source).moves.status())

    assert cluster.run(30, copies)
    [source] = cluster.leaders(1)
    host = cluster.host(source)
    mover, _ = host.moves._movers[1]
    host.moves.forget(1)
    assert mover.is_idle
    assert cluster.run(60, lambda: moved(cluster))  # it leads still, and begins anew
    assert values(cluster, keys) == [b"of " + key for key in keys]
