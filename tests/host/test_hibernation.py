"""Quiet groups in which nothing is under way are not ticked, and nothing comes later because of that."""

from functools import partial

import pytest
from msgspec.structs import replace

from kraft.host.admin.leader_spread import STEADY_SECONDS
from kraft.host.context import GroupContext
from kraft.host.hibernation import HIBERNATION_SECONDS
from kraft.host.requests.round import View
from kraft.kv.commands import Expiry, Set
from kraft.kv.slots import SLOTS, Move, MoveState, SlotRange, SlotState, SlotTable
from kraft.node import admin
from kraft.node.errors import TooStale
from kraft.raft.errors import InvariantViolation
from tests.host.late_disk import LateDisk
from tests.host.scattered import Apart
from tests.host.test_beats import GROUPS, Resting

MANY = range(1, GROUPS)  # group 0 is ticked for the node


class Hibernating(Resting):
    """Six groups on three nodes; all but group 0 hibernate."""

    def __init__(self, monkeypatch):
        super().__init__(monkeypatch)
        assert self.run(5, self.asleep)

    def asleep(self, groups=MANY):
        return all(p.host.hibernation.asleep.keys() >= set(groups) for p in self.processes())

    def spread(self):
        """Whether every group is led by its preferred leader."""
        return all(self.leaders(group) == [f"K{group % 3 + 1}"] for group in range(GROUPS))

    def slow_down(self, *ids):
        """Make the event loops of these nodes slow for half a minute."""
        for id_ in ids:
            host = self.host(id_)
            host._context.slowness._loop.observe(True, host._clock.seconds())

    def ticks(self, id_, group):
        return self.host(id_).groups[group].raft.state.ticks


@pytest.fixture
def cluster(monkeypatch):
    return Hibernating(monkeypatch)


def test_a_group_that_hibernates_is_not_ticked(cluster):
    ticked: dict[str, list[int]] = {id_: [] for id_ in ("K1", "K2", "K3")}
    for id_, calls in ticked.items():
        for number, group in cluster.host(id_).groups.items():
            tick = group.tick

            def counted(number=number, tick=tick, calls=calls):
                calls.append(number)
                tick()

            group.tick = counted
    cluster.run(2 * HIBERNATION_SECONDS)
    for calls in ticked.values():
        assert 190 <= calls.count(0) <= 240, "once in a heartbeat interval"
        assert all(1 <= calls.count(group) <= 8 for group in MANY), "now and then"
    assert cluster.run(1, cluster.asleep)


def test_groups_hibernate_though_a_node_has_group_0_alone():
    """Its beats tell the others that it is there, and theirs speak for group 0 there."""
    cluster = Apart()
    assert cluster.run(10, lambda: all(at_rest(process.host) for process in cluster.processes()))
    assert list(cluster.host("K5").groups) == [0]
    assert cluster.host("K5").groups[0].raft.state.quiet


def at_rest(host):
    """Whether all groups but group 0 hibernate, and the host is called once for several ticks."""
    return host.hibernation.asleep.keys() == host.groups.keys() - {0} and host._ticker.span > 1


def test_the_ticks_that_a_group_has_missed_are_made_up_for(cluster):
    cluster.run(7.3)
    for id_ in ("K1", "K2", "K3"):
        host = cluster.host(id_)
        host.hibernation.wake_all()
        states = [group.raft.state for group in host.groups.values()]
        assert max(state.ticks for state in states) - min(state.ticks for state in states) <= 1
        assert all(state.elapsed <= 12 for state in states if not state.leads)
        assert all(p.silent_ticks <= 12 for group in host.groups.values() for p in group.raft.progress())


@pytest.mark.parametrize("node", ["K1", "K2"])
def test_a_write_wakes_its_group_and_it_hibernates_again(cluster, node):
    cluster.run(3)
    assert cluster.put(node, 3) == ["OK"]
    assert not cluster.asleep([3])
    assert cluster.asleep([1, 2, 4, 5])
    assert cluster.run(3, cluster.asleep)
    assert all(r.state.machine.keyspace.get(b"k") == b"1" for r in cluster.replicas(3).values())


