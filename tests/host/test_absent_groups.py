"""A node without a replica of some groups serves its clients through their members, as any other node."""

import random
import re
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from kraft.host.absent.directory import GroupDirectory
from kraft.host.absent.place_reports import PlaceReports
from kraft.kv import excerpt
from kraft.kv.commands import Exec, Prepare, Put, TransactionId
from kraft.kv.replies import CommandFailure
from kraft.kv.slots import slot_of
from kraft.node import admin
from kraft.peerwire.hello import WIRE_REPLICAS, Hello
from kraft.peerwire.messages import GroupPlace, ReadKeys, ReadKeysReply
from kraft.raft.membership.configuration import Configuration, Member
from kraft.raft.membership.replica_number import ReplicaNumber, numbered
from tests.host.scattered import ABSENT, HOLDER, LACKING, Scattered
from tests.server.groups import key_in, keys_in
from tests.simulation.process import Process

ONE, TWO = key_in(1), key_in(2)
CONVERSATIONS = sorted((Path(__file__).parents[1] / "server" / "conversations").glob("*.txt"))
OF_THE_NODE = re.compile("P?TTL|P?EXPIRETIME|TIME|ROLE", re.IGNORECASE)  # what nodes reply differently


@pytest.fixture
def cluster():
    return Scattered()


@pytest.fixture(scope="module")
def clusters():
    """Two equal ones; no marker lets WATCH fail in one of them alone."""
    return Scattered(checkpoint_entries=1 << 30), Scattered(checkpoint_entries=1 << 30)


@pytest.fixture
def twins(clusters):
    """A client of a node with all groups, and one of a node that lacks two."""
    one, two = clusters
    return one.connect(HOLDER), two.connect(LACKING)


def both(twins, *words):
    holder, lacking = twins
    return holder.run(*words), lacking.run(*words)


# -- the same replies


@pytest.mark.parametrize("path", CONVERSATIONS, ids=lambda path: path.stem)
def test_every_command_replies_as_at_a_node_with_all_groups(twins, path):
    both(twins, "FLUSHALL")
    both(twins, "SCRIPT", "FLUSH")
    for line in path.read_text().splitlines():
        words = line.partition(" => ")[0].split(" ")
        if not OF_THE_NODE.fullmatch(words[0]):
            expected, found = both(twins, *words)
            assert found == expected, line


KEYS = [b"key:%d" % n for n in range(9)]
SCRIPT = "redis.call('APPEND', KEYS[1], ARGV[1]) return redis.call('STRLEN', KEYS[#KEYS])"


def request(dice):
    """A request with keys in one group or in several."""
    one, two, *more = dice.sample(KEYS, dice.randint(2, 5))
    value = b"%d" % dice.randrange(100)
    return dice.choice(
        [
            ("SET", one, value),
            ("SET", one, value, "PX", "100000"),
            ("GET", one),
            ("INCR", one),
            ("APPEND", one, value),
            ("DEL", one, two),
            ("EXISTS", one, two, *more),
            ("MGET", one, two, *more),
            ("MSET", one, value, two, value),
            ("MSETNX", one, value, two, value),
            ("RENAME", one, two),
            ("COPY", one, two, "REPLACE"),
            ("BITOP", "OR", one, two, *more),
            ("EVAL", SCRIPT, "1", one, value),
            ("EVAL", SCRIPT, "2", one, two, value),
            ("KRAFT", "ONCE", b"token %d" % dice.randrange(5), "MSET", one, value, two, value),
            ("DBSIZE",),
            ("KEYS", "*"),
            ("KRAFT", "RANGE", "", "", "LIMIT", "4"),
            ("STRLEN", one),
            ("GETDEL", one),
        ]
    )


