"""Groups in which nothing happens: one beat per link speaks for all of them, until something happens."""

from collections import Counter

import pytest
from msgspec.structs import replace

from kraft.host.membership.peers import Peers
from kraft.host.requests.round import View
from kraft.kv.commands import Expiry, Put, Set
from kraft.node import admin
from kraft.node.errors import TooStale
from kraft.peerwire.hello import WIRE_BEATS
from kraft.peerwire.messages import Beat
from kraft.raft.messages import Heartbeat
from tests.host.test_groups import Grouped
from tests.simulation.process import Process

GROUPS = 6
LINKS = 6  # in both directions


class Resting(Grouped):
    """Six groups on three nodes, all of them quiet. `kinds` counts messages sent, `frames` batches."""

    def __init__(self, monkeypatch):
        super().__init__(groups=GROUPS, spares=1)
        self.kinds: Counter[type] = Counter()
        self.frames = 0
        send = Process.send

        def counted(process, peer, messages):
            self.kinds.update(type(message) for _, message in messages)
            self.frames += 1
            return send(process, peer, messages)

        monkeypatch.setattr(Process, "send", counted)
        for group in range(GROUPS):
            [leader] = self.leaders(group)
            preferred = f"K{group % 3 + 1}"
            if leader != preferred:
                self.host(leader).groups[group].transfer_leadership(preferred)
        assert self.run(10, self.quiet)

    def replicas(self, group):
        return {p.id: p.host.groups[group] for p in self.processes() if group in p.host.groups}

    def quiet(self, groups=range(GROUPS)):
        return all(r.raft.state.quiet for group in groups for r in self.replicas(group).values())

    def put(self, id_, group, key=b"k"):
        outcomes: list[object] = []
        self.host(id_).write(group, [Put(key, b"1")], 20, outcomes.append)
        assert self.run(5, lambda: bool(outcomes))
        return outcomes[0]

    def stale(self, id_, group):
        outcomes: list[object] = []
        self.host(id_).read_stale(group, outcomes.append)
        self.run(0.01)
        return outcomes[0]

    def cut(self, one, two):
        self.network.block([(one, two)])


@pytest.fixture
def resting(monkeypatch):
    return Resting(monkeypatch)


def test_groups_in_which_nothing_happens_cost_one_frame_per_link_and_interval(resting):
    leaders = [resting.leaders(group) for group in range(GROUPS)]
    resting.run(1)
    resting.kinds.clear()
    resting.frames = 0
    resting.run(10)
    assert resting.kinds[Heartbeat] == 0
    assert resting.frames <= LINKS * 10 * 11  # ten beats a second, and the conditions of the nodes
    resting.run(120)
    assert resting.quiet()
    assert [resting.leaders(group) for group in range(GROUPS)] == leaders


def test_one_group_has_heartbeats_and_no_beats(monkeypatch):
    kinds: Counter[type] = Counter()
    send = Process.send

    def counted(process, peer, messages):
        kinds.update(type(message) for _, message in messages)
        return send(process, peer, messages)

    monkeypatch.setattr(Process, "send", counted)
    cluster = Grouped(groups=1, spares=0)
    cluster.run(5)
    assert kinds[Beat] == 0
    assert kinds[Heartbeat] > 80
    assert not any(p.host.groups[0].raft.state.quiet for p in cluster.processes())


@pytest.mark.parametrize("node", ["K1", "K2"])
def test_a_write_wakes_its_group_alone_and_it_rests_again(resting, node):
    assert resting.put(node, 0) == ["OK"]
    resting.run(0.2)
    assert not resting.host("K1").groups[0].raft.state.quiet
    assert resting.quiet(range(1, GROUPS))
    assert resting.run(2, resting.quiet)
    assert all(r.state.machine.keyspace.get(b"k") == b"1" for r in resting.replicas(0).values())


def test_linearizable_reads_of_a_quiet_group_are_confirmed_and_leave_it_quiet(resting):
    for node in ("K1", "K2", "K3"):
        outcomes: list[object] = []
        resting.host(node).read(0, outcomes.append)
        assert resting.run(0.5, lambda found=outcomes: bool(found))
        assert isinstance(outcomes[0], View)
    assert resting.quiet()


def test_a_replica_of_a_quiet_group_knows_how_old_its_state_is(resting):
    resting.run(30)
    assert all(isinstance(resting.stale(node, 0), View) for node in ("K1", "K2", "K3"))
    for other in ("K1", "K3"):
        resting.cut(other, "K2")
        resting.cut("K2", other)
    resting.run(3)
    assert isinstance(resting.stale("K2", 0), TooStale)


