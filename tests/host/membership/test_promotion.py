"""Learners on their way to a vote, invitations to new members, and the successor of a leader."""

import pytest

from kraft.node import admin
from kraft.peerwire.messages import Invitation
from kraft.raft.membership import changes
from kraft.raft.transfer import best_successor
from tests.host.membership.story import ELECTION_TICKS, STEADY, TICK, Story

# Promotion


def learning(*ids, **options):
    """K1, K2 and K3, and the learner K4, which becomes a voter when it has caught up."""
    story = Story(*(ids or ("K1", "K2", "K3")))
    story.greets("K4")
    story.node.lag["K4"] = 5000
    story.do(admin.Add("K4", "k4:1", **options))
    assert story.answers == ["OK"]
    story.answers.clear()
    return story


def test_a_learner_gets_its_vote_after_keeping_up_for_some_election_timeouts():
    story = learning()
    story.run(seconds=2 * STEADY)
    assert story.voters == ("K1", "K2", "K3")

    story.node.lag["K4"] = 99
    story.run(seconds=STEADY - 2 * TICK)
    assert story.voters == ("K1", "K2", "K3")
    story.run(4)
    assert story.voters == ("K1", "K2", "K3", "K4")
    assert story.observer.events == [("learner_promoted", {"group": 0, "learner": "K4"})]


@pytest.mark.parametrize(
    ("what", "value"), [("lag", 500), ("silent", ELECTION_TICKS + 1), ("states", "snapshot")]
)
def test_an_interruption_restarts_the_wait(what, value):
    story = learning()
    story.node.lag["K4"] = 0
    story.run(seconds=STEADY * 0.9)
    getattr(story.node, what)["K4"] = value
    story.run(1)
    getattr(story.node, what).pop("K4")
    story.run(seconds=STEADY * 0.9)
    assert "K4" not in story.voters
    story.run(seconds=STEADY * 0.2)
    assert "K4" in story.voters


def test_under_load_a_learner_need_not_have_the_newest_entries():
    """Entries that arrived in the last election timeout may still be on their way."""
    story = learning()
    story.node.lag["K4"] = 500
    for _ in range(round(2 * STEADY / TICK)):
        story.node.state.log.last_index += 50
        story.node.state.commit += 50
        story.run(1)
    assert "K4" in story.voters


def test_promotion_waits_while_the_quorum_would_be_at_risk():
    story = learning("K1", "K2", "K3")
    story.node.lag["K4"] = 0
    story.down("K2", "K3")
    story.run(seconds=2 * STEADY)
    assert "K4" not in story.voters
    story.node.silent.clear()
    story.run(2)
    assert "K4" in story.voters


def test_two_learners_are_promoted_one_after_the_other():
    story = learning()
    story.greets("K5")
    story.do(admin.Add("K5", "k5:1"))
    story.node.lag.clear()
    story.node.auto = False
    story.run(seconds=2 * STEADY)
    joint = story.node.state.configuration
    assert joint.joint
    assert len(joint.target.voters) == 4

    story.node.auto = True
    story.node.commit_all()
    story.run(seconds=2 * STEADY)
    assert story.voters == ("K1", "K2", "K3", "K4", "K5")


def test_a_learner_is_not_promoted_by_hand_before_it_has_caught_up():
    story = learning()
    story.do(admin.Promote("K4"))
    assert "K4 is not reachable or not caught up yet" in story.refusal
    story.do(admin.Promote("K4", force=True))
    assert story.answers[1] == "OK"
    assert "K4" in story.voters


def test_a_node_that_never_showed_a_log_does_not_count_even_if_the_log_is_short():
    story = Story("K1")
    story.node.state.log.last_index = story.node.state.commit = 50
    story.greets("K2")
    story.node.lag["K2"] = 5000
    story.do(admin.Add("K2", "k2:1"))
    story.do(admin.Promote("K2"))
    assert "not caught up yet" in str(story.answers[1])


# Invitations


def invitations(story):
    return [(peer, m) for peer, m in story.network.sent if isinstance(m, Invitation)]


def test_a_new_member_is_invited_until_it_has_a_log():
    story = learning()
    story.run(seconds=2.9)
    identity = story.formation.identity
    invitation = Invitation(identity.cluster, identity.members, 1)
    assert invitations(story) == [("K4", invitation)] * 3 or len(invitations(story)) == 4

    story.node.lag["K4"] = 10
    count = len(invitations(story))
    story.run(seconds=3)
    assert len(invitations(story)) == count


def test_no_member_is_invited_before_the_change_is_committed(trio):
    trio.node.auto = False
    trio.greets("K4")
    trio.node.lag["K4"] = 5000
    trio.do(admin.Add("K4", "k4:1"))
    assert invitations(trio) == []
    trio.node.commit_all()
    trio.run(1)
    assert [peer for peer, _ in invitations(trio)] == ["K4"]


def test_members_that_greeted_with_the_cluster_and_late_founders_need_no_invitation(trio):
    trio.node.lag["K2"] = 5000
    trio.hellos["K2"] = Story.hello("K2")
    trio.run(seconds=3)
    assert invitations(trio) == []


def test_another_directory_under_the_id_of_a_member_is_not_invited():
    story = learning()
    story.network.sent.clear()
    story.greets("K4", "b")
    story.run(seconds=3)
    assert invitations(story) == []


def test_members_without_a_link_are_dialled_now_and_then(trio):
    trio.down("K3")
    trio.run(seconds=2.5)
    assert trio.network.dialled == []
    trio.run(seconds=7)
    assert trio.network.dialled == [("K3", "k3:1")] * 3
    trio.node.state.leader = "K2"
    trio.run(seconds=10)
    assert len(trio.network.dialled) == 3


# The successor of a leader


def test_a_voter_about_to_leave_is_not_the_best_successor(trio):
    trio.node.auto = False
    trio.node.lag["K2"] = 0
    trio.node.lag["K3"] = 3
    trio.node.reconfigure(changes.removed(trio.node.state.configuration, "K2"))
    assert best_successor(trio.node, trio.node.progress()) == "K3"
