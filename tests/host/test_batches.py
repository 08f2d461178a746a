"""Batches of writes: how many are in flight, also on narrow links, and when clients are paused or refused."""

from functools import partial

import pytest

from kraft.host.requests import proposer
from kraft.host.requests.forwarding import Forwarding
from kraft.host.requests.proposal import WriteOutcome
from kraft.host.requests.writes import LARGE_COMMANDS
from kraft.kv.commands import Exec, Increment, Prepare, Put, Resolve, ScriptCall, Set, TransactionId
from kraft.kv.replies import CommandFailure
from kraft.node.errors import Busy
from kraft.server.commands.scripts import digest
from tests.host.test_group_transactions import Groups
from tests.host.trio import Trio


def write(trio, count, size=1000):
    for number in range(count):
        value = b"x" * size
        trio.host(trio.leader).write(0, [Set(b"%d" % number, value)], size, trio.answers.append)


def test_large_batches_follow_each_other_and_a_smaller_one_waits():
    """A large batch would hardly get cheaper by waiting. In the simulator one has 1,000 bytes."""
    trio = Trio()
    trio.run(1)
    proposals = trio.group(trio.leader).requests.proposals
    write(trio, 3)
    trio.run(0)
    assert proposals.in_flight(trio.group(trio.leader).raft.state.term) > 1
    assert trio.run(5, lambda: len(trio.answers) == 3)
    write(trio, 3, size=10)
    trio.run(0)
    write(trio, 3, size=10)
    trio.run(0)
    assert proposals.in_flight(trio.group(trio.leader).raft.state.term) == 1


def test_a_quarter_of_a_batch_follows_if_it_has_many_commands():
    """Clients who wait for what is in flight may have no more to send. Few large values wait for more."""
    trio = Trio()
    trio.run(1)
    group = trio.group(trio.leader)
    proposals, term = group.requests.proposals, group.raft.state.term
    few, many = LARGE_COMMANDS - 2, LARGE_COMMANDS
    steps = ((10, 1, 1), (240, 1, 1), (10, few, 1), (1, 1, 2), (249, many, 2))
    for size, count, in_flight in steps:
        commands = [Set(b"key", b"v")] * count
        trio.host(trio.leader).write(0, commands, size, trio.answers.append)
        trio.run(0)
        assert proposals.in_flight(term) == in_flight, (size, count)
    assert trio.run(5, lambda: len(trio.answers) == len(steps))


def test_a_link_that_becomes_narrow_with_a_batch_under_way_costs_no_election(trio):
    """The batch takes several election timeouts, and heartbeats wait after it. Nothing is sent twice."""
    leader = trio.leader
    group = trio.group(leader)
    term = group.raft.state.term
    for peer in trio.followers:
        trio.network.narrow((leader, peer), 1_000.0)
    write(trio, 1, size=4_000)
    assert trio.answered(within=8.0)
    assert not isinstance(trio.answers[0], Exception)
    assert trio.world.counts["part of a batch delivered"] > 50
    assert (trio.leader, group.raft.state.term) == (leader, term)


def test_batches_in_flight_are_few_where_links_are_narrow():
    """What the links cannot carry soon stays where it is certainly not done."""
    trio = Trio()
    for peer in trio.followers:
        trio.network.narrow((trio.leader, peer), 5_000.0)
    trio.run(1)
    write(trio, 6)
    trio.run(0.01)
    assert trio.group(trio.leader).requests.proposals.in_flight(trio.group(trio.leader).raft.state.term) == 1


def test_what_is_not_logged_in_half_of_its_time_is_refused_and_the_rest_is_done():
    """The links carry about two of these values in a second; a write may take 5 s."""
    trio = Trio()
    for peer in trio.followers:
        trio.network.narrow((trio.leader, peer), 3_000.0)
    trio.run(1)
    write(trio, 30)
    assert trio.run(10, lambda: len(trio.answers) == 30)
    kinds = [type(answer) for answer in trio.answers]
    assert kinds.count(list) >= 3
    assert set(kinds) == {list, Busy}


def test_large_writes_that_wait_pause_clients_by_their_bytes():
    """64 writes of 1 MiB take the memory of thousands of small ones. Clients go on when they are logged."""
    trio = Trio()
    trio.run(1)
    host = trio.host(trio.leader)
    for _ in range(70):
        assert len(host.groups[0].requests.proposals.waiting) <= 64
        if host.backpressure.saturated:
            break
        host.write(0, [Set(b"k", b"v")], 1 << 20, trio.answers.append)
    assert host.backpressure.saturated
    relieved = []
    host.backpressure.on_relief(lambda: relieved.append(True))
    assert trio.run(10, lambda: bool(relieved))
    assert not host.backpressure.saturated


TEXT = b"return redis.call('set', KEYS[1], string.rep('x', 5000))"


@pytest.mark.parametrize("asked", ["leader", "follower"])
@pytest.mark.parametrize(
    "command",
    [
        Set(b"k", b"x" * 5000),
        ScriptCall(digest(TEXT), TEXT, (b"k",), ()),
        Exec((), (ScriptCall(digest(TEXT), TEXT, (b"k",), ()),)),
    ],
)
def test_what_fits_into_no_entry_is_refused_and_nothing_waits_for_it(trio, command, asked, monkeypatch):
    """No link could carry it: the followers would close theirs at it, again and again."""
    monkeypatch.setattr(proposer, "ENTRY_BYTES_MAX", 4000)
    node = trio.leader if asked == "leader" else trio.followers[0]
    trio.ask(node, command)
    trio.ask(node, Set(b"other", b"1"))
    assert trio.answered(2)
    assert [CommandFailure.TRANSACTION_TOO_LARGE] in trio.answers
    trio.answers.clear()
    trio.ask(node, Set(b"k", b"2"))
    assert trio.answered()
    assert trio.answers == [["OK"]]
    trio.look(node, b"k")
    assert trio.answered(2)
    assert trio.answers[1] == b"2"