def test_the_quiet_groups_of_a_dead_node_are_elected(resting):
    resting.nodes["K1"].crash()
    assert resting.run(0.5, lambda: all(resting.leaders(group) for group in range(GROUPS)))
    assert resting.run(5, resting.quiet), "a node that is down keeps nobody awake (tikv issue 19070)"


def test_the_quiet_groups_of_a_node_that_hangs_are_elected_though_its_links_stay(resting):
    """Nobody has to ask for them first (tidb issue 34906)."""
    resting.nodes["K1"].process.clock.pause()
    others = [p for p in resting.processes() if p.id != "K1"]
    assert resting.run(
        2.5, lambda: all(any(p.host.groups[g].raft.state.leads for p in others) for g in range(GROUPS))
    )


def test_a_leader_that_hears_no_majority_steps_down_from_its_quiet_groups(resting):
    for other in ("K2", "K3"):
        resting.cut(other, "K1")
    assert resting.run(1.5, lambda: not any(g.raft.state.leads for g in resting.host("K1").groups.values()))


def test_a_follower_that_is_cut_off_one_way_does_not_disturb_the_others(resting):
    resting.cut("K1", "K3")
    resting.run(0.04)
    leaders = [resting.leaders(group) for group in range(GROUPS)]
    resting.run(20)
    assert resting.leaders(0) == leaders[0]
    resting.network.unblock([("K1", "K3")])
    assert resting.run(10, resting.quiet)


def test_whoever_wakes_with_the_shorter_log_does_not_keep_the_group_without_a_leader(resting):
    """Tikv issue 16429: K2, the next in rank, lacks the last entries, and K3 has them."""
    resting.cut("K1", "K2")
    assert resting.put("K1", 0) == ["OK"]
    resting.nodes["K1"].crash()
    assert resting.run(1.5, lambda: resting.leaders(0) == ["K3"])


def test_a_pause_of_minutes_is_no_silence(resting):
    """Tikv issue 18916: the paused follower hears the beats that came meanwhile before it asks for votes."""
    leaders = [resting.leaders(group) for group in range(GROUPS)]
    clock = resting.nodes["K3"].process.clock
    clock.pause()
    resting.run(0.3)
    clock.resume()
    resting.run(10)
    assert [resting.leaders(group) for group in range(GROUPS)] == leaders


def test_a_node_that_is_added_or_comes_back_is_told_of_every_group(resting):
    resting.nodes["K3"].crash()
    assert resting.run(5, resting.quiet)
    assert resting.put("K1", 0) == ["OK"]
    assert resting.run(5, resting.quiet)
    resting.nodes["K3"].start()
    assert resting.run(30, lambda: len(resting.replicas(0)) == 3 and resting.quiet())
    assert resting.replicas(0)["K3"].state.machine.keyspace.get(b"k") == b"1"
    address = resting.stand_by("K4")
    assert resting.order("K2", admin.Add("K4", address)) == "OK"
    assert resting.run(40, lambda: resting.voters() == [{"K1", "K2", "K3", "K4"}] * GROUPS)
    assert resting.run(20, resting.quiet)


def test_leadership_of_a_quiet_group_is_transferred(resting):
    assert resting.order("K2", admin.TransferLeadership("K3", group=0)) == "K3"
    assert resting.run(5, resting.quiet)


def test_keys_of_a_quiet_group_expire(resting):
    outcomes: list[object] = []
    resting.host("K1").write(
        0, [Set(b"k", b"1", expiry=Expiry.RELATIVE, expiry_ms=3_000)], 20, outcomes.append
    )
    assert resting.run(2.5, resting.quiet)
    assert resting.run(
        3, lambda: all(len(r.state.machine.keyspace) == 0 for r in resting.replicas(0).values())
    )


def test_with_a_peer_that_speaks_no_beats_heartbeats_stay(monkeypatch):
    resting = Resting(monkeypatch)
    resting.nodes["K3"].crash()
    resting.run(1)
    hello = Peers.hello

    def older(peers):
        speaks = WIRE_BEATS - 1 if peers.formation.identity.id == "K3" else WIRE_BEATS
        return replace(hello(peers), wire_max=speaks)

    monkeypatch.setattr(Peers, "hello", older)
    resting.nodes["K3"].start()
    resting.run(10)
    assert not any(r.raft.state.quiet for group in range(GROUPS) for r in resting.replicas(group).values())
    assert all(resting.leaders(group) for group in range(GROUPS))
