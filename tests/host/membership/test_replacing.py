"""Another node, or a learner, takes the place of a member."""

import pytest

from kraft.node import admin
from tests.host.membership.story import STEADY, Story, member

# Replacing


def test_another_node_takes_the_place_of_a_dead_one_in_one_joint_step(trio):
    trio.down("K3")
    trio.greets("K4")
    trio.do(admin.Replace("K3", "K4", "k4:1"))
    assert trio.answers == ["OK"]
    assert trio.voters == ("K1", "K2", "K3")
    trio.run(seconds=2 * STEADY)
    assert trio.voters == ("K1", "K2", "K4")
    assert trio.node.state.configuration.member("K3") is None
    assert trio.node.state.configuration.retired == (member("K3").incarnation,)


def test_a_wiped_node_is_taken_back_under_its_id(trio):
    trio.down("K3")
    trio.do(admin.Replace("K3", "K3", "k3:1"))
    assert "K3" in trio.formation.introduced
    trio.greets("K3", "b")
    trio.run(2)
    assert trio.answers == ["OK"]
    assert trio.voters == ("K1", "K2")
    assert trio.node.state.configuration.member("K3") == member("K3", "b")
    trio.node.silent.clear()
    trio.run(seconds=2 * STEADY)
    assert trio.voters == ("K1", "K2", "K3")


def test_a_node_that_runs_with_its_directory_is_not_replaced_by_itself(trio):
    trio.do(admin.Replace("K3", "K3", "k3:1"))
    assert "nothing to replace" in trio.refusal
    assert trio.network.closed == []


def test_a_member_that_waits_for_its_invitation_keeps_its_link(trio):
    """Group 0 has taken it, another group has not, and the replacement is repeated again and again."""
    trio.formation.current = trio.node.state.configuration
    trio.down("K3")
    trio.do(admin.Replace("K3", "K3", "k3:1"))
    trio.greets("K3")
    trio.run(2)
    assert "nothing to replace" in trio.refusal
    assert trio.network.closed == []


@pytest.mark.parametrize(
    "command", [admin.Replace("K1", "K1", "k1:1"), admin.Replace("K1", "K1", "k1:1", True)]
)
def test_a_leader_knows_its_own_directory_and_does_not_dial_itself(trio, command):
    """Group 0 has taken K1 back and is led by it. The command is repeated for another group."""
    trio.membership.rehearse(command, trio.answers.append)
    trio.run(1)
    assert trio.answers == [f"{admin.DONE} {member('K1').incarnation}"]
    trio.answers.clear()
    trio.do(command)
    assert "nothing to replace" in trio.refusal
    assert trio.network.dialled == []


# A learner that takes the place of a voter


@pytest.fixture
def spared():
    """Three voters and the learner K5."""
    story = Story("K1", "K2", "K3")
    story.greets("K5")
    story.do(admin.Add("K5", "k5:1", learner=True))
    assert story.answers == ["OK"]
    story.answers.clear()
    return story


def test_a_learner_takes_the_place_of_a_voter_in_one_joint_change(spared):
    """With its address or without it; nothing is dialled."""
    spared.network.dialled.clear()
    spared.node.auto = False
    spared.do(admin.Replace("K2", "K5", ""))
    joint = spared.node.state.configuration
    assert (joint.voters, joint.target.voters) == (("K1", "K2", "K3"), ("K1", "K3", "K5"))
    assert joint.target.member("K2") is None
    assert member("K2").incarnation in joint.target.retired
    spared.node.commit_all()
    spared.run(2)
    assert spared.answers == ["OK"]
    assert spared.network.dialled == []
    spared.node.auto = True
    spared.answers.clear()
    spared.do(admin.Replace("K3", "K5", "k5:1"))
    assert "K5 is a voter already" in spared.refusal


def test_a_learner_on_its_way_to_a_vote_takes_the_place_at_once(trio):
    """It need not wait for its promotion, and takes only one place."""
    trio.greets("K5")
    trio.do(admin.Replace("K3", "K5", "k5:1"))
    trio.do(admin.Replace("K2", "K5", "k5:1"))
    assert trio.answers == ["OK", "OK"]
    assert trio.voters == ("K1", "K3", "K5")
    assert trio.node.state.configuration.joining == ()


def test_a_learner_that_lags_does_not_take_a_place(spared):
    """The majority would need it at once."""
    spared.node.lag["K5"] = 5000
    spared.do(admin.Replace("K2", "K5", ""))
    assert "K5 is not reachable or not caught up yet" in spared.refusal


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (admin.Replace("K2", "K5", "elsewhere:1"), "K5 is a member at k5:1, not at elsewhere:1"),
        (admin.Replace("K2", "K3", "k3:1"), "K3 is a voter already and cannot take another place"),
        (admin.Replace("K2", "K3", ""), "K3 is a voter already and cannot take another place"),
        (admin.Replace("K9", "K5", ""), "K9 is not a member; the members are K1, K2, K3, K5"),
        (admin.Replace("K2", "K9", ""), "K9 is not a learner of this cluster: add host and port"),
        (admin.Replace("K2", "K2", ""), "K2 is not a learner of this cluster: add host and port"),
        (admin.Replace("K5", "K5", "k5:1"), "there is nothing to replace"),
    ],
)
def test_a_replacement_that_makes_no_sense_is_refused_with_the_way_out(spared, command, reason):
    """Before a node is dialled."""
    spared.do(command)
    assert reason in spared.refusal


def test_a_learner_does_not_take_the_place_of_a_learner(spared):
    """Both are there already."""
    spared.greets("K6")
    spared.do(admin.Add("K6", "k6:1", learner=True))
    spared.answers.clear()
    spared.do(admin.Replace("K6", "K5", ""))
    assert "K6 and K5 are learners already: take K6 out with KRAFT REMOVE K6" in spared.refusal


def test_a_removed_directory_does_not_take_a_place(spared):
    """It can never return."""
    spared.do(admin.Remove("K3"))
    spared.answers.clear()
    spared.greets("K3")
    spared.do(admin.Replace("K2", "K3", "k3:1"))
    assert "belonged to a removed member and cannot return" in spared.refusal
