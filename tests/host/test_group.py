"""Three real hosts on the simulator's clock, disks and network, without random faults."""

import pytest

from kraft.kv.commands import Expire, Expiry, Increment, Put, Set
from kraft.node.errors import Busy, DiskFull, NoLeader, Refused, Stopping, Uncertain
from kraft.peerwire.messages import DONE, Forward, ForwardReply
from kraft.raft.messages import Append, EntryKind
from tests.host.trio import Trio
from tests.simulation.cluster import SimulatedCluster
from tests.simulation.network import Weather
from tests.simulation.world import World


def test_a_write_on_any_node_is_done_and_seen_on_every_node(trio):
    for id_ in trio.nodes:
        trio.ask(id_, Increment(b"n", 1))
    assert trio.answered(3)
    assert sorted(answer[0] for answer in trio.answers) == [1, 2, 3]
    trio.answers.clear()
    for id_ in trio.nodes:
        trio.look(id_, b"n")
    assert trio.answered(3)
    assert trio.answers == [b"3"] * 3


def test_nothing_is_answered_inside_the_call(trio):
    trio.ask(trio.leader, Put(b"k", b"v"))
    trio.look(trio.leader, b"k")
    assert trio.answers == []


def test_a_write_is_answered_when_a_majority_has_it_on_disk(trio):
    """Slow disks of both followers delay the answer, although the leader has long written the entry."""
    for id_ in trio.followers:
        trio.process(id_).disk.slow = 1000.0
    trio.ask(trio.leader, Put(b"k", b"v"))
    assert not trio.answered(within=0.15)
    assert trio.answered(within=5.0)
    holders = [n for n in trio.nodes.values() if any(b"k" in e.data for e in n.durable.groups[0].entries)]
    assert len(holders) >= 2


def test_a_leader_alone_answers_neither_writes_nor_reads(trio):
    """The write may still be committed, so it is uncertain. The read is certainly not done: refused."""
    leader = trio.leader
    trio.isolate(leader)
    trio.ask(leader, Put(b"k", b"v"))
    trio.look(leader, b"k")
    assert trio.answered(2)
    assert {type(a) for a in trio.answers} == {Uncertain, NoLeader}


def test_a_deposed_leader_serves_no_old_value(trio):
    old = trio.leader
    trio.ask(old, Put(b"k", b"old"))
    assert trio.answered()
    trio.isolate(old)
    assert trio.run(10, lambda: any(p.id != old and p.host.leader(0) == p.id for p in trio.processes()))
    new = next(id_ for id_ in trio.leaders() if id_ != old)
    trio.answers.clear()
    assert trio.run(5, lambda: trio.group(new).raft.state.leads_with_commit)
    trio.ask(new, Put(b"k", b"new"))
    trio.look(old, b"k")
    assert trio.answered(2)
    trio.network.heal()
    trio.answers.clear()
    trio.look(old, b"k")
    assert trio.answered()
    assert trio.answers == [b"new"]


def test_an_overwritten_write_is_proposed_again_and_done_once(trio):
    """The old leader learns that another entry was committed at its index, so it may propose again."""
    old = trio.leader
    trio.isolate(old)
    trio.ask(old, Increment(b"n", 1))
    assert trio.run(3, lambda: len({*trio.leaders()} - {old}) == 1)
    trio.network.heal()
    assert trio.answered()
    assert trio.answers == [[1]]
    trio.look(old, b"n")
    assert trio.answered(2)
    assert trio.answers[1] == b"1"


def test_writes_do_not_wait_for_a_leader_that_hangs_with_an_open_link(trio):
    """A paused leader answers nothing. Its successor takes later writes, long before their deadline."""
    old = trio.leader
    [asked, _] = trio.followers
    trio.process(old).clock.pause()
    trio.ask(asked, Put(b"k", b"1"))
    assert trio.run(3, lambda: trio.host(asked).leader(0) not in ("", old))
    trio.ask(asked, Put(b"k", b"2"))
    trio.look(asked, b"k")
    assert trio.answered(2, within=1.0)
    assert ["OK"] in trio.answers


