"""How an empty directory becomes a member, and never a second cluster."""

from kraft.host.formation import Formation, cluster_id
from kraft.host.ports import Identity
from kraft.peerwire.hello import Hello

ALL = frozenset({"K1", "K2", "K3"})


def node(id_, incarnation=None, wanted=ALL):
    return Formation(Identity(id_, incarnation or id_ * 16), f"{id_}:1", wanted)


def hello(formation):
    identity = formation.identity
    return Hello(
        id=identity.id,
        incarnation=identity.incarnation,
        cluster=identity.cluster,
        members=identity.members,
        peer=formation.address,
    )


def greet(formation, other):
    """Take the greeting as a host does; becomes durable at once."""
    assert formation.objection(hello(other)) is None
    identity = formation.met(hello(other))
    if identity is not None:
        formation.identity = identity
    return identity


def formed():
    k1, k2, k3 = node("K1"), node("K2"), node("K3")
    for one in (k1, k2, k3):
        for other in (k1, k2, k3):
            if one is not other and not one.formed:
                greet(one, other)
    return k1, k2, k3


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
    alone = node("K1", wanted=frozenset({"K1"})).alone()
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
    other = node("K2", wanted=frozenset({"K2"}))
    other.identity = other.alone()
    assert "belongs to cluster" in (k1.objection(hello(other)) or "")


def test_a_stranger_is_refused_by_name():
    k1, _, _ = formed()
    assert "K9 is not a member" in (k1.objection(hello(node("K9"))) or "")
    assert "cluster.members" in (node("K1").objection(hello(node("K9"))) or "")


def test_two_nodes_with_one_id_are_told_so():
    assert "node.id" in (node("K1").objection(hello(node("K1", "c" * 32))) or "")


def test_a_forged_member_list_is_not_joined():
    k1, _, _ = formed()
    forged = hello(k1)
    late = node("K2")
    late.met(Hello(**{**{f: getattr(forged, f) for f in forged.__struct_fields__}, "cluster": "0" * 32}))
    assert not late.formed


def test_who_was_met_long_ago_does_not_count():
    """K1 and K2 formed without K3 hearing of it, then K2 lost its directory: K3 must not form with it."""
    k1, k2, k3 = node("K1"), node("K2"), node("K3")
    greet(k3, k1)
    greet(k1, k3)
    k3.lost("K1")
    greet(k1, k2)
    assert k1.formed

    emptied = node("K2", incarnation="e" * 32)
    assert k3.met(hello(emptied)) is None
    assert k3.missing == ["K1"]
    greet(k3, k1)
    assert k3.identity.cluster == k1.identity.cluster
    assert k3.objection(hello(emptied)) is not None


def test_a_member_that_formed_forgets_nobody():
    k1, _, _ = formed()
    members = k1.members
    k1.lost("K2")
    assert k1.members == members
