"""How a node with an empty directory becomes a member, and never forms a second cluster."""

from msgspec.structs import replace

from kraft.host.membership.formation import Formation, cluster_id
from kraft.host.membership.machine_version import MachineVersion
from kraft.node.values import Identity
from kraft.peerwire.hello import Hello
from kraft.peerwire.messages import Invitation
from kraft.raft.membership import changes
from kraft.raft.membership.configuration import Configuration, Member

ALL = frozenset({"K1", "K2", "K3"})


def node(id_, incarnation=None, wanted=ALL, standby=False):
    return Formation(Identity(id_, incarnation or id_ * 16), f"{id_}:1", wanted, standby)


def waiting(id_, incarnation=None):
    """A node in standby."""
    return node(id_, incarnation, frozenset({id_}), standby=True)


def hello(formation, starts=1, session=7):
    identity = formation.identity
    return Hello(
        id=identity.id,
        incarnation=identity.incarnation,
        cluster=identity.cluster,
        members=identity.members,
        peer=formation.address,
        starts=starts,
        session=session,
        standby=formation.standby,
    )


def greet(formation, other):
    """Take the greeting as a host does; a new identity is durable at once."""
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
    assert k3.met(hello(emptied)) is None
    assert k3.missing == ["K1"]
    greet(k3, k1)
    assert k3.identity.cluster == k1.identity.cluster
    assert k3.objection(hello(emptied)) is not None


def test_a_formed_member_forgets_no_other_member():
    k1, _, _ = formed()
    members = k1.members
    k1.lost("K2")
    assert k1.members == members


# Standby, and being added


def invitation(formation):
    return Invitation(formation.identity.cluster, formation.identity.members, 1)


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


# The members in force


def with_change(formation, change, *args):
    base = formation.current
    if not base.members:
        base = Configuration.of_voters(formation.identity.members)
    formation.current = change(base, *args)


def test_the_members_in_force_count_instead_of_the_founders():
    k1, _, _ = formed()
    k4 = waiting("K4")
    with_change(k1, changes.added, Member("K4", k4.identity.incarnation, "K4:1"))
    assert [m.id for m in k1.members] == ["K1", "K2", "K3", "K4"]
    unformed = Formation(k4.identity, "K4:1", frozenset({"K4"}))
    assert k1.objection(hello(unformed)) is None


def test_an_unknown_member_of_the_same_cluster_is_believed():
    """The list of members here may be outdated, and the peer proved that it is of the same cluster."""
    k1, _, _ = formed()
    k4, other_k2 = waiting("K4"), waiting("K2", "f" * 32)
    for new in (k4, other_k2):
        new.identity = new.invited(invitation(k1))
        assert k1.objection(hello(new)) is None


def test_a_removed_node_and_its_peers_name_the_way_back():
    k1, k2, _ = formed()
    with_change(k1, changes.removed, "K2")
    told = k1.objection(hello(k2)) or ""
    assert "K2 was removed from the cluster" in told
    assert "wipe its data directory" in told
    assert "KRAFT ADD K2" in told

    assert k2.removed == ""
    with_change(k2, changes.removed, "K2")
    assert "wipe its data directory" in k2.removed


def test_a_node_that_slept_while_it_was_replaced_is_refused():
    """Both belong to the cluster, but its directory was replaced by another one."""
    k1, k2, _ = formed()
    with_change(k1, changes.replaced, "K2", Member("K2", "f" * 32, "K2:1"))
    assert "was removed" in (k1.objection(hello(k2)) or "")
    assert k1.objection(hello(waiting("K2", "f" * 32))) is None


# A cluster that was recovered from one of its members (kraft recover)


def recovered(formation, mark="e" * 32):
    """The node after `kraft recover`: the other members are retired, and the founder is no real node."""
    mine = formation.identity
    others = [m.incarnation for m in formation.members if m.id != mine.id]
    founder = Member(mine.id, mark, formation.address)
    new = Formation(
        Identity(mine.id, mine.incarnation, cluster_id((founder,)), (founder,)), formation.address, ALL
    )
    alone = Configuration.of_voters((Member(mine.id, mine.incarnation, formation.address),))
    new.current = Configuration(alone.members, alone.voters, retired=tuple(sorted(others)))
    return new


def test_a_recovered_node_neither_waits_for_the_members_of_its_file_nor_forms_again():
    k1 = recovered(formed()[0])
    assert k1.formed
    assert k1.founding_identity() is None
    assert [m.id for m in k1.members] == ["K1"]
    assert k1.removed == ""


