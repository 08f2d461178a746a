"""The members of all groups of a node as one configuration, by which it chooses its links."""

from collections.abc import Mapping

from kraft.raft.membership.configuration import NOBODY, Configuration, Member


def united(configurations: Mapping[int, Configuration]) -> Configuration:
    """The members of every group, and the incarnations that were retired and are left in no group.

    The members of the groups differ only while a command changes one group after the other. For an id with
    two incarnations the lowest group that has it decides; `configurations` are by group.
    """
    known = [configuration for _, configuration in sorted(configurations.items()) if configuration.members]
    if len(known) < 2:
        return known[0] if known else NOBODY
    members: dict[str, Member] = {}
    present: set[str] = set()
    for configuration in known:
        everyone = configuration.everyone
        present.update(member.incarnation for member in everyone)
        members = {member.id: member for member in everyone} | members
    first = known[0]
    voters = tuple(id_ for id_ in first.electors if id_ in members)
    return Configuration(
        members=tuple(sorted(members.values())),
        voters=voters,
        learners=tuple(sorted(members.keys() - set(voters))),
        joining=first.joining,
        retired=tuple(incarnation for incarnation in first.retired if incarnation not in present),
    )
