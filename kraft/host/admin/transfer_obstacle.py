"""Why a node cannot take over leadership, from what is known before the transfer is tried."""

from kraft.host.group.group import Group
from kraft.host.membership.peers import Peers
from kraft.raft.membership.configuration import Configuration

LAG_ENTRIES = 10_000  # more than a leader sends within an election timeout on most links


def transfer_obstacle(group: Group, peers: Peers, to: str) -> str:
    """Why the follower `to` cannot take over the leadership of `group`, and what to do; '' if it can."""
    state = group.raft.state
    role = _role_obstacle(state.configuration, to)
    if role:
        return role
    if to not in peers.connected:
        why = peers.formation.rejected.get(to) or peers.failures.get(to)
        return f"{to} has no link to {state.id}{f' ({why})' if why else ''}"
    return _condition_obstacle(peers, to) or _progress_obstacle(group, to)


def every_obstacle(group: Group, peers: Peers) -> str:
    """Why none of the other voters can take over leadership, reason by reason; '' if none is known."""
    voters = (group.raft.state.configuration.target or group.raft.state.configuration).voters
    others = [voter for voter in voters if voter != group.raft.state.id]
    if not others:
        return f"{group.raft.state.id} is the only voter"
    return "; ".join(filter(None, (transfer_obstacle(group, peers, voter) for voter in others)))


def _role_obstacle(configuration: Configuration, to: str) -> str:
    remaining = configuration.target or configuration
    if to in remaining.voters and to in configuration.electors:
        return ""
    if to in remaining.learners:
        return f"{to} is a learner, without a vote: KRAFT PROMOTE {to} first"
    if configuration.member(to) is not None:
        return f"{to} is about to leave the cluster"
    known = ", ".join(member.id for member in configuration.everyone)
    return f"{to} is not a member; the members are {known}"


def _condition_obstacle(peers: Peers, to: str) -> str:
    condition = peers.condition_of(to)
    if condition is None:  # an earlier program does not report it
        return ""
    if condition.disk_full:
        return f"the disk of {to} is full"
    if condition.fenced:
        return f"the data of {to} differs from the others': KRAFT RESEED {to} first"
    if condition.drained:
        return f"{to} is drained: KRAFT DRAIN OFF on {to} first, or wait if it is stopping"
    if condition.disk_slow or condition.loop_slow:
        return f"the {'disk' if condition.disk_slow else 'process'} of {to} is too slow to lead"
    return ""


def _progress_obstacle(group: Group, to: str) -> str:
    raft = group.raft
    follower = next((each for each in raft.progress() if each.peer == to), None)
    if follower is None:
        return ""
    if follower.silent_ticks > raft.state.settings.election_ticks:
        return f"{to} does not answer"
    if follower.declines:
        return f"{to} declines: it is drained, its data differs from the others', or its disk is full"
    if follower.state == "snapshot":
        return f"{to} is receiving a snapshot: wait until it has caught up"
    lag = raft.state.log.last_index - follower.match
    if lag > LAG_ENTRIES:
        return f"{to} lacks {lag} entries: wait until it has caught up"
    return ""
