"""Every metric of kraft, declared once: name (without `kraft_`), help text and labels.

docs/metrics.md lists the same (tested). As in the Prometheus conventions, base units are part of the name and
counters end in `_total`. A label takes few values: never a key, a client or the address of a stranger. Above
`GROUPS_MAX` groups the series of all groups are folded into one, whose label is "all".
"""

from dataclasses import dataclass, field

from kraft.telemetry.metrics.buckets import COUNT_BUCKETS, SECONDS_BUCKETS

PREFIX = "kraft_"
GROUPS_MAX = 64  # groups with series of their own; each group has about 150
ALL_GROUPS = "all"


@dataclass(frozen=True, slots=True)
class Declaration:
    """One metric: its name without the prefix, its help text and the names of its labels.

    `fold` says how the values of many groups become that of `group="all"`: sum, min, max or leave out.
    """

    name: str
    meaning: str
    labels: tuple[str, ...] = ()
    fold: str = field(default="sum", kw_only=True)


@dataclass(frozen=True, slots=True)
class Counter(Declaration):
    """A number that only grows; its name ends in `_total`."""


@dataclass(frozen=True, slots=True)
class Gauge(Declaration):
    """A number that may go up and down."""


@dataclass(frozen=True, slots=True)
class Histogram(Declaration):
    """Observations counted by upper bound; `buckets` are the bounds."""

    buckets: tuple[float, ...] = SECONDS_BUCKETS


_GROUP = ("group",)
_PEER = ("peer",)

BUILD_INFO = Gauge(
    "build_info",
    "Versions of kraft, Python and Twisted that this node runs; always 1.",
    ("version", "python", "twisted"),
)
NODE_INFO = Gauge(
    "node_info",
    "Ids of this node and its cluster, the latter empty until a cluster is formed; always 1.",
    ("node_id", "cluster_id"),
)
MACHINE_VERSION = Gauge("machine_version", "The machine version in force in the cluster, as this node knows.")
MACHINE_VERSION_SUPPORTED = Gauge(
    "machine_version_supported", "The highest machine version that this node's program supports."
)
CONFIG_LAST_RELOAD_SUCCESS = Gauge(
    "config_last_reload_success_timestamp_seconds", "Time of the last successful load of the configuration."
)
CONFIG_RELOADS = Counter(
    "config_reloads_total", "Reloads of the configuration on SIGHUP, by outcome.", ("outcome",)
)

TLS_CERTIFICATE_EXPIRY = Gauge(
    "tls_certificate_expiry_timestamp_seconds",
    "When the certificate of the node, that of its CA or the revocation list expires, by use.",
    ("use",),
)
TLS_CONNECTIONS = Counter(
    "tls_connections_total",
    "Connections to a port that has TLS, by outcome: secured by TLS, taken without it, or refused.",
    ("port", "outcome"),
)
TLS_RELOADS = Counter("tls_reloads_total", "Loads of the files of certificates, by outcome.", ("outcome",))

