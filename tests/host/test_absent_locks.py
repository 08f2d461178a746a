"""Clients of a node without a group wait for its locks (KRAFT LOCK ... WAIT) as at any other node."""

from itertools import pairwise

import pytest

from kraft.host.absent.remote_locks import LOOK_SECONDS
from kraft.kv.slots import slot_of
from kraft.node import admin
from kraft.peerwire.messages import ReadKeys
from tests.host.scattered import HOLDER, LACKING, Scattered
from tests.server.groups import key_in, keys_in

NAME = key_in(1)
NOT_GIVEN = b"$-1\r\n"


@pytest.fixture
def cluster():
    return Scattered()


def wait(client, name=NAME, wait_ms=10_000, ttl_ms="60000"):
    client.send("KRAFT", "LOCK", name, "60000", "WAIT", str(wait_ms))


def token(reply):
    assert reply.startswith(b":"), reply
    return int(reply[1:])


def test_a_free_lock_is_given_at_once(cluster):
    client = cluster.connect(LACKING)
    wait(client)
    assert token(client.reply()) > 0


def test_who_waits_gets_the_lock_soon_after_it_is_free(cluster):
    holder, waiter = cluster.connect(HOLDER), cluster.connect(LACKING)
    held = token(holder.run("KRAFT", "LOCK", NAME, "60000"))
    wait(waiter)
    cluster.run(3)
    assert waiter.transport.value() == b""
    began = cluster.world.now
    assert holder.run("KRAFT", "UNLOCK", NAME, str(held)) == b":1\r\n"
    assert token(waiter.reply()) > held
    assert cluster.world.now - began < LOOK_SECONDS + 0.5


def test_clients_of_one_node_get_it_in_their_order(cluster):
    clients = [cluster.connect(LACKING) for _ in range(3)]
    for client in clients:
        wait(client)
        cluster.run(0.05)
    given = [token(clients[0].reply())]
    for before, client in pairwise(clients):
        assert client.transport.value() == b""
        before.run("KRAFT", "UNLOCK", NAME, str(given[-1]))
        given.append(token(client.reply()))
    assert given == sorted(given)


def test_an_expired_lock_is_given(cluster):
    holder, waiter = cluster.connect(HOLDER), cluster.connect(LACKING)
    held = token(holder.run("KRAFT", "LOCK", NAME, "1000"))
    wait(waiter)
    assert token(waiter.reply(within=5)) > held


def test_who_has_waited_long_enough_is_told(cluster):
    cluster.connect(HOLDER).run("KRAFT", "LOCK", NAME, "60000")
    waiter = cluster.connect(LACKING)
    began = cluster.world.now
    wait(waiter, wait_ms=1500)
    assert waiter.reply() == NOT_GIVEN
    assert 1.4 < cluster.world.now - began < 2.5


def test_waiting_costs_the_log_nothing(cluster):
    cluster.connect(HOLDER).run("KRAFT", "LOCK", NAME, "60000")
    waiter = cluster.connect(LACKING)
    wait(waiter)
    cluster.run(1)
    log = cluster.host(cluster.leader_of(1)).groups[1].raft.state.log
    before = log.last_index
    cluster.run(5)
    assert log.last_index - before <= 5  # entries that expire keys, or mark a quiet group


def test_many_names_are_looked_at_in_turn(cluster, monkeypatch):
    monkeypatch.setattr("kraft.host.absent.remote_locks.NAMES_MAX", 3)
    names = [name for name, _ in zip(keys_in(1), range(8), strict=False)]
    holder = cluster.connect(HOLDER)
    held = [token(holder.run("KRAFT", "LOCK", name, "60000")) for name in names]
    clients = [cluster.connect(LACKING) for _ in names]
    for client, name in zip(clients, names, strict=True):
        wait(client, name)
    cluster.run(1)
    asked: list[int] = []
    send = cluster.host(LACKING).peers.network.send

    def sent(peer, messages):
        asked.extend(len(message.names) for _, message in messages if isinstance(message, ReadKeys))
        return send(peer, messages)

    cluster.host(LACKING).peers.network.send = sent
    for name, each in zip(names, held, strict=True):
        holder.run("KRAFT", "UNLOCK", name, str(each))
    for client in clients:
        token(client.reply(within=5))
    assert max(asked) == 3