def test_without_a_majority_commands_are_refused_after_the_wait_for_a_leader(trio):
    survivor = trio.followers[0]
    for id_ in list(trio.nodes):
        if id_ != survivor:
            trio.nodes[id_].crash()
    trio.run(1.5)
    trio.ask(survivor, Put(b"k", b"v"))
    trio.look(survivor, b"k")
    assert not trio.answered(within=1.0)
    assert trio.answered(2, within=2.0)
    assert {type(a) for a in trio.answers} == {NoLeader}


def test_a_follower_with_a_full_disk_forwards_and_serves_nothing_of_its_own(trio):
    full = trio.followers[0]
    trio.process(full).disk.full = True
    trio.ask(full, Put(b"k", b"v"))
    assert trio.answered()
    assert trio.answers == [["OK"]]
    assert trio.run(2, lambda: trio.host(full).status().disk_full)


def test_a_node_alone_with_a_full_disk_reports_it():
    one = Trio(nodes=1)
    [id_] = one.nodes
    one.process(id_).disk.full = True
    one.ask(id_, Put(b"k", b"v"))
    assert one.run(2, lambda: not one.leaders())
    one.ask(id_, Put(b"k", b"v"))
    assert one.answered(2)
    assert sorted(type(a).__name__ for a in one.answers) == ["DiskFull", "Uncertain"]
    one.process(id_).disk.full = False
    assert one.run(5, lambda: one.leaders() == [id_])
    one.ask(id_, Increment(b"n", 1))
    assert one.answered(3)
    assert one.answers[2] == [1]


def test_a_key_is_gone_on_time_on_an_idle_cluster_on_every_node(trio):
    trio.ask(trio.leader, Put(b"k", b"v"), Expire(b"k", Expiry.RELATIVE, 3000))
    assert trio.answered()
    trio.run(2.5)
    for id_ in trio.nodes:
        trio.look(id_, b"k")
    assert trio.answered(4)
    trio.run(0.6)
    for id_ in trio.nodes:
        trio.look(id_, b"k")
    assert trio.answered(7)
    assert trio.answers[1:] == [b"v"] * 3 + [None] * 3


def test_during_a_transfer_readers_of_a_due_key_wait_and_the_leader_does_not_spin(trio):
    """The expiry may not be logged during a transfer, and without it no read is answered: nothing to do."""
    leader, [slow, _] = trio.leader, trio.followers
    trio.ask(leader, Set(b"k", b"v", expiry=Expiry.RELATIVE, expiry_ms=100))
    assert trio.answered()
    trio.isolate(slow)
    trio.group(leader).transfer_leadership(slow)
    trio.run(0.15)
    assert trio.group(leader).raft.state.transferring == slow
    trio.look(leader, b"k")
    steps = trio.world.steps
    assert not trio.answered(2, within=0.1)
    assert trio.world.steps < steps + 1_000
    assert trio.answered(2)
    assert trio.answers[1] is None


class Leased(Trio):
    """The leader, which holds a lease, and a follower that it cannot reach, the target of a transfer."""

    def __init__(self):
        super().__init__(lease_reads=True)
        self.first, self.slow = self.leader, self.followers[0]
        self.look_now()

    def look_now(self):
        self.answers.clear()
        self.look(self.first, b"k")
        assert self.answered(within=0.1)

    def hand_over(self):
        self.isolate(self.slow)
        self.group(self.first).transfer_leadership(self.slow)

    def reads(self):
        return [self.world.counts[f"read {kind} served"] for kind in ("read_index", "lease")]


def test_a_leader_gives_up_its_lease_before_a_transfer():
    """The successor is elected at once, and does not wait until the lease ends."""
    trio = Leased()
    trio.look_now()
    assert trio.reads() == [1, 1]
    trio.hand_over()
    trio.look_now()
    assert trio.group(trio.first).raft.state.transferring == trio.slow
    assert trio.reads() == [2, 1]