RAFT_HAS_LEADER = Gauge(
    "raft_has_leader", "1 if this node knows a leader of the group, else 0.", _GROUP, fold="min"
)
RAFT_IS_LEADER = Gauge("raft_is_leader", "1 if this node leads the group, else 0.", _GROUP, fold="max")
RAFT_TERM = Gauge("raft_term", "Current term of the group.", _GROUP, fold="max")
RAFT_FIRST_INDEX = Gauge("raft_first_index", "Index of the first entry in the log.", _GROUP)
RAFT_LAST_INDEX = Gauge("raft_last_index", "Index of the last entry in the log.", _GROUP)
RAFT_COMMIT_INDEX = Gauge("raft_commit_index", "Index of the last entry known to be committed.", _GROUP)
RAFT_APPLIED_INDEX = Gauge("raft_applied_index", "Index of the last entry applied to the keyspace.", _GROUP)
GROUPS = Gauge(
    "groups",
    "Groups of which this node has a replica, by state: leaderless (no leader known here), under_replicated "
    "(led here, and a voter has no link or needs a snapshot), quiet (nothing happens there), or active.",
    ("state",),
)
GROUPS_AT_RISK = Gauge(
    "groups_at_risk",
    "Groups that this node leads and that stop with the next voter they lose, as voters have no link.",
)
ABSENT_GROUPS = Gauge(
    "absent_groups",
    "Groups of which this node has no replica, by state: served (it has a link to their leader), or "
    "leaderless.",
    ("state",),
)
BEATS = Counter(
    "beats_total",
    "Beats, which speak for all quiet groups of a link, by direction: sent or received.",
    ("direction",),
)
GROUP_LEADERS = Gauge("group_leaders", "Groups that this node leads.")
NODE_STATE = Gauge("node_state", "1 for the current state of this node, 0 for the others.", ("state",))
RAFT_STATE = Gauge(
    "raft_state", "1 for the current role of this node in the group, 0 for the others.", ("group", "state")
)
RAFT_LEADER_TERM_INFO = Gauge(
    "raft_leader_term_info",
    "1 on the leader of a group, labelled with its term; missing elsewhere.",
    ("group", "term"),
    fold="leave out",
)
RAFT_MEMBERS = Gauge(
    "raft_members", "Members of the group, voters and learners.", ("group", "role"), fold="max"
)
RAFT_LEADER_CHANGES = Counter("raft_leader_changes_total", "Leader changes seen by this node.", _GROUP)
RAFT_ELECTIONS = Counter(
    "raft_elections_total",
    "Elections in which this node was a candidate, by outcome.",
    ("group", "kind", "outcome"),
)
RAFT_PROPOSALS = Counter(
    "raft_proposals_total", "Writes proposed on this node, by outcome.", ("group", "outcome")
)
RAFT_PROPOSALS_PENDING = Gauge(
    "raft_proposals_pending", "Writes on this node that wait to be appended to the log.", _GROUP
)
RAFT_PROPOSALS_PENDING_BYTES = Gauge(
    "raft_proposals_pending_bytes",
    "Bytes of the writes on this node that wait to be appended to the log.",
    _GROUP,
)
RAFT_COMMIT_DURATION = Histogram(
    "raft_commit_duration_seconds",
    "Time from appending a batch to the log until it is committed and applied.",
    _GROUP,
)
RAFT_APPLY_DURATION = Histogram(
    "raft_apply_duration_seconds", "Time to apply one slice of committed entries.", _GROUP
)
RAFT_READ_INDEX_DURATION = Histogram(
    "raft_read_index_duration_seconds", "Time from requesting a read index until it is applied here.", _GROUP
)
RAFT_READS = Counter(
    "raft_reads_total",
    "Read rounds, by kind and outcome. One round serves all reads that wait for it.",
    ("group", "kind", "outcome"),
)
RAFT_HEARTBEAT_SEND_FAILURES = Counter(
    "raft_heartbeat_send_failures_total",
    "Heartbeats that could not be sent: no link to the follower, or its send queue was full.",
    ("group", "peer"),
)
RAFT_RESENT_BYTES = Counter(
    "raft_resent_bytes_total",
    "Bytes of entries that this leader sent again, because a link had gone down or had not taken them.",
    ("group", "peer"),
)
RAFT_FOLLOWER_LAG = Gauge(
    "raft_follower_lag_entries",
    "Entries that a follower does not have yet; on the leader only.",
    ("group", "peer"),
    fold="max",
)
RAFT_PEER_LAST_CONTACT = Gauge(
    "raft_peer_last_contact_timestamp_seconds",
    "Time of the last message from a follower; on the leader only.",
    ("group", "peer"),
    fold="min",
)
RAFT_OLDEST_LOG_TIMESTAMP = Gauge(
    "raft_oldest_log_timestamp_seconds",
    "The log holds every write since this time; missing while nothing has been compacted.",
    _GROUP,
    fold="max",
)

