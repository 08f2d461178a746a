"""Collects what a node reports about itself, as the plain values of `kraft.node.status`."""

from collections.abc import Collection, Mapping

from kraft import __version__
from kraft.config import Config
from kraft.host import settings
from kraft.host.admin.leader_spread import preferred_leader
from kraft.host.beats import Beats
from kraft.host.context import GroupContext
from kraft.host.group.group import Group
from kraft.host.lifecycle import Lifecycle
from kraft.host.membership.peers import Peers
from kraft.host.moves.moves import Moves
from kraft.host.placement.placer import Placer
from kraft.host.slots import SlotMap
from kraft.host.transactions.transactions import Transactions
from kraft.kv.ledger import LedgerKind
from kraft.kv.slot_map import static_ranges
from kraft.node.status import ElsewhereStatus, GroupStatus, MemberStatus, ReplicaStatus, Status
from kraft.peerwire.messages import GroupPlace, NodeCondition


def node_status(
    config: Config,
    context: GroupContext,
    lifecycle: Lifecycle,
    groups: Mapping[int, Group],
    transactions: Transactions,
    moves: Moves,
    beats: Beats,
    placer: Placer,
    started_at: float,
) -> Status:
    """The status of the node, which has started at `started_at` (monotonic seconds)."""
    peers = context.peers
    identity = peers.formation.identity
    state = lifecycle.state
    tick_seconds = settings.tick_seconds(config)
    placement = placer.view.state
    return Status(
        node=identity.id,
        version=__version__,
        cluster=identity.cluster,
        incarnation=identity.incarnation,
        state=state.word,
        problem=state.problem,
        disk_full=context.persistence.full,
        client=config.client.advertise,
        http=peers.http_address(identity.id),
        uptime_seconds=context.clock.seconds() - started_at,
        members=member_statuses(
            peers, groups, placer.view.places().values(), tick_seconds, placement.replication
        ),
        groups=tuple(
            group_status(groups[id_], tick_seconds, transactions, moves, slots)
            for id_, slots in sorted(owned_slots(context.slots, groups).items())
        ),
        machine_version=peers.formation.version.in_force,
        machine_version_supported=peers.formation.version.supported,
        machine_version_held=peers.formation.version.held,
        disk_slow=context.slowness.disk,
        loop_slow=context.slowness.loop,
        log_write_seconds=round(context.slowness.write_seconds, 3),
        transactions=dict(transactions.coordinator.outcomes),
        beats_sent=beats.sent,
        beats_received=beats.received,
        map_version=context.slots.version,
        moves=tuple(moves.status()),
        move_outcomes=moves.counts.outcomes,
        move_bytes=moves.counts.bytes,
        replication=placement.replication,
        misplaced_groups=placer.misplaced,
        settling=placement.settling,
        leaving=placement.leaving,
        elsewhere=tuple(
            ElsewhereStatus(id_, place.leader, place.term, place.members, place.voters)
            for id_, place in placer.view.elsewhere().items()
        ),
        group_count=context.slots.groups,
    )


def node_condition(context: GroupContext, awake: Collection[Group], *, memory_full: bool) -> NodeCondition:
    """What this node reports about itself to its peers. Groups that hibernate are sound."""
    return NodeCondition(
        wall_ms=context.clock.wall_ms(),
        disk_full=context.persistence.full,
        disk_slow=context.slowness.disk,
        loop_slow=context.slowness.loop,
        drained=any(group.drained for group in awake),
        fenced=any(group.state.fenced for group in awake),
        memory_full=memory_full,
    )


def full_leader(peers: Peers, groups: Mapping[int, Group]) -> NodeCondition | None:
    """The condition of a node that leads a group and has no memory left, None if there is none."""
    for node, condition in sorted(peers.full_nodes().items()):
        if any(group.raft.state.leader == node for group in groups.values()):
            return condition
    return None


def owned_slots(slots: SlotMap, groups: Mapping[int, Group]) -> dict[int, int]:
    """How many slots each group has, as its replica here knows."""
    formed = {each.group: each.last - each.first + 1 for each in static_ranges(slots.founded)}
    tables = {id_: group.state.machine.keyspace.slots for id_, group in groups.items()}
    return {id_: formed.get(id_, 0) if table is None else table.count for id_, table in tables.items()}


