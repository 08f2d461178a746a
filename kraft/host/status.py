"""What a node can say of itself: plain values that page, JSON and shell all render."""

from collections.abc import Mapping

from kraft import __version__
from kraft.config import Config
from kraft.host import settings
from kraft.host.context import GroupContext
from kraft.host.group.group import Group
from kraft.host.lifecycle import Lifecycle
from kraft.host.membership.peers import Peers
from kraft.node.status import GroupStatus, MemberStatus, ReplicaStatus, Status
from kraft.raft.membership.configuration import NOBODY


def node_status(
    config: Config, context: GroupContext, lifecycle: Lifecycle, groups: Mapping[int, Group], uptime: float
) -> Status:
    """The node as a whole; `uptime` in seconds."""
    peers = context.peers
    identity = peers.formation.identity
    tick_seconds = settings.tick_seconds(config)
    return Status(
        node=identity.id,
        version=__version__,
        cluster=identity.cluster,
        incarnation=identity.incarnation,
        state=lifecycle.state,
        problem=lifecycle.problem,
        disk_full=context.persistence.full,
        client=config.client.advertise,
        http=peers.http_address(identity.id),
        uptime_seconds=uptime,
        members=member_statuses(peers, groups.get(0), tick_seconds),
        groups=tuple(group_status(group, tick_seconds) for group in groups.values()),
    )


def group_status(group: Group, tick_seconds: float) -> GroupStatus:
    """The replica of `group` on this node; a tick of the host lasts `tick_seconds`."""
    node, machine = group.raft, group.state.machine
    return GroupStatus(
        group=group.id,
        role=node.state.role,
        term=node.state.term,
        leader=node.state.leader,
        first_index=node.state.log.first_index,
        last_index=node.state.log.last_index,
        commit=node.state.commit,
        applied=group.state.index,
        voters=node.state.configuration.voters,
        learners=node.state.configuration.learners,
        keys=len(machine.keyspace),
        expiring_keys=machine.keyspace.expiring,
        expired_keys=machine.expired,
        dataset_bytes=machine.keyspace.bytes,
        revision=machine.revision,
        pending_proposals=len(group.requests.proposals.waiting),
        replicas=replica_statuses(group, tick_seconds),
        joint=node.state.configuration.joint,
        joining=tuple(joining.id for joining in node.state.configuration.joining),
        transferring=node.state.transferring,
        checkpoint_index=0 if group.checkpoint is None else group.checkpoint.base.index,
        checkpoint_busy=group.checkpointing,
        transfers=group.transfers,
        fenced=group.state.fenced,
        mismatch=group.consistency.mismatch,
        pending_bytes=group.requests.proposals.waiting_bytes,
        oldest_stamp_ms=node.state.log.base.stamp,
    )


def replica_statuses(group: Group, tick_seconds: float) -> tuple[ReplicaStatus, ...]:
    """The followers of `group` when this node leads it, else nothing."""
    if not group.raft.state.leads:
        return ()
    offsets = group.requests.leader_clock.offsets()
    return tuple(
        ReplicaStatus(
            id=p.peer,
            match_index=p.match,
            lag_entries=group.raft.state.log.last_index - p.match,
            state=p.state,
            last_contact_seconds=p.silent_ticks * tick_seconds,
            clock_offset_ms=offsets.get(p.peer, 0),
            inflight_messages=p.inflight,
        )
        for p in group.raft.progress()
    )


def member_statuses(peers: Peers, group: Group | None, tick_seconds: float) -> tuple[MemberStatus, ...]:
    """Every member as seen from here; `group` is this node's replica of group 0, if there is one yet."""
    configuration = group.raft.state.configuration if group is not None else NOBODY
    replicas = replica_statuses(group, tick_seconds) if group is not None else ()
    contacts = {replica.id: replica.last_contact_seconds for replica in replicas}
    lags = {replica.id: replica.lag_entries for replica in replicas}
    joining = {each.id for each in configuration.joining}
    own = peers.formation.identity.id
    return tuple(
        MemberStatus(
            id=member.id,
            incarnation=member.incarnation,
            peer=member.peer,
            client=peers.client_address(member.id),
            http=peers.http_address(member.id),
            voter=member.id in configuration.electors,
            connected=member.id == own or member.id in peers.connected,
            last_contact_seconds=contacts.get(member.id),
            lag_entries=lags.get(member.id),
            joining=member.id in joining,
        )
        for member in peers.formation.members
    )