@pytest.mark.parametrize("seed", range(6))
def test_generated_requests_get_the_same_replies(twins, seed):
    """One by one, in pipelines, and in transactions with and without WATCH."""
    both(twins, "FLUSHALL")
    dice = random.Random(seed)
    for _ in range(40):
        requests = [request(dice) for _ in range(dice.randint(1, 6))]
        if dice.random() < 0.4:
            inner = [words for words in requests if words[0] not in ("KRAFT", "KEYS")]
            requests = [("MULTI",), *inner, ("EXEC",)]
            if dice.random() < 0.5:
                requests = [("WATCH", *dice.sample(KEYS, 2)), *requests]
        expected, found = (client.pipeline(requests) for client in twins)
        assert sorted(found.split(b"\r\n")) == sorted(expected.split(b"\r\n")), requests
        if ("KEYS", "*") not in requests:
            assert found == expected, requests
    values = both(twins, "MGET", *KEYS)
    assert values[0] == values[1]


def test_a_scan_finds_every_key_once(cluster):
    client = cluster.connect(LACKING)
    for key in KEYS:
        client.run("SET", key, "v")
    cursor, found = b"0", []
    while True:
        _, _, cursor, _, *rest = client.run("SCAN", cursor, "COUNT", "2").split(b"\r\n")
        found += rest[1::2]
        if cursor == b"0":
            break
    assert sorted(found) == KEYS
    assert client.run("RANDOMKEY").split(b"\r\n")[1] in KEYS


def test_long_words_of_a_command_on_all_keys_do_not_end_the_link(cluster):
    client, leader = cluster.connect(LACKING), cluster.host(LACKING).leader(1)
    assert client.run("KRAFT", "RANGE", "a" * 400_000, "") == b"*2\r\n$-1\r\n*0\r\n"
    assert leader in cluster.host(LACKING).peers.connected


def test_a_script_that_is_asked_for_comes_without_the_others(cluster, monkeypatch):
    """SCRIPT EXISTS and SHOW of a cache of many scripts: each group elsewhere sends what is asked for."""
    client = cluster.connect(LACKING)
    loaded = [client.run("SCRIPT", "LOAD", f"return '{'x' * 10_000}{n}'") for n in range(5)]
    sha = loaded[1].split()[1]
    sizes: list[int] = []
    send = Process.send

    def counted(process, peer, messages):
        sizes.extend(len(message.rows) for _, message in messages if type(message) is ReadKeysReply)
        return send(process, peer, messages)

    monkeypatch.setattr(Process, "send", counted)
    found = client.run("SCRIPT", "EXISTS", sha.upper(), "f" * 40, "no-sha", sha + b"0")
    assert found == b"*4\r\n:1\r\n:0\r\n:0\r\n:0\r\n"
    assert len(sizes) == len(ABSENT)
    assert max(sizes) < 11_000
    assert client.run("SCRIPT", "SHOW", sha).split()[2].startswith(b"'xxx")
    assert client.run("SCRIPT", "EXISTS", "") == b"*1\r\n:0\r\n"


def test_large_values_come_in_parts(cluster, monkeypatch):
    """A pipeline of reads gets what fits into a part, and asks again for the rest; one command gets all."""
    monkeypatch.setattr(excerpt, "PART_BYTES", 5_000)
    client, keys = cluster.connect(LACKING), list(islice(keys_in(1), 4))
    for key in keys:
        assert client.run("SET", key, key * 500) == b"+OK\r\n"
    wanted = b"".join(b"$%d\r\n%b\r\n" % (len(key) * 500, key * 500) for key in keys)
    assert client.pipeline([("GET", key) for key in keys]) == wanted
    assert client.run("MGET", *keys) == b"*4\r\n" + wanted


def test_a_key_that_came_and_went_counts_for_watch(cluster):
    client, other = cluster.connect(LACKING), cluster.connect(HOLDER)
    for meddles in (True, False):
        client.run("WATCH", ONE, TWO)
        if meddles:
            other.run("SET", ONE, "1")
            other.run("DEL", ONE)
        client.run("MULTI")
        client.run("SET", TWO, "mine")
        assert client.run("EXEC") == (b"*-1\r\n" if meddles else b"*1\r\n+OK\r\n")


