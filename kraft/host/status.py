"""What a node can say of itself: plain values that page, JSON and shell all render."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MemberStatus:
    """One member as seen from here. `client` and `http` are '' until it has greeted.

    `last_contact_seconds` and `lag_entries` concern group 0 and are None unless this node leads it.
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


@dataclass(frozen=True, slots=True)
class ReplicaStatus:
    """A follower of one group as its leader sees it; `state` is probe or replicate."""

    id: str
    match_index: int
    lag_entries: int
    state: str
    last_contact_seconds: float
    clock_offset_ms: int


@dataclass(frozen=True, slots=True)
class GroupStatus:
    """One group's replica on this node. `replicas` is empty unless this node leads it."""

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
