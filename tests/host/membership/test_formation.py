"""How a node with an empty directory becomes a member, and never forms a second cluster."""

from kraft.host.membership.formation import cluster_id
from kraft.peerwire.hello import Hello
from kraft.peerwire.messages import Invitation
from tests.host.membership.formations import formed, greet, hello, invitation, node, waiting


def test_a_cluster_forms_when_every_member_has_been_seen():
    k1, k2, k3 = node("K1"), node("K2"), node("K3")
    assert greet(k1, k2) is None
    assert k1.missing == ["K3"]
    assert greet(k1, k3) is not None
    assert k1.identity.cluster == cluster_id(k1.identity.members)


def test_every_member_forms_the_same_cluster():
    assert len({f.identity.cluster for f in formed()}) == 1
    assert len({f.identity.members for f in formed()}) == 1


def test_a_single_node_forms_at_once():
    alone = node("K1", wanted=frozenset({"K1"})).founding_identity()
    assert alone is not None
    assert [m.id for m in alone.members] == ["K1"]


def test_an_unformed_member_joins_the_cluster_that_lists_its_incarnation():
    k1, _, _ = formed()
    late = node("K2")
    assert greet(late, k1) is not None
    assert late.identity.cluster == k1.identity.cluster


def test_a_wiped_member_is_told_by_the_cluster_that_it_must_be_replaced():
    k1, _, _ = formed()
    wiped = node("K2", incarnation="f" * 32)
    assert "KRAFT REPLACE" in (wiped.disowned(hello(k1)) or "")
    assert "KRAFT REPLACE" in (k1.objection(hello(wiped)) or "")


def test_two_wiped_members_never_form_without_the_third():
    k1, k2 = node("K1", "a" * 32), node("K2", "b" * 32)
    assert greet(k1, k2) is None
    assert greet(k2, k1) is None
    assert not k1.formed


def test_members_of_different_clusters_do_not_talk():
    k1, _, _ = formed()
    other = node("K2", "f" * 32, wanted=frozenset({"K2"}))
    other.identity = other.founding_identity()
    assert "belongs to cluster" in (k1.objection(hello(other)) or "")


def test_a_stranger_is_refused_by_name():
    k1, _, _ = formed()
    assert "K9 is not a member" in (k1.objection(hello(node("K9"))) or "")
    assert "cluster.members" in (node("K1").objection(hello(node("K9"))) or "")


def test_two_nodes_with_one_id_refuse_each_other():
    assert "node.id" in (node("K1").objection(hello(node("K1", "c" * 32))) or "")


def test_a_forged_member_list_is_not_joined():
    k1, _, _ = formed()
    forged = hello(k1)
    late = node("K2")
    late.met(Hello(**{**{f: getattr(forged, f) for f in forged.__struct_fields__}, "cluster": "0" * 32}))
    assert not late.formed


def test_a_member_without_a_link_does_not_count_as_met():
    """K1 and K2 formed a cluster without K3, then K2 lost its directory: K3 must not form with K2."""
    k1, k2, k3 = node("K1"), node("K2"), node("K3")
    greet(k3, k1)
    greet(k1, k3)
    k3.lost("K1")
    greet(k1, k2)
    assert k1.formed

    emptied = node("K2", incarnation="e" * 32)
    assert greet(k3, emptied) is None
    assert k3.missing == ["K1"]
    greet(k3, k1)
    assert k3.identity.cluster == k1.identity.cluster
    assert k3.objection(hello(emptied)) is not None


def test_a_formed_member_forgets_no_other_member():
    k1, _, _ = formed()
    members = k1.members
    k1.lost("K2")
    assert k1.members == members


def test_a_node_in_standby_forms_no_cluster_and_waits_for_one():
    k4 = waiting("K4")
    assert k4.founding_identity() is None
    assert k4.missing == []
    assert "in standby" in (k4.objection(hello(node("K1"))) or "")
    k1, _, _ = formed()
    assert greet(k4, k1) is None
    assert not k4.formed


def test_a_cluster_lets_a_node_in_standby_greet_and_no_other_stranger():
    k1, _, _ = formed()
    assert k1.objection(hello(waiting("K4"))) is None
    assert "KRAFT ADD K9 K9:1" in (k1.objection(hello(node("K9"))) or "")


def test_an_invitation_makes_it_a_member_of_that_cluster():
    k1, _, _ = formed()
    k4 = waiting("K4")
    identity = k4.invited(invitation(k1))
    assert identity is not None
    assert (identity.cluster, identity.members) == (k1.identity.cluster, k1.identity.members)
    assert (identity.id, identity.incarnation) == ("K4", k4.identity.incarnation)

    k4.identity = identity
    assert k4.invited(invitation(k1)) is None
    assert k1.objection(hello(k4)) is None
    assert k4.objection(hello(k1)) is None


def test_an_invitation_that_contradicts_itself_is_not_followed():
    k1, _, _ = formed()
    assert waiting("K4").invited(Invitation("0" * 32, k1.identity.members, 1)) is None
    assert waiting("K4").invited(Invitation(cluster_id(()), (), 1)) is None


def test_a_member_never_follows_an_invitation():
    k1, _, _ = formed()
    other = node("K9", wanted=frozenset({"K9"}))
    other.identity = other.founding_identity()
    assert k1.invited(invitation(other)) is None


def test_the_objection_to_an_introduced_node_is_remembered():
    k1, _, _ = formed()
    other = node("K4", wanted=frozenset({"K4"}))
    other.identity = other.founding_identity()
    k1.introduce("K4")
    k1.objection(hello(other))
    assert "belongs to cluster" in k1.objections["K4"]
    k1.dismiss("K4")
    assert k1.objections == {}


def test_a_node_that_refuses_the_leader_that_adds_it_is_objected_to_as_well():
    """The reason of the leader names both clusters, and comes first in the answer."""
    k1, _, _ = formed()
    other = node("K4", wanted=frozenset({"K4"}))
    other.identity = other.founding_identity()
    k1.introduce("K4")
    assert k1.refused(hello(other), other.objection(hello(k1)) or "") is None
    assert "K4 belongs to cluster" in k1.objections["K4"]


def test_a_wiped_member_is_heard_only_while_it_is_re_admitted():
    k1, _, _ = formed()
    wiped = waiting("K2", "f" * 32)
    assert "KRAFT REPLACE K2 K2 K2:1" in (k1.objection(hello(wiped)) or "")
    assert wiped.disowned(hello(k1)) is None
    k1.introduce("K2")
    assert k1.objection(hello(wiped)) is None
    k1.dismiss("K2")
    assert k1.objection(hello(wiped)) is not None
