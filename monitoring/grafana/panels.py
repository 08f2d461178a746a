"""The panels of the dashboard, in five sections. `generate` turns them into Grafana's JSON.

In queries, NODES stands for the selector of the nodes chosen at the top of the dashboard, GROUPS for that of
the nodes and groups, TARGETS for that of all targets of the cluster, PROCESS for that of metrics that are not
kraft's own, and RATE for the window of a rate. docs/runbooks.md refers to panels by their titles.
"""

from dataclasses import dataclass
from typing import Any

ROLES = ("follower", "precandidate", "candidate", "leader", "learner")  # numbered from 1
COLORS = ("blue", "orange", "dark-orange", "green", "purple")

Query = tuple[str, str]  # expression, legend


@dataclass(frozen=True)
class Panel:
    """One panel. `queries` are (expression, legend) pairs; values of `worse_from` or more are red."""

    kind: str
    title: str
    unit: str
    width: int
    queries: tuple[Query, ...]
    description: str = ""
    height: int = 8
    worse_from: float | None = None
    signed: bool = False  # may be below zero
    mappings: tuple[tuple[float, str, str], ...] = ()  # value, text, colour


def stat(title: str, unit: str, width: int, *queries: Query, **more: Any) -> Panel:
    """A panel of current values."""
    return Panel("stat", title, unit, width, queries, height=4, **more)


def lines(title: str, unit: str, width: int, *queries: Query, **more: Any) -> Panel:
    """A panel of curves."""
    return Panel("timeseries", title, unit, width, queries, **more)


def table(title: str, width: int, expression: str, **more: Any) -> Panel:
    """A table with one row per current series; its labels are the columns."""
    return Panel("table", title, "none", width, ((expression, ""),), **more)


def heatmap(title: str, width: int, metric: str, selector: str) -> Panel:
    """A heatmap of a histogram of durations."""
    buckets = f"sum by (le) (rate({metric}_bucket{{{selector}}}[RATE]))"
    return Panel("heatmap", title, "s", width, ((buckets, "{{le}}"),))


def timeline(title: str, width: int, *queries: Query, **more: Any) -> Panel:
    """A panel of states over time."""
    return Panel("state-timeline", title, "none", width, queries, **more)


def rate(metric: str, by: str, selector: str = "NODES") -> str:
    """The rate per second of a metric, summed by labels."""
    return f"sum by ({by}) (rate({metric}{{{selector}}}[RATE]))"


def quantile(share: float, metric: str, by: str, selector: str = "NODES") -> str:
    """A quantile of a histogram, by labels."""
    labels = f"{by}, le" if by else "le"
    return f"histogram_quantile({share}, sum by ({labels}) (rate({metric}_bucket{{{selector}}}[RATE])))"


OVERVIEW = (
    stat("Nodes up", "none", 3, ("sum(up{TARGETS})", "up"), ("count(up{TARGETS})", "of")),
    stat(
        "Leader known", "none", 3, ("max by (group) (kraft_raft_has_leader{GROUPS})", "group {{group}}"),
        mappings=((0, "no", "red"), (1, "yes", "green")),
    ),
    stat("Commands per second", "ops", 3, ("sum(rate(kraft_commands_total{NODES}[RATE]))", "")),
    stat(
        "Write p99", "s", 3,
        (quantile(0.99, "kraft_command_duration_seconds", "", 'NODES, class="write"'), ""),
        worse_from=0.25,
    ),
    stat(
        "Writes not committed", "short", 6,
        (
            'sum by (outcome) (increase(kraft_raft_proposals_total{GROUPS, outcome!="committed"}[$__range]))',
            "{{outcome}}",
        ),
        description="In the selected time range.", worse_from=1,
    ),
    stat(
        "Quota used", "percentunit", 6,
        ("kraft_dataset_bytes{NODES} / kraft_dataset_quota_bytes{NODES}", "{{instance}}"), worse_from=0.85,
    ),
    table(
        "Leaders", 8, "max by (group, instance) (kraft_raft_is_leader{GROUPS} == 1)", height=6,
        description="The leader of each group.",
    ),
    table(
        "Alerts", 16,
        'max by (alertname, severity, instance, group, peer) '
        '(ALERTS{alertname=~"Kraft.+", alertstate="firing", cluster="$cluster"})',
        height=6, description="Firing alerts; docs/runbooks.md has a heading for each.",
    ),
    lines(
        "Replicas and groups", "short", 24,
        ("sum by (state) (kraft_groups{NODES})", "replicas of groups: {{state}}"),
        ("sum(kraft_groups_at_risk{NODES})", "groups that must not lose another voter"),
        ('max(kraft_absent_groups{NODES, state="leaderless"})', "groups elsewhere that have no leader"),
        ("max(kraft_misplaced_groups{NODES})", "groups that cannot get the voters that they should have"),
    ),
)  # fmt: skip