PEER_CONNECTED = Gauge("peer_connected", "1 while the link to the peer is up, else 0.", _PEER)
PEER_INFLIGHT_MESSAGES = Gauge(
    "peer_inflight_messages",
    "Messages with entries that the peer has not acknowledged; on the leader only.",
    _PEER,
)
PEER_CLOCK_OFFSET = Gauge(
    "peer_clock_offset_seconds",
    "How far the peer's clock is ahead of this node's; on the leader only.",
    _PEER,
)
CLOCK_OFFSET = Gauge(
    "clock_offset_seconds",
    "How far this node's clock is ahead of the median of the voters' clocks; on the leader only.",
)
LOG_TIME_LEAD = Gauge(
    "log_time_lead_seconds",
    "How far log time is ahead of the median of the voters' clocks; on the leader only.",
    _GROUP,
    fold="max",
)
PEER_CONNECTS = Counter("peer_connects_total", "Links to the peer that were established.", _PEER)
PEER_REFUSED = Counter(
    "peer_refused_total", "Incoming peer connections that ended before the handshake was complete."
)
PEER_SENT_BYTES = Counter("peer_sent_bytes_total", "Bytes sent to the peer.", _PEER)
PEER_RECEIVED_BYTES = Counter("peer_received_bytes_total", "Bytes received from the peer.", _PEER)
PEER_SEND_FAILURES = Counter(
    "peer_send_failures_total",
    "Batches of messages to the peer that were dropped, by reason.",
    ("peer", "reason"),
)
PEER_ROUND_TRIP = Histogram("peer_round_trip_seconds", "Time from a ping to the peer's answer.", _PEER)

LOG_FSYNC_DURATION = Histogram(
    "log_fsync_duration_seconds", "Time to commit one transaction of the log and make it durable."
)
LOG_CHECKPOINT_DURATION = Histogram(
    "log_checkpoint_duration_seconds", "Time of one SQLite checkpoint (WAL into the database) of the log."
)
LOG_BATCH_ENTRIES = Histogram(
    "log_batch_entries", "Entries in one transaction of the log.", (), COUNT_BUCKETS
)
LOG_APPEND_BYTES = Counter("log_append_bytes_total", "Bytes of entries made durable.")
LOG_ENTRIES = Gauge("log_entries", "Entries in the log.", _GROUP)
STORAGE_SIZE_BYTES = Gauge("storage_size_bytes", "Size on disk, by kind of file.", ("kind",))
STORAGE_ERRORS = Counter("storage_errors_total", "Storage operations that failed.", ("operation",))
DISK_FREE_BYTES = Gauge(
    "disk_free_bytes", "Free space for this node on the file system of its data directory."
)
LOG_WRITE_AGE = Gauge(
    "log_write_age_seconds",
    "How long the log write that the disk works on has been under way, 0 without any.",
)
NODE_SLOW = Gauge(
    "node_slow",
    "1 while this node is too slow to lead because of its disk or its event loop, else 0.",
    ("cause",),
)
DISK_FULL = Gauge("disk_full", "1 while this node's disk is too full to write, else 0.")
DATASET_BYTES = Gauge("dataset_bytes", "Memory of keys and values, overhead included.")
DATASET_QUOTA_BYTES = Gauge(
    "dataset_quota_bytes",
    "Upper limit of dataset_bytes: limits.dataset_bytes, or about half of the memory limit.",
)
MEMORY_LIMIT_BYTES = Gauge(
    "memory_limit_bytes", "The tightest limit of this process's memory: machine, control group or rlimit."
)
MEMORY_FULL = Gauge(
    "memory_full", "1 while the process is so near its memory limit that it refuses writes, else 0."
)

SNAPSHOTS = Counter(
    "snapshots_total",
    "Checkpoints of the keyspace written to the state file, by outcome.",
    ("group", "outcome"),
)
SNAPSHOT_DURATION = Histogram(
    "snapshot_duration_seconds", "Time to write one checkpoint of the keyspace and make it durable.", _GROUP
)
SNAPSHOT_LAST_SUCCESS = Gauge(
    "snapshot_last_success_timestamp_seconds",
    "Time at which the last checkpoint of the keyspace since the start became durable.",
    _GROUP,
    fold="min",
)
SNAPSHOT_LAST_INDEX = Gauge(
    "snapshot_last_index",
    "Index of the last entry in the last checkpoint of the keyspace; 0 before the first.",
    _GROUP,
)
SNAPSHOT_SIZE_BYTES = Gauge(
    "snapshot_size_bytes", "Bytes of keys and values in the last checkpoint since the start.", _GROUP
)
SNAPSHOT_RESTORE_LAST_DURATION = Gauge(
    "snapshot_restore_last_duration_seconds",
    "Time to read the state file into memory, at the start or after a snapshot was received.",
    _GROUP,
    fold="max",
)
SNAPSHOT_TRANSFERS = Counter(
    "snapshot_transfers_total",
    "Snapshots sent to or received from other nodes, by outcome.",
    ("group", "direction", "outcome"),
)
SNAPSHOT_TRANSFER_BYTES = Counter(
    "snapshot_transfer_bytes_total",
    "Bytes of snapshots sent or received, counted when the transfer ends.",
    ("group", "direction"),
)