def test_a_round_begun_before_a_transfer_gives_no_lease_during_it():
    trio = Leased()
    trio.run(0.4)  # the lease is over
    trio.answers.clear()
    trio.look(trio.first, b"k")
    trio.run(0.0)
    trio.hand_over()
    assert trio.answered(within=0.1)
    trio.look_now()
    assert trio.group(trio.first).raft.state.transferring == trio.slow
    assert trio.reads() == [3, 0]


def test_a_restart_replays_the_log_before_it_serves(trio):
    for _ in range(40):
        trio.ask(trio.leader, Increment(b"n", 1))
    assert trio.answered(40)
    for id_ in list(trio.nodes):
        trio.nodes[id_].crash()
    for node in trio.nodes.values():
        node.start()
    assert trio.run(10, lambda: trio.known(3))
    trio.answers.clear()
    trio.look("K1", b"n")
    assert trio.answered()
    assert trio.answers == [b"40"]


def test_a_stopping_node_answers_its_clients_and_refuses_forwarded_writes(trio):
    leader = trio.leader
    trio.host(leader).refuse_peers()
    trio.ask(leader, Put(b"k", b"v"))
    trio.ask(trio.followers[0], Put(b"k", b"v"))
    assert trio.answered(2)
    assert [type(a) for a in trio.answers] == [list, Busy]


def test_abandon_answers_every_caller(trio):
    trio.isolate(trio.leader)
    trio.ask(trio.leader, Put(b"k", b"v"))
    trio.run(0.05)
    trio.ask(trio.leader, Put(b"k", b"v"))
    trio.look(trio.leader, b"k")
    trio.host(trio.leader).abandon()
    assert [type(a) for a in trio.answers] == [Stopping, Uncertain, NoLeader]


def test_a_write_that_the_link_does_not_take_is_sent_again_and_done_once(trio):
    """The queue of the link is full for one turn, then it has room."""
    follower = trio.followers[0]
    process = trio.process(follower)
    refused: list[str] = []
    send = process.send

    def full_once(peer, messages):
        if not refused and any(isinstance(m, Forward) for _, m in messages):
            refused.append(peer)
            return False
        return send(peer, messages)

    process.send = full_once
    trio.ask(follower, Increment(b"n", 1))
    assert trio.answered(within=1.0)
    assert refused == [trio.leader]
    assert trio.answers == [[1]]


def test_a_broken_invariant_ends_the_process(trio):
    """Two leaders in one term cannot be: a node that sees them stops before anything else happens."""
    follower = trio.followers[0]
    impostor = next(id_ for id_ in trio.followers if id_ != follower)
    term = trio.group(follower).raft.state.term
    with pytest.raises(Exception, match="a term has one leader"):
        trio.host(follower).peer_receiver.received(impostor, [(0, Append(term, 0, 0, 0, ()))])
    [reason] = trio.nodes[follower].failures
    assert "a term has one leader" in reason


def test_an_entry_that_cannot_be_applied_ends_the_process(trio):
    """Leaving it out would make this replica differ from the others."""
    leader = trio.leader
    trio.group(leader).state.machine.stamp = 1 << 60
    trio.world.after_step = lambda: None  # which would find that first
    trio.ask(leader, Put(b"k", b"v"))
    with pytest.raises(Exception, match="below the last one"):
        trio.answered()
    assert len(trio.nodes[leader].failures) == 1
    assert trio.answers == []


def test_every_refusal_is_a_refused():
    """The server distinguishes "certainly not done" from "unknown" by this."""
    assert all(issubclass(kind, Refused) for kind in (Busy, DiskFull, NoLeader, Stopping))
    assert not issubclass(Uncertain, Refused)