TRAFFIC = (
    lines("Commands", "ops", 8, (rate("kraft_command_duration_seconds_count", "class"), "{{class}}")),
    lines("Top commands", "ops", 8, (f"topk(8, {rate('kraft_commands_total', 'command')})", "{{command}}")),
    lines("Errors by code", "ops", 8, (f"topk(8, {rate('kraft_command_errors_total', 'code')})", "{{code}}")),
    heatmap("Write latency", 8, "kraft_command_duration_seconds", 'NODES, class="write"'),
    heatmap("Read latency", 8, "kraft_command_duration_seconds", 'NODES, class="read"'),
    lines(
        "Latency by class", "s", 8,
        *((quantile(share, "kraft_command_duration_seconds", "class", 'NODES, class=~"read|write"'),
           f"{{{{class}}}} p{share * 100:.0f}") for share in (0.5, 0.95, 0.99)),
    ),
    lines(
        "Connections", "short", 8, ("sum by (protocol) (kraft_client_connections{NODES})", "{{protocol}}"),
        ("sum(kraft_client_connections_max{NODES})", "admitted at most"),
    ),
    lines(
        "Connections opened and rejected", "ops", 8,
        (rate("kraft_client_connections_opened_total", "protocol"), "{{protocol}}"),
        (f"topk(4, {rate('kraft_client_rejected_total', 'reason')})", "rejected: {{reason}}"),
    ),
    lines(
        "Client bytes", "Bps", 8,
        (rate("kraft_client_received_bytes_total", "instance"), "{{instance}} received"),
        (rate("kraft_client_sent_bytes_total", "instance"), "{{instance}} sent"),
    ),
    lines(
        "Forwarded and redirected", "ops", 6,
        (rate("kraft_commands_forwarded_total", "outcome"), "forwarded: {{outcome}}"),
        (rate("kraft_client_redirects_total", "kind"), "{{kind}}"),
    ),
    lines(
        "Hits and misses", "ops", 6,
        ("sum(rate(kraft_keyspace_hits_total{NODES}[RATE]))", "hits"),
        ("sum(rate(kraft_keyspace_misses_total{NODES}[RATE]))", "misses"),
    ),
    lines(
        "Keys", "short", 6,
        ("max by (group) (kraft_keys{GROUPS})", "group {{group}}"),
        ("max by (group) (kraft_keys_with_expiry{GROUPS})", "group {{group}} with expiry"),
    ),
    lines(
        "Backpressure", "bytes", 6,
        ("kraft_client_output_buffer_bytes{NODES}", "{{instance}} unread replies"),
        ("kraft_backpressure_active{NODES}", "{{instance}} paused (0 or 1)"),
    ),
    lines(
        "Transactions over groups", "ops", 12,
        (rate("kraft_transactions_total", "outcome"), "{{outcome}}"),
        (rate("kraft_transaction_waits_total", "group", "GROUPS"), "waits in group {{group}}"),
        (rate("kraft_transaction_recoveries_total", "group", "GROUPS"), "recoveries in group {{group}}"),
    ),
    lines(
        "Oldest transaction", "s", 12,
        ("max by (group) (kraft_transaction_lock_oldest_seconds{GROUPS})", "group {{group}}"),
    ),
    lines(
        "Slots that move", "Bps", 12,
        (rate("kraft_move_bytes_total", "instance"), "{{instance}} sends"),
    ),
    lines(
        "Slots frozen", "s", 12,
        (quantile(0.99, "kraft_move_freeze_seconds", ""), "p99 of all moves"),
        ("max by (group) (kraft_slots_frozen_seconds{GROUPS})", "group {{group}} now"),
    ),
)  # fmt: skip