CLIENT_CONNECTIONS = Gauge("client_connections", "Open client connections.", ("protocol",))
CLIENT_CONNECTIONS_MAX = Gauge(
    "client_connections_max",
    "Upper limit of client connections: limits.connections, or what the limit of open files leaves.",
)
CLIENT_CONNECTIONS_OPENED = Counter(
    "client_connections_opened_total",
    "Connections by protocol: each starts as resp2 and is counted again when it switches.",
    ("protocol",),
)
CLIENT_REJECTED = Counter(
    "client_rejected_total",
    "Client connections that were refused or closed by the server, by reason.",
    ("reason",),
)
ACCESS_DENIED = Counter(
    "access_denied_total",
    "What was refused to users, by reason: a command, a key, a login (auth), or a certificate (tls-cert).",
    ("reason",),
)
LOGINS = Counter(
    "logins_total",
    "Logins of clients, by outcome: done, failed, or busy (too many waited).",
    ("outcome",),
)
HTTP_REFUSED = Counter(
    "http_refused_total",
    "Requests to the HTTP port that may not read their page: token or certificate missing, or token wrong.",
    ("reason",),
)
SCRIPTS_STOPPED = Counter(
    "scripts_stopped_total",
    "Scripts that this node ended at a limit, by limit: time, instructions or memory.",
    ("limit",),
)
COMMANDS = Counter("commands_total", "Commands answered, by name and outcome.", ("command", "outcome"))
COMMAND_DURATION = Histogram(
    "command_duration_seconds", "Time from the arrival of a command to its reply.", ("class",)
)
COMMAND_ERRORS = Counter(
    "command_errors_total", "Error replies, by error code (the first word of the reply).", ("code",)
)
BACKUPS = Counter("backups_total", "Backup images, by outcome; every failed attempt counts.", ("outcome",))
BACKUP_LAST_SUCCESS = Gauge(
    "backup_last_success_timestamp_seconds",
    "Time of the newest image in the backup directory; missing until there is one.",
)
BACKUP_SIZE_BYTES = Gauge("backup_size_bytes", "Bytes of the newest image in the backup directory.")
BACKUP_SHIPPED_INDEX = Gauge(
    "backup_shipped_index", "Index of the last entry that was shipped to the backup directory.", _GROUP
)
BACKUP_SHIPPED_TIMESTAMP = Gauge(
    "backup_shipped_timestamp_seconds",
    "The backup directory holds the state of every moment up to this time.",
    _GROUP,
)
BACKUP_UNSHIPPED_GROUPS = Gauge(
    "backup_unshipped_groups",
    "Groups whose log this node should ship, and cannot have for a minute or longer.",
)