def test_a_stale_read_is_refused(cluster):
    client = cluster.connect(LACKING)
    client.run("READONLY")
    assert client.run("GET", ONE).startswith(b"-MASTERDOWN Last contact with the leader of group 1")
    assert client.run("KEYS", "*").startswith(b"-MASTERDOWN")
    assert client.run("GET", key_in(0)) == b"$-1\r\n"


def test_a_write_waits_for_the_keys_of_a_transaction(cluster):
    """It meets a lock, and goes to the leader again as one that waits there."""
    clients = [cluster.connect(LACKING), cluster.connect(HOLDER), cluster.connect("K1")]
    for _ in range(20):
        for client in clients:
            client.send("MSET", ONE, "a", TWO, "b")
            client.send("INCR", b"{%b}n" % ONE)
            client.send("APPEND", ONE, "c")
    for client in clients:
        replies = client.reply()
        while replies.count(b"\r\n") < 60:
            replies += client.reply()
        assert b"-" not in replies
    assert clients[0].run("GET", b"{%b}n" % ONE) == b"$2\r\n60\r\n"


def test_slots_that_move_between_groups_elsewhere_are_found(cluster):
    """The map in group 0 tells of them: this node has no replica that would."""
    client = cluster.connect(LACKING)
    assert client.run("SET", ONE, "v") == b"+OK\r\n"
    slot = slot_of(ONE)
    done: list[object] = []
    cluster.host(HOLDER).admin(admin.MoveSlots(slot, slot, 2), done.append)
    assert cluster.run(60, lambda: bool(done))
    assert cluster.run(60, lambda: cluster.host(LACKING).slots.group_of(slot) == 2), done
    assert client.run("GET", ONE) == b"$1\r\nv\r\n"
    assert client.run("APPEND", ONE, "w") == b":2\r\n"
    assert client.run("DBSIZE") == b":1\r\n"


# -- failures


def test_a_change_of_leader_is_followed(cluster):
    """Each reply is right or says that it is not known: no increment is lost, or done twice."""
    client = cluster.connect(LACKING)
    known = unknown = last = 0
    for round_ in range(30):
        if round_ % 10 == 4:
            [gone] = cluster.leaders(1)
            cluster.nodes[gone].crash()
        reply = client.run("INCR", ONE)
        if reply.startswith(b":"):
            assert last < int(reply[1:]) <= known + unknown + 1
            last = int(reply[1:])
            known += 1
        else:
            assert reply.startswith(b"-UNCERTAIN"), reply
            unknown += 1
        if round_ % 10 == 8:
            for node in cluster.nodes.values():
                if node.process is None:
                    node.start()
            assert cluster.run(20, cluster.led)
    final = int(client.run("GET", ONE).split(b"\r\n")[1])
    assert known <= final <= known + unknown


def test_with_an_old_directory_reads_go_on_and_writes_wait(cluster):
    """A member that does not lead confirms reads; it takes no writes, and its refusal loses none."""
    client, host = cluster.connect(LACKING), cluster.host(LACKING)
    place = host.elsewhere.directory.places[1]
    other = next(member for member in place.members if member != place.leader)
    host.elsewhere.directory.places[1] = replace(place, leader=other)
    assert client.run("GET", ONE) == b"$-1\r\n"
    client.send("SET", ONE, "v")
    cluster.run(0.5)
    assert client.transport.value() == b""
    host.elsewhere.told(1, replace(place, term=place.term + 1))
    assert client.reply() == b"+OK\r\n"


def test_a_member_that_has_left_says_so(cluster):
    place = cluster.host(LACKING).elsewhere.directory.places[1]
    left = next(member for member in place.members if member != place.leader)
    cluster.leave(left, 1)
    client, host = cluster.connect(LACKING), cluster.host(LACKING)
    assert 1 not in cluster.host(left).groups
    host.elsewhere.directory.places[1] = replace(place, leader=left)
    before = cluster.world.now
    assert client.run("GET", ONE) == b"$-1\r\n"
    assert cluster.world.now - before < host._config.raft.election_timeout
    client.send("SET", ONE, "v")
    cluster.run(0.5)
    assert client.transport.value() == b""
    host.elsewhere.told(1, replace(place, term=place.term + 1))
    assert client.reply() == b"+OK\r\n"
    assert cluster.connect(left).run("GET", ONE) == b"$1\r\nv\r\n"