def test_reads_and_stale_reads_of_a_group_that_hibernates(cluster):
    cluster.run(HIBERNATION_SECONDS / 2)
    for node in ("K1", "K2", "K3"):
        outcomes: list[object] = []
        cluster.host(node).read(1, outcomes.append)
        assert cluster.run(0.5, lambda found=outcomes: bool(found))
        assert isinstance(outcomes[0], View)
        assert cluster.run(3, cluster.asleep)
        cluster.run(4)
        assert isinstance(cluster.stale(node, 1), View)
    for other in ("K1", "K3"):
        cluster.cut(other, "K2")
        cluster.cut("K2", other)
    cluster.run(3)
    assert isinstance(cluster.stale("K2", 1), TooStale)


def test_a_node_that_is_down_or_comes_back_wakes_all(cluster):
    cluster.nodes["K1"].crash()
    assert cluster.run(0.5, lambda: all(cluster.leaders(group) for group in range(GROUPS)))
    assert cluster.run(8, cluster.asleep), "a node that is down keeps nobody awake (tikv issue 19070)"
    cluster.nodes["K1"].start()
    assert cluster.run(40, lambda: len(cluster.processes()) == 3 and cluster.spread() and cluster.asleep())


def test_groups_hibernate_while_they_wait_for_their_preferred_leader(cluster):
    """Ticking all that wait for it took a node with a thousand groups half of a core."""
    cluster.nodes["K1"].crash()
    assert cluster.run(0.5, lambda: all(cluster.leaders(group) for group in range(GROUPS)))
    cluster.nodes["K1"].start()
    assert cluster.run(STEADY_SECONDS / 2, lambda: len(cluster.processes()) == 3 and cluster.asleep())
    assert cluster.leaders(3) != ["K1"]
    assert cluster.run(STEADY_SECONDS + 5, cluster.spread)


def test_groups_that_hibernate_are_handed_over_one_after_the_other(cluster):
    """Each of them is awake for one tick in ten seconds only."""
    for leader, group in (("K1", 3), ("K3", 5)):
        cluster.host(leader).hibernation.wake_all()
        cluster.host(leader).groups[group].transfer_leadership("K2")
    assert cluster.run(2, lambda: cluster.leaders(3) == cluster.leaders(5) == ["K2"])
    assert cluster.run(STEADY_SECONDS / 2, cluster.asleep)
    assert cluster.run(STEADY_SECONDS + 1, cluster.spread)


def test_a_group_stays_while_the_node_that_should_lead_it_is_drained(cluster):
    cluster.nodes["K1"].crash()
    assert cluster.run(0.5, lambda: all(cluster.leaders(group) for group in range(GROUPS)))
    cluster.nodes["K1"].start()
    assert cluster.run(STEADY_SECONDS / 2, lambda: len(cluster.processes()) == 3 and cluster.asleep())
    assert cluster.order("K1", admin.Drain(True)) == "OK"
    cluster.run(STEADY_SECONDS * 2)
    assert cluster.leaders(3) != ["K1"]


def test_groups_of_a_drained_node_hibernate_once_others_lead_them(cluster):
    """A drained node waits for its stop, maybe for long; the others know that it takes no leadership."""
    assert cluster.run(60, cluster.spread)
    outcomes: list[object] = []
    cluster.host("K2").admin(admin.Drain(True), outcomes.append)
    assert cluster.run(10, lambda: outcomes == ["OK"])
    assert cluster.run(5, cluster.asleep)
    cluster.run(2 * STEADY_SECONDS)
    assert not any(cluster.leaders(group) == ["K2"] for group in range(GROUPS))
    assert cluster.run(1, cluster.asleep)
    cluster.host("K2").admin(admin.Drain(False), outcomes.append)
    assert cluster.run(60, cluster.spread)


