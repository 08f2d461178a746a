"""Every metric of kraft, once: name (without `kraft_`), meaning, labels. docs/metrics.md says the same.

Base units stand in the names, counters end in `_total`; a label has few values, and never a key or a client.
"""

from kraft.telemetry.metrics.samples import COUNT_BUCKETS, Counter, Gauge, Histogram

_GROUP = ("group",)
_PEER = ("peer",)

BUILD_INFO = Gauge("build_info", "Versions this node runs.", ("version", "python", "twisted"))
NODE_INFO = Gauge(
    "node_info", "Who this node is; the cluster is empty until it has formed.", ("node_id", "cluster_id")
)
CONFIG_LAST_RELOAD_SUCCESS = Gauge(
    "config_last_reload_success_timestamp_seconds", "When the configuration was last read and taken over."
)
CONFIG_RELOADS = Counter(
    "config_reloads_total", "How often SIGHUP had the configuration read again.", ("outcome",)
)

RAFT_HAS_LEADER = Gauge("raft_has_leader", "1 where a leader is known here.", _GROUP)
RAFT_IS_LEADER = Gauge("raft_is_leader", "1 where this node leads.", _GROUP)
RAFT_TERM = Gauge("raft_term", "Current term.", _GROUP)
RAFT_FIRST_INDEX = Gauge("raft_first_index", "First index of the log.", _GROUP)
RAFT_LAST_INDEX = Gauge("raft_last_index", "Last index of the log.", _GROUP)
RAFT_COMMIT_INDEX = Gauge("raft_commit_index", "Highest index known to be committed.", _GROUP)
RAFT_APPLIED_INDEX = Gauge("raft_applied_index", "Highest index applied to the keyspace.", _GROUP)
RAFT_STATE = Gauge("raft_state", "1 for the present role, 0 for the others.", ("group", "state"))
RAFT_LEADER_TERM_INFO = Gauge(
    "raft_leader_term_info", "1, only on a leader, with its term.", ("group", "term")
)
RAFT_MEMBERS = Gauge("raft_members", "Members by role.", ("group", "role"))
RAFT_LEADER_CHANGES = Counter("raft_leader_changes_total", "New leaders seen by this node.", _GROUP)
RAFT_ELECTIONS = Counter(
    "raft_elections_total", "Elections this node stood in, by how they ended.", ("group", "kind", "outcome")
)
RAFT_PROPOSALS = Counter(
    "raft_proposals_total", "Writes proposed here, by how they ended.", ("group", "outcome")
)
RAFT_PROPOSALS_PENDING = Gauge("raft_proposals_pending", "Writes that wait to be logged here.", _GROUP)
RAFT_PROPOSALS_PENDING_BYTES = Gauge(
    "raft_proposals_pending_bytes", "Bytes of the writes that wait to be logged here.", _GROUP
)
RAFT_COMMIT_DURATION = Histogram(
    "raft_commit_duration_seconds", "From logging a batch here to its being committed and applied.", _GROUP
)
RAFT_APPLY_DURATION = Histogram(
    "raft_apply_duration_seconds", "Applying one slice of committed entries.", _GROUP
)
RAFT_READ_INDEX_DURATION = Histogram(
    "raft_read_index_duration_seconds", "From asking for a read index to its being applied here.", _GROUP
)
RAFT_READS = Counter("raft_reads_total", "Read rounds, by how they ended.", ("group", "kind", "outcome"))
RAFT_HEARTBEAT_SEND_FAILURES = Counter(
    "raft_heartbeat_send_failures_total",
    "Heartbeats that found no link to the follower, or no room on it.",
    ("group", "peer"),
)
RAFT_FOLLOWER_LAG = Gauge(
    "raft_follower_lag_entries", "Entries a follower does not have yet; on a leader only.", ("group", "peer")
)
RAFT_PEER_LAST_CONTACT = Gauge(
    "raft_peer_last_contact_timestamp_seconds",
    "When a follower was last heard; on a leader only.",
    ("group", "peer"),
)
RAFT_OLDEST_LOG_TIMESTAMP = Gauge(
    "raft_oldest_log_timestamp_seconds",
    "From when on the log holds all writes; missing while it holds every one there ever was.",
    _GROUP,
)

PEER_CONNECTED = Gauge("peer_connected", "1 while the link to the peer is up.", _PEER)
PEER_INFLIGHT_MESSAGES = Gauge(
    "peer_inflight_messages", "Messages with entries the peer has not answered; on a leader only.", _PEER
)
PEER_CLOCK_OFFSET = Gauge(
    "peer_clock_offset_seconds", "Wall clock of the peer ahead of ours; on a leader only.", _PEER
)
PEER_CONNECTS = Counter("peer_connects_total", "Links that came up.", _PEER)
PEER_REFUSED = Counter("peer_refused_total", "Handshakes refused on either side.")
PEER_SENT_BYTES = Counter("peer_sent_bytes_total", "Bytes written to the link.", _PEER)
PEER_RECEIVED_BYTES = Counter("peer_received_bytes_total", "Bytes read from the link.", _PEER)
PEER_SEND_FAILURES = Counter(
    "peer_send_failures_total", "Messages that were not sent to the peer.", ("peer", "reason")
)
PEER_ROUND_TRIP = Histogram("peer_round_trip_seconds", "A probe to the peer and its answer.", _PEER)