def test_nobody_within_reach_is_an_error_soon(cluster):
    client, others = cluster.connect(LACKING), [node for node in cluster.nodes if node != LACKING]
    cluster.network.block([(LACKING, n) for n in others] + [(n, LACKING) for n in others])
    cluster.run(5)
    for words in (("GET", ONE), ("SET", ONE, "v"), ("DBSIZE",), ("KEYS", "*"), ("MSET", ONE, "1", TWO, "2")):
        before = cluster.world.now
        assert client.run(*words).startswith(b"-CLUSTERDOWN"), words
        assert cluster.world.now - before < 8
    text = client.run("GET", ONE)
    assert b"No leader for group 1" in text
    assert b"no link to" in text or b"no leader is known" in text


def test_a_write_over_a_link_that_is_lost_is_uncertain(cluster):
    client = cluster.connect(LACKING)
    leader = cluster.host(LACKING).leader(1)
    client.send("SET", ONE, "v")
    cluster.run(0.0001)
    cluster.network.reset(LACKING, leader)
    assert client.reply().startswith(b"-UNCERTAIN")
    assert cluster.run(20, lambda: leader in cluster.host(LACKING).peers.connected)
    assert client.run("SET", ONE, "w") == b"+OK\r\n"


def test_a_read_over_a_link_that_is_lost_is_put_to_another_member(cluster):
    client = cluster.connect(LACKING)
    client.run("SET", ONE, "v")
    leader = cluster.host(LACKING).leader(1)
    client.send("GET", ONE)
    cluster.run(0.0001)
    cluster.network.block([(LACKING, leader), (leader, LACKING)])
    cluster.network.reset(LACKING, leader)
    assert client.reply() == b"$1\r\nv\r\n"


def test_a_silent_member_does_not_hold_up_a_read(cluster):
    client = cluster.connect(LACKING)
    client.run("SET", ONE, "v")
    leader = cluster.host(LACKING).leader(1)
    cluster.network.clog((leader, LACKING))  # it hears, and is not heard
    before = cluster.world.now
    assert client.run("GET", ONE) == b"$1\r\nv\r\n"
    assert cluster.world.now - before < 2 * cluster.host(LACKING)._config.raft.election_timeout
    assert leader in cluster.host(LACKING).peers.connected, "the link is not known to be lost"


def test_what_was_not_sent_goes_to_a_replica_that_comes(cluster):
    clients, host = [cluster.connect(LACKING) for _ in range(3)], cluster.host(LACKING)
    place = host.elsewhere.directory.places[1]
    host.elsewhere.directory.places[1] = replace(place, leader="K9", members=("K9",))
    for client, words in zip(clients, (("SET", ONE, "v"), ("GET", TWO), ("GET", ONE)), strict=True):
        client.send(*words)
    cluster.run(0.1)
    absent = host.elsewhere.absent[1]
    absent.hand_over(cluster.host(HOLDER).groups[1])
    assert not absent.pending
    assert clients[0].reply() == b"+OK\r\n"
    assert clients[1].reply() == b"$-1\r\n"
    assert clients[2].reply() in (b"$-1\r\n", b"$1\r\nv\r\n")


