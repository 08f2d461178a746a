"""Replicas that are destroyed when their node leaves a group, and begin anew when it comes back."""

from functools import partialmethod
from itertools import pairwise

import pytest

from kraft.host.replica_numbers import ReplicaNumbers
from kraft.host.replicas import Replicas
from kraft.peerwire.messages import Digest, MembershipQuestion, Numbered
from kraft.raft.membership import changes
from kraft.raft.membership.configuration import Member
from kraft.raft.membership.replica_number import UNNUMBERED, ReplicaNumber
from kraft.raft.messages import Append, AppendReply, Heartbeat, VoteReply
from tests.host.returning import GROUP, Returning


@pytest.fixture(params=["plain", "real"])
def scene(request):
    scene = Returning(disks=request.param)
    scene.put(b"before")
    return scene


def is_gone(scene, id_="K3"):
    """Whether the directory of a node has no replica of the group any more."""
    durable = scene.nodes[id_].durable
    return GROUP in durable.replicas and not durable.replicas[GROUP].held


def leave(scene, id_="K3"):
    scene.remove(id_)
    assert scene.run(10, lambda: is_gone(scene, id_))


def come_back(scene, id_="K3"):
    scene.add(id_)
    assert scene.run(20, lambda: scene.same("K1", id_))


def member(scene, id_="K3"):
    return scene.replica("K1").raft.state.configuration.member(id_)


def test_a_replica_is_destroyed_when_its_node_has_left_the_group(scene):
    leave(scene)
    scene.put(b"without")
    assert scene.replica("K1").raft.state.configuration.voters == ("K1", "K2")
    assert set(scene.host("K3").groups) == {0, 2}
    assert scene.nodes["K3"].durable.replicas[GROUP].number == UNNUMBERED


def test_no_leader_is_sought_for_a_replica_that_has_left(scene):
    """A better leader may have been waited for."""
    scene.host("K3")._spread._able_since[GROUP] = 0.0
    leave(scene)
    scene.run(2)
    assert GROUP not in scene.host("K3")._spread._able_since


def test_it_comes_back_with_a_number_and_gets_the_whole_log(scene):
    leave(scene)
    scene.put(b"without")
    come_back(scene)
    assert scene.replica("K3").numbers.own == member(scene).number > UNNUMBERED
    scene.promote("K3")
    scene.put(b"after")
    assert scene.run(10, lambda: scene.same("K1", "K2", "K3"))
    assert scene.keys("K3") == [b"after", b"before", b"without"]


def test_it_leads_and_is_led_with_its_number(scene):
    leave(scene)
    come_back(scene)
    scene.promote("K3")
    scene.pass_on("K3")
    scene.put(b"led by K3")
    scene.pass_on("K1")
    scene.put(b"led by K1")
    assert scene.run(10, lambda: scene.same("K1", "K2", "K3"))


def test_it_comes_back_by_a_snapshot(scene):
    for number in range(60):
        scene.put(b"key %d" % number)
    assert scene.run(30, lambda: scene.replica("K1").raft.state.log.base.index > 20)
    leave(scene)
    come_back(scene)
    assert len(scene.keys("K3")) == 61
    assert scene.run(30, lambda: scene.replica("K3").checkpoints.last is not None)
    restart(scene)
    assert scene.run(20, lambda: scene.same("K1", "K3"))


def restart(scene, id_="K3"):
    scene.nodes[id_].crash()
    scene.nodes[id_].start()
    assert scene.run(20, lambda: scene.nodes[id_].process is not None and scene.process(id_).ready)


def test_a_start_finds_what_was_destroyed_and_what_was_begun(scene):
    leave(scene)
    restart(scene)
    assert set(scene.host("K3").groups) == {0, 2}
    come_back(scene)
    number = member(scene).number
    restart(scene)
    assert scene.replica("K3").numbers.own == number
    scene.promote("K3")
    assert scene.run(20, lambda: scene.same("K1", "K2", "K3"))


def test_each_time_it_comes_back_it_is_another_replica(scene):
    numbers = [UNNUMBERED]
    for _ in range(3):
        leave(scene)
        come_back(scene)
        scene.promote("K3")
        numbers.append(scene.replica("K3").numbers.own)
    assert numbers == sorted(set(numbers))


def test_a_replica_that_was_away_asks_and_is_told(scene):
    """Longer than a leader tells a removed member by itself."""
    scene.nodes["K3"].crash()
    scene.remove("K3")
    scene.run(30)
    scene.nodes["K3"].start()
    assert scene.run(30, lambda: is_gone(scene))