def test_a_slow_node_hands_over_groups_that_hibernate(cluster):
    cluster.slow_down("K1")
    assert cluster.run(5, lambda: not any(cluster.leaders(group) == ["K1"] for group in range(GROUPS)))
    assert cluster.run(5, cluster.asleep), "it has nothing to hand over any more"


def test_groups_hibernate_though_all_nodes_are_slow(cluster):
    """A node that ticks all of its groups because it is slow stays slow."""
    cluster.slow_down("K1", "K2", "K3")
    cluster.run(1)
    assert cluster.run(10, cluster.asleep)
    assert all(cluster.leaders(group) for group in range(GROUPS))
    assert all(cluster.host(id_)._context.slowness.slow for id_ in ("K1", "K2", "K3"))


def test_the_changed_condition_of_a_node_wakes_all(cluster):
    """Whether it should lead, or may, is another question then for each group."""
    host = cluster.host("K1")
    known = host.peers.condition_of("K3")
    host.peer_receiver.received("K3", [(0, replace(known, wall_ms=known.wall_ms + 1))])
    assert cluster.asleep()
    host.peer_receiver.received("K3", [(0, replace(known, disk_slow=True))])
    assert not host.hibernation.asleep


def test_a_leader_that_hangs_is_replaced_as_if_its_followers_had_been_ticked(cluster):
    """Nobody has to ask for them first (tidb issue 34906)."""
    cluster.run(4)
    cluster.nodes["K1"].process.clock.pause()
    others = [p for p in cluster.processes() if p.id != "K1"]
    assert cluster.run(
        1.5, lambda: all(any(p.host.groups[g].raft.state.leads for p in others) for g in range(GROUPS))
    )


def test_a_leader_without_a_majority_steps_down_though_its_groups_hibernated(cluster):
    cluster.run(4)
    for other in ("K2", "K3"):
        cluster.cut(other, "K1")
    assert cluster.run(1.0, lambda: not any(g.raft.state.leads for g in cluster.host("K1").groups.values()))


def test_a_vote_is_refused_for_a_leader_that_hibernates(cluster):
    """What a replica knows of its leader is as fresh as the beats."""
    cluster.run(4)
    follower = cluster.host("K2").groups[3]
    leader = cluster.host("K1").groups[3]
    assert leader.raft.state.leads
    follower.raft.campaign()
    cluster.run(1)
    assert leader.raft.state.leads
    assert cluster.leaders(3) == ["K1"]


def test_a_key_expires_in_time(cluster):
    outcomes: list[object] = []
    cluster.host("K1").write(
        3, [Set(b"short", b"1", expiry=Expiry.RELATIVE, expiry_ms=15_000)], 20, outcomes.append
    )
    assert cluster.run(5, lambda: bool(outcomes))
    written = cluster.world.now
    replicas = cluster.replicas(3).values()
    assert cluster.run(30, lambda: all(r.state.machine.expired == 1 for r in replicas))
    assert cluster.world.now - written < 17
    assert cluster.run(5, cluster.asleep)


def test_an_administrator_wakes_the_groups_in_which_something_is_to_be_done(cluster):
    outcomes: list[object] = []
    cluster.host("K2").admin(admin.TransferLeadership("K2", 3), outcomes.append)
    assert cluster.run(2, lambda: bool(outcomes))
    assert outcomes.pop() == "K2"
    assert cluster.asleep([1, 2, 4, 5])
    cluster.host("K2").admin(admin.TakeSnapshot(), outcomes.append)
    assert cluster.run(10, lambda: bool(outcomes))
    assert not isinstance(outcomes[0], Exception)
    replicas = [replica for group in MANY for replica in cluster.replicas(group).values()]
    assert cluster.run(5, lambda: all(replica.checkpoints.last is not None for replica in replicas))
    assert cluster.run(20, cluster.asleep)


def test_members_change_as_soon_as_in_groups_that_are_ticked(cluster):
    """The groups wake when the change begins, and not at the command, which waits for a tick."""
    for command in (admin.Demote("K3"), admin.Promote("K3")):
        assert cluster.run(30, cluster.asleep), "leaders have moved to the nodes that should lead"
        ordered = cluster.world.now
        assert cluster.order("K1", command) == "OK"
        assert cluster.world.now - ordered < 1.0