def test_a_write_that_meets_a_lock_after_it_was_handed_over_waits_for_it(cluster):
    """The replica that has come answers it, whatever it meets there."""
    host, group = cluster.host(LACKING), cluster.host(cluster.leader_of(1)).groups[1]
    place = host.elsewhere.directory.places[1]
    answers: list[object] = []
    held: list[object] = []
    hold = Prepare(
        TransactionId(b"other", 1, host.transactions.log_time()), 1, 1, Exec((), (Put(ONE, b"x"),))
    )
    host.write(1, [hold], 20, held.append)
    assert cluster.run(5, lambda: bool(held))
    host.elsewhere.directory.places[1] = replace(place, leader="")
    host.write(1, [Put(ONE, b"v")], 20, answers.append)
    cluster.run(0.02)
    absent = host.elsewhere.absent.pop(1)
    absent.hand_over(group)
    assert not absent.pending
    assert cluster.run(10, lambda: bool(answers))
    assert answers in (["OK"], [["OK"]], [[CommandFailure.LOCKED]])


def test_what_was_sent_before_a_replica_came_is_answered(cluster):
    client, host = cluster.connect(LACKING), cluster.host(LACKING)
    client.send("SET", ONE, "v")
    cluster.run(0.0001)
    received: list[object] = []
    replica = SimpleNamespace(received=lambda _, message: received.append(message))
    host.peer_receiver._groups = {**host.groups, 1: replica}
    assert client.reply() == b"+OK\r\n"
    assert received == []


def test_a_node_that_leaves_a_group_serves_its_clients_from_elsewhere():
    """Those that wait at that moment are asked for again there: the node does not stop."""
    cluster = Scattered(absent=())
    host = cluster.host(HOLDER)
    clients = [cluster.connect(HOLDER) for _ in range(3)]
    cluster._drop(HOLDER, 1)
    assert cluster.run(5, lambda: 1 in host.elsewhere.directory.places)
    for client, words in zip(
        clients, (("INCR", ONE), ("GET", ONE), ("MSET", ONE, "5", TWO, "6")), strict=True
    ):
        client.send(*words)
    host._lifecycle.replicas._end(host.groups[1])
    assert clients[0].reply() in (b":1\r\n", b":6\r\n")
    assert clients[1].reply() in (b"$-1\r\n", b"$1\r\n1\r\n", b"$1\r\n5\r\n", b"$1\r\n6\r\n")
    assert clients[2].reply() == b"+OK\r\n"
    assert 1 not in host.groups
    assert clients[0].run("STRLEN", ONE) == b":1\r\n"


def test_a_node_that_stops_answers_everybody(cluster):
    client, host = cluster.connect(LACKING), cluster.host(LACKING)
    place = host.elsewhere.directory.places[1]
    host.elsewhere.directory.places[1] = replace(place, leader="K9", members=("K9",))
    client.send("SET", ONE, "v")
    other = cluster.connect(LACKING)
    other.send("GET", ONE)
    cluster.run(0.1)
    host.abandon()
    assert client.reply().startswith(b"-CLUSTERDOWN")
    assert other.reply().startswith(b"-CLUSTERDOWN")


def test_a_member_of_an_earlier_program_is_asked_for_no_read(cluster):
    """It would take the question for garbage, and end the link."""
    client, host = cluster.connect(LACKING), cluster.host(LACKING)
    place = host.elsewhere.directory.places[1]
    old = next(member for member in place.members if member != place.leader)
    host.elsewhere.directory.places[1] = replace(place, leader=old, members=(old, place.leader))
    host.peers.hellos[old] = replace(host.peers.hellos[old], wire_max=WIRE_REPLICAS - 1)
    asked: list[str] = []
    send = host.peers.network.send

    def sent(peer, messages):
        asked.extend(peer for _, message in messages if type(message) is ReadKeys)
        return send(peer, messages)

    host.peers.network.send = sent
    assert client.run("GET", ONE) == b"$-1\r\n"
    assert asked == [place.leader]


# -- the directory


PLACE = GroupPlace(3, 7, "K1", ("K1", "K2"), 7)