def group_status(
    group: Group, tick_seconds: float, transactions: Transactions, moves: Moves, slots: int
) -> GroupStatus:
    """The status of the replica of `group`, which has so many `slots`. A tick lasts `tick_seconds`."""
    raft, log, machine = group.raft.state, group.raft.state.log, group.state.machine
    checkpoint = group.checkpoints.last
    unfinished, recovery = machine.keyspace.transactions, transactions.recoveries.get(group.id)
    return GroupStatus(
        group=group.id,
        role=raft.role,
        term=raft.term,
        leader=raft.leader,
        first_index=log.first_index,
        last_index=log.last_index,
        commit=raft.commit,
        applied=group.state.index,
        slots=slots,
        replaced={each.id: each.replaces for each in raft.configuration.joining if each.replaces},
        voters=raft.configuration.voters,
        learners=raft.configuration.learners,
        keys=len(machine.keyspace),
        expiring_keys=machine.keyspace.due.live,
        expired_keys=machine.expired,
        dataset_bytes=machine.keyspace.memory,
        revision=machine.revision,
        pending_proposals=len(group.requests.proposals.waiting),
        replicas=replica_statuses(group, tick_seconds),
        joint=raft.configuration.joint,
        target_voters=() if raft.configuration.target is None else raft.configuration.target.voters,
        drained=group.drained,
        joining=tuple(joining.id for joining in raft.configuration.joining),
        transferring=raft.transferring,
        checkpoint_index=0 if checkpoint is None else checkpoint.base.index,
        checkpoint_busy=group.checkpoints.busy,
        transfers=(*group.sender.status(), *group.receiver.status()),
        fenced=group.state.fenced,
        mismatch=group.consistency.mismatch,
        pending_bytes=group.requests.proposals.waiting_bytes,
        oldest_stamp_ms=log.base.stamp,
        clock_offset_ms=group.requests.leader_clock.offset() if raft.leads else 0,
        log_time_lead_ms=round(group.requests.leader_clock.lead_ms) if raft.leads else 0,
        lock_waiters=group.requests.lock_waits.count,
        once_tokens=machine.keyspace.ledger.counts[LedgerKind.TOKEN],
        once_bytes=machine.keyspace.ledger.sizes[LedgerKind.TOKEN],
        once_repeats=machine.repeats,
        preferred=preferred_leader(group.id, raft.configuration),
        transactions=len(unfinished.prepared) + len(unfinished.decisions),
        transaction_locks=len(unfinished.locks.exclusive) + len(unfinished.locks.shared),
        transaction_lock_seconds=0.0 if recovery is None else round(recovery.oldest(), 3),
        transaction_recoveries=0 if recovery is None else recovery.count,
        transaction_waits=group.requests.transaction_waits.count,
        frozen_seconds=round(moves.frozen_seconds(group.id), 3),
        quiet=raft.quiet,
    )


def replica_statuses(group: Group, tick_seconds: float) -> tuple[ReplicaStatus, ...]:
    """The followers of `group`; empty unless this node leads it."""
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


def member_statuses(
    peers: Peers,
    groups: Mapping[int, Group],
    places: Collection[GroupPlace],
    tick_seconds: float,
    replication: int,
) -> tuple[MemberStatus, ...]:
    """Every member as this node sees it: of the groups that it leads, the longest silence and largest lag.

    `places` are all groups whose members are known, with those that the node has no replica of.
    With a `replication` other than 0 so many nodes vote in each group, and a voter votes in some of them.
    """
    contacts: dict[str, float] = {}
    lags: dict[str, int] = {}
    for group in groups.values():
        for replica in replica_statuses(group, tick_seconds):
            contacts[replica.id] = max(contacts.get(replica.id, 0.0), replica.last_contact_seconds)
            if replica.lag is not None:
                lags[replica.id] = max(lags.get(replica.id, 0), replica.lag)
    configurations = [group.raft.state.configuration for group in groups.values()]
    joining = {each.id for configuration in configurations for each in configuration.joining}
    joining.update(each.id for place in places for each in place.coming)
    retired = [(id_, group.raft.state.configuration.retired) for id_, group in sorted(groups.items())]
    votes = any if replication else all
    own = peers.formation.identity.id
    return tuple(
        MemberStatus(
            id=member.id,
            incarnation=member.incarnation,
            peer=member.peer,
            client=peers.client_address(member.id),
            http=peers.http_address(member.id),
            voter=bool(places) and votes(member.id in place.voters for place in places),
            connected=member.id == own or member.id in peers.connected,
            last_contact_seconds=contacts.get(member.id),
            lag_entries=lags.get(member.id),
            joining=member.id in joining,
            machine_version=peers.supported_by(member),
            announced=peers.announced_by(member.id),
            zone=peers.zone(member.id),
            votes=sum(member.id in place.voters for place in places),
            replicas=sum(member.id in place.members for place in places),
            removed_from=tuple(id_ for id_, gone in retired if member.node in gone),
        )
        for member in peers.formation.members
    )
