"""Whether anything is under way in a replica, or it has no leader."""

from collections.abc import Iterable

from kraft.host.group.group import Group


def is_still(group: Group) -> bool:
    """Whether a tick has nothing to go on with: all is applied, nobody waits, nothing is copied or cut.

    Time may still matter to it, for example to a leader with a key that expires. A checkpoint that is being
    written needs no tick: the group wakes when it is durable, and one that failed is tried again within 10 s.
    In an image of a thousand groups most of them wait long.
    """
    state, space, checkpoints = group.state, group.state.machine.keyspace, group.checkpoints
    return (
        state.index == group.raft.state.log.last_index
        and group.requests.is_idle
        and not (space.transactions.prepared or space.transactions.decisions or space.garbage)
        and not (state.switching or group.sender.active or group.receiver.active)
        and not (group.membership.active or group.consistency.awaited)
        and (checkpoints.busy or not checkpoints.awaited)
        and not (group.marker_waits or group.log_cut.is_due)
    )


def lacks_leader(groups: Iterable[Group]) -> bool:
    """Whether one of these groups knows no leader: none that hibernates lacks one."""
    return not all(group.raft.state.leader for group in groups)
