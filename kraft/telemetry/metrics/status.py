"""The gauges that come from a node's status, read at a scrape."""

from collections import Counter
from collections.abc import Container

from kraft.node import status as node
from kraft.node.status import STATES, GroupStatus, Status
from kraft.telemetry.metrics import declarations
from kraft.telemetry.metrics.holders import Readings

ACTIVE, QUIET, LEADERLESS, UNDER_REPLICATED = GROUP_STATES = (
    "active",
    "quiet",
    "leaderless",
    "under_replicated",
)
SERVED = "served"  # of a group of which the node has no replica
# States in which a node lacks the groups that it does not show. In others it loads them, or has no cluster.
_COMPLETE = (node.SERVING, node.LEADERLESS, node.FENCED)
ROLES = ("leader", "follower", "candidate", "precandidate", "learner")


# Of transactions over several groups.
OUTCOMES = ("committed", "changed", "conflict", "refused", "locked", "uncertain")
MOVE_OUTCOMES = ("moved", "cancelled", "failed")


def read_status(status: Status, readings: Readings, wall_seconds: float) -> None:
    """Add every gauge of `status` to `readings`; `wall_seconds` is Unix time now."""
    readings.set(declarations.NODE_INFO, 1, status.node, status.cluster)
    for state in STATES:
        readings.set(declarations.NODE_STATE, status.state == state, state)
    readings.set(declarations.DATASET_BYTES, sum(group.dataset_bytes for group in status.groups))
    readings.set(declarations.DISK_FULL, status.disk_full)
    readings.set(declarations.LOG_WRITE_AGE, status.log_write_seconds)
    readings.set(declarations.NODE_SLOW, status.disk_slow, "disk")
    readings.set(declarations.NODE_SLOW, status.loop_slow, "event_loop")
    readings.set(declarations.MACHINE_VERSION, status.machine_version)
    readings.set(declarations.MACHINE_VERSION_SUPPORTED, status.machine_version_supported)
    for outcome in OUTCOMES:
        readings.set(declarations.TRANSACTIONS, status.transactions.get(outcome, 0), outcome)
    for outcome in MOVE_OUTCOMES:
        readings.set(declarations.MOVES, status.move_outcomes.get(outcome, 0), outcome)
    readings.set(declarations.MOVES_PLANNED, len(status.moves))
    readings.set(declarations.MOVE_BYTES, status.move_bytes)
    readings.set(declarations.MISPLACED_GROUPS, status.misplaced_groups)
    readings.set(declarations.MAP_VERSION, status.map_version)
    readings.set(declarations.BEATS, status.beats_sent, "sent")
    readings.set(declarations.BEATS, status.beats_received, "received")
    _read_groups(status, readings)
    led = [group for group in status.groups if group.role == "leader"]
    if led:
        readings.set(declarations.CLOCK_OFFSET, led[0].clock_offset_ms / 1000)
    offsets: dict[str, int] = {}  # peer -> clock offset, as measured by any group that this node leads
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


def _read_groups(status: Status, readings: Readings) -> None:
    linked = {member.id for member in status.members if member.connected}
    states = Counter(_group_state(group, linked) for group in status.groups)
    for state in GROUP_STATES:
        readings.set(declarations.GROUPS, states[state], state)
    led = [group for group in status.groups if group.role == "leader"]
    readings.set(declarations.GROUP_LEADERS, len(led))
    readings.set(declarations.GROUPS_AT_RISK, sum(_is_at_risk(group, linked) for group in led))
    served = sum(each.leader in linked for each in status.elsewhere)
    absent = max(0, status.group_count - len(status.groups)) if status.state in _COMPLETE else 0
    readings.set(declarations.ABSENT_GROUPS, min(served, absent), SERVED)
    readings.set(declarations.ABSENT_GROUPS, max(0, absent - served), LEADERLESS)


def _is_at_risk(group: GroupStatus, linked: Container[str]) -> bool:
    """Whether some voters have no link, and the others are needed for a majority."""
    for voters in (group.voters, group.target_voters):
        away = sum(voter not in linked for voter in voters)
        if away and len(voters) - away <= len(voters) // 2 + 1:
            return True
    return False


def _group_state(group: GroupStatus, linked: Container[str]) -> str:
    """One of GROUP_STATES; `linked` are the nodes with a link, and this one."""
    if not group.leader:
        return LEADERLESS
    if group.role == "leader":
        away = [voter for voter in group.voters if voter not in linked]
        if away or any(each.state == "snapshot" and each.id in group.voters for each in group.replicas):
            return UNDER_REPLICATED
    return QUIET if group.quiet else ACTIVE


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
        readings.set(declarations.LOG_TIME_LEAD, group.log_time_lead_ms / 1000, label)
        readings.set(declarations.RAFT_LEADER_TERM_INFO, 1, label, str(group.term))
    readings.set(declarations.CONSISTENCY_MISMATCH, group.fenced or group.mismatch, label)
    readings.set(declarations.RAFT_MEMBERS, len(group.voters), label, "voter")
    readings.set(declarations.RAFT_MEMBERS, len(group.learners), label, "learner")


def _read_keys(group: GroupStatus, readings: Readings) -> None:
    label = str(group.group)
    readings.set(declarations.KEYS, group.keys, label)
    readings.set(declarations.KEYS_WITH_EXPIRY, group.expiring_keys, label)
    readings.set(declarations.KEYS_EXPIRED, group.expired_keys, label)
    readings.set(declarations.LOCK_WAITERS, group.lock_waiters, label)
    readings.set(declarations.TRANSACTION_LOCKS, group.transaction_locks, label)
    readings.set(declarations.TRANSACTION_LOCK_OLDEST, group.transaction_lock_seconds, label)
    readings.set(declarations.TRANSACTION_WAITS, group.transaction_waits, label)
    readings.set(declarations.TRANSACTION_RECOVERIES, group.transaction_recoveries, label)
    readings.set(declarations.SLOTS_FROZEN, group.frozen_seconds, label)
    readings.set(declarations.ONCE_TOKENS, group.once_tokens, label)
    readings.set(declarations.ONCE_BYTES, group.once_bytes, label)
    readings.set(declarations.ONCE_REPEATS, group.once_repeats, label)


def _read_replicas(group: GroupStatus, readings: Readings, wall_seconds: float) -> None:
    label = str(group.group)
    for replica in group.replicas:
        contact = wall_seconds - replica.last_contact_seconds
        if replica.lag is not None:
            readings.set(declarations.RAFT_FOLLOWER_LAG, replica.lag, label, replica.id)
        readings.set(declarations.RAFT_PEER_LAST_CONTACT, contact, label, replica.id)