def test_members_of_the_old_cluster_and_a_recovered_node_refuse_each_other():
    old_k1, k2, _ = formed()
    k1 = recovered(old_k1)
    told = k1.objection(hello(k2)) or ""
    assert "K2 is of the cluster that this one was recovered from: wipe its data directory" in told
    assert "KRAFT ADD K2" in told

    told = k2.objection(hello(k1)) or ""
    assert "K1 was recovered without K2" in told
    assert "wipe the data directory of K2" in told
    assert "KRAFT ADD K2 K2:1" in told
    assert k2.members == old_k1.members


def test_a_founder_of_the_old_cluster_that_never_formed_does_not_join_the_recovered_one():
    k1 = recovered(formed()[0])
    late = node("K2")
    assert "K2 was removed" in (k1.objection(hello(late)) or "")
    assert late.disowned(hello(k1)) is None
    assert late.met(hello(k1)) is None
    assert not late.formed


def test_an_old_unformed_copy_of_the_recovered_node_does_not_take_itself_for_its_founder():
    """Else it would begin a log of its own, in the place of one that exists already."""
    k1 = recovered(formed()[0])
    k4 = waiting("K4")
    k4.identity = k4.invited(invitation(k1))
    copy = node("K1", wanted=frozenset({"K1", "K4"}))
    assert "with another data directory" in (copy.disowned(hello(k4)) or "")
    assert copy.met(hello(k4)) is None


def test_a_wiped_node_is_added_to_a_recovered_cluster_like_to_any_other():
    k1 = recovered(formed()[0])
    k2 = waiting("K2", "f" * 32)
    assert k1.objection(hello(k2)) is None
    k2.identity = k2.invited(invitation(k1))
    assert k1.objection(hello(k2)) is None
    assert k2.objection(hello(k1)) is None


# A directory put back, or running twice


def test_an_old_copy_of_a_directory_is_refused():
    k1, k2, _ = formed()
    assert k1.objection(hello(k2, starts=5)) is None
    k1.met(hello(k2, starts=5))
    told = k1.objection(hello(k2, starts=4, session=8)) or ""
    assert "old copy" in told
    assert "KRAFT REPLACE K2 K2 K2:1" in told


def test_the_same_start_twice_is_a_copy_and_a_second_link_of_one_start_is_not():
    k1, k2, _ = formed()
    k1.met(hello(k2, starts=5, session=1))
    assert k1.objection(hello(k2, starts=5, session=1)) is None
    assert "runs twice" in (k1.objection(hello(k2, starts=5, session=2)) or "")
    assert k1.objection(hello(k2, starts=6, session=2)) is None


def test_another_directory_counts_its_own_starts():
    k1, k2, _ = formed()
    k1.met(hello(k2, starts=5))
    fresh = waiting("K2", "f" * 32)
    k1.introduce("K2")
    assert k1.objection(hello(fresh, starts=1)) is None


def versioned(formation, lowest, highest):
    """The greeting of a node that has `lowest` in force and supports `highest`."""
    return replace(hello(formation), machine_min=lowest, machine_max=highest)


class TestMachineVersions:
    """Formed nodes refuse a peer that is too old; a node that is itself too old must not go on."""

    def test_any_version_will_do_until_one_is_raised(self):
        k1, k2, _ = formed()
        assert k1.objection(versioned(k2, 1, 1)) is None
        assert k1.outdated(versioned(k2, 1, 99)) is None

    def test_a_peer_below_the_version_in_force_is_refused(self):
        k1, k2, _ = formed()
        k1.version.in_force = 2
        assert k1.objection(versioned(k2, 1, 2)) is None
        assert k1.objection(versioned(k2, 1, 1)) == (
            "K2 supports machine version 1, but version 2 is in force in the cluster: "
            "install a newer kraft on K2"
        )

    def test_an_old_node_to_be_added_hears_why_not(self):
        k1, _, _ = formed()
        k1.version.in_force = 2
        k1.introduce("K4")
        assert "install a newer kraft on K4" in k1.objection(versioned(waiting("K4"), 1, 1))
        assert "install a newer kraft on K4" in k1.objections["K4"]

    def test_a_node_that_is_too_old_for_its_cluster_ends(self):
        k1, k2, _ = formed()
        k1.version = MachineVersion(2)
        assert k1.outdated(versioned(k2, 2, 3)) is None
        assert k1.outdated(versioned(k2, 3, 3)) == (
            "K1 supports machine version 2, but version 3 is in force in the cluster: "
            "install a newer kraft on K1"
        )

    def test_a_node_in_standby_that_is_too_old_ends_as_well(self):
        k2 = formed()[1]
        assert "install a newer kraft on K4" in waiting("K4").outdated(versioned(k2, 7, 9))

    def test_another_cluster_is_no_reason_to_end(self):
        k1, k2, _ = formed()
        foreign = replace(versioned(k2, 7, 9), cluster="f" * 32)
        assert k1.outdated(foreign) is None


