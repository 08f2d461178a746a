"""On an idle node one call of the host stands for several ticks, and nothing is decided otherwise."""

from typing import Any, cast

import pytest
from twisted.internet.task import Clock

from kraft.config import Config
from kraft.config.values import ClusterConfig, NodeConfig, PeerConfig, RaftConfig, ReadsConfig
from kraft.host import settings
from kraft.host.requests.round import View
from kraft.host.ticker import Ticker
from kraft.kv.commands import Put
from kraft.node import admin
from tests.host.trio import Trio

TICK = 1 / 32  # seconds, which add up exactly
PATIENCE = 20  # ticks of an election timeout
HOST_TICK, TIMEOUT = 0.025, 0.5  # seconds, on the hosts of the simulator


def config(**sections):
    sections = {"raft": RaftConfig(0.625, 0.125), **sections}
    return Config(NodeConfig("K1", "/nowhere"), ClusterConfig(), PeerConfig(), **sections)


class Node:
    """A ticker and what it calls. `calls` has the time and the ticks of each call, `skipped` of each skip."""

    def __init__(self):
        self.clock = Clock()
        cast(Any, self.clock).call_later = self.clock.callLater
        self.is_idle = True
        self.spare_ticks = 3
        self.ticks = 0
        self.calls: list[tuple[float, int]] = []
        self.ticker = Ticker(config(), cast(Any, self.clock), cast(Any, self), self)
        self.ticker.start()

    def skip(self, ticks):
        self.ticks += ticks

    def lasts(self, woken):
        assert woken == [7]
        return self.is_idle

    def tick(self):
        self.ticks += 1
        self.calls.append((round(self.clock.seconds() / TICK, 6), self.ticks))

    def passes(self, ticks):
        """Let so many ticks pass; return the calls."""
        self.calls.clear()
        self.clock.advance(TICK * ticks)
        return list(self.calls)

    def rest(self):
        for _ in range(PATIENCE):
            self.passes(1)
        assert self.ticker.span == 4
        self.calls.clear()


@pytest.fixture
def node():
    return Node()


def test_every_tick_has_a_call_until_the_node_was_idle_for_an_election_timeout(node):
    node.is_idle = False
    for _ in range(100):
        assert len(node.passes(1)) == 1
    node.is_idle = True
    for _ in range(PATIENCE):
        assert len(node.passes(1)) == 1
    assert [len(node.passes(1)) for _ in range(8)] == [0, 0, 0, 1, 0, 0, 0, 1]
    assert node.ticks == 100 + PATIENCE + 8


def test_ticks_that_have_passed_are_counted_when_something_looks_at_them(node):
    node.rest()
    for passed, counted in ((0.75, 0), (0.5, 1), (1.5, 2), (0.5, 3)):
        node.passes(passed)
        node.ticker.catch_up()
        node.ticker.catch_up()
        assert node.ticks == PATIENCE + counted
    assert node.passes(0.75) == [(PATIENCE + 4, PATIENCE + 4)]


def test_the_next_tick_has_a_call_as_soon_as_anything_is_under_way(node):
    node.rest()
    node.passes(1.5)
    node.ticker.look([7])
    assert node.ticker.span == 4
    node.is_idle = False
    node.ticker.look([7])
    assert node.passes(0.5) == [(PATIENCE + 2, PATIENCE + 2)]
    node.is_idle = True
    assert [len(node.passes(1)) for _ in range(PATIENCE)] == [1] * PATIENCE
    assert [len(node.passes(1)) for _ in range(4)] == [0, 0, 0, 1]


def test_a_node_that_is_busy_stays_so_when_it_is_told_again(node):
    node.is_idle = False
    for _ in range(10):
        node.passes(0.5)
        node.ticker.hurry()
        assert len(node.passes(0.5)) == 1


def test_a_call_stands_for_no_more_ticks_than_nothing_is_due_in(node):
    node.rest()
    node.spare_ticks = 1
    assert [len(node.passes(1)) for _ in range(8)] == [0, 0, 0, 1, 0, 1, 0, 1]
    node.spare_ticks = 0
    node.passes(2)
    assert [len(node.passes(1)) for _ in range(4)] == [1] * 4


def test_after_a_pause_only_the_ticks_of_one_call_are_counted(node):
    """The messages of that time are not read yet."""
    node.rest()
    node.clock.rightNow += 10.0
    node.ticker.catch_up()
    assert node.ticks == PATIENCE + 3
    node.passes(0)
    assert node.ticks == PATIENCE + 4


@pytest.mark.parametrize(("heartbeats", "spare"), [(80, 3), (3, 3), (2.5, 2), (2, 1)])
def test_a_state_that_may_be_read_stale_is_never_too_old_because_of_it(heartbeats, spare):
    bound = heartbeats * config().raft.heartbeat_interval
    assert settings.spare_ticks(config(reads=ReadsConfig(max_staleness=bound))) == spare
    assert config().raft.heartbeat_interval + 2 * (spare + 1) * TICK <= bound


# On hosts


class Quiet(Trio):
    """Three nodes that nobody uses. `calls` counts the calls of their hosts."""

    def __init__(self, monkeypatch, **options):
        super().__init__(**options)
        self.calls = dict.fromkeys(self.nodes, 0)
        for id_ in self.nodes:
            host = self.host(id_)

            def counted(id_=id_, tick=host.tick):
                self.calls[id_] += 1
                tick()

            monkeypatch.setattr(host, "tick", counted)
        assert self.run(5, self.rests)

    def rests(self):
        return all(process.host._ticker.span > 1 for process in self.processes())

    def ticks(self, id_):
        return self.group(id_).raft.state.ticks


