"""One observer for each package that reports: numbers go to the metrics, rare events to the log.

The classes implement the observer protocols that raft, host, storage, transport and server define as ports.
They do not raise and do not call back. An event that a peer or a client can repeat at will is logged at most
once in a few seconds, with the number of events that were held back. Events that each bring something new,
such as commands of an administrator or role changes, are rate limited only after a burst.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from kraft.telemetry.event_log import EventLog
from kraft.telemetry.logs import BURST
from kraft.telemetry.metrics.holders import Count
from kraft.telemetry.metrics.registry import MetricsRegistry
from kraft.telemetry.start_progress import StartProgress

_CAUSES = (
    "group",
    "command",
    "peer",
    "replica",
    "cause",
)  # fields with few values, which outsiders never set


class Observer:
    """What all observers share: the metrics they update and the log they write to."""

    def __init__(self, metrics: MetricsRegistry, events: EventLog) -> None:
        self._metrics = metrics
        self._events = events


class RaftTelemetry(Observer):
    """Roles and elections of all groups."""

    def __init__(self, metrics: MetricsRegistry, events: EventLog) -> None:
        super().__init__(metrics, events)
        self._leaders: dict[int, tuple[int, str]] = {}  # group -> (term, leader) as last seen

    def role_changed(self, group: int, role: str, term: int, leader: str) -> None:
        """The role, the term or the known leader of a group changed."""
        if leader and self._leaders.get(group) != (term, leader):
            self._leaders[group] = (term, leader)
            self._metrics.leader_changes.add(1, str(group))
        fields = {"group": group, "role": role, "term": term, "leader": leader}
        # A node without a quorum campaigns for ever; transfers and new terms may come at any rate, too.
        burst = BURST if role in ("leader", "follower") else 1
        self._events.log_limited(f"role {group} {role}", "role_changed", burst=burst, **fields)

    def election_ended(self, group: int, kind: str, outcome: str) -> None:
        """An election in which this node was a candidate ended."""
        self._metrics.elections.add(1, str(group), kind, outcome)
        self._events.log_limited(
            f"election {group} {kind} {outcome}", "election_ended", group=group, kind=kind, outcome=outcome
        )

    def entries_resent(self, group: int, peer: str, size: int) -> None:
        """`size` bytes of entries are sent to `peer` again."""
        self._metrics.resent_bytes.add(size, str(group), peer)


class _GroupValues:
    """The values of one group that change in every turn."""

    __slots__ = ("apply_duration", "commit_duration", "committed", "read_index_duration", "reads")

    def __init__(self, metrics: MetricsRegistry, group: str) -> None:
        self.committed = metrics.proposals.of(group, "committed")
        self.commit_duration = metrics.commit_duration.of(group)
        self.apply_duration = metrics.apply_duration.of(group)
        self.reads = metrics.reads.of(group, "read_index", "served")
        self.read_index_duration = metrics.read_index_duration.of(group)


class HostTelemetry(Observer):
    """Writes, reads, snapshots and consistency checks, and events for the operator."""

    def __init__(self, metrics: MetricsRegistry, events: EventLog, progress: StartProgress) -> None:
        super().__init__(metrics, events)
        self._progress = progress
        self._of_group: dict[int, _GroupValues] = {}

    def _values(self, group: int) -> "_GroupValues":
        """What is counted in every turn of the group."""
        values = self._of_group.get(group)
        if values is None:
            values = self._of_group[group] = _GroupValues(self._metrics, str(group))
        return values

    def proposal(self, group: int, outcome: str, count: int) -> None:
        """`count` proposals ended with `outcome`."""
        self._metrics.proposals.add(count, str(group), outcome)

    def committed(self, group: int, seconds: float, proposals: int) -> None:
        """An entry with `proposals` of this node was applied, `seconds` after it was appended."""
        values = self._values(group)
        values.committed.number += proposals
        values.commit_duration.observe(seconds)

    def applied(self, group: int, seconds: float) -> None:
        """A slice of committed entries was applied."""
        self._values(group).apply_duration.observe(seconds)

    def read(self, group: int, kind: str, outcome: str, seconds: float) -> None:
        """A read round ended. A refused round has no meaningful duration."""
        if kind == "read_index" and outcome == "served":
            values = self._values(group)
            values.reads.number += 1
            values.read_index_duration.observe(seconds)
        else:
            self._metrics.reads.add(1, str(group), kind, outcome)

    def forwarded(self, outcome: str, count: int) -> None:
        """`count` proposals forwarded to the leader ended with `outcome`."""
        self._metrics.forwarded.add(count, outcome)

    def replaying(self, group: int, entries: int, of: int) -> None:
        """The log of a group is being replayed."""
        self._progress.replaying(group, entries, of)

    def compared(self, group: int, outcome: str) -> None:
        """A checkpoint was taken for a comparison, or a replica was found to differ."""
        self._metrics.consistency_checks.add(1, str(group), outcome)

    def heartbeat_unsent(self, group: int, peer: str) -> None:
        """A heartbeat of this leader could not be sent."""
        self._metrics.heartbeat_send_failures.add(1, str(group), peer)

    def snapshot_transfer(
        self,
        group: int,
        direction: str,
        outcome: str,
        size: int,
        seconds: float,  # noqa: ARG002  part of the port; the log has it beside the size
    ) -> None:
        """The transfer of a snapshot ended."""
        self._metrics.snapshot_transfers.add(1, str(group), direction, outcome)
        self._metrics.snapshot_transfer_bytes.add(size, str(group), direction)

    def slots_frozen(self, group: int, seconds: float) -> None:  # noqa: ARG002  part of the port
        """A move has frozen slots for so long."""
        self._metrics.move_freeze.observe(seconds)

    def event(self, name: str, **fields: object) -> None:
        """Log an event. Most are caused by clients or peers, so the rate of each kind is limited."""
        cause = " ".join(str(fields.get(field, "")) for field in _CAUSES)
        self._events.log_limited(f"event {name} {cause}", name, burst=BURST, **fields)


class StorageTelemetry(Observer):
    """Transactions, checkpoints and disk errors."""

    def __init__(self, metrics: MetricsRegistry, events: EventLog, progress: StartProgress) -> None:
        super().__init__(metrics, events)
        self._progress = progress
        self._fsync_duration = metrics.fsync_duration.of()
        self._batch_entries = metrics.batch_entries.of()
        self._append_bytes = metrics.append_bytes.of()

    def committed(self, seconds: float, entries: int, size: int) -> None:
        """A transaction of the log became durable. One without entries (votes, terms) is not a batch."""
        self._fsync_duration.observe(seconds)
        if entries:
            self._batch_entries.observe(entries)
            self._append_bytes.number += size

    def wal_checkpointed(self, seconds: float) -> None:
        """SQLite copied the WAL into the database."""
        self._metrics.checkpoint_duration.observe(seconds)

    def checkpoint_written(self, group: int, seconds: float, written: int, index: int, size: int) -> None:
        """A checkpoint of the keyspace became durable."""
        self._metrics.snapshot_written(str(group), seconds, size)
        self._events.log_limited(  # a client may repeat KRAFT SNAPSHOT
            f"checkpoint {group}",
            "checkpoint_written",
            burst=BURST,
            group=group,
            index=index,
            keys=written,
            size=size,
            seconds=round(seconds, 3),
        )

    def checkpoint_failed(self, group: int) -> None:
        """A checkpoint of the keyspace failed for lack of disk space."""
        self._metrics.snapshots.add(1, str(group), "failed")

    def state_loading(self, group: int, keys: int, of: int) -> None:
        """The keyspace is being loaded at the start."""
        self._progress.loading(group, keys, of)

    def checkpoint_loaded(self, group: int, seconds: float) -> None:
        """The keyspace was loaded from a state file."""
        self._progress.loaded(group)
        self._metrics.restore_seconds[str(group)] = seconds

    def error(self, operation: str, reason: str = "the disk is full") -> None:
        """A storage operation failed. A full disk fails at every attempt, so the log is limited."""
        self._metrics.storage_errors.add(1, operation)
        self._events.log_limited(f"storage {operation}", "storage_failed", operation=operation, reason=reason)


class TransportTelemetry(Observer):
    """Links to peers. Labels are the ids of members, never the addresses of strangers."""

    def connected(self, peer: str) -> None:
        self._metrics.connected[peer] = True
        self._metrics.connects.add(1, peer)
        self._events.log_limited(f"connected {peer}", "peer_connected", peer=peer)

    def disconnected(self, peer: str, reason: str) -> None:
        self._metrics.connected[peer] = False
        self._events.log_limited(f"disconnected {peer}", "peer_disconnected", peer=peer, reason=reason)

    def renewed(self, peer: str) -> None:
        self._metrics.connected[peer] = False

    def unreachable(self, peer: str, reason: str, attempts: int) -> None:
        """A peer could not be reached. All share one limit, as KRAFT ADD can name any number of new peers."""
        fields = {"peer": peer, "reason": reason, "attempts": attempts}
        self._events.log_limited("unreachable", "peer_unreachable", burst=BURST, **fields)

    def refused(self, address: str, reason: str) -> None:
        """A connection was refused. Anybody who reaches the port can cause this, so all share one limit."""
        self._metrics.refused.add(1)
        self._events.log_limited("refused", "peer_refused", address=address, reason=reason)

    def traffic(self, peer: str) -> tuple[Count, Count]:
        """The counters of bytes sent and received."""
        return self._metrics.sent_bytes.of(peer), self._metrics.received_bytes.of(peer)

    def dropped(self, peer: str, reason: str) -> None:
        """A batch of messages was dropped. Raft sends again whatever matters."""
        self._metrics.send_failures.add(1, peer, reason)

    def round_trip(self, peer: str, seconds: float) -> None:
        self._metrics.round_trip.observe(seconds, peer)


class ServerTelemetry(Observer):
    """The client port: its connections. What it counts of requests is read at a scrape."""

    def connection_opened(self, protocol: str) -> None:
        self._metrics.connections[protocol] += 1
        self._metrics.connections_opened.add(1, protocol)

    def connection_switched(self, before: str, after: str) -> None:
        """A connection switched from one protocol to another."""
        self._metrics.connections[before] -= 1
        self.connection_opened(after)

    def connection_closed(self, protocol: str) -> None:
        self._metrics.connections[protocol] -= 1

    def rejected(self, reason: str) -> None:
        """A connection was refused or closed by the server."""
        self._metrics.rejected.add(1, reason)
        self._events.log_limited(f"rejected {reason}", "client_rejected", reason=reason)

    def paused(self, connections: int) -> None:
        """The number of paused connections is now `connections`."""
        self._metrics.paused_connections = connections

    def denied(self, reason: str) -> None:
        """Something was refused to a user."""
        self._metrics.denied.add(1, reason)

    def login(self, outcome: str, client: str, user: str) -> None:
        """A client has tried to log in. What fails can be repeated at will, so the log is limited."""
        self._metrics.logins.add(1, outcome)
        if outcome != "done":
            self._events.log_limited("login", "login_failed", outcome=outcome, client=client, user=user)

    def script_stopped(self, limit: str) -> None:
        self._metrics.scripts_stopped.add(1, limit)


class TlsTelemetry(Observer):
    """TLS: certificates, and connections by port. `port` is peer, client or http."""

    def secured(self, port: str) -> None:
        """A TLS handshake is complete."""
        self._metrics.tls_connections.add(1, port, "tls")

    def taken_plain(self, port: str) -> None:
        """A connection without TLS was taken by a port that takes both kinds."""
        self._metrics.tls_connections.add(1, port, "plain")

    def refused(self, port: str, address: str, reason: str) -> None:
        """A connection ended before it was secured.

        Up to its colon, `reason` is one of few texts, and each is limited by itself. On the peer port the end
        of the link is reported with the same reason.
        """
        self._metrics.tls_connections.add(1, port, "refused")
        if port != "peer":
            kind = f"tls {port} {reason.partition(':')[0]}"
            self._events.log_limited(kind, "tls_refused", port=port, address=address, reason=reason)

    def files_loaded(self, expiry: Mapping[str, float]) -> None:
        """New connections use these files from now on; `expiry` has the Unix time of the end of each kind."""
        self._metrics.tls_reloads.add(1, "done")
        self._metrics.tls_expiry = dict(expiry)
        ends = {use: datetime.fromtimestamp(end, UTC).strftime("%Y-%m-%d") for use, end in expiry.items()}
        self._events.log("certificates_loaded", **ends)

    def files_refused(self, problems: Sequence[str]) -> None:
        """The changed files cannot be used; the earlier ones stay in use."""
        self._metrics.tls_reloads.add(1, "refused")
        self._events.log("certificates_refused", problems=list(problems))

    def expires_soon(self, use: str, seconds: float) -> None:
        """A file of the kind `use` (certificate, ca or crl) is of no use after so many seconds."""
        self._events.log("certificate_expires", use=use, days=round(seconds / 86_400, 1))

    def key_exposed(self, path: str, mode: str) -> None:
        """Other users may read the private key."""
        self._events.log("secret_exposed", file=path, mode=mode, mend=f"chmod o= {path}")
