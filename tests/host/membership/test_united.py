"""The members of all groups as one configuration, while the groups change one after the other."""

from msgspec.structs import replace

from kraft.host.membership.united import united
from kraft.raft.membership import changes
from kraft.raft.membership.configuration import NOBODY, Configuration, Member

K1, K2, K3, K4 = (Member(f"K{i}", f"{i}" * 32, f"h:{i}") for i in range(1, 5))
THREE = Configuration.of_voters((K1, K2, K3))


def test_one_group_is_taken_as_it_is():
    assert united({0: THREE}) is THREE
    assert united({0: NOBODY}) is NOBODY
    assert united({}) is NOBODY


def test_a_member_of_any_group_is_one():
    more = changes.added(THREE, K4)
    assert united({0: more, 1: THREE}).members == (K1, K2, K3, K4)
    assert united({0: THREE, 1: more}).member("K4") == K4


def test_who_left_group_0_only_is_not_retired():
    fewer = changes.removed(THREE, "K3")
    assert fewer.retired == (K3.incarnation,)
    assert united({0: fewer, 1: THREE}).retired == ()
    assert united({0: fewer, 1: fewer}).retired == (K3.incarnation,)
    assert united({0: fewer, 1: fewer}).members == (K1, K2)


def test_a_replica_with_a_number_counts_as_its_node():
    """Its node may have left the group before, and is retired in it since."""
    moved = Configuration((K1, K2, Member("K3", f"{K3.incarnation}#2.7", K3.peer)), ("K1", "K2"), ("K3",))
    moved = replace(moved, retired=(f"{K3.incarnation}#",))
    assert united({0: THREE, 1: moved}).members == (K1, K2, K3)
    assert united({0: moved}).member("K3") == K3
    assert united({0: moved, 1: THREE}).retired == ()


def test_group_0_decides_which_directory_an_id_has():
    """As a greeting of the node with the new one must be accepted."""
    anew = Member("K3", "f" * 32, "h:3")
    replaced = changes.replaced(THREE, "K3", anew)
    assert united({0: replaced, 1: THREE}).member("K3") == anew
    assert united({0: replaced, 1: THREE}).retired == ()


def test_a_group_that_knows_no_members_yet_says_nothing():
    assert united({0: NOBODY, 1: THREE}) is THREE


def test_the_target_of_a_joint_configuration_counts():
    joint = replace(THREE, target=changes.replaced(THREE, "K3", K4))
    assert {member.id for member in united({0: joint, 1: THREE}).members} == {"K1", "K2", "K3", "K4"}