def test_keys_with_large_values_are_looked_at_in_parts(cluster, monkeypatch):
    """Any key may be waited for."""
    monkeypatch.setattr("kraft.kv.excerpt.PART_BYTES", 1000)
    names = [name for name, _ in zip(keys_in(1), range(4), strict=False)]
    holder = cluster.connect(HOLDER)
    for name in names:
        holder.run("SET", name, b"v" * 750)
    clients = [cluster.connect(LACKING) for _ in names]
    for client, name in zip(clients, names, strict=True):
        wait(client, name)
    sizes: list[int] = []
    answered = cluster.host(LACKING).elsewhere.absent[1].reads.answered

    def noted(peer, reply):
        sizes.append(len(reply.rows))
        answered(peer, reply)

    cluster.host(LACKING).elsewhere.absent[1].reads.answered = noted
    cluster.run(2)
    assert max(sizes) < 2000
    holder.run("DEL", *names)
    for client in clients:
        token(client.reply(within=5))


def test_a_lock_whose_slot_moves_is_waited_for_where_it_is(cluster):
    holder, waiter = cluster.connect(HOLDER), cluster.connect(LACKING)
    held = token(holder.run("KRAFT", "LOCK", NAME, "60000"))
    wait(waiter, wait_ms=40_000)
    cluster.run(1)
    slot = slot_of(NAME)
    done: list[object] = []
    cluster.host(HOLDER).admin(admin.MoveSlots(slot, slot, 0), done.append)
    assert cluster.run(30, lambda: cluster.host(LACKING).slots.group_of(slot) == 0)
    cluster.run(2)
    assert waiter.transport.value() == b""
    assert holder.run("KRAFT", "UNLOCK", NAME, str(held)) == b":1\r\n"
    assert token(waiter.reply()) > held


def test_a_client_that_leaves_gives_up_its_place(cluster):
    holder = cluster.connect(HOLDER)
    held = token(holder.run("KRAFT", "LOCK", NAME, "60000"))
    gone, waiter = cluster.connect(LACKING), cluster.connect(LACKING)
    wait(gone)
    cluster.run(0.3)
    wait(waiter)
    cluster.run(0.3)
    gone.protocol.connectionLost(None)
    holder.run("KRAFT", "UNLOCK", NAME, str(held))
    assert token(waiter.reply()) > held


def test_a_node_that_stops_lets_nobody_wait(cluster):
    cluster.connect(HOLDER).run("KRAFT", "LOCK", NAME, "60000")
    waiter = cluster.connect(LACKING)
    wait(waiter)
    cluster.run(0.5)
    cluster.host(LACKING).refuse_peers()
    assert waiter.reply().startswith(b"-")
    cluster.connect(HOLDER).run("KRAFT", "LOCK", key_in(2), "60000")
    wait(waiter, key_in(2))  # a group that nobody has asked before
    assert waiter.reply(within=1).startswith(b"-")


def test_a_replica_that_comes_takes_over_who_waits(cluster):
    holder, waiter = cluster.connect(HOLDER), cluster.connect(LACKING)
    held = token(holder.run("KRAFT", "LOCK", NAME, "60000"))
    wait(waiter)
    cluster.run(0.5)
    host = cluster.host(LACKING)
    replica = cluster.host(HOLDER).groups[1]  # stands for one here
    locks = host.elsewhere.absent[1].locks
    before = locks._waits
    host.elsewhere.absent[1].hand_over(replica)
    assert before.count == 0
    cluster.run(0.5)  # the client asks again; the node has no replica after all
    assert waiter.transport.value() == b""
    holder.run("KRAFT", "UNLOCK", NAME, str(held))
    assert token(waiter.reply()) > held