def test_replicas_that_have_no_leader_take_turns_to_ask(monkeypatch):
    """Many groups may be without a leader at once: each asks rarely, and no two of few ask together."""
    scene = Returning()
    asked = []
    monkeypatch.setattr(ReplicaNumbers, "is_lost", lambda *_: True)
    answered = partialmethod(lambda _, group, peer, __: asked.append((scene.world.now, group, peer)))
    monkeypatch.setattr(Replicas, "asked", answered)
    scene.run(16)
    times = {group: [at for at, about, peer in asked if (about, peer) == (group, "K3")] for group in (1, 2)}
    for at in times.values():
        at = at[::2]  # both of the others hear it
        assert len(at) >= 3
        assert min(later - earlier for earlier, later in pairwise(at)) > 4.5
    assert not set(times[1]) & set(times[2])


def test_a_leader_of_before_dismisses_no_replica_that_was_added_since():
    """It has slept through the election of another one, and does not know yet that it leads no more."""
    scene = Returning(nodes=5)
    leave(scene, "K5")
    clock = scene.process("K1").clock
    clock.pause()
    scene.network.block([(id_, "K1") for id_ in ("K2", "K3", "K4")])
    assert scene.run(20, lambda: scene.group_leader() != "K1")
    scene.put(b"without", via="K2")
    scene.add("K5")
    assert scene.run(20, lambda: scene.replica("K5") is not None)
    number = scene.replica("K5").numbers.own
    clock.resume()
    assert scene.replica("K1").raft.state.leads_with_commit
    deliver(scene, "K1", "K5", MembershipQuestion(number))
    scene.run(0.3)
    scene.network.unblock([(id_, "K1") for id_ in ("K2", "K3", "K4")])
    assert scene.run(20, lambda: scene.same("K1", "K5"))
    assert scene.replica("K5").numbers.own == number


def test_a_replica_that_was_away_while_a_new_one_was_added_is_destroyed_for_it(scene):
    scene.nodes["K3"].crash()
    scene.remove("K3")
    identity = scene.nodes["K3"].durable.identity
    scene.add_node("K3", identity.incarnation)
    scene.put(b"without")
    scene.nodes["K3"].start()
    assert scene.run(30, lambda: scene.same("K1", "K3"))
    assert scene.replica("K3").numbers.own == member(scene).number
    assert scene.keys("K3") == [b"before", b"without"]


def test_a_replica_stays_as_long_as_its_removal_is_not_committed():
    """K3 learns of it, and the leader loses its place before a majority does."""
    scene = Returning(nodes=5)
    scene.change(lambda now: changes.demoted(now, "K3"))
    scene.put(b"before")
    cut = [(a, b) for a in ("K1", "K3") for b in ("K2", "K4", "K5")]
    scene.network.block([*cut, *((b, a) for a, b in cut)])
    raft = scene.replica("K1").raft
    scene.wake("K1")
    raft.reconfigure(changes.replica_removed(raft.state.configuration, "K3"))
    scene.host("K1")._turns.wake(GROUP)
    assert scene.run(1, lambda: scene.replica("K3").raft.state.configuration.member("K3") is None)
    scene.run(3)
    assert GROUP in scene.host("K3").groups
    scene.network.unblock([*cut, *((b, a) for a, b in cut)])
    assert scene.run(30, lambda: scene.group_leader() is not None)
    scene.put(b"after", via="K2")
    assert scene.run(20, lambda: scene.same("K1", "K2", "K3"))


def deliver(scene, to, sender, message):
    scene.host(to).peer_receiver.received(sender, [(GROUP, message)])


def test_late_answers_of_the_earlier_replica_do_not_count(scene):
    leave(scene)
    scene.nodes["K3"].crash()
    scene.add_node("K3", scene.nodes["K3"].durable.identity.incarnation)
    scene.put(b"without")
    scene.wake("K1")
    state = scene.replica("K1").raft.state
    for late in (AppendReply(state.term, state.log.last_index), VoteReply(state.term, True, 0)):
        for told in (late, Numbered(late, UNNUMBERED, ReplicaNumber(1, 1))):
            deliver(scene, "K1", "K3", told)
    [progress] = [each for each in scene.replica("K1").raft.progress() if each.peer == "K3"]
    assert progress.match == 0


def test_a_late_answer_does_not_count_for_the_first_replica_with_a_number():
    """It comes before the turn in which the leader's host hears of the entry that adds that one."""
    scene = Returning()
    leave(scene)
    node = scene.nodes["K3"]
    scene.wake("K1")
    raft = scene.replica("K1").raft
    other = Member("K3", node.durable.identity.incarnation, node.config.peer.advertise)
    raft.reconfigure(changes.replica_added(raft.state.configuration, other))
    deliver(scene, "K1", "K3", AppendReply(raft.state.term, raft.state.log.last_index))
    assert [each.match for each in raft.progress() if each.peer == "K3"] == [0]