@pytest.mark.parametrize("asked", ["leader", "follower"])
def test_the_neighbours_of_what_fits_into_no_entry_are_done(trio, asked, monkeypatch):
    """The second write fits into no entry, the others into one. A follower sends all of them at once."""
    monkeypatch.setattr(proposer, "ENTRY_BYTES_MAX", 4000)
    node = trio.leader if asked == "leader" else trio.followers[0]
    for key, size in ((b"a", 1500), (b"b", 5000), (b"c", 1500), (b"d", 500)):
        done = partial(lambda key, outcome: trio.answers.append((key, outcome)), key)
        trio.host(node).write(0, [Set(key, b"x" * size)], 10, done)
    assert trio.answered(4)
    assert dict(trio.answers) == {
        b"a": ["OK"],
        b"b": [CommandFailure.TRANSACTION_TOO_LARGE],
        b"c": ["OK"],
        b"d": ["OK"],
    }


def test_scripts_of_several_requests_that_fit_into_no_entry_together_are_all_done(trio, monkeypatch):
    monkeypatch.setattr(proposer, "ENTRY_BYTES_MAX", 12_000)
    for number in range(4):
        trio.ask(trio.leader, ScriptCall(digest(TEXT), TEXT, (b"k%d" % number,), ()))
    assert trio.answered(4)
    assert trio.answers == [[["o", b"OK"]]] * 4
    trio.answers.clear()
    for number in range(4):
        trio.look(trio.followers[0], b"k%d" % number)
    assert trio.answered(4)
    assert trio.answers == [b"x" * 5000] * 4


def test_one_request_stays_in_one_entry_and_what_has_no_room_there_is_refused(trio, monkeypatch):
    """A later command must not be done before an earlier one that has to wait."""
    monkeypatch.setattr(proposer, "ENTRY_BYTES_MAX", 12_000)
    calls = [ScriptCall(digest(TEXT), TEXT, (b"k%d" % number,), ()) for number in range(4)]
    trio.ask(trio.leader, *calls, Set(b"last", b"1"))
    assert trio.answered()
    refused = CommandFailure.TRANSACTION_TOO_LARGE
    assert trio.answers == [[["o", b"OK"], ["o", b"OK"], refused, refused, "OK"]]


def test_what_waits_for_a_lock_is_done_once_and_in_order_where_the_rest_has_no_room(monkeypatch):
    """Two large writes after one of a locked key, then an INCR."""
    groups = Groups()
    leader = groups.leads(0)
    monkeypatch.setattr(proposer, "ENTRY_BYTES_MAX", 4000)
    groups.lose_home()
    id_ = TransactionId(b"dead", 1, groups.host("K1").transactions.log_time())
    done: list[WriteOutcome] = []
    mine: list[WriteOutcome] = []
    keyspace = groups.host(leader).groups[0].state.machine.keyspace
    lock = Prepare(id_, 1, 1, Exec((), (Put(b"a", b"t"),)))
    groups.host(leader).write(0, [lock], 20, done.append)
    large = [Set(b"p", b"x" * 3000), Set(b"q", b"x" * 3000)]
    groups.host(leader).write(0, [Set(b"a", b"x"), *large, Increment(b"n", 1)], 20, mine.append)
    groups.run(0.5, lambda: False)
    assert (keyspace.get(b"n"), mine) == (None, [])
    groups.host(leader).groups[0].requests.writes.write([Resolve(id_, False)], 20, done.append)
    assert groups.run(5, lambda: bool(mine))
    assert mine == [["OK", "OK", CommandFailure.TRANSACTION_TOO_LARGE, 1]]
    assert keyspace.get(b"n") == b"1"


def test_what_fits_into_no_entry_makes_later_batches_no_smaller(trio, monkeypatch):
    """Also where the next ones are sent to another leader."""
    monkeypatch.setattr(proposer, "ENTRY_BYTES_MAX", 4000)
    old, new = trio.leader, trio.followers[0]
    proposals = trio.group(old).requests.proposals
    write(trio, 2, size=5000)
    assert trio.answered(2)
    assert proposals.most == 0
    proposals.most = 1  # such a batch is being divided
    trio.group(old).transfer_leadership(new)
    assert trio.run(5, lambda: trio.leaders() == [new] and trio.host(old).leader(0) == new)
    sizes, request = [], Forwarding.request

    def counted(self, leader, sent, *rest, **more):
        sizes.append(len(sent))
        return request(self, leader, sent, *rest, **more)

    monkeypatch.setattr(Forwarding, "request", counted)
    for number in range(40):
        trio.ask(old, Set(b"k%d" % number, b"v"))
    assert trio.answered(42)
    assert sizes == [40]


def test_what_fits_into_no_entry_is_counted_as_rejected(trio, monkeypatch):
    monkeypatch.setattr(proposer, "ENTRY_BYTES_MAX", 4000)
    counted = []
    observer = trio.group(trio.leader).requests.writes._observer
    monkeypatch.setattr(observer, "proposal", lambda *counts: counted.append(counts))
    trio.ask(trio.leader, Set(b"k", b"x" * 5000))
    assert trio.answered()
    assert counted == [(0, "rejected", 1)]
