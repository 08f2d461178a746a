"""The number of groups: founders agree on it, and whoever joins takes it."""

import pytest
from msgspec.structs import replace

from kraft.host.membership.formation import Formation, cluster_id
from kraft.node.values import Identity
from kraft.raft.membership.configuration import Member
from tests.host.membership.formations import ALL, formed, greet, hello, invitation, node, waiting

FOUNDERS = (Member("K1", "a" * 32, "10.0.0.1:10001"), Member("K2", "b" * 32, "10.0.0.2:10001"))


def founder(id_, groups):
    formation = node(id_)
    formation.wanted_groups = groups
    return formation


def formed_with(groups):
    trio = [founder(id_, groups) for id_ in ("K1", "K2", "K3")]
    for one in trio:
        for other in trio:
            if one is not other and not one.formed:
                greet(one, other)
    return trio


def test_one_group_leaves_the_cluster_id_as_it_was():
    """Nodes of the release before there were groups have made the same id of the same members."""
    assert cluster_id(FOUNDERS) == cluster_id(FOUNDERS, 1) == "9274da2faa84ab2594a7cd505a11f760"


def test_the_number_is_a_part_of_the_cluster_id():
    assert len({cluster_id(FOUNDERS, groups) for groups in (1, 2, 3, 128)}) == 4


def test_founders_with_one_number_form_a_cluster_of_so_many_groups():
    k1, k2, k3 = formed_with(3)
    assert {each.identity.cluster for each in (k1, k2, k3)} == {cluster_id(k1.identity.members, 3)}
    assert [each.groups for each in (k1, k2, k3)] == [3, 3, 3]


def test_a_founder_with_another_number_is_refused_by_name():
    three, one = founder("K1", 3), founder("K2", 1)
    assert three.objection(hello(one)) == (
        "K2 is configured to form a cluster of 1 group, K1 one of 3 groups: write the same cluster.groups in "
        "the files of all founders"
    )
    assert "K1 is configured to form a cluster of 3 groups, K2 one of 1 group" in one.objection(hello(three))


@pytest.mark.parametrize("is_formed", [False, True])
def test_an_earlier_program_is_refused_where_there_are_several_groups(is_formed):
    k1 = formed_with(3)[0] if is_formed else founder("K1", 3)
    earlier = replace(hello(formed_with(3)[1] if is_formed else founder("K2", 1)), groups=0)
    assert k1.objection(earlier) == (
        "K2 runs an earlier version of kraft, which knows one group only, and there are 3 here: install this "
        "version on it"
    )


def test_an_earlier_program_is_welcome_where_there_is_one_group():
    assert node("K1").objection(replace(hello(node("K2")), groups=0)) is None
    k1, k2, _ = formed()
    assert k1.objection(replace(hello(k2), groups=0)) is None


def test_a_node_that_is_added_takes_the_number_of_the_cluster():
    k4 = waiting("K4")
    identity = k4.invited(invitation(formed_with(3)[0]))
    assert identity is not None
    assert identity.groups == 3
    assert k4.invited(replace(invitation(formed_with(3)[0]), groups=2)) is None, "the id is that of 3 groups"


def test_a_late_founder_takes_the_number_of_the_cluster_from_a_greeting():
    k1, k2, k3 = (founder(id_, 3) for id_ in ("K1", "K2", "K3"))
    for one, other in ((k1, k2), (k1, k3), (k2, k1), (k2, k3)):
        greet(one, other)
    late = Formation(k3.identity, k3.address, ALL, wanted_groups=5)
    identity = greet(late, k1)
    assert identity is not None
    assert (identity.cluster, identity.groups) == (k1.identity.cluster, 3)
    assert late.unused_groups == "cluster.groups counts only when a cluster forms: this one has 3 groups"


@pytest.mark.parametrize(("wanted", "is_founder", "told"), [
    (3, True, False), (1, True, True), (5, True, True), (1, False, False), (5, False, True),
])  # fmt: skip
def test_another_number_in_the_file_of_a_formed_node_is_told(wanted, is_founder, told):
    """A node that was added need not have the option."""
    identity = Identity("K1", "a" * 32 if is_founder else "c" * 32, cluster_id(FOUNDERS, 3), FOUNDERS, 3)
    formation = Formation(identity, "10.0.0.1:10001", frozenset(), wanted_groups=wanted)
    assert bool(formation.unused_groups) == told
    assert formation.groups == 3
