"""What a node reports about itself: plain values that the page, JSON, the shell and metrics all render."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TransferStatus:
    """One transfer. `direction` is send or receive, `index` that of the copy.

    `done_bytes` of about `size_bytes` have been moved, in `seconds` since the first piece was asked for.
    """

    peer: str
    direction: str
    index: int
    done_bytes: int
    size_bytes: int
    seconds: float


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
