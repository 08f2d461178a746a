"""Commands with an expiry while log time is ahead of the voters' clocks, on hosts of the simulator."""

import pytest

from kraft.kv.commands import Exec, Expire, Expiry, Put, Set
from kraft.kv.replies import CommandFailure
from tests.host.trio import Trio

HOUR, DAY = 3_600_000, 86_400_000
PREMATURE = CommandFailure.PREMATURE


def until(time, key=b"k", value=b"v"):
    return Set(key, value, expiry=Expiry.ABSOLUTE, expiry_ms=time)


class Ahead(Trio):
    """All clocks were a day ahead when the leader was elected, and are right again."""

    def __init__(self):
        super().__init__()
        self.jump(DAY)
        self.elect()
        self.ask(self.leader, Put(b"written", b"then"))
        assert self.answered()
        self.answers.clear()
        self.jump(-DAY)
        self.run(2.0)

    def jump(self, milliseconds):
        for process in self.processes():
            process.clock.jump(milliseconds)

    def elect(self):
        """Another leader is elected, with the clocks of now."""
        before = self.leader
        self.host(before).transfers.begin(self.group(before), "", lambda _: None)
        assert self.run(10, lambda: self.leaders() not in ([], [before]) and self.committed())

    @property
    def now(self):
        return self.process(self.leader).clock.wall_ms()

    def told(self, id_, *commands):
        self.answers.clear()
        self.ask(id_, *commands)
        assert self.answered()
        [replies] = self.answers
        return replies


@pytest.fixture
def ahead():
    return Ahead()


def lead(cluster):
    return cluster.host(cluster.leader).status().groups[0].log_time_lead_ms


def test_the_lead_is_bounded_in_time_and_in_the_status(ahead):
    before = lead(ahead)
    assert DAY - 5000 < before < DAY
    ahead.run(10)
    assert 4000 < before - lead(ahead) < 6000
    ahead.elect()
    ahead.run(0.1)
    assert DAY / 2 < lead(ahead) < before - 4000
    assert ahead.host(ahead.leader).status().groups[0].clock_offset_ms == 0
    assert ahead.world.counts["log_time_off"] >= 2


@pytest.mark.parametrize("where", ["leader", "follower"])
def test_an_absolute_expiry_that_log_time_would_reach_too_early_is_an_error(ahead, where):
    """On any node, and nothing else that waits for the same entry is refused with it."""
    id_ = ahead.leader if where == "leader" else ahead.followers[0]
    assert ahead.told(id_, Put(b"k", b"old")) == ["OK"]
    soon = until(ahead.now + HOUR)
    assert ahead.told(id_, soon) == [PREMATURE]
    assert ahead.told(id_, Put(b"a", b"1"), soon, Put(b"b", b"2"), soon) == ["OK", PREMATURE, "OK", PREMATURE]
    assert ahead.told(id_, Expire(b"k", Expiry.ABSOLUTE, ahead.now + HOUR)) == [PREMATURE]
    assert ahead.told(id_, Exec((), (Put(b"k", b"new"), soon)), Put(b"a", b"1")) == [PREMATURE, "OK"]
    assert ahead.told(id_, until(ahead.now + DAY + HOUR)) == [PREMATURE]
    keyspace = ahead.group(ahead.leader).state.machine.keyspace
    assert [keyspace.get(key) for key in (b"k", b"a", b"b")] == [b"old", b"1", b"2"]


def test_other_expiries_are_as_ever(ahead):
    leader = ahead.leader
    assert ahead.told(leader, until(ahead.now - 1000, b"past")) == ["OK"]
    assert ahead.told(leader, until(ahead.now + 3 * DAY, b"late")) == ["OK"]
    assert ahead.told(leader, Set(b"short", b"v", expiry=Expiry.RELATIVE, expiry_ms=2000)) == ["OK"]
    keyspace = ahead.group(leader).state.machine.keyspace
    assert [keyspace.get(key) for key in (b"past", b"late", b"short")] == [None, b"v", b"v"]


def test_a_relative_expiry_lasts_up_to_twice_as_long_and_never_less(ahead):
    assert ahead.told(ahead.leader, Set(b"k", b"v", expiry=Expiry.RELATIVE, expiry_ms=2000)) == ["OK"]
    ahead.run(2.1)
    keyspace = ahead.group(ahead.leader).state.machine.keyspace
    assert keyspace.get(b"k") == b"v"
    assert ahead.run(4.0, lambda: keyspace.get(b"k") is None)


def test_a_new_leader_refuses_from_its_first_entry_on(ahead):
    ahead.answers.clear()
    old, other = ahead.leader, ahead.followers[0]
    ahead.host(old).transfers.begin(ahead.group(old), other, lambda _: None)
    ahead.ask(other, until(ahead.now + HOUR))
    assert ahead.answered()
    assert ahead.answers == [[PREMATURE]]


def test_a_single_node_has_its_own_clock_only():
    alone = Ahead.__new__(Ahead)
    Trio.__init__(alone, nodes=1)
    alone.jump(DAY)
    node = alone.nodes["K1"]
    node.crash()
    node.start()
    alone.process("K1").clock.jump(DAY)
    assert alone.run(10, lambda: alone.known(1))
    assert alone.told("K1", Put(b"k", b"v")) == ["OK"]
    alone.jump(-DAY)
    alone.run(0.5)
    assert alone.told("K1", until(alone.now + HOUR)) == [PREMATURE]
    assert alone.told("K1", until(alone.now + 3 * DAY)) == ["OK"]


def test_a_leader_whose_own_clock_alone_is_a_day_ahead_delays_nobody():
    trio = Trio()
    trio.process(trio.leader).clock.jump(DAY)
    trio.run(3.0)
    group = trio.host(trio.leader).status().groups[0]
    assert abs(group.clock_offset_ms - DAY) < 100
    assert abs(group.log_time_lead_ms) < 100
    now = trio.process(trio.followers[0]).clock.wall_ms()
    trio.ask(trio.leader, until(now + HOUR))
    assert trio.answered()
    assert trio.answers == [["OK"]]
    assert trio.group(trio.leader).state.machine.keyspace.get(b"k") == b"v"
    assert trio.world.counts["clock_off"] == 1
