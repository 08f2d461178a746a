"""Why a member does not talk to another node: removed, replaced, recovered, an old copy, too old."""

from msgspec.structs import replace

from kraft.host.membership.formation import Formation
from kraft.host.membership.machine_version import MachineVersion
from kraft.raft.membership import changes
from kraft.raft.membership.configuration import Member
from tests.host.membership.formations import (
    formed,
    hello,
    invitation,
    node,
    recovered,
    versioned,
    waiting,
    with_change,
)


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
    assert k1.objection(hello(k2, starts=6, session=2)) is None
    assert "runs twice" in (k1.objection(hello(k2, starts=5, session=2)) or "")


def test_a_copy_stays_one_however_often_it_is_started_again():
    """Who restores a directory and sees that it is refused restarts the node."""
    k1, k2, _ = formed()
    k1.met(hello(k2, starts=5, session=1))
    assert "old copy" in (k1.objection(hello(k2, starts=5, session=2)) or "")
    assert "old copy" in (k1.objection(hello(k2, starts=6, session=3)) or "")
    assert "K2" in k1.lost_data
    assert k1.objection(hello(k2, starts=5, session=1)) is None  # that process was there before


def test_a_late_greeting_of_an_earlier_start_harms_no_later_one():
    """A node that was paused reads the greetings of two processes in any order."""
    k1, k2, _ = formed()
    k1.met(hello(k2, starts=6, session=2))
    assert "old copy" in (k1.objection(hello(k2, starts=5, session=1)) or "")
    assert k1.objection(hello(k2, starts=7, session=3)) is None


def test_another_directory_counts_its_own_starts():
    k1, k2, _ = formed()
    k1.met(hello(k2, starts=5))
    fresh = waiting("K2", "f" * 32)
    k1.introduce("K2")
    assert k1.objection(hello(fresh, starts=1)) is None


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
        assert "install a newer kraft on K4" in waiting("K4").outdated(versioned(k2, 70, 90))

    def test_another_cluster_is_no_reason_to_end(self):
        k1, k2, _ = formed()
        foreign = replace(versioned(k2, 70, 90), cluster="f" * 32)
        assert k1.outdated(foreign) is None
