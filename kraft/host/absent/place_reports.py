"""What a node tells those that have no replica of its groups: who leads each, and who its members are.

A node is told after each change, and after each greeting. Where all nodes are members of all groups nothing
is sent.
"""

from collections.abc import Iterable, Mapping

from kraft.host.group.group import Group
from kraft.host.turns import Turns
from kraft.peerwire.hello import WIRE_REPLICAS, Hello
from kraft.peerwire.messages import GroupPlace
from kraft.raft.membership.configuration import Configuration
from kraft.raft.membership.replica_number import UNNUMBERED

_Known = tuple[int, str, Configuration, int]  # term, leader, configuration, machine version


def place_of(group: Group) -> GroupPlace:
    """Where a group is, as its replica here knows."""
    state = group.raft.state
    configuration = state.configuration
    coming = tuple(each for each in configuration.joining if _has_number(configuration, each.id))
    settled = bool(configuration.members) and not configuration.joint and coming == configuration.joining
    return GroupPlace(
        state.term,
        state.configuration_index,
        state.leader,
        tuple([member.id for member in configuration.everyone]),
        group.state.machine.version,
        configuration.electors,
        coming,
        changing=not settled,
    )


def _has_number(configuration: Configuration, id_: str) -> bool:
    member = configuration.member(id_)
    return member is not None and member.number != UNNUMBERED


class PlaceReports:
    """The reports of one node about its `groups`, by id. Group 0 is everywhere, so nobody is told of it."""

    def __init__(self, groups: Mapping[int, Group], turns: Turns) -> None:
        self._groups = groups
        self._turns = turns
        self._told: dict[int, _Known] = {}  # what all peers know of a group, except for those in `_due`
        self._due: dict[str, None] = {}  # peers that are to be told of all groups
        self._hearing: dict[str, str] = {}  # peers with a link that understand it, and their incarnations

    def link_up(self, peer: str, hello: Hello) -> None:
        """A link to `peer` is open: it may know nothing."""
        if hello.wire_max >= WIRE_REPLICAS:
            self._hearing[peer], self._due[peer] = hello.incarnation, None

    def link_down(self, peer: str) -> None:
        """The link to `peer` is gone."""
        self._hearing.pop(peer, None)
        self._due.pop(peer, None)

    def unsent(self, peer: str) -> None:
        """The link to `peer` did not take a report: it is told again."""
        if peer in self._hearing:
            self._due[peer] = None

    def tick(self, awake: Iterable[Group]) -> None:
        """One tick of the host passed. A group that is not `awake` has not changed."""
        due, self._due = self._due, {}
        for group in awake:
            if group.id:
                self._tell_change(group)
        if due:
            for id_, group in self._groups.items():
                if id_:
                    self._tell(group, due)

    def _tell_change(self, group: Group) -> None:
        state = group.raft.state
        known = (state.term, state.leader, state.configuration, group.state.machine.version)
        if self._told.get(group.id) != known:
            self._told[group.id] = known
            self._tell(group, self._hearing)

    def _tell(self, group: Group, peers: Iterable[str]) -> None:
        """Tell `peers` of a group, those that are no members: nor is a later incarnation of a member.

        Without a leader there is nothing to tell, nor by a replica that has just begun and knows no members.
        """
        state = group.raft.state
        members = {(member.id, member.node) for member in state.configuration.everyone}
        if not (state.leader and members):
            return
        others = [peer for peer in peers if (peer, self._hearing[peer]) not in members]
        if others:
            place = place_of(group)
            for peer in others:
                self._turns.post(peer, group.id, place)
