"""What a node learns from a member that refuses it: what happened, and the command that lets it in."""

from kraft.raft.membership import changes
from kraft.raft.membership.configuration import Member
from tests.host.membership.formations import (
    formed,
    hello,
    in_force,
    invitation,
    node,
    waiting,
    with_change,
    without_leader,
)


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


def test_a_wiped_member_of_a_cluster_without_a_leader_is_told_what_comes_first():
    """KRAFT REPLACE alone would be refused."""
    k1, _, _ = formed()
    wiped = node("K2", "f" * 32)
    told = wiped.disowned(without_leader(k1)) or ""
    assert "KRAFT REPLACE K2 K2 K2:1 there; K1 knows no leader now" in told
    assert "start the other members" in told
    assert told.endswith("stop K1 and run kraft recover on it")
    assert wiped.disowned(in_force(k1)) == told.partition("; K1 knows")[0]


def test_a_removed_node_of_a_cluster_without_a_leader_is_told_what_comes_first():
    """In its own words, and in those of the member that refuses it."""
    k1, _, _ = formed()
    with_change(k1, changes.removed, "K2")
    emptied = node("K2", "f" * 32)
    told = emptied.disowned(without_leader(k1)) or ""
    refused = emptied.refused(without_leader(k1), k1.objection(hello(emptied)) or "") or ""
    for text in (told, refused):
        assert "KRAFT ADD K2 K2:1" in text
        assert text.endswith("stop K1 and run kraft recover on it")


def test_a_standby_node_knows_what_its_command_needs_until_there_is_a_leader():
    k1, _, _ = formed()
    lost = waiting("K2", "f" * 32)
    lost.refused(without_leader(k1), "any reason")
    assert lost.way_in == "KRAFT REPLACE K2 K2 K2:1"
    assert "K1 knows no leader now" in lost.way_in_needs
    lost.refused(in_force(k1), "any reason")
    assert lost.way_in_needs == ""


def test_members_without_their_data_are_known_until_they_have_it_back():
    """An empty directory and an old copy count; another node, and a replaced one, do not."""
    k1, k2, k3 = formed()
    k1.objection(hello(node("K2", "f" * 32)))
    assert k1.lost_data == {"K2"}
    k1.met(hello(k3, starts=5))
    k1.objection(hello(k3, starts=4, session=8))
    k1.objection(hello(node("K9")))
    assert k1.lost_data == {"K2", "K3"}
    assert k1.objection(hello(k2)) is None
    assert k1.lost_data == {"K3"}

    with_change(k1, changes.replaced, "K2", Member("K2", "e" * 32, "K2:1"))
    assert "was removed" in (k1.objection(hello(k2)) or "")
    assert k1.lost_data == {"K3"}


def test_a_learner_that_meets_the_wiped_voters_in_a_new_cluster_has_the_old_data():
    """They had no reason to wait for it: their files do not name it. A mistake in a file looks the same."""
    k4 = waiting("K4")
    k4.identity = k4.invited(invitation(formed()[0]))
    anew = node("K1", "a" * 32, wanted=frozenset({"K1"}))
    anew.identity = anew.founding_identity()
    told = k4.objection(hello(anew)) or ""
    assert "K1 belongs to cluster" in told
    assert "check cluster.members and node.data of both" in told
    assert told.endswith("stop K1, and run kraft recover on K4")
    assert k4.lost_data == set()

    stranger = node("K9", wanted=frozenset({"K9"}))
    stranger.identity = stranger.founding_identity()
    assert (k4.objection(hello(stranger)) or "").endswith("node.data of both")