def test_nonsense_of_one_peer_does_not_stop_the_node(trio):
    """The link that brought it ends; the host goes on with its turns."""
    leader, follower = trio.leader, trio.followers[0]
    trio.ask(follower, Put(b"k", b"v"))
    sent = trio.group(follower).requests.writes.forwarding._forwarded
    assert trio.run(1.0, lambda: bool(sent))
    [request] = sent
    with pytest.raises(Exception, match=r"malformed|Invalid|truncated|Expected"):
        trio.host(follower).peer_receiver.received(leader, [(0, ForwardReply(request, DONE, b"\xc1"))])
    assert trio.nodes[follower].failures == []
    assert trio.answered()
    assert trio.answers == [["OK"]]


def test_the_first_write_long_after_an_election_is_stamped_with_the_time_of_the_write(trio):
    """The stamps of a term start from the clocks of its election, so they must start at the election."""
    trio.run(60)
    trio.ask(trio.leader, Put(b"k", b"v"))
    assert trio.run(1, lambda: trio.answers)
    stamp = trio.group(trio.leader).state.machine.stamp
    walls = [trio.process(i).clock.wall_ms() for i in (trio.leader, *trio.followers)]
    assert min(walls) - 1000 < stamp <= max(walls) + 1000


def test_an_election_that_waits_for_disks_tells_the_time_at_which_it_ends(trio):
    """The clock that comes with a vote is that of the moment in which the vote leaves."""
    for id_ in trio.followers:
        trio.process(id_).disk.slow = 5000.0
    trio.nodes[trio.leader].crash()
    begun = trio.world.now
    assert trio.run(120, lambda: trio.leaders(0))
    assert trio.world.now - begun > 5
    leader, wall = trio.group(trio.leader), trio.process(trio.leader).clock.wall_ms()
    assert wall - 500 < leader.requests.leader_clock.stamp() < wall + 500


def test_a_new_leader_serves_no_key_that_expired_before_its_election(trio):
    """The key is in an entry that is not applied yet when the first read arrives."""
    trio.ask(trio.leader, Set(b"k", b"v", expiry=Expiry.RELATIVE, expiry_ms=500))
    assert trio.run(1, lambda: trio.answers)
    assert trio.answers == [["OK"]]
    for node in trio.nodes.values():
        node.crash()
    trio.run(5)
    trio.answers.clear()
    for node in trio.nodes.values():
        node.start()
    for id_ in trio.nodes:
        trio.run(10, lambda id_=id_: 0 in trio.host(id_).groups)
        trio.look(id_, b"k")
    assert trio.run(10, lambda: len(trio.answers) == 3)
    assert trio.answers == [None, None, None]


def test_a_node_on_its_own_leads_without_waiting_for_silence():
    world = World(1)
    alone = SimulatedCluster(world, Weather(), nodes=1)
    alone.start()
    assert alone.run(0.1, lambda: alone.leaders() == ["K1"])


@pytest.mark.parametrize("hung", ["the leader", "the followers"])
def test_a_marker_is_not_repeated_while_one_waits_to_be_applied(trio, hung):
    """Nothing is committed, or the leader cannot apply it: one at every tick would fill the log."""
    leader = trio.leader
    group = trio.group(leader)
    done: list[object] = []
    for process in trio.processes():
        process.disk.hangs = (process.id == leader) == (hung == "the leader")
    for _ in range(5):
        group.checkpoint_wanted()
        assert group.take_checkpoint(done.append)
        trio.run(0.05)
    assert markers(group) == 1
    assert done == []
    for process in trio.processes():
        process.disk.hangs = False
    assert trio.run(10, lambda: len(done) == 5)
    trio.run(0.5)
    group.checkpoint_wanted()
    assert markers(group) == 1


def markers(group):
    """How many are logged and not applied."""
    log, applied = group.raft.state.log, group.raft.state.applied
    return sum(entry.kind == EntryKind.MARKER for entry in log.entries(applied + 1, log.last_index))
