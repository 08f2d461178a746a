"""Gauges that a node's status already knows, read when somebody asks.

The protocols name what is read of `host`'s status values, which this package may not import.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from kraft.telemetry.metrics import declarations
from kraft.telemetry.metrics.samples import Readings

ROLES = ("leader", "follower", "candidate", "precandidate", "learner")


class ReplicaStatus(Protocol):
    """A follower as its leader sees it."""

    @property
    def id(self) -> str: ...
    @property
    def lag_entries(self) -> int: ...
    @property
    def last_contact_seconds(self) -> float: ...
    @property
    def clock_offset_ms(self) -> int: ...
    @property
    def inflight_messages(self) -> int: ...


class GroupStatus(Protocol):
    """One group's replica on this node."""

    @property
    def group(self) -> int: ...
    @property
    def role(self) -> str: ...
    @property
    def term(self) -> int: ...
    @property
    def leader(self) -> str: ...
    @property
    def first_index(self) -> int: ...
    @property
    def oldest_stamp_ms(self) -> int: ...
    @property
    def last_index(self) -> int: ...
    @property
    def commit(self) -> int: ...
    @property
    def applied(self) -> int: ...
    @property
    def voters(self) -> Sequence[str]: ...
    @property
    def learners(self) -> Sequence[str]: ...
    @property
    def keys(self) -> int: ...
    @property
    def expiring_keys(self) -> int: ...
    @property
    def expired_keys(self) -> int: ...
    @property
    def dataset_bytes(self) -> int: ...
    @property
    def pending_proposals(self) -> int: ...
    @property
    def pending_bytes(self) -> int: ...
    @property
    def checkpoint_index(self) -> int: ...
    @property
    def replicas(self) -> Sequence[ReplicaStatus]: ...
    @property
    def fenced(self) -> bool: ...
    @property
    def mismatch(self) -> bool: ...


class MemberStatus(Protocol):
    """One member of the cluster."""

    @property
    def id(self) -> str: ...


class Status(Protocol):
    """A node at one moment."""

    @property
    def node(self) -> str: ...
    @property
    def cluster(self) -> str: ...
    @property
    def disk_full(self) -> bool: ...
    @property
    def members(self) -> Sequence[MemberStatus]: ...
    @property
    def groups(self) -> Sequence[GroupStatus]: ...


class Clients(Protocol):
    """The client port at one moment."""

    @property
    def dataset_bytes_max(self) -> int: ...
    @property
    def output_buffer_bytes(self) -> int: ...


def read_status(status: Status, readings: Readings, wall_seconds: float) -> None:
    """All gauges of one status; `wall_seconds` is Unix time now."""
    readings.set(declarations.NODE_INFO, 1, status.node, status.cluster)
    readings.set(declarations.DATASET_BYTES, sum(group.dataset_bytes for group in status.groups))
    readings.set(declarations.DISK_FULL, status.disk_full)
    offsets: dict[str, int] = {}  # of one peer, by the last group that this node leads
    inflight: Counter[str] = Counter()
    for group in status.groups:
        _read_indexes(group, readings)
        _read_roles(group, readings)
        _read_keys(group, readings)
        _read_replicas(group, readings, wall_seconds)
        for replica in group.replicas:
            offsets[replica.id] = replica.clock_offset_ms
            inflight[replica.id] += replica.inflight_messages
    for peer, offset_ms in offsets.items():
        readings.set(declarations.PEER_CLOCK_OFFSET, offset_ms / 1000, peer)
        readings.set(declarations.PEER_INFLIGHT_MESSAGES, inflight[peer], peer)


def _read_indexes(group: GroupStatus, readings: Readings) -> None:
    label = str(group.group)
    readings.set(declarations.RAFT_TERM, group.term, label)
    readings.set(declarations.RAFT_FIRST_INDEX, group.first_index, label)
    readings.set(declarations.RAFT_LAST_INDEX, group.last_index, label)
    readings.set(declarations.RAFT_COMMIT_INDEX, group.commit, label)
    readings.set(declarations.RAFT_APPLIED_INDEX, group.applied, label)
    readings.set(declarations.LOG_ENTRIES, max(0, group.last_index - group.first_index + 1), label)
    readings.set(declarations.RAFT_PROPOSALS_PENDING, group.pending_proposals, label)
    readings.set(declarations.RAFT_PROPOSALS_PENDING_BYTES, group.pending_bytes, label)
    readings.set(declarations.SNAPSHOT_LAST_INDEX, group.checkpoint_index, label)
    if group.oldest_stamp_ms:
        readings.set(declarations.RAFT_OLDEST_LOG_TIMESTAMP, group.oldest_stamp_ms / 1000, label)


def _read_roles(group: GroupStatus, readings: Readings) -> None:
    label, leads = str(group.group), group.role == "leader"
    readings.set(declarations.RAFT_HAS_LEADER, bool(group.leader), label)
    readings.set(declarations.RAFT_IS_LEADER, leads, label)
    for role in ROLES:
        readings.set(declarations.RAFT_STATE, group.role == role, label, role)
    if leads:
        readings.set(declarations.RAFT_LEADER_TERM_INFO, 1, label, str(group.term))
    readings.set(declarations.CONSISTENCY_MISMATCH, group.fenced or group.mismatch, label)
    readings.set(declarations.RAFT_MEMBERS, len(group.voters), label, "voter")
    readings.set(declarations.RAFT_MEMBERS, len(group.learners), label, "learner")


def _read_keys(group: GroupStatus, readings: Readings) -> None:
    label = str(group.group)
    readings.set(declarations.KEYS, group.keys, label)
    readings.set(declarations.KEYS_WITH_EXPIRY, group.expiring_keys, label)
    readings.set(declarations.KEYS_EXPIRED, group.expired_keys, label)


def _read_replicas(group: GroupStatus, readings: Readings, wall_seconds: float) -> None:
    label = str(group.group)
    for replica in group.replicas:
        heard = wall_seconds - replica.last_contact_seconds
        readings.set(declarations.RAFT_FOLLOWER_LAG, replica.lag_entries, label, replica.id)
        readings.set(declarations.RAFT_PEER_LAST_CONTACT, heard, label, replica.id)