def test_a_command_about_an_image_wakes_nobody_and_the_others_on_one_node_wake_all(cluster):
    host = cluster.host("K1")
    outcomes: list[object] = []
    for command, asleep in ((admin.CloseImage(1), True), (admin.Compact(0), False)):
        host.admin(command, outcomes.append)
        cluster.run(0.001)
        assert bool(host.hibernation.asleep) is asleep
    assert cluster.run(5, cluster.asleep)
    host.admin(admin.Drain(True), outcomes.append)
    cluster.run(0.001)
    assert not host.hibernation.asleep
    assert cluster.run(5, lambda: len(outcomes) == 3)
    assert not [outcome for outcome in outcomes if isinstance(outcome, Exception)]


def test_an_answer_within_a_tick_may_wake_other_groups(cluster):
    """A client sends its next request as soon as it is answered."""
    host = cluster.host("K1")
    outcomes: list[object] = []
    asleep: list[bool] = []

    def answered(outcome):
        outcomes.append(outcome)
        asleep.append(1 in host.hibernation.asleep)
        host.read_stale(1, outcomes.append)

    host.groups[3].requests.proposer.hold(1, host._clock.seconds() + 10)
    host.write(3, [Set(b"k", b"1")], 20, answered)
    ticks = host.beats.ticks
    assert cluster.run(4, lambda: len(outcomes) == 2)
    assert asleep == [True]
    cluster.run(1)
    assert host.beats.ticks - ticks > 40
    host.hibernation.wake_all()
    states = [host.groups[group].raft.state for group in (0, 1)]
    assert abs(states[0].ticks - states[1].ticks) <= 1


def test_groups_may_wake_others_while_all_wake(cluster, monkeypatch):
    host = cluster.host("K1")

    def waking(tick):
        tick()
        host.hibernation.wake_all()

    for group in MANY:
        monkeypatch.setattr(host.groups[group], "tick", partial(waking, host.groups[group].tick))
    cluster.run(1)
    host.hibernation.wake_all()
    assert not host.hibernation.asleep
    states = [host.groups[group].raft.state for group in range(GROUPS)]
    assert max(state.ticks for state in states) - min(state.ticks for state in states) <= 1


def test_a_group_that_a_turn_woke_is_awake_when_it_is_served(cluster, monkeypatch):
    """Also if it was the tick of another one that let it take part."""
    host = cluster.host("K1")
    tick = host.groups[1].tick
    served: list[bool] = []

    def waking():
        tick()
        if not served:
            host._turns.wake(2)

    monkeypatch.setattr(host.groups[1], "tick", waking)
    monkeypatch.setattr(host.groups[2], "turn", lambda: served.append(2 in host.hibernation.asleep))
    cluster.run(1)
    host._turns.wake(1)
    cluster.run(0.01)
    assert served[0] is False


def test_a_broken_group_ends_the_process_also_when_it_wakes(cluster, monkeypatch):
    host, told = cluster.host("K1"), []
    cluster.run(1)

    def broken():
        raise InvariantViolation("two leaders")

    monkeypatch.setattr(host.groups[1], "tick", broken)
    monkeypatch.setattr(GroupContext, "broken", lambda _, error: told.append(str(error)))
    with pytest.raises(InvariantViolation):
        host.read_stale(1, told.append)
    assert told == ["two leaders"]


def test_what_a_follower_reports_reaches_a_leader_that_hibernates(cluster):
    """The sums of the replicas are compared, again and again."""
    outcomes: list[object] = []
    assert cluster.put("K1", 3) == ["OK"]
    cluster.host("K1").admin(admin.TakeSnapshot(), outcomes.append)
    assert cluster.run(30, cluster.asleep)
    leader = cluster.host("K1").groups[3]
    assert all(leader.consistency.equal(id_) for id_ in ("K1", "K2", "K3"))


