"""A command over several groups: asked of all first, done in order, finished when repeated."""

import pytest

from kraft.host.admin.cluster_command import OTHER_NODE, ClusterCommand, named, refusal
from kraft.node.admin import DONE, Add, Rehearse, Remove, Replace, Reseed, StepDown, TakeSnapshot, Verify
from kraft.node.errors import AdminRefused, NoLeader, Uncertain

REPLACE = Replace("K2", "K2", "h:1")
ADD, REMOVE = Add("K4", "h:1"), Remove("K4")


class Leaders:
    """Answer at once, or when `release` is called; by default as if they had done what they are asked."""

    def __init__(self, groups=3):
        self.count = groups
        self.asked = []
        self.everywhere = []
        self.rehearsals = {}
        self.outcomes = {}
        self.after = ""  # what a group tells that has changed
        self.held = None
        self.answers = []

    def ask(self, group, command, done):
        self.asked.append((group, type(command).__name__))
        told = self.rehearsals if isinstance(command, Rehearse) else self.outcomes
        if isinstance(command, Rehearse):
            self.everywhere.append(command.everywhere)
        if self.after and not isinstance(command, Rehearse):
            self.rehearsals[group] = self.after
        if self.held is not None and not isinstance(command, Rehearse):
            self.held.append(lambda: done(told.get(group, "OK")))
        else:
            done(told.get(group, "OK"))

    def change(self, command, **how):
        self.asked.clear()
        ClusterCommand(self.count, self.ask, self.answers.append, **how).change(command)
        return self.answers[-1] if self.answers else None

    def ask_all(self, command):
        ClusterCommand(self.count, self.ask, self.answers.append).ask_all(command)
        return self.answers[-1]

    def changed(self):
        return [group for group, name in self.asked if name != "Rehearse"]


def test_every_group_is_asked_before_any_is_changed():
    leaders = Leaders()
    assert leaders.change(ADD) == "OK"
    assert [name for _, name in leaders.asked] == ["Rehearse"] * 3 + ["Add"] * 3


@pytest.mark.parametrize("everywhere", [False, True])
def test_the_leaders_learn_whether_all_groups_have_all_members(everywhere):
    """Also those that are asked again, as they seemed to have nothing to do."""
    leaders = Leaders()
    leaders.rehearsals, leaders.after = {0: DONE}, DONE
    assert leaders.change(ADD, everywhere=everywhere) == "OK"
    assert leaders.everywhere == [everywhere] * 6


def test_a_refusal_of_one_group_changes_none_and_names_it():
    leaders = Leaders()
    leaders.rehearsals[2] = AdminRefused("K3 is down: remove K3 first, or repeat with FORCE")
    assert str(leaders.change(REMOVE)) == "group 2: K3 is down: remove K3 first, or repeat with FORCE"
    assert leaders.changed() == []


def test_leaders_that_know_different_nodes_change_nothing():
    """The leader of group 2 still has its link to the K2 of before, which is a member."""
    leaders = Leaders()
    leaders.rehearsals = {0: "OK new", 1: "OK new", 2: f"{DONE} old"}
    assert str(leaders.change(REPLACE)) == f"nothing was done: {OTHER_NODE}"
    assert leaders.changed() == []


def test_a_group_that_was_left_out_by_mistake_is_changed_after_all():
    """No other leader had a link to the new K2 when they were asked first."""
    leaders = Leaders()
    rehearsals = [{0: "OK", 1: "OK", 2: f"{DONE} old"}, {0: f"{DONE} new", 1: f"{DONE} new", 2: "OK new"}]

    def ask(group, command, done):
        if isinstance(command, Rehearse):
            leaders.rehearsals = rehearsals[0]
            if group == 2:
                del rehearsals[0]
        Leaders.ask(leaders, group, command, done)

    ClusterCommand(3, ask, leaders.answers.append).change(REPLACE)
    assert leaders.answers == ["OK"]
    assert leaders.changed() == [0, 1, 2]


def test_a_group_is_not_left_out_for_good_while_nobody_knows_the_new_node():
    """The leader of group 2 knows the K2 of before, and the others have lost their links to the new one."""
    leaders = Leaders()
    leaders.rehearsals = {0: "OK", 1: "OK", 2: f"{DONE} old"}
    assert str(leaders.change(REPLACE)) == OTHER_NODE
    assert leaders.changed() == [0, 1]


def test_no_group_is_left_out_because_all_leaders_knew_the_node_of_before():
    """They had links to an old copy of its directory. By now the leader of group 0 has met the new K2."""
    leaders = Leaders()
    leaders.rehearsals = dict.fromkeys(range(3), f"{DONE} old")
    rehearsals = [{0: f"{DONE} new", 1: "OK new", 2: "OK new"}]

    def ask(group, command, done):
        if not isinstance(command, Rehearse):
            leaders.rehearsals |= rehearsals.pop() if rehearsals else {}
        Leaders.ask(leaders, group, command, done)

    ClusterCommand(3, ask, leaders.answers.append).change(REPLACE)
    assert leaders.answers == ["OK"]
    assert leaders.changed() == [0, 1, 2]
    leaders.rehearsals = dict.fromkeys(range(3), f"{DONE} old")
    leaders.after = f"{DONE} new"
    assert str(leaders.change(REPLACE)) == OTHER_NODE, "groups 1 and 2 have not met it"
    assert leaders.changed() == [0]