@pytest.fixture
def quiet(monkeypatch):
    return Quiet(monkeypatch)


def test_an_idle_node_is_called_once_in_a_heartbeat_interval(quiet):
    leader, term = quiet.leader, quiet.group(quiet.leader).raft.state.term
    quiet.calls = dict.fromkeys(quiet.nodes, 0)
    before = {id_: quiet.ticks(id_) for id_ in quiet.nodes}
    quiet.run(10)
    assert all(95 <= calls <= 105 for calls in quiet.calls.values())
    assert all(395 <= quiet.ticks(id_) - before[id_] <= 400 for id_ in quiet.nodes)
    assert quiet.leader == leader
    assert quiet.group(leader).raft.state.term == term


@pytest.mark.parametrize("of", ["leader", "follower"])
def test_a_request_is_served_as_on_a_busy_node(quiet, of):
    node = quiet.leader if of == "leader" else quiet.followers[0]
    asks = (lambda: quiet.ask(node, Put(b"k", b"1")), lambda: quiet.look(node, b"k"))
    for count, ask in enumerate(asks, 1):
        assert quiet.run(3, quiet.rests)
        quiet.run(0.011)
        began, quiet.calls[node] = quiet.world.now, 0
        ask()
        assert quiet.answered(count)
        assert quiet.world.now - began < 2 * HOST_TICK
        quiet.run(began + 4.1 * HOST_TICK - quiet.world.now)
        assert quiet.calls[node] >= 4


def test_a_message_finds_the_ticks_that_have_passed(quiet, monkeypatch):
    """Votes and leases go by them, so at most one has passed that is not counted."""
    follower = quiet.followers[0]
    group, behind = quiet.group(follower), list[float]()
    received, before, began = group.received, quiet.ticks(follower), quiet.world.now

    def noted(sender, message, **options):
        behind.append((quiet.world.now - began) / HOST_TICK - (quiet.ticks(follower) - before))
        received(sender, message, **options)

    monkeypatch.setattr(group, "received", noted)
    for _ in range(8):  # so that the heartbeats come at each time between two calls
        quiet.run(HOST_TICK)
        quiet.host(follower)._ticker.hurry()
        quiet.run(1.5)
    assert len(behind) > 100
    assert min(behind) > -1.1
    assert max(behind) < 1.5


def test_a_leader_that_hangs_is_replaced_in_the_usual_time(quiet):
    hung = quiet.leader
    quiet.process(hung).clock.pause()
    others = [process for process in quiet.processes() if process.id != hung]
    began = quiet.world.now
    assert quiet.run(3, lambda: any(p.host.groups[0].raft.state.leads for p in others))
    timeout = TIMEOUT
    assert timeout <= quiet.world.now - began <= 2 * timeout + 0.2


def test_a_leader_without_a_majority_steps_down_in_time(quiet):
    cut_off = quiet.leader
    quiet.isolate(cut_off)
    began = quiet.world.now
    assert quiet.run(2, lambda: not quiet.group(cut_off).raft.state.leads)
    assert quiet.world.now - began <= TIMEOUT + 0.2


def test_each_tick_has_a_call_again_when_a_link_ends_or_begins(quiet):
    down, others = quiet.followers[0], [quiet.followers[1], quiet.leader]
    quiet.nodes[down].crash()
    assert quiet.run(0.2, lambda: all(quiet.host(id_)._ticker.span == 1 for id_ in others))
    assert quiet.run(3, quiet.rests), "two of three nodes rest too"
    quiet.nodes[down].start()
    assert quiet.run(0.5, lambda: any(quiet.host(id_)._ticker.span == 1 for id_ in others))


@pytest.mark.parametrize("at", ["leader", "follower"])
def test_an_administrators_command_does_not_wait_for_the_end_of_the_span(quiet, at):
    leader, heir = quiet.leader, quiet.followers[0]
    node, outcomes = leader if at == "leader" else heir, list[object]()
    for command, ticks in ((admin.TakeSnapshot(), 6), (admin.TransferLeadership(heir, 0), 2.5)):
        assert quiet.run(3, quiet.rests)
        quiet.run(0.001)
        began = quiet.world.now
        quiet.host(node).admin(command, outcomes.append)
        assert quiet.run(5, lambda: bool(outcomes))
        assert not isinstance(outcomes.pop(), Exception)
        assert quiet.world.now - began < ticks * HOST_TICK


def test_a_pause_is_no_reason_to_campaign(quiet):
    paused, leader = quiet.followers[0], quiet.leader
    quiet.process(paused).clock.pause()
    quiet.run(30)
    term = quiet.group(leader).raft.state.term
    quiet.process(paused).clock.resume()
    quiet.run(5)
    assert (quiet.leader, quiet.group(leader).raft.state.term) == (leader, term)


def test_the_event_loop_of_an_idle_node_is_not_slow(quiet):
    quiet.run(60)
    assert not any(quiet.host(id_)._context.slowness.loop for id_ in quiet.nodes)
    assert not any(quiet.host(id_)._context.slowness._late for id_ in quiet.nodes)


def test_stale_reads_of_an_idle_node_know_their_age(quiet):
    for id_ in quiet.nodes:
        reads = quiet.group(id_).requests.reads
        ages = []
        for _ in range(100):
            quiet.run(0.013)
            ages.append(reads.age)
        assert max(ages) <= 0.3 + TIMEOUT * (id_ == quiet.leader)
        quiet.answers.clear()
        quiet.host(id_).read_stale(0, quiet.answers.append)
        assert quiet.answered()
        assert isinstance(quiet.answers[0], View)