def test_late_requests_for_the_earlier_replica_begin_nothing(scene):
    leave(scene)
    come_back(scene)
    first = member(scene).number
    leave(scene)
    term = scene.replica("K1").raft.state.term
    for told in (Heartbeat(term, 0, 0), Append(term, 0, 0, 0, ())):
        deliver(scene, "K3", "K1", told)
        deliver(scene, "K3", "K1", Numbered(told, first, UNNUMBERED))
    scene.run(2)
    assert is_gone(scene)
    restart(scene)
    deliver(scene, "K3", "K1", Numbered(Heartbeat(term, 0, 0), first, UNNUMBERED))
    scene.run(2)
    assert is_gone(scene)


def test_late_requests_for_the_earlier_replica_are_not_taken_by_the_new_one(scene):
    leave(scene)
    come_back(scene)
    state = scene.replica("K3").raft.state
    late = Heartbeat(state.term + 5, 0, 0)
    deliver(scene, "K3", "K2", late)
    deliver(scene, "K3", "K2", Numbered(late, ReplicaNumber(1, 1), UNNUMBERED))
    assert (state.term, state.leader) == (late.term - 5, "K1")


def test_an_answer_begins_nothing(scene):
    leave(scene)
    later = ReplicaNumber(9, 99)
    deliver(scene, "K3", "K1", Numbered(AppendReply(9, 5), later, UNNUMBERED))
    deliver(scene, "K3", "K1", Numbered(Digest(5, bytes(16)), later, UNNUMBERED))
    scene.run(2)
    assert is_gone(scene)


def test_requests_that_wait_are_answered_when_the_replica_leaves(scene):
    scene.host("K3").read(GROUP, scene.answers.append)
    scene.answers.clear()
    scene.remove("K3")
    for _ in range(20):
        scene.host("K3").read(GROUP, scene.answers.append)
        scene.run(0.1)
    assert scene.answered(20, within=20)


def test_a_removed_node_keeps_a_replica_with_a_number(scene):
    """All groups remove it, one after the other."""
    leave(scene)
    come_back(scene)
    scene.change(lambda now: changes.removed(now, "K3"))
    scene.run(5)
    assert GROUP in scene.host("K3").groups


def test_a_removed_node_keeps_its_data(scene):
    """Its group 0 is gone as well: who leaves the cluster has nothing to come back to."""
    for group in (1, 2, 0):
        scene.change(lambda now: changes.removed(now, "K3"), group)
    scene.run(20)
    process = scene.nodes["K3"].process
    assert process is None or set(process.host.groups) == {0, 1, 2}
    assert scene.nodes["K3"].durable.replicas == {}


def test_a_leader_with_a_number_brings_a_follower_that_has_not_heard_of_it():
    """The leader was added while the follower was away, and whoever added it has left."""
    scene = Returning()
    leave(scene, "K2")
    scene.change(lambda now: changes.demoted(now, "K3"))
    scene.put(b"before")
    assert scene.run(10, lambda: scene.same("K1", "K3"))
    away = [pair for peer in ("K1", "K2") for pair in (("K3", peer), (peer, "K3"))]
    scene.network.block(away)
    scene.add("K2")
    scene.promote("K2")
    scene.pass_on("K2")
    leave(scene, "K1")
    scene.network.unblock(away)
    assert scene.run(30, lambda: scene.same("K2", "K3"))


def test_a_replica_that_catches_up_from_a_later_leader_stays():
    """The leader that added it is gone, and its log has not come to the entry that adds it yet."""
    scene = Returning(checkpoint_entries=1 << 30)
    leave(scene)
    for n in range(40):
        scene.put(b"k%d" % n, b"v" * 20000)
    incarnation = scene.host("K3").peers.formation.identity.incarnation
    away = [pair for peer in ("K1", "K2") for pair in (("K3", peer), (peer, "K3"))]
    scene.network.block(away)
    scene.add_node("K3", incarnation)
    scene.pass_on("K2")
    scene.network.unblock(away)
    for peer in ("K1", "K2"):
        scene.network.narrow((peer, "K3"), 100_000)

    def catching_up():
        replica = scene.replica("K3")
        return replica is not None and 0 < replica.raft.state.commit < replica.numbers.own.index

    assert scene.run(20, catching_up)
    assert scene.run(60, lambda: (replica := scene.replica("K3")) is not None and replica.numbers.is_member)
