"""Changes of the members, as an administrator sees them at the leader."""

import pytest

from kraft.host.membership.changes import COMMANDS_MAX
from kraft.node import admin
from kraft.node.errors import NotLeader, Stopping, Uncertain
from kraft.raft.errors import ChangeRefused, LogFull
from kraft.raft.membership.configuration import Joining
from tests.host.membership.story import STEADY, Story, member

# Adding a node


def test_a_node_in_standby_is_dialled_and_becomes_a_learner_once_it_has_greeted(trio):
    trio.do(admin.Add("K4", "k4:1"))
    assert trio.network.dialled == [("K4", "k4:1")]
    assert trio.answers == []

    trio.greets("K4")
    trio.node.lag["K4"] = 900
    trio.run(2)
    assert trio.answers == ["OK"]
    assert trio.node.state.configuration.member("K4") == member("K4")
    assert trio.node.state.configuration.joining == (Joining("K4"),)
    assert trio.network.closed == []


def test_a_node_can_be_added_as_a_learner_that_stays_one(trio):
    trio.greets("K4")
    trio.do(admin.Add("K4", "k4:1", learner=True))
    trio.run(seconds=2 * STEADY)
    assert trio.answers == ["OK"]
    assert trio.node.state.configuration.learners == ("K4",)


def test_a_node_that_does_not_answer_is_dialled_for_some_seconds(trio):
    trio.do(admin.Add("K4", "k4:1"))
    trio.run(seconds=6)
    assert "K4 cannot be reached at k4:1" in trio.refusal
    assert 5 < len(trio.network.dialled) < 15
    assert trio.formation.introduced == set()


def test_the_refusal_says_why_the_greeting_was_refused(trio):
    trio.do(admin.Add("K4", "k4:1"))
    trio.formation.objection(Story.hello("K4", cluster="0" * 32))
    trio.run(seconds=6)
    assert "K4 belongs to cluster 000000000000" in trio.refusal


def test_a_node_configured_to_form_its_own_cluster_is_refused_and_loses_its_link(trio):
    trio.greets("K4", standby=False)
    trio.do(admin.Add("K4", "k4:1"))
    assert "not in standby" in trio.refusal
    assert trio.network.closed == ["K4"]


def test_an_address_that_is_not_its_own_is_refused(trio):
    trio.greets("K4", peer="elsewhere:9")
    trio.do(admin.Add("K4", "k4:1"))
    assert "elsewhere:9" in trio.refusal
    trio.do(admin.Add("K4", "k4:1", force=True))
    assert trio.answers[1] == "OK"


def test_a_member_is_not_dialled_to_be_added(trio):
    trio.do(admin.Add("K2", "k2:1"))
    assert "K2 is a member already, a voter" in trio.refusal
    assert trio.network.dialled == []


def test_a_removed_directory_is_not_added_again(trio):
    trio.do(admin.Remove("K3"))
    trio.greets("K3")
    trio.do(admin.Add("K3", "k3:1"))
    assert "wipe the data directory" in str(trio.answers[1])


@pytest.mark.parametrize("command", [admin.Add("K 4", "k4:1"), admin.Add("K4", "k4"), admin.Add("", "k4:1")])
def test_names_and_addresses_are_checked_before_a_node_is_dialled(trio, command):
    trio.do(command)
    assert "write" in trio.refusal
    assert trio.network.dialled == []


# Risks


def test_a_healthy_voter_is_not_removed_while_another_is_down(trio):
    trio.down("K3")
    trio.do(admin.Remove("K2"))
    assert trio.refusal == "K3 is down: remove K3 first, or repeat with FORCE"
    trio.do(admin.Remove("K3"))
    trio.do(admin.Remove("K2"))
    assert trio.answers[1:] == ["OK", "OK"]
    assert trio.voters == ("K1",)


