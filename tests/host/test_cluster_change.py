"""A change of the members in all groups, by a node that may not know all of them yet."""

import pytest

from kraft.host.admin.cluster_change import ClusterChange
from kraft.host.slots import SlotMap
from kraft.node.admin import DONE, AdminOutcome, Rehearse, Remove, Replace
from kraft.node.errors import Stopping

ADDRESS = "127.0.0.1:10005"


class Groups:
    """The leaders of three groups, which do everything; the node `own` knows one of these groups."""

    def __init__(self, command, own="K4", count=3):
        self.changed = []
        self.answers: list[AdminOutcome] = []
        self.count = count
        self.change = ClusterChange(command, self.ask, self.told, own, SlotMap(1), self.answers.append)

    def ask(self, group, command, done):
        if isinstance(command, Rehearse):
            done(DONE if group in self.changed else "OK")
        else:
            self.changed.append(group)
            done("OK")

    def told(self, done):
        done(self.count)


@pytest.mark.parametrize("own", ["K1", "K4"])
@pytest.mark.parametrize("command", [Replace("K4", "K5", ADDRESS, False), Remove("K4", False)])
def test_all_groups_change_though_the_node_that_is_asked_knows_one(command, own):
    groups = Groups(command, own)
    groups.change.begin(1)
    assert sorted(groups.changed) == [0, 1, 2]
    assert groups.answers == ["OK"]


def test_a_node_that_leaves_and_cannot_tell_how_many_groups_there_are_changes_none():
    groups = Groups(Remove("K4", False), count=Stopping())
    groups.change.begin(1)
    assert not groups.changed
    assert [type(answer) for answer in groups.answers] == [Stopping]
