"""Reads that do not wait for the leader, and their bound, with real hosts on virtual time."""

import pytest

from kraft.host.requests.round import View
from kraft.kv.commands import Put
from kraft.node.errors import TooStale
from tests.host.trio import Trio


def bound(trio):
    return next(iter(trio.nodes.values())).config.reads.max_staleness


@pytest.fixture
def trio():
    trio = Trio()
    trio.ask(trio.leader, Put(b"k", b"old"))
    assert trio.answered()
    trio.run(2.0)  # everybody has it, and knows that
    trio.answers.clear()
    return trio


def look(trio, id_):
    def done(outcome):
        trio.answers.append(outcome.keyspace.get(b"k") if isinstance(outcome, View) else outcome)

    trio.answers.clear()
    trio.host(id_).read_stale(0, done)
    assert trio.answered()
    return trio.answers[0]


def test_every_node_answers_at_once_from_its_own_state(trio):
    assert [look(trio, id_) for id_ in trio.nodes] == [b"old"] * 3


def test_an_isolated_follower_answers_until_its_state_is_too_old(trio):
    follower = trio.followers[0]
    trio.isolate(follower)
    trio.run(0.8 * bound(trio))
    assert look(trio, follower) == b"old"

    trio.run(0.5 * bound(trio))
    assert isinstance(look(trio, follower), TooStale)


def test_a_leader_that_was_paused_asks_before_it_answers(trio):
    """By its own ticks, which stood still, it leads for another election timeout."""
    paused, other = trio.leader, trio.followers[0]
    trio.process(paused).clock.pause()
    assert trio.run(10, lambda: trio.host(other).leader(0) not in ("", paused))
    trio.ask(other, Put(b"k", b"new"))
    assert trio.answered()
    trio.run(bound(trio) + 3.0)

    process = trio.process(paused)
    process.clock.paused = False  # it runs on; what waits in its sockets has not been read yet
    assert look(trio, paused) != b"old"


def test_a_leader_that_stepped_down_knows_how_old_it_is(trio):
    leader = trio.leader
    trio.isolate(leader)
    assert trio.run(3.0, lambda: trio.host(leader).leader(0) == "")

    assert look(trio, leader) == b"old"


def test_a_follower_that_was_paused_does_not_take_old_messages_for_news(trio):
    """Its sockets hold heartbeats from before and during the pause, and they are read first."""
    paused = trio.followers[0]
    clock = trio.process(paused).clock
    clock.pause()
    trio.run(0.5)
    held = list(clock._held)
    others = [n for n in trio.nodes if n != paused]
    trio.network.block([(n, paused) for n in others])
    trio.run(bound(trio) + 3.0)

    clock.paused = False
    for call in held[:3]:
        call()
    assert isinstance(look(trio, paused), TooStale)