def test_a_healthy_voter_is_not_removed_if_the_majority_left_tolerates_no_failure():
    story = Story("K1", "K2", "K3", "K4", "K5")
    story.down("K5")
    story.do(admin.Demote("K4"))
    assert "remove K5 first" in story.refusal
    story.node.silent.clear()
    story.do(admin.Demote("K4"))
    assert story.answers[1] == "OK"


def test_a_voter_with_a_large_lag_does_not_count(trio):
    trio.node.lag["K3"] = 900
    trio.do(admin.Remove("K2"))
    assert "K3 is down" in trio.refusal


def test_a_voter_without_a_link_does_not_count_even_if_it_answered_just_now(trio):
    trio.node.states["K3"] = "probe"
    trio.do(admin.Demote("K2"))
    assert "K3 is down" in trio.refusal


def test_force_overrides_the_risk_and_never_consensus(trio):
    trio.down("K3")
    trio.do(admin.Remove("K2", force=True))
    assert trio.answers == ["OK"]
    trio.node.refuses = ChangeRefused("leadership is on its way to K3")
    trio.do(admin.Demote("K3", force=True))
    assert str(trio.answers[1]) == "leadership is on its way to K3"
    trio.node.refuses = None
    trio.do(admin.Remove("K9", force=True))
    assert "K9 is not a member" in str(trio.answers[2])


def test_an_address_is_changed_once_the_member_greets_from_it(trio):
    """A member without a link is dialled there; what it announces counts."""
    trio.down("K3")
    trio.do(admin.Readdress("K3", "other:1"))
    assert trio.answers == []
    assert trio.network.dialled == [("K3", "other:1")]
    trio.hellos["K3"] = Story.hello("K3", cluster="c", peer="other:1")
    trio.run(2)
    assert trio.answers == ["OK"]
    assert trio.node.state.configuration.member("K3").peer == "other:1"


def test_an_address_where_something_else_listens_is_refused_with_what_was_found(trio):
    """Nothing is known if nothing answers."""
    trio.down("K3")
    trio.do(admin.Readdress("K3", "other:1"))
    trio.failures["K3"] = "dialled K3, but K7 answered"
    trio.run(seconds=6)
    assert "K3 cannot be reached at other:1 (dialled K3, but K7 answered): start it there" in trio.refusal
    assert trio.node.state.configuration.member("K3").peer == "k3:1"

    trio.answers.clear()
    trio.do(admin.Readdress("K3", "other:2"))
    trio.run(seconds=6)
    assert "K3 cannot be reached at other:2: start it there first, or repeat with FORCE" in trio.refusal


def test_an_address_that_a_linked_member_does_not_announce_is_refused(trio):
    """The leader's own, too: the others would dial it in vain."""
    trio.do(admin.Readdress("K2", "other:1"))
    assert "K2 says that its peer port is at k2:1, not at other:1" in trio.refusal
    trio.answers.clear()
    trio.do(admin.Readdress("K1", "other:1"))
    assert "K1 says that its peer port is at k1:1, not at other:1" in trio.refusal


def test_force_changes_the_address_of_a_dead_member(trio):
    trio.down("K3")
    trio.do(admin.Readdress("K3", "other:1", force=True))
    assert trio.answers == ["OK"]


def test_the_refusal_of_an_addition_says_who_answered_instead(trio):
    """The same node under another id, or a node of another cluster, or no node at all."""
    trio.do(admin.Add("K4", "k4:1"))
    trio.failures["K4"] = "dialled K4, but K5 answered"
    trio.run(seconds=6)
    assert "K4 cannot be reached at k4:1 (dialled K4, but K5 answered): check that" in trio.refusal


def test_a_cluster_can_shrink_to_one_node_and_lose_its_leader(trio):
    trio.do(admin.Remove("K1"))
    assert trio.answers == ["OK"]
    assert trio.voters == ("K2", "K3")


# The change in the log