STATE = " + ".join(
    f'{number} * sum by (instance, group) (kraft_raft_state{{GROUPS, state="{role}"}})'
    for number, role in enumerate(ROLES, 1)
)

CONSENSUS = (
    timeline(
        "Roles", 16, (STATE, "{{instance}} group {{group}}"),
        mappings=tuple((number, *named) for number, named in enumerate(zip(ROLES, COLORS, strict=True), 1)),
    ),
    lines("Term", "none", 8, ("kraft_raft_term{GROUPS}", "{{instance}} group {{group}}")),
    lines(
        "Leader changes", "short", 8,
        ("increase(kraft_raft_leader_changes_total{GROUPS}[RATE])", "{{instance}} group {{group}}"),
    ),
    lines(
        "Elections", "ops", 8,
        (rate("kraft_raft_elections_total", "kind, outcome", "GROUPS"), "{{kind}} {{outcome}}"),
    ),
    lines(
        "Members", "short", 8,
        ("max by (group, role) (kraft_raft_members{GROUPS})", "group {{group}} {{role}}s"),
    ),
    lines(
        "Entries committed", "ops", 8,
        ("rate(kraft_raft_commit_index{GROUPS}[RATE])", "{{instance}} group {{group}}"),
        description="Growth of the commit index of each node.",
    ),
    lines(
        "Follower lag", "short", 8,
        ("max by (group, peer) (kraft_raft_follower_lag_entries{GROUPS})", "{{peer}} group {{group}}"),
    ),
    lines(
        "Not applied yet", "short", 8,
        (
            "kraft_raft_commit_index{GROUPS} - kraft_raft_applied_index{GROUPS}",
            "{{instance}} group {{group}}",
        ),
    ),
    lines(
        "Proposals by outcome", "ops", 8,
        (rate("kraft_raft_proposals_total", "outcome", "GROUPS"), "{{outcome}}"),
    ),
    lines(
        "Proposals waiting", "short", 8,
        ("kraft_raft_proposals_pending{GROUPS}", "{{instance}} group {{group}}"),
    ),
    lines(
        "Bytes waiting", "bytes", 8,
        ("kraft_raft_proposals_pending_bytes{GROUPS}", "{{instance}} group {{group}}"),
    ),
    lines(
        "Commit, apply and read p99", "s", 12,
        (quantile(0.99, "kraft_raft_commit_duration_seconds", "instance", "GROUPS"), "{{instance}} commit"),
        (quantile(0.99, "kraft_raft_apply_duration_seconds", "instance", "GROUPS"), "{{instance}} apply"),
        (quantile(0.99, "kraft_raft_read_index_duration_seconds", "instance", "GROUPS"), "{{instance}} read"),
    ),
    lines(
        "Reads by kind", "ops", 12,
        (rate("kraft_raft_reads_total", "kind, outcome", "GROUPS"), "{{kind}} {{outcome}}"),
    ),
)  # fmt: skip

