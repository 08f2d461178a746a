"""How a leader changes the configuration: the changes it refuses, and the joint step of others (RD 4.3).

Every change of voters is joint, whatever their number. As changes wait for one another, and the first one
waits for a committed entry of the leader's term (RD 4.1 with its erratum), any two configurations that are in
force anywhere at the same time have overlapping majorities.
"""

from collections.abc import Mapping

import msgspec

from kraft.raft.membership.configuration import Configuration, Member
from kraft.raft.membership.replica_number import UNNUMBERED, ReplicaNumber, awaits_number, numbered


def with_numbers(target: Configuration, place: ReplicaNumber) -> Configuration:
    """`target` with the number `place` for each replica that awaits one: the entry is logged there."""
    if not any(awaits_number(m.incarnation) for m in target.members):
        return target
    members = tuple(
        Member(m.id, numbered(m.node, place), m.peer) if awaits_number(m.incarnation) else m
        for m in target.members
    )
    return msgspec.structs.replace(target, members=members)


def refusal(
    current: Configuration,
    target: Configuration,
    leader: str,
    matches: Mapping[str, int],
    place: ReplicaNumber,
) -> str:
    """Why `current` cannot become `target` under `leader`, "" if it can.

    `matches` has the index up to which each follower is known to hold the log, `place` is that of the entry.
    """
    if not target.voters:
        return "a group needs a voter"
    if target.joint:
        return "a target is not joint itself"
    if target.voters != tuple(sorted({*target.voters})) or sorted(target.voters + target.learners) != [
        m.id for m in target.members
    ]:
        return "voters and learners must be the members, each once and in order"
    returning = sorted(m.id for m in target.members if current.is_retired(m))
    if returning:
        return f"this incarnation of {returning[0]} was removed before; it needs an empty directory"
    known = {m.incarnation for m in current.members}
    foreign = sorted(
        m.id for m in target.members if m.incarnation not in known and m.number not in (UNNUMBERED, place)
    )
    if foreign:
        return f"the replica of {foreign[0]} has the number of another entry"
    now, then = current.member(leader), target.member(leader)
    if now is not None and then is not None and now.incarnation != then.incarnation:
        return f"{leader} leads and cannot be replaced under its own id; transfer leadership first"
    return _newcomer(current, target, matches)


def _newcomer(current: Configuration, target: Configuration, matches: Mapping[str, int]) -> str:
    """Refuse a new voter that has not been a learner.

    Without a configuration a node answers no candidate. If its vote were needed before it has one, nobody
    could be elected, and so nobody could send it one.
    """
    for id_, incarnation in sorted(_voters(target) - _voters(current)):
        member = current.member(id_)
        if member is None or member.incarnation != incarnation or not matches.get(id_):
            return f"{id_} has nothing of the log yet; it must be a learner before it votes"
    return ""


def towards(current: Configuration, target: Configuration) -> Configuration:
    """The first step: `target` itself if its voters are the same members, else the joint configuration."""
    if _voters(current) == _voters(target):
        return target
    return msgspec.structs.replace(current, target=target)


def _voters(configuration: Configuration) -> set[tuple[str, str]]:
    voters = set(configuration.voters)
    return {(m.id, m.incarnation) for m in configuration.members if m.id in voters}