def test_a_joint_change_is_done_when_both_of_its_sides_are_committed(trio):
    trio.node.auto = False
    trio.do(admin.Remove("K3"))
    assert trio.node.state.configuration.joint
    trio.node.state.commit = trio.node.state.log.last_index
    trio.run(2)
    assert trio.answers == []
    trio.node.commit_all()
    trio.run(1)
    assert trio.answers == ["OK"]


def test_a_change_of_learners_is_done_when_its_entry_is_committed(trio):
    trio.node.auto = False
    trio.greets("K4")
    trio.do(admin.Add("K4", "k4:1"))
    assert trio.answers == []
    trio.node.commit_all()
    trio.run(1)
    assert trio.answers == ["OK"]


@pytest.mark.parametrize(("leader", "term"), [("", 3), ("K2", 4), ("K1", 5)])
def test_a_logged_change_is_uncertain_when_leadership_is_lost(trio, leader, term):
    trio.node.auto = False
    trio.do(admin.Remove("K3"))
    trio.node.state.leader, trio.node.state.term = leader, term
    trio.run(1)
    assert [type(a) for a in trio.answers] == [Uncertain]


def test_a_leader_that_removed_itself_answers_before_it_stops_leading(trio):
    trio.node.auto = False
    trio.do(admin.Remove("K1"))
    trio.node.commit_all()
    trio.node.state.leader = ""
    trio.run(1)
    assert trio.answers == ["OK"]


def test_commands_are_carried_out_one_after_the_other(trio):
    trio.node.auto = False
    trio.do(admin.Remove("K3"))
    trio.do(admin.Demote("K2"))
    assert trio.answers == []
    trio.node.auto = True
    trio.node.commit_all()
    trio.run(3)
    assert trio.answers == ["OK", "OK"]
    assert trio.voters == ("K1",)


def test_a_command_waits_for_the_first_commit_of_a_term(trio):
    trio.node.state.leads_with_commit = False
    trio.do(admin.Remove("K3"))
    assert trio.answers == []
    trio.node.state.leads_with_commit = True
    trio.run(2)
    assert trio.answers == ["OK"]


def test_a_command_that_never_began_is_refused_at_its_deadline_with_a_reason(trio):
    trio.node.auto = False
    trio.do(admin.Remove("K3"))
    trio.do(admin.Demote("K2"))
    trio.run(seconds=21)
    uncertain, refused = trio.answers
    assert isinstance(uncertain, Uncertain)
    assert "another change of the members is under way" in str(refused)


def test_a_command_waits_for_room_in_the_log(trio):
    trio.node.refuses = LogFull(1)
    trio.do(admin.Remove("K3"))
    assert trio.answers == []
    trio.node.refuses = None
    trio.run(2)
    assert trio.answers == ["OK"]


def test_a_follower_refuses_after_the_call(trio):
    trio.node.state.leader = "K2"
    trio.membership.do(admin.Remove("K3"), trio.answers.append)
    assert trio.answers == []
    trio.clock.advance()
    assert trio.answers[0].args == (0, "K2")


def test_a_command_that_waits_when_leadership_is_lost_was_certainly_not_begun(trio):
    trio.do(admin.Add("K4", "k4:1"))
    trio.node.state.leader = "K2"
    trio.run(1)
    assert [type(a) for a in trio.answers] == [NotLeader]
    assert trio.formation.introduced == set()


def test_the_number_of_waiting_commands_is_bounded(trio):
    trio.node.state.leads_with_commit = False
    for _ in range(COMMANDS_MAX + 1):
        trio.membership.do(admin.Remove("K3"), trio.answers.append)
    trio.clock.advance()
    assert "repeat this one later" in trio.refusal
    assert len(trio.membership.pending) == COMMANDS_MAX


def test_when_the_node_stops_everybody_is_told(trio):
    trio.node.auto = False
    trio.do(admin.Remove("K3"))
    trio.do(admin.Demote("K2"))
    trio.membership.abandon()
    assert [type(a) for a in trio.answers] == [Stopping, Uncertain]
