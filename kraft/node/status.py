"""What a node reports about itself, as plain values. The page, JSON, the shell and metrics render them."""

from dataclasses import dataclass, field

# The words for the state of a node; `Status.state` explains them.
STARTING, FORMING, STANDBY, SERVING, LEADERLESS, FENCED, REFUSED, REMOVED, STOPPING = STATES = (
    "starting", "forming", "standby", "serving", "leaderless", "fenced", "refused", "removed", "stopping",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class NodeState:
    """The state of a node: one of STATES, and why it cannot serve writes now, in words; '' if it can."""

    word: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class TransferStatus:
    """One snapshot on its way. `direction` is send or receive; `index` is the last entry in the snapshot.

    `done_bytes` of about `size_bytes` were moved in the `seconds` since the first piece was asked for.
    """

    peer: str
    direction: str
    index: int
    done_bytes: int
    size_bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class MemberStatus:
    """One member of the cluster as this node sees it.

    `peer`, `client` and `http` are addresses (`host:port`); the last two are '' until the member has greeted.
    It is a `voter` if it votes in all groups, or where the cluster places votes itself, in any; `votes`
    counts these groups. `joining` marks a learner that becomes a voter once it has caught up.
    `last_contact_seconds` and `lag_entries` are the largest of the groups that this node leads, and None if
    it leads none. `machine_version` is the highest that the member supports, 0 while it is not connected.
    `announced` is where it says that its peer port is, '' while it is not connected. Nodes of one `zone` may
    fail together. `removed_from` are the groups with a replica here that have removed the member for good: a
    `KRAFT REMOVE` or `REPLACE` has not ended.
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
    machine_version: int = 0
    announced: str = ""
    zone: str = ""
    votes: int = 0
    replicas: int = 0
    removed_from: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ReplicaStatus:
    """A follower of one group as its leader sees it. `state` is probe, replicate or snapshot.

    `match_index` is 0, and `lag_entries` the whole log, of a follower that has not answered this leader yet:
    `lag` tells this from an empty log. `clock_offset_ms` is the clock of the follower minus that of the
    leader, 0 for a learner.
    """

    id: str
    match_index: int
    lag_entries: int
    state: str
    last_contact_seconds: float
    clock_offset_ms: int
    inflight_messages: int = 0

    @property
    def lag(self) -> int | None:
        """The entries that it lacks; None while this leader does not know which ones it has."""
        return None if self.state == "probe" and not self.match_index else self.lag_entries


@dataclass(frozen=True, slots=True)
class TransactionStatus:
    """A transaction over several groups that is not over, as the replica of one `group` here shows it.

    `state` is prepared, with the `keys` that it locks, or committed, with the groups for whose confirmation
    it is `waiting`. Only group `home` knows what was decided. `seconds` is how old its locks are by log time
    of the group, 0 for a committed one.
    """

    id: str
    group: int
    state: str
    home: int
    seconds: float
    keys: tuple[bytes, ...] = ()
    waiting: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class MoveStatus:
    """A move of the slots from `first` to `last` that is not over, as the replicas of one node know it.

    `state` is planned, copying, frozen, active (the source is about to release the slots), cancelled (another
    attempt follows), cancelling, or elsewhere: no replica of this node tells. `keys` have arrived in group
    `receiver`, or were sent to it, of about `keys_total`. `since_ms` is when it was planned (Unix ms).
    `problem` is why the last attempt failed; only the leader of the group `source` knows.
    """

    id: int
    first: int
    last: int
    source: int
    receiver: int
    state: str
    keys: int
    since_ms: int
    problem: str = ""
    keys_total: int = 0


@dataclass(frozen=True, slots=True)
class GroupStatus:
    """The replica of one group on this node.

    * `replicas` is empty unless this node leads the group.
    * `joint` is true while the voters are being changed, to `target_voters`. `joining` are the learners that
      become voters; `replaced` has the voter whose place each of them is to take, if any, by learner.
    * `transferring` is the node that leadership is being transferred to, '' if there is none.
    * `checkpoint_index` is 0 before the first checkpoint. `transfers` are the snapshots on their way.
    * `drained`: an operator keeps this replica from leading.
    * `fenced`: the state of this replica is known to differ from the others'. `mismatch`: as the leader, this
      node knows that the state of some replica differs.
    * `pending_proposals` are writes that are not logged yet, `pending_bytes` their bytes.
    * `clock_offset_ms` is how far the clock of this node, and `log_time_lead_ms` how far log time is ahead of
      the median of the voters' clocks; 0 unless this node leads the group.
    * `slots` is how many slots the group has, frozen ones among them; 0 from a program that does not say.
    * `preferred` is the voter that should lead the group, '' while the voters are being changed.
    * `lock_waiters` are the clients of this node that wait for a lock.
    * `transactions` over several groups lock `transaction_locks` keys here, or wait for confirmations. As the
      leader, this node has seen the oldest for `transaction_lock_seconds`, and took up
      `transaction_recoveries`. `transaction_waits` requests of this node's clients had to wait for them.
    * `frozen_seconds`: as the leader, this node has seen slots of the group frozen for so long, 0: none is.
    * `quiet`: nothing happens in the group, and beats of the nodes speak for it instead of its heartbeats.
    * The log holds every entry whose stamp is after `oldest_stamp_ms` (Unix ms). 0: it holds all entries.
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
    clock_offset_ms: int = 0
    log_time_lead_ms: int = 0
    target_voters: tuple[str, ...] = ()
    drained: bool = False
    lock_waiters: int = 0
    once_tokens: int = 0
    once_bytes: int = 0
    once_repeats: int = 0
    preferred: str = ""
    transactions: int = 0
    transaction_locks: int = 0
    transaction_lock_seconds: float = 0.0
    transaction_waits: int = 0
    quiet: bool = False
    transaction_recoveries: int = 0
    frozen_seconds: float = 0.0
    slots: int = 0
    replaced: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ElsewhereStatus:
    """A group of which this node has no replica, as `members` of it tell: where its clients are served."""

    group: int
    leader: str
    term: int
    members: tuple[str, ...]
    voters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Status:
    """The node as a whole.

    `state` is one word, and the same wherever the state of the node is shown:

    * starting: it replays its log; stopping: it hands over its leadership, and answers what waits
    * forming: it waits for the other members of a new cluster; standby: it waits to be added to a cluster
    * serving: it serves writes, as the leader or through it; leaderless: it knows no leader
    * fenced: its data differs from the other replicas'
    * removed: it is no member of its cluster any more; refused: the members refuse it for another reason

    `problem` says in words why the node cannot serve writes now, and is '' when it is serving. `cluster` is
    '' until the node has formed or joined a cluster.
    `machine_version` is the one in force, `machine_version_supported` the highest that the node supports;
    0 from a program that does not report it. `machine_version_held`: its program supports more, and an option
    holds it back. `disk_slow` and `loop_slow`: log writes take too long, or the
    event loop is blocked again and again, so that this node should not lead. `log_write_seconds` is the
    age of the log write under way, 0 without any. `transactions` over several groups, of this
    node's clients, are counted by outcome: committed, changed (a watched key), conflict (computed again),
    refused, locked or uncertain. `moves` of slots are not over; those out of groups that this node led are
    counted by outcome: moved, cancelled, or failed (an attempt), and `move_bytes` were sent for them.
    `map_version` goes up with every move that took place, from 0. With a `replication` other than 0 the
    cluster places votes itself: so many nodes vote in each group; `misplaced_groups` cannot get the voters
    that they should have, which only the leader of group 0 counts. While `settling`, votes are moved until
    all nodes have about as many; the nodes `leaving` hand over theirs. `groups` are those that the node has a
    replica of, `elsewhere` the others whose members it knows; `group_count` counts all groups of the cluster
    as far as the node knows, 0 from a program that does not say.
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
    machine_version: int = 0
    machine_version_supported: int = 0
    machine_version_held: bool = False
    disk_slow: bool = False
    loop_slow: bool = False
    log_write_seconds: float = 0.0
    transactions: dict[str, int] = field(default_factory=dict)
    beats_sent: int = 0
    beats_received: int = 0
    map_version: int = 0
    moves: tuple[MoveStatus, ...] = ()
    move_outcomes: dict[str, int] = field(default_factory=dict)
    move_bytes: int = 0
    replication: int = 0
    misplaced_groups: int = 0
    settling: bool = False
    leaving: tuple[str, ...] = ()
    elsewhere: tuple[ElsewhereStatus, ...] = ()
    group_count: int = 0

    @property
    def holders(self) -> dict[int, frozenset[str]]:
        """The members of each group that is known, by group id: they have a replica, or are to get one."""
        here = {g.group: frozenset((*g.voters, *g.learners, *g.target_voters)) for g in self.groups}
        return here | {each.group: frozenset(each.members) for each in self.elsewhere}