PEERS_AND_DISK = (
    lines(
        "Round trip p99", "s", 8,
        (quantile(0.99, "kraft_peer_round_trip_seconds", "instance, peer"), "{{instance}} to {{peer}}"),
        worse_from=0.15,
    ),
    timeline(
        "Links", 8, ("kraft_peer_connected{NODES}", "{{instance}} to {{peer}}"),
        mappings=((0, "down", "red"), (1, "up", "green")),
    ),
    lines(
        "Peer bytes", "Bps", 8,
        (rate("kraft_peer_sent_bytes_total", "instance, peer"), "{{instance}} to {{peer}}"),
        (rate("kraft_peer_received_bytes_total", "instance, peer"), "{{instance}} from {{peer}}"),
    ),
    lines(
        "Send failures", "ops", 8,
        (rate("kraft_peer_send_failures_total", "instance, reason"), "{{instance}} {{reason}}"),
        (
            rate("kraft_raft_heartbeat_send_failures_total", "instance, peer"),
            "{{instance}} no heartbeat to {{peer}}",
        ),
        (rate("kraft_peer_refused_total", "instance"), "{{instance}} refused links"),
    ),
    lines(
        "Entries sent again", "Bps", 8,
        (rate("kraft_raft_resent_bytes_total", "instance, peer"), "{{instance}} to {{peer}}"),
    ),
    lines(
        "Messages in flight", "short", 8,
        ("kraft_peer_inflight_messages{NODES}", "{{instance}} to {{peer}}"),
    ),
    lines(
        "Clock offset", "s", 8,
        ("kraft_peer_clock_offset_seconds{NODES}", "{{peer}} seen by {{instance}}"),
        ("kraft_clock_offset_seconds{NODES}", "{{instance}} from the median"),
        ("kraft_log_time_lead_seconds{NODES}", "log time of group {{group}} from the median"), signed=True,
    ),
    lines(
        "fsync p99", "s", 8,
        (quantile(0.99, "kraft_log_fsync_duration_seconds", "instance"), "{{instance}}"),
        ("kraft_log_write_age_seconds{NODES}", "{{instance}} under way"), worse_from=0.1,
    ),
    heatmap("fsync", 8, "kraft_log_fsync_duration_seconds", "NODES"),
    lines(
        "Entries per commit", "short", 8,
        (
            " / ".join(rate(f"kraft_log_batch_entries_{part}", "instance") for part in ("sum", "count")),
            "{{instance}}",
        ),
        (quantile(0.99, "kraft_log_batch_entries", "instance"), "{{instance}} p99"),
    ),
    lines("Log bytes", "Bps", 8, (rate("kraft_log_append_bytes_total", "instance"), "{{instance}}")),
    lines("Log entries", "short", 8, ("kraft_log_entries{GROUPS}", "{{instance}} group {{group}}")),
    lines(
        "Storage by kind", "bytes", 8,
        ("sum by (instance, kind) (kraft_storage_size_bytes{NODES})", "{{instance}} {{kind}}"),
    ),
    lines(
        "Disk free", "bytes", 8,
        ("kraft_disk_free_bytes{NODES}", "{{instance}}"),
        ("predict_linear(kraft_disk_free_bytes{NODES}[2h], 4 * 3600)", "{{instance}} in four hours"),
    ),
    lines(
        "Storage errors", "ops", 8,
        (rate("kraft_storage_errors_total", "instance, operation"), "{{instance}} {{operation}}"),
        ("kraft_disk_full{NODES}", "{{instance}} full (0 or 1)"),
    ),
    lines(
        "Checkpoints", "s", 8,
        (quantile(0.99, "kraft_snapshot_duration_seconds", "instance", "GROUPS"), "{{instance}} of the data"),
        (quantile(0.99, "kraft_log_checkpoint_duration_seconds", "instance"), "{{instance}} of the log"),
    ),
    lines(
        "Checkpoint age", "s", 8,
        ("time() - kraft_snapshot_last_success_timestamp_seconds{GROUPS}", "{{instance}} group {{group}}"),
        description="Age of the last checkpoint since the node was started.",
    ),
    lines("Snapshot size", "bytes", 8, ("kraft_snapshot_size_bytes{GROUPS}", "{{instance}} group {{group}}")),
    lines(
        "Snapshots sent and received", "Bps", 8,
        (
            rate("kraft_snapshot_transfer_bytes_total", "instance, direction", "GROUPS"),
            "{{instance}} {{direction}}",
        ),
    ),
    lines(
        "Snapshot transfers", "short", 8,
        ("sum by (direction, outcome) (kraft_snapshot_transfers_total{GROUPS})", "{{direction}} {{outcome}}"),
        description="Since the nodes were started.",
    ),
    lines(
        "Log against loading", "s", 8,
        ("time() - kraft_raft_oldest_log_timestamp_seconds{GROUPS}", "{{instance}} log reaches back"),
        ("kraft_snapshot_restore_last_duration_seconds{GROUPS}", "{{instance}} last load took"),
        description="A replica that loads a snapshot needs the log entries since then.",
    ),
    lines(
        "Consistency checks", "short", 8,
        ("sum by (instance, outcome) (kraft_consistency_checks_total{GROUPS})", "{{instance}} {{outcome}}"),
        ("kraft_consistency_mismatch{GROUPS}", "{{instance}} differs (0 or 1)"), worse_from=1,
    ),
    lines(
        "Backup age", "s", 8,
        ("time() - kraft_backup_last_success_timestamp_seconds{NODES}", "{{instance}} last image"),
        ("time() - kraft_backup_shipped_timestamp_seconds{GROUPS}", "{{instance}} log of {{group}}"),
        description="Of the nodes that keep backups. The log is shipped a second after it is written.",
    ),
    lines("Backup size", "bytes", 8, ("kraft_backup_size_bytes{NODES}", "{{instance}}")),
    lines(
        "Backups", "short", 8,
        ("sum by (instance, outcome) (kraft_backups_total{NODES})", "{{instance}} {{outcome}}"),
        description="Images since the nodes were started.",
    ),
)  # fmt: skip