def test_a_change_that_is_half_done_is_finished():
    leaders = Leaders()
    leaders.rehearsals, leaders.after = {0: f"{DONE} new", 1: "OK", 2: "OK"}, f"{DONE} new"
    assert leaders.change(REPLACE) == "OK"
    assert leaders.changed() == [1, 2]


def test_a_refusal_of_all_groups_reads_as_that_of_one():
    leaders = Leaders()
    leaders.rehearsals = dict.fromkeys(range(3), AdminRefused("K4 is the last voter"))
    assert str(leaders.change(REMOVE)) == "K4 is the last voter"


def test_the_answer_waits_for_all_groups():
    leaders = Leaders()
    leaders.held = []
    leaders.change(ADD)
    assert leaders.changed() == [0], "the leader of group 0 invites the node"
    leaders.held.pop()()
    assert leaders.changed() == [0, 1, 2]
    leaders.held.pop()()
    assert leaders.answers == []
    leaders.held.pop()()
    assert leaders.answers == ["OK"]


def test_a_node_leaves_group_0_last():
    leaders = Leaders()
    leaders.change(REMOVE)
    assert leaders.changed() == [1, 2, 0]


def test_a_repetition_leaves_out_the_groups_that_are_done():
    leaders = Leaders()
    leaders.rehearsals = {0: DONE, 1: DONE}
    assert leaders.change(ADD) == "OK"
    assert leaders.changed() == [2]


def test_a_command_without_anything_left_to_do_is_answered_by_group_0():
    leaders = Leaders()
    leaders.rehearsals = dict.fromkeys(range(3), DONE)
    leaders.outcomes[0] = AdminRefused("K4 is a member already, a voter")
    assert str(leaders.change(ADD)) == "K4 is a member already, a voter"
    assert leaders.changed() == [0]


@pytest.mark.parametrize("lost", [Uncertain(), NoLeader(1)])
def test_a_change_that_ends_half_way_is_uncertain(lost):
    leaders = Leaders()
    leaders.outcomes[1] = lost
    assert isinstance(leaders.change(ADD), Uncertain)


def test_a_change_that_is_refused_half_way_says_what_to_do():
    leaders = Leaders()
    leaders.outcomes[1] = AdminRefused("K4 cannot be reached")
    assert str(leaders.change(ADD)) == (
        "group 1: K4 cannot be reached; the other groups have done it, and are left out when it is repeated"
    )


def test_a_leader_that_is_lost_before_anything_was_changed_leaves_no_doubt():
    leaders = Leaders()
    leaders.rehearsals[1] = Uncertain()
    assert isinstance(leaders.change(ADD), AdminRefused)
    leaders.rehearsals[1] = NoLeader(1)
    told = str(leaders.change(ADD))
    assert told.startswith("nothing was done: without a leader no group can change its members. Start the ")
    assert told.endswith(" (group 1)")
    assert leaders.changed() == []


def test_a_cluster_without_any_leader_may_have_one_in_a_moment():
    """So the command is not refused for good, and a client tries it again."""
    leaders = Leaders()
    leaders.rehearsals = {group: NoLeader(group) for group in range(3)}
    assert leaders.change(ADD) is leaders.rehearsals[0]


def test_results_are_joined():
    leaders = Leaders()
    leaders.outcomes = {0: 7, 1: 9, 2: 8}
    assert leaders.ask_all(TakeSnapshot()) == [7, 9, 8]
    leaders.outcomes = {0: "K1", 1: "K2", 2: "K1"}
    assert leaders.ask_all(StepDown()) == "K1, K2"
    leaders.outcomes = {group: [{"node": "K1", "index": group}] for group in range(3)}
    assert leaders.ask_all(Verify())[2] == {"group": 2, "node": "K1", "index": 2}


def test_a_copy_is_made_in_the_groups_that_need_it():
    leaders = Leaders()
    same = AdminRefused("K2 has the same data as the others at index 9: nothing to replace")
    leaders.outcomes = {0: same, 1: "OK", 2: same}
    assert leaders.ask_all(Reseed("K2")) == "OK"
    leaders.outcomes[1] = same
    assert str(leaders.ask_all(Reseed("K2"))) == str(same)


def test_at_most_three_groups_are_named():
    assert named([4]) == "group 4"
    assert named([1, 2]) == "groups 1 and 2"
    assert named(range(5)) == "groups 0, 1, 2 and 2 more"
    assert refusal({1: "a", 2: "b", 3: "a"}, 5) == "groups 1 and 3: a; group 2: b"
    assert refusal(dict(enumerate("abcde")), 9) == "group 0: a; group 1: b; group 2: c"
