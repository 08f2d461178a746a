"""The members of all groups of a node as one configuration, by which it chooses its links."""

from collections.abc import Mapping

from kraft.raft.membership.configuration import NOBODY, Configuration, Member
from kraft.raft.membership.replica_number import node_of


def united(configurations: Mapping[int, Configuration]) -> Configuration:
    """The members of every group, and the incarnations that were retired and are left in no group.

    The members of the groups differ only while a command changes one group after the other. For an id with
    two incarnations the lowest group that has it decides; `configurations` are by group. The result is about
    nodes: replicas with numbers count as the node that has them.
    """
    known = [configuration for _, configuration in sorted(configurations.items()) if configuration.members]
    if not known:
        return NOBODY
    if len(known) == 1 and all(_of_node(member) is member for member in known[0].everyone):
        return known[0]
    members: dict[str, Member] = {}
    present: set[str] = set()
    for configuration in known:
        everyone = [_of_node(member) for member in configuration.everyone]
        present.update(member.incarnation for member in everyone)
        members = {member.id: member for member in everyone} | members
    first = known[0]
    voters = tuple(id_ for id_ in first.electors if id_ in members)
    return Configuration(
        members=tuple(sorted(members.values())),
        voters=voters,
        learners=tuple(sorted(members.keys() - set(voters))),
        joining=first.joining,
        retired=tuple(incarnation for incarnation in first.retired if node_of(incarnation) not in present),
    )


def _of_node(member: Member) -> Member:
    return Member(member.id, member.node, member.peer) if member.incarnation != member.node else member
