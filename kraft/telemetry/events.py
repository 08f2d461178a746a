"""The names of log events and their levels. docs/logging.md explains each (tested).

A name says what happened; everything that varies is in fields.
"""

LEVELS: dict[str, str] = {
    # process
    "node_starting": "info",
    "state_loading": "info",
    "state_loaded": "info",
    "log_replaying": "info",
    "log_replayed": "info",
    "node_started": "info",
    "node_stopping": "info",
    "node_stopped": "info",
    "node_failed": "critical",
    "secret_exposed": "warning",
    "login_failed": "warning",
    "http_refused": "warning",
    "clients_unrestricted": "warning",
    "state_report": "info",
    "thread_stacks": "info",
    "config_reloaded": "info",
    "config_needs_restart": "warning",
    "config_refused": "error",
    "certificates_loaded": "info",
    "certificates_refused": "error",
    "certificate_expires": "warning",
    "log_lines_lost": "warning",
    "connections_limited": "warning",
    "memory_limit": "info",
    "memory_full": "error",
    "memory_has_room": "info",
    # cluster and consensus
    "cluster_formed": "info",
    "cluster_joined": "info",
    "groups_created": "info",
    "replica_left": "info",
    "replica_begun": "info",
    "groups_option_ignored": "warning",
    "node_removed": "error",
    "configuration_changed": "info",
    "learner_promoted": "info",
    "votes_not_moved": "warning",
    "machine_version_raised": "info",
    "clock_off": "warning",
    "clock_right": "info",
    "log_time_off": "warning",
    "log_time_right": "info",
    "admin_command": "info",
    "move_began": "info",
    "slots_moved": "info",
    "move_cancelled": "info",
    "move_attempt_failed": "warning",
    "role_changed": "info",
    "election_ended": "info",
    # peers
    "peer_connected": "info",
    "peer_disconnected": "warning",
    "peer_unreachable": "warning",
    "peer_refused": "warning",
    # disk
    "disk_full": "error",
    "disk_has_room": "info",
    "storage_failed": "error",
    "node_slow": "warning",
    "node_recovered": "info",
    # snapshots
    "snapshot_send_started": "info",
    "snapshot_send_ended": "info",
    "snapshot_receive_started": "info",
    "snapshot_receive_progress": "info",
    "snapshot_receive_stalled": "warning",
    "snapshot_receive_ended": "info",
    "snapshot_receive_failed": "warning",
    "snapshot_not_taken": "warning",
    # checkpoints and consistency checks
    "checkpoint_written": "info",
    "checkpoint_failed": "error",
    "replica_differs": "critical",
    "replica_fenced": "critical",
    # backups
    "backup_made": "info",
    "backup_gap": "warning",
    "backup_failed": "error",
    "backup_waiting": "info",
    "backup_restored": "info",
    "restore_option_ignored": "warning",
    # ports
    "client_rejected": "warning",
    "tls_refused": "warning",
    "scrape_failed": "error",
    "page_failed": "error",
    # libraries
    "twisted": "warning",
}

# After these the state of the node reads differently. The reactor's thread logs them.
STATE_EVENTS = frozenset(
    (
        "cluster_formed",
        "cluster_joined",
        "node_removed",
        "configuration_changed",
        "role_changed",
        "peer_connected",
        "peer_disconnected",
        "disk_full",
        "disk_has_room",
        "node_slow",
        "node_recovered",
        "replica_fenced",
    )
)