LOG_FSYNC_DURATION = Histogram(
    "log_fsync_duration_seconds", "One transaction of the log, to its being durable."
)
LOG_CHECKPOINT_DURATION = Histogram("log_checkpoint_duration_seconds", "One SQLite checkpoint of the log.")
LOG_BATCH_ENTRIES = Histogram(
    "log_batch_entries", "Entries in one transaction of the log.", (), COUNT_BUCKETS
)
LOG_APPEND_BYTES = Counter("log_append_bytes_total", "Entry data made durable.")
LOG_ENTRIES = Gauge("log_entries", "Entries in the log.", _GROUP)
STORAGE_SIZE_BYTES = Gauge("storage_size_bytes", "Size on disk by kind.", ("kind",))
STORAGE_ERRORS = Counter("storage_errors_total", "Storage operations that failed.", ("operation",))
DISK_FREE_BYTES = Gauge("disk_free_bytes", "Room left for this node on the file system of its data.")
DISK_FULL = Gauge("disk_full", "1 while writes find no room on the disk of this node.")
DATASET_BYTES = Gauge("dataset_bytes", "Approximate memory of keys and values.")
DATASET_QUOTA_BYTES = Gauge(
    "dataset_quota_bytes", "Bound of dataset_bytes: limits.dataset_bytes, or half of the machine's memory."
)

SNAPSHOTS = Counter(
    "snapshots_total",
    "Checkpoints of the keyspace to the state file, by how they ended.",
    ("group", "outcome"),
)
SNAPSHOT_DURATION = Histogram(
    "snapshot_duration_seconds", "One checkpoint of the keyspace, to its being durable.", _GROUP
)
SNAPSHOT_LAST_SUCCESS = Gauge(
    "snapshot_last_success_timestamp_seconds",
    "When the last checkpoint of the keyspace since start became durable.",
    _GROUP,
)
SNAPSHOT_LAST_INDEX = Gauge(
    "snapshot_last_index", "Index of the last checkpoint of the keyspace, 0 before the first.", _GROUP
)
SNAPSHOT_SIZE_BYTES = Gauge(
    "snapshot_size_bytes", "Bytes of keys and values in the last checkpoint since start.", _GROUP
)
SNAPSHOT_RESTORE_LAST_DURATION = Gauge(
    "snapshot_restore_last_duration_seconds",
    "Reading the state file into memory, at start or for a received snapshot.",
    _GROUP,
)
SNAPSHOT_TRANSFERS = Counter(
    "snapshot_transfers_total",
    "Copies of the data sent to or received from other nodes, by how that ended.",
    ("group", "direction", "outcome"),
)
SNAPSHOT_TRANSFER_BYTES = Counter(
    "snapshot_transfer_bytes_total", "Bytes of them, counted when they end.", ("group", "direction")
)

CLIENT_CONNECTIONS = Gauge("client_connections", "Open client connections.", ("protocol",))
CLIENT_CONNECTIONS_OPENED = Counter(
    "client_connections_opened_total",
    "Connections that came to speak a protocol; each is accepted as resp2 and counts again when it changes.",
    ("protocol",),
)
CLIENT_REJECTED = Counter("client_rejected_total", "Connections refused or closed by a limit.", ("reason",))
COMMANDS = Counter("commands_total", "Commands answered.", ("command", "outcome"))
COMMAND_DURATION = Histogram(
    "command_duration_seconds", "From a command's arrival to its answer.", ("class",)
)
COMMAND_ERRORS = Counter("command_errors_total", "Error replies by their first word.", ("code",))
CONSISTENCY_CHECKS = Counter(
    "consistency_checks_total",
    "Checkpoints taken so as to be compared, and replicas found to differ.",
    ("group", "outcome"),
)
CONSISTENCY_MISMATCH = Gauge(
    "consistency_mismatch", "1 where the data of a replica is known to differ from the others'.", _GROUP
)
COMMANDS_FORWARDED = Counter("commands_forwarded_total", "Writes sent on to the leader.", ("outcome",))
CLIENT_REDIRECTS = Counter("client_redirects_total", "Clients sent to another node.", ("kind",))
CLIENT_RECEIVED_BYTES = Counter("client_received_bytes_total", "Bytes read from clients.")
CLIENT_SENT_BYTES = Counter("client_sent_bytes_total", "Bytes written to clients.")
CLIENT_OUTPUT_BUFFER_BYTES = Gauge(
    "client_output_buffer_bytes", "Answers that clients have not taken off the node yet."
)
BACKPRESSURE_ACTIVE = Gauge("backpressure_active", "1 while client connections are paused.")
KEYS = Gauge("keys", "Keys in the keyspace.", _GROUP)
KEYS_WITH_EXPIRY = Gauge("keys_with_expiry", "Keys that will expire.", _GROUP)
KEYS_EXPIRED = Counter(
    "keys_expired_total", "Keys that expired since start, the replay of the log included.", _GROUP
)
KEYSPACE_HITS = Counter("keyspace_hits_total", "Values that GET and MGET found.")
KEYSPACE_MISSES = Counter("keyspace_misses_total", "Keys that GET and MGET found no value of.")
REACTOR_LAG = Histogram("reactor_lag_seconds", "How late a periodic call of the reactor came.")
THREAD_QUEUE_LENGTH = Gauge("thread_queue_length", "Calls that wait for a thread of the storage.", ("pool",))