PROCESS = (
    lines("CPU", "percentunit", 8, ("rate(process_cpu_seconds_total{PROCESS}[RATE])", "{{instance}}")),
    lines(
        "Resident memory", "bytes", 8, ("process_resident_memory_bytes{PROCESS}", "{{instance}}"),
        ("kraft_memory_limit_bytes{NODES}", "{{instance}} limit"),
    ),
    lines(
        "Open files", "short", 8,
        ("process_open_fds{PROCESS}", "{{instance}}"),
        ("process_max_fds{PROCESS}", "{{instance}} limit"),
    ),
    lines(
        "Reactor lag p99", "s", 8,
        (quantile(0.99, "kraft_reactor_lag_seconds", "instance"), "{{instance}}"), worse_from=0.1,
    ),
    lines("Thread queue", "short", 8, ("kraft_thread_queue_length{NODES}", "{{instance}} {{pool}}")),
    lines(
        "Garbage collections", "ops", 8,
        (
            rate("python_gc_collections_total", "instance, generation", "PROCESS"),
            "{{instance}} generation {{generation}}",
        ),
    ),
    table("Versions", 12, "max by (instance, version, python, twisted) (kraft_build_info{NODES})", height=6),
    stat("Up since", "dateTimeFromNow", 6, ("1000 * process_start_time_seconds{PROCESS}", "{{instance}}")),
    stat(
        "Configuration read", "dateTimeFromNow", 6,
        ("1000 * kraft_config_last_reload_success_timestamp_seconds{NODES}", "{{instance}}"),
    ),
)  # fmt: skip

SECTIONS = (
    ("Overview", OVERVIEW),
    ("Traffic", TRAFFIC),
    ("Consensus", CONSENSUS),
    ("Peers and disk", PEERS_AND_DISK),
    ("Process", PROCESS),
)