CONSISTENCY_CHECKS = Counter(
    "consistency_checks_total",
    "Checkpoints taken for a comparison of the replicas, and replicas found to differ.",
    ("group", "outcome"),
)
CONSISTENCY_MISMATCH = Gauge(
    "consistency_mismatch",
    "1 if this node knows of a replica whose data differs from the others', else 0.",
    _GROUP,
    fold="max",
)
COMMANDS_FORWARDED = Counter(
    "commands_forwarded_total", "Writes forwarded to the leader, by outcome.", ("outcome",)
)
CLIENT_REDIRECTS = Counter(
    "client_redirects_total", "Replies that redirect a client to another node.", ("kind",)
)
CLIENT_RECEIVED_BYTES = Counter("client_received_bytes_total", "Bytes received from clients.")
CLIENT_SENT_BYTES = Counter("client_sent_bytes_total", "Bytes sent to clients.")
CLIENT_OUTPUT_BUFFER_BYTES = Gauge(
    "client_output_buffer_bytes", "Bytes of replies that clients have not read yet."
)
BACKPRESSURE_ACTIVE = Gauge(
    "backpressure_active",
    "1 while this node reads nothing from some clients because writes wait to be logged, else 0.",
)
KEYS = Gauge("keys", "Keys in the keyspace.", _GROUP)
KEYS_WITH_EXPIRY = Gauge("keys_with_expiry", "Keys with an expiry.", _GROUP)
KEYS_EXPIRED = Counter(
    "keys_expired_total",
    "Keys that expired since the start; includes those expired by the replay of the log.",
    _GROUP,
)
LOCK_WAITERS = Gauge(
    "lock_waiters", "Clients of this node that wait for a lock (KRAFT LOCK with WAIT); at most 1,024.", _GROUP
)
TRANSACTIONS = Counter(
    "transactions_total",
    "Transactions over several groups that this node's clients asked for, by outcome: committed, changed"
    " (a watched key), conflict (computed again), repeated (a token of KRAFT ONCE), refused, locked (waited"
    " too long) or uncertain.",
    ("outcome",),
)
TRANSACTION_LOCKS = Gauge(
    "transaction_locks", "Keys that transactions over several groups lock in this group now.", _GROUP
)
TRANSACTION_LOCK_OLDEST = Gauge(
    "transaction_lock_oldest_seconds",
    "On the leader: for how long it has seen the oldest transaction that is not over, 0 without any.",
    _GROUP,
    fold="max",
)
TRANSACTION_WAITS = Counter(
    "transaction_waits_total",
    "Requests that had to wait at this node for the locks of a transaction.",
    _GROUP,
)
TRANSACTION_RECOVERIES = Counter(
    "transaction_recoveries_total",
    "Steps that this node took as the leader because a coordinator had not come back to its transaction.",
    _GROUP,
)
MOVES = Counter(
    "moves_total",
    "Moves of slots out of groups that this node led, by outcome: moved, cancelled, or failed (an attempt,"
    " which another one follows).",
    ("outcome",),
)
MISPLACED_GROUPS = Gauge(
    "misplaced_groups",
    "Groups that cannot get the voters that they should have, as the leader of group 0 knows; 0 elsewhere.",
)
MOVES_PLANNED = Gauge("moves_planned", "Moves of slots that are not over, as this node knows.")
MOVE_BYTES = Counter("move_bytes_total", "Bytes of keys that this node sent to move slots.")
MOVE_FREEZE = Histogram(
    "move_freeze_seconds", "How long a move froze slots, so that no client could use them."
)
SLOTS_FROZEN = Gauge(
    "slots_frozen_seconds",
    "On the leader: for how long it has seen slots of the group frozen, 0 without any.",
    _GROUP,
    fold="max",
)
MAP_VERSION = Gauge(
    "map_version", "Version of the map of slots, as this node knows; every move that took place adds 1."
)
ONCE_TOKENS = Gauge("once_tokens", "Tokens of KRAFT ONCE that are remembered.", _GROUP)
ONCE_BYTES = Gauge("once_bytes", "Memory of the remembered tokens and of their replies.", _GROUP)
ONCE_REPEATS = Counter(
    "once_repeats_total",
    "Commands answered by the reply to the first use of their token; includes the replay of the log.",
    _GROUP,
)
KEYSPACE_HITS = Counter("keyspace_hits_total", "GET and MGET lookups that found a key.")
KEYSPACE_MISSES = Counter("keyspace_misses_total", "GET and MGET lookups that found no key.")
REACTOR_LAG = Histogram(
    "reactor_lag_seconds", "Delay of a periodic reactor call: how long the event loop was blocked."
)
THREAD_QUEUE_LENGTH = Gauge("thread_queue_length", "Calls waiting for a storage thread.", ("pool",))
LOG_LINES_LOST = Counter(
    "log_lines_lost_total",
    "Lines of the log that were not written: their reader stalled or was gone, or the disk was full.",
)
