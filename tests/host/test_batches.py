"""Batches of writes: how many are in flight, also on narrow links, and when clients are paused or refused."""

from functools import partial

import pytest

from kraft.host.requests import proposer
from kraft.host.requests.proposal import Proposal, WriteOutcome
from kraft.host.requests.writes import LARGE_COMMANDS
from kraft.kv.commands import Exec, ScriptCall, Set
from kraft.kv.replies import CommandFailure
from kraft.node.errors import Busy, Uncertain
from kraft.server.commands.scripts import digest
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
    """The second write fits into no entry, the others into two. A follower sends all of them at once."""
    monkeypatch.setattr(proposer, "ENTRY_BYTES_MAX", 4000)
    node = trio.leader if asked == "leader" else trio.followers[0]
    for key, size in ((b"a", 1500), (b"b", 5000), (b"c", 1500), (b"d", 1500)):
        done = partial(lambda key, outcome: trio.answers.append((key, outcome)), key)
        trio.host(node).write(0, [Set(key, b"x" * size)], 10, done)
    assert trio.answered(4)
    assert dict(trio.answers) == {
        b"a": ["OK"],
        b"b": [CommandFailure.TRANSACTION_TOO_LARGE],
        b"c": ["OK"],
        b"d": ["OK"],
    }


@pytest.mark.parametrize("count", [1, 4])
def test_scripts_that_fit_into_no_entry_together_are_done_in_several(trio, count, monkeypatch):
    """In one request, or in one each; each writes 5,000 bytes."""
    monkeypatch.setattr(proposer, "ENTRY_BYTES_MAX", 12_000)
    calls = [ScriptCall(digest(TEXT), TEXT, (b"k%d" % number,), ()) for number in range(4)]
    size = 4 // count
    for start in range(0, 4, size):
        trio.ask(trio.leader, *calls[start : start + size])
    assert trio.answered(count)
    assert trio.answers == [[["o", b"OK"]] * size] * count
    trio.answers.clear()
    for number in range(4):
        trio.look(trio.followers[0], b"k%d" % number)
    assert trio.answered(4)
    assert trio.answers == [b"x" * 5000] * 4


def test_what_fits_into_no_entry_is_counted_as_rejected(trio, monkeypatch):
    monkeypatch.setattr(proposer, "ENTRY_BYTES_MAX", 4000)
    counted = []
    observer = trio.group(trio.leader).requests.writes._observer
    monkeypatch.setattr(observer, "proposal", lambda *counts: counted.append(counts))
    trio.ask(trio.leader, Set(b"k", b"x" * 5000))
    assert trio.answered()
    assert counted == [(0, "rejected", 1)]


class Parts:
    """The two halves of a proposal of three commands, and its outcomes."""

    def __init__(self):
        self.outcomes: list[WriteOutcome] = []
        commands = [Set(b"a", b"1"), Set(b"b", b"2"), Set(b"c", b"3")]
        self.first, self.second = Proposal(9.0, self.outcomes.append, commands, 100, 1.0).halves()


def test_a_proposal_in_halves_has_all_replies_in_order():
    parts = Parts()
    assert (len(parts.first.commands), len(parts.second.commands)) == (1, 2)
    parts.second.settle(["2", "3"])
    assert parts.outcomes == []
    parts.first.settle(["1"])
    assert parts.outcomes == [["1", "2", "3"]]


@pytest.mark.parametrize(
    ("first", "second", "whole"),
    [(Busy(), Busy(), Busy), (["1"], Busy(), Uncertain), (Busy(), Uncertain(), Uncertain)],
)
def test_a_proposal_of_which_one_half_may_be_done_is_uncertain(first, second, whole):
    parts = Parts()
    parts.first.settle(first)
    parts.second.settle(second)
    assert [type(outcome) for outcome in parts.outcomes] == [whole]