def test_the_latest_place_counts_whichever_comes_last():
    directory = GroupDirectory()
    assert directory.told(1, PLACE)
    assert not directory.told(1, PLACE)
    assert not directory.told(1, replace(PLACE, term=2, configuration=9, leader="K2"))
    assert not directory.told(1, replace(PLACE, configuration=6))
    assert directory.places[1] == PLACE
    assert directory.told(1, replace(PLACE, configuration=8, members=("K1",)))
    assert directory.told(1, replace(PLACE, term=4, configuration=5, leader="K2"))
    assert directory.places[1].leader == "K2"


class Posts:
    def __init__(self):
        self.sent: list[tuple[str, int]] = []

    def post(self, peer, group, message):
        assert type(message) is GroupPlace
        self.sent.append((peer, group))


def replica(id_, leader="K1", members=("K1", "K2")):
    configuration = Configuration.of_voters(tuple(Member(id_, id_ * 16, id_) for id_ in members))
    raft = SimpleNamespace(term=1, leader=leader, configuration=configuration, configuration_index=1)
    machine = SimpleNamespace(version=7)
    return SimpleNamespace(id=id_, raft=SimpleNamespace(state=raft), state=SimpleNamespace(machine=machine))


def test_only_those_are_told_who_lack_the_group_and_understand_it():
    posts: Any = Posts()
    groups: Any = {0: replica(0), 1: replica(1), 2: replica(2, leader=""), 3: replica(3, members=())}
    reports = PlaceReports(groups, posts)
    for peer, wire in (("K2", WIRE_REPLICAS), ("K3", WIRE_REPLICAS), ("K4", WIRE_REPLICAS - 1)):
        reports.link_up(peer, Hello(peer, peer * 16, wire_max=wire))
    reports.tick(groups.values())
    assert set(posts.sent) == {("K3", 1)}
    posts.sent.clear()
    reports.tick(groups.values())
    assert posts.sent == []
    groups[1].raft.state.term = 2
    reports.tick(groups.values())
    assert posts.sent == [("K3", 1)]
    reports.unsent("K3")
    reports.tick([])
    assert posts.sent == [("K3", 1)] * 2
    reports.link_down("K3")
    groups[1].raft.state.term = 3
    reports.tick(groups.values())
    assert len(posts.sent) == 2
    reports.link_up("K2", Hello("K2", "later", wire_max=WIRE_REPLICAS))  # it was replaced in group 0 only
    reports.tick([])
    assert posts.sent[2:] == [("K2", 1)]


def test_a_report_that_the_link_did_not_take_is_made_again(cluster):
    host = cluster.host(LACKING)
    leader = cluster.host(host.leader(1))
    send = leader.peers.network.send
    lost: list[str] = []

    def refused(peer, messages):
        if peer == LACKING and not lost and any(type(message) is GroupPlace for _, message in messages):
            lost.append(peer)
            return False
        return send(peer, messages)

    leader.peers.network.send = refused
    del host.elsewhere.directory.places[1]
    leader.elsewhere.reports.unsent(LACKING)
    for process in cluster.processes():
        if process.host is not leader:
            process.host.elsewhere.reports.link_down(LACKING)  # they tell nothing
    assert cluster.run(5, lambda: 1 in host.elsewhere.directory.places)
    assert lost == [LACKING]


def test_where_all_nodes_are_members_nothing_is_told(monkeypatch):
    sent: list[type] = []
    send = Process.send

    def counted(process, peer, messages):
        sent.extend(type(message) for _, message in messages)
        return send(process, peer, messages)

    monkeypatch.setattr(Process, "send", counted)
    Scattered(absent=())
    assert sent
    assert GroupPlace not in sent


def test_a_member_whose_replica_has_a_number_is_told_nothing():
    posts: Any = Posts()
    group: Any = replica(1)
    other = Member("K2", numbered("K2" * 16, ReplicaNumber(2, 5)), "K2")
    group.raft.state.configuration = Configuration.of_voters((Member("K1", "K1" * 16, "K1"), other))
    reports = PlaceReports({1: group}, posts)
    reports.link_up("K2", Hello("K2", "K2" * 16, wire_max=WIRE_REPLICAS))
    reports.tick([group])
    assert posts.sent == []
