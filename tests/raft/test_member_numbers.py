"""The numbers in the incarnations of members: their form, who gets one, and what is refused."""

import msgspec
import pytest

from kraft.raft import leader as leader_module
from kraft.raft.errors import ChangeRefused, InvariantViolation
from kraft.raft.membership import changes, joint
from kraft.raft.membership.configuration import Member
from kraft.raft.membership.replica_number import (
    UNNUMBERED,
    ReplicaNumber,
    any_replica,
    node_of,
    number_of,
    numbered,
)
from tests.raft.membership import change
from tests.raft.network import Cluster, Peer
from tests.raft.values import TRIO

NODE = "ab" * 16
K4 = Member("K4", "k4" * 16, "K4:1")


def replica(leader: Peer) -> Member:
    member = leader.state.configuration.member("K4")
    assert member is not None
    return member


def test_a_number_follows_the_incarnation_of_the_node():
    assert numbered(NODE, ReplicaNumber(3, 70)) == f"{NODE}#3.70"
    assert number_of(f"{NODE}#3.70") == ReplicaNumber(3, 70)
    assert node_of(f"{NODE}#3.70") == node_of(NODE) == NODE
    assert numbered(NODE, UNNUMBERED) == NODE
    assert number_of(NODE) == UNNUMBERED


@pytest.mark.parametrize(
    "text", ["#", "#3", "#3.", "#.3", "#0.3", "#3.0", "#03.4", "#3.4.5", "#3.-4", "# 3.4"]
)
def test_another_form_is_no_number(text):
    with pytest.raises(ValueError, match=r"no number|invalid literal"):
        number_of(NODE + text)


def test_numbers_compare_by_term_and_then_by_index():
    mixed = (
        ReplicaNumber(3, 50),
        ReplicaNumber(12, 1),
        UNNUMBERED,
        ReplicaNumber(3, 4),
        ReplicaNumber(2, 90),
    )
    assert [(each.term, each.index) for each in sorted(mixed)] == [(0, 0), (2, 90), (3, 4), (3, 50), (12, 1)]


def test_a_replica_has_the_place_of_the_entry_that_adds_it():
    cluster = Cluster(3, spare=("K4",))
    leader = cluster.elect("K1")
    place = leader.reconfigure(changes.replica_added(TRIO, K4))
    member = replica(leader)
    assert (member.number.index, member.number.term) == place
    assert (member.node, member.peer) == (K4.incarnation, K4.peer)
    assert leader.state.configuration.learners == ("K4",)
    assert leader.state.configuration.joining == ()


def test_each_replica_of_a_node_has_a_higher_number_and_one_place_among_the_retired():
    cluster = Cluster(3, learners=("K4",))
    leader = cluster.elect("K1")
    numbers = [UNNUMBERED]
    for _ in range(3):
        change(cluster, changes.replica_removed(leader.state.configuration, "K4"))
        assert leader.state.configuration.retired == (any_replica(K4.incarnation),)
        change(cluster, changes.replica_added(leader.state.configuration, K4))
        numbers.append(replica(leader).number)
    assert numbers == sorted(set(numbers))


def test_a_node_whose_replica_has_left_returns_only_with_a_number():
    gone = changes.replica_removed(changes.added(TRIO, K4), "K4")
    with pytest.raises(ChangeRefused, match="with a number only"):
        changes.added(gone, K4)
    assert changes.replica_added(gone, K4).learners == ("K4",)


def test_a_removed_node_does_not_return():
    """Not even with a number: a plan may be older than its removal."""
    gone = changes.removed(changes.added(TRIO, K4), "K4")
    for again in (changes.added, changes.replica_added):
        with pytest.raises(ChangeRefused, match="cannot return"):
            again(gone, K4)
    returned = msgspec.structs.replace(changes.replica_added(TRIO, K4), retired=gone.retired)
    assert "retired incarnation" in str(returned.fault())
    assert "was removed before" in joint.refusal(gone, returned, "K1", {}, ReplicaNumber(2, 3))


def test_a_node_has_one_replica_of_a_group():
    with pytest.raises(ChangeRefused, match="is a member already, a learner"):
        changes.replica_added(changes.replica_added(TRIO, K4), K4)
    with pytest.raises(ChangeRefused, match="copy of the data directory of K4"):
        changes.added(changes.replica_added(TRIO, K4), Member("K5", K4.incarnation, "K5:1"))


def test_a_replica_keeps_its_number_when_its_address_changes():
    cluster = Cluster(3, spare=("K4",))
    leader = cluster.elect("K1")
    change(cluster, changes.replica_added(TRIO, K4))
    number = replica(leader).number
    change(cluster, changes.readdressed(leader.state.configuration, "K4", "elsewhere:9"))
    assert replica(leader) == Member("K4", numbered(K4.incarnation, number), "elsewhere:9")


def test_the_number_of_another_entry_is_refused():
    leader = Cluster(3, spare=("K4",)).elect("K1")
    other = Member("K4", numbered(K4.incarnation, ReplicaNumber(1, 1)), K4.peer)
    with pytest.raises(ChangeRefused, match="the replica of K4 has the number of another entry"):
        leader.reconfigure(changes.added(TRIO, other, joining=False))


def test_a_leader_that_gives_another_number_is_caught(monkeypatch):
    leader = Cluster(3, spare=("K4",)).elect("K1")
    monkeypatch.setattr(leader_module, "ReplicaNumber", lambda term, index: ReplicaNumber(1, 1))
    with pytest.raises(InvariantViolation, match="the number of the entry that adds it"):
        leader.reconfigure(changes.replica_added(TRIO, K4))


@pytest.mark.parametrize(
    ("number", "fault"),
    [("#2.9", None), ("#1.9", None), ("#2.8", None), ("#3.8", "later"), ("#2.10", "later"), ("#", "invalid")],
)
def test_a_number_is_the_place_of_an_entry_up_to_the_one_that_has_it(number, fault):
    configuration = changes.added(TRIO, Member("K4", K4.incarnation + number, K4.peer), joining=False)
    for each in (configuration, msgspec.structs.replace(TRIO, target=configuration)):
        found = each.numbers_fault(9, 2)
        assert found is None if fault is None else fault in str(found)
