"""Nodes under the id of a member that are not the member, and the turn in which they become it."""

from kraft.host.group.strangers import Strangers


class Members:
    """A configuration: the incarnation of each member."""

    def __init__(self, **incarnations):
        self.incarnations = incarnations

    def is_current_incarnation(self, peer, incarnation):
        return self.incarnations.get(peer) == incarnation


def strangers_of(members):
    return Strangers(members)


def test_a_node_that_came_back_without_its_data_is_a_stranger():
    strangers = strangers_of(Members(K2="old", K3="three"))
    strangers.link_up("K2", "new")
    strangers.link_up("K3", "three")
    assert strangers.ids == {"K2"}
    strangers.link_down("K2")
    assert strangers.ids == frozenset()


def test_it_stays_one_until_the_messages_of_the_turn_that_admits_it_are_posted():
    """Among them may be a heartbeat with a commit index that the member before it had reached."""
    members = Members(K2="old")
    strangers = strangers_of(members)
    strangers.link_up("K2", "new")
    members.incarnations["K2"] = "new"
    strangers.reconfigured()
    assert strangers.ids == {"K2"}
    strangers.turned()
    assert strangers.ids == frozenset()


def test_who_is_replaced_is_one_at_once():
    members = Members(K2="old")
    strangers = strangers_of(members)
    strangers.link_up("K2", "old")
    members.incarnations["K2"] = "new"
    strangers.reconfigured()
    assert strangers.ids == {"K2"}
