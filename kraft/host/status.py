"""What a node can say of itself: plain values that page, JSON and shell all render."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kraft.host.snapshots import TransferStatus
from kraft.raft.membership import NOBODY

if TYPE_CHECKING:
    from kraft.host.group import Group
    from kraft.host.peers import Peers


@dataclass(frozen=True, slots=True)
class MemberStatus:
    """One member as seen from here. `client` and `http` are '' until it has greeted.

    `joining`: a learner that becomes a voter once it has caught up. `last_contact_seconds` and `lag_entries`
    concern group 0 and are None unless this node leads it.
    """

    id: str
    incarnation: str
    peer: str
    client: str
    http: str
    voter: bool
    connected: bool
    last_contact_seconds: float | None
    lag_entries: int | None
    joining: bool = False


@dataclass(frozen=True, slots=True)
class ReplicaStatus:
    """A follower of one group as its leader sees it; `state` is probe, replicate or snapshot."""

    id: str
    match_index: int
    lag_entries: int
    state: str
    last_contact_seconds: float
    clock_offset_ms: int
    inflight_messages: int = 0


@dataclass(frozen=True, slots=True)
class GroupStatus:
    """One group's replica on this node. `replicas` is empty unless this node leads it.

    `joint`: the voters are being changed. `joining` are the learners that will be voters. `checkpoint_index`
    is 0 before the first checkpoint. `transferring` is whom leadership is being given to, '' for nobody.
    `fenced`: the state here is known to be wrong. `mismatch`: some replica's is, as far as a leader knows.
    `pending_bytes` are those of the pending proposals. The log holds every entry stamped after
    `oldest_stamp_ms`, in Unix ms; 0 when it holds all there ever were.
    """

    group: int
    role: str
    term: int
    leader: str
    first_index: int
    last_index: int
    commit: int
    applied: int
    voters: tuple[str, ...]
    learners: tuple[str, ...]
    keys: int
    expiring_keys: int
    expired_keys: int
    dataset_bytes: int
    revision: int
    pending_proposals: int
    replicas: tuple[ReplicaStatus, ...]
    joint: bool = False
    joining: tuple[str, ...] = ()
    transferring: str = ""
    checkpoint_index: int = 0
    checkpoint_busy: bool = False
    transfers: tuple[TransferStatus, ...] = ()
    fenced: bool = False
    mismatch: bool = False
    pending_bytes: int = 0
    oldest_stamp_ms: int = 0


@dataclass(frozen=True, slots=True)
class Status:
    """The node. `problem` says in words why it cannot serve writes now, '' when it can.

    `state` is starting, forming, serving or stopping; `cluster` is '' while forming.
    """

    node: str
    version: str
    cluster: str
    incarnation: str
    state: str
    problem: str
    disk_full: bool
    client: str
    http: str
    uptime_seconds: float
    members: tuple[MemberStatus, ...]
    groups: tuple[GroupStatus, ...]


def group_status(group: "Group", tick_seconds: float) -> GroupStatus:
    """The replica of `group` on this node; a tick of the host lasts `tick_seconds`."""
    node, machine = group.node, group.machine
    return GroupStatus(
        group=group.id,
        role=node.role,
        term=node.term,
        leader=node.leader,
        first_index=node.first_index,
        last_index=node.last_index,
        commit=node.commit,
        applied=group.applied,
        voters=node.configuration.voters,
        learners=node.configuration.learners,
        keys=len(machine.keyspace),
        expiring_keys=machine.keyspace.expiring,
        expired_keys=machine.expired,
        dataset_bytes=machine.keyspace.bytes,
        revision=machine.revision,
        pending_proposals=group.waiting,
        replicas=replica_statuses(group, tick_seconds),
        joint=node.configuration.joint,
        joining=tuple(joining.id for joining in node.configuration.joining),
        transferring=node.transferring,
        checkpoint_index=0 if group.image is None else group.image.base.index,
        checkpoint_busy=group.checkpointing,
        transfers=group.transfers,
        fenced=group.fenced,
        mismatch=group.comparing.mismatch,
        pending_bytes=group.waiting_bytes,
        oldest_stamp_ms=node.base.stamp,
    )


def replica_statuses(group: "Group", tick_seconds: float) -> tuple[ReplicaStatus, ...]:
    """The followers of `group` when this node leads it, else nothing."""
    if not group.leads:
        return ()
    offsets = group.clock_offsets()
    return tuple(
        ReplicaStatus(
            id=p.peer,
            match_index=p.match,
            lag_entries=group.node.last_index - p.match,
            state=p.state,
            last_contact_seconds=p.silent_ticks * tick_seconds,
            clock_offset_ms=offsets.get(p.peer, 0),
            inflight_messages=p.inflight,
        )
        for p in group.node.progress()
    )


def member_statuses(peers: "Peers", group: "Group | None", tick_seconds: float) -> tuple[MemberStatus, ...]:
    """Every member as seen from here; `group` is this node's replica of group 0, if there is one yet."""
    configuration = group.node.configuration if group is not None else NOBODY
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