# What a node learns from a member that refuses it


def in_force(formation):
    """A greeting that shows the members in force, as peer wire 2 has it."""
    return replace(hello(formation), current=formation.members)


def test_a_removed_node_with_an_empty_directory_is_told_to_be_added():
    """The members in force count: by the founders it would be told to be replaced."""
    k1, _, _ = formed()
    with_change(k1, changes.removed, "K2")
    emptied = node("K2", "f" * 32)
    told = emptied.disowned(in_force(k1)) or ""
    assert "K2 is not a member of the cluster of K1" in told
    assert "KRAFT ADD K2 K2:1" in told
    assert "REPLACE" not in told

    refusal = k1.objection(hello(emptied)) or ""
    assert emptied.refused(in_force(k1), refusal) == refusal
    assert "KRAFT ADD K2 K2:1" in refusal


def test_the_refusal_of_an_earlier_program_is_believed_before_its_founders():
    """It shows no members in force, but its reason is made from them."""
    k1, _, _ = formed()
    with_change(k1, changes.removed, "K2")
    emptied = node("K2", "f" * 32)
    refusal = k1.objection(hello(emptied)) or ""
    assert emptied.refused(hello(k1), refusal) == refusal


def test_a_node_that_was_never_a_member_ends_with_the_way_in():
    """Its file lists the members, and itself, by mistake."""
    k1, _, _ = formed()
    k9 = node("K9", wanted=frozenset({"K1", "K2", "K3", "K9"}))
    refusal = k1.objection(hello(k9)) or ""
    assert "KRAFT ADD K9 K9:1" in (k9.refused(in_force(k1), refusal) or "")
    assert "KRAFT ADD K9 K9:1" in (k9.disowned(in_force(k1)) or "")


def test_a_replaced_member_whose_directory_is_lost_is_told_to_be_replaced_again():
    """The cluster knows it with a directory that no founder had."""
    k1, _, _ = formed()
    with_change(k1, changes.replaced, "K2", Member("K2", "e" * 32, "K2:1"))
    emptied = node("K2", "f" * 32)
    told = emptied.refused(in_force(k1), k1.objection(hello(emptied)) or "") or ""
    assert "incarnation eeeeeeee, here ffffffff" in told
    assert "KRAFT REPLACE K2 K2 K2:1" in told


def test_a_member_that_was_cut_off_learns_of_its_removal_from_a_refusal():
    """It may go on: a change that is not committed may be undone, and then its links open again."""
    k1, k2, k3 = formed()
    with_change(k1, changes.removed, "K2")
    refusal = k1.objection(hello(k2)) or ""
    assert k2.removed == k2.removed_unseen == ""
    assert k2.refused(in_force(k1), refusal) is None
    assert k2.removed_unseen == refusal
    assert k2.removed == ""

    k2.met(hello(k1))
    assert k2.removed_unseen == ""
    k2.refused(in_force(k3), "the data directory of K2 is an old copy")
    assert k2.removed_unseen == ""
    assert k2.refusals == {"K3": "the data directory of K2 is an old copy"}


def test_a_standby_node_learns_which_command_lets_it_in():
    """KRAFT REPLACE while the cluster counts its id as a member, else KRAFT ADD."""
    k1, _, _ = formed()
    lost = waiting("K2", "f" * 32)
    assert lost.way_in == ""
    assert lost.refused(in_force(k1), "any reason") is None
    assert lost.way_in == "KRAFT REPLACE K2 K2 K2:1"
    with_change(k1, changes.removed, "K2")
    assert lost.refused(in_force(k1), "any reason") is None
    assert lost.way_in == "KRAFT ADD K2 K2:1"


def test_the_nodes_that_are_refused_are_known_with_the_reason():
    """Until one is accepted."""
    k1, k2, _ = formed()
    emptied = node("K2", "f" * 32)
    told = k1.objection(hello(emptied))
    assert k1.rejected == {"K2": told}
    assert k1.objection(hello(k2)) is None
    assert k1.rejected == {}
    for number in range(2000):
        k1.objection(hello(node(f"S{number}")))
    assert len(k1.rejected) < 200