@pytest.mark.parametrize("awaited", [False, True])
def test_a_group_hibernates_while_its_checkpoint_is_being_written(cluster, awaited):
    """In an image of many groups most of them wait for the others: ticked, they would take all of the CPU."""
    leader, replicas = cluster.leaders(3)[0], cluster.replicas(3)
    assert cluster.put("K1", 3) == ["OK"]
    for replica in replicas.values():
        replica.checkpoints._disk = LateDisk(replica.checkpoints._disk, cluster.host("K1")._clock, 4.0)
    outcomes: list[object] = []
    if awaited:
        assert replicas[leader].take_checkpoint(outcomes.append)
    else:
        replicas[leader].log_marker()
    assert cluster.run(1, lambda: all(replica.checkpoints.busy for replica in replicas.values()))
    assert cluster.run(1, partial(cluster.asleep, [3]))
    assert cluster.run(5, lambda: all(map(replicas[leader].consistency.equal, replicas)))
    assert len(outcomes) == awaited
    assert cluster.run(1, partial(cluster.asleep, [3]))


def test_memory_of_groups_that_hibernate_counts(cluster):
    for group in MANY:
        assert cluster.put("K1", group) == ["OK"]
    assert cluster.run(10, cluster.asleep)
    memory = cluster.host("K1").memory
    known = memory.bytes
    assert known == memory.measure() > 0
    assert cluster.host("K1").hibernation.memory == known  # group 0 has no keys
    cluster.put("K1", 1, b"another")
    cluster.run(0.2)
    assert memory.bytes == memory.measure() > known


def test_a_group_with_anything_under_way_is_ticked(cluster):
    host = cluster.host("K1")
    group = host.groups[3]
    host.hibernation.wake_all()
    group.drain(True)
    cluster.run(2)
    assert 3 not in host.hibernation.asleep
    group.drain(False)
    assert cluster.run(2, lambda: 3 in host.hibernation.asleep)
    group.requests.proposer.hold(1, host._clock.seconds() + 1.5)
    host.hibernation.wake_all()
    cluster.run(1)
    assert 3 not in host.hibernation.asleep
    assert cluster.run(2, lambda: 3 in host.hibernation.asleep)


@pytest.mark.parametrize(
    ("state", "moves"), [(SlotState.FROZEN, []), *[(SlotState.OWN, [state]) for state in MoveState]]
)
def test_a_replica_with_frozen_slots_or_a_move_that_is_not_over_is_ticked(cluster, state, moves):
    host = cluster.host("K2")
    keyspace = host.groups[3].state.machine.keyspace
    ranges = [SlotRange(0, 99, state, 1, 1, 2), SlotRange(100, SLOTS - 1, SlotState.OWN)]
    keyspace.slots = SlotTable(ranges, [Move(1, 0, 99, each) for each in moves])
    host.hibernation.wake_all()
    cluster.run(2)
    assert 3 not in host.hibernation.asleep
    assert cluster.asleep([1, 2, 4, 5])
    keyspace.slots = SlotTable([SlotRange(0, 99, SlotState.GONE, 1), *ranges[1:]])
    assert cluster.run(2, cluster.asleep)


def test_a_group_out_of_which_a_move_is_planned_is_ticked(cluster):
    slots = cluster.host("K2").slots
    slots.sources = frozenset([3])
    cluster.host("K2").hibernation.wake_all()
    cluster.run(2)
    assert 3 not in cluster.host("K2").hibernation.asleep
    assert cluster.asleep([1, 2, 4, 5])
    slots.sources = frozenset()
    assert cluster.run(2, cluster.asleep)


def test_one_group_is_always_ticked(monkeypatch):
    from tests.host.test_groups import Grouped

    cluster = Grouped(groups=1, spares=0)
    cluster.run(5)
    assert all(list(p.host.hibernation.awake) == [0] for p in cluster.processes())
    assert not any(p.host.hibernation.asleep for p in cluster.processes())
