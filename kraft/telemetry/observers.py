"""One observer for each package that tells of itself: numbers to the metrics, what is rare to the log.

They implement the `Observer` protocols of raft, host, storage, transport and server structurally; `tap` hands
them out. None raises, none calls back, and what a peer or a client can repeat at will is logged at most every
few seconds, with the number of those held back. Where each one tells something new, such as an order or a
change of roles, a burst of them is let through first.
"""

from structlog.typing import FilteringBoundLogger

from kraft.telemetry.events import LEVELS
from kraft.telemetry.logs import BURST, RateLimit, log
from kraft.telemetry.metrics.registry import CODES, OTHER, Metrics
from kraft.telemetry.recent.journal import Journal

_CODES = frozenset(CODES)
_CAUSES = ("group", "command", "peer", "replica")  # fields with few values, none of a stranger's choice


class EventLog:
    """Writes documented events at their documented levels, and the notable ones into the journal."""

    def __init__(
        self, logger: FilteringBoundLogger, limit: RateLimit, journal: Journal | None = None
    ) -> None:
        self._logger = logger
        self._limit = limit
        self._journal = journal

    def tell(self, event: str, /, **fields: object) -> None:
        """One event."""
        if self._journal is not None:
            self._journal.note(event, fields)
        log(self._logger, LEVELS.get(event, "info"), event, **fields)

    def tell_seldom(self, key: str, event: str, /, *, burst: int = 1, **fields: object) -> None:
        """One event, unless `burst` of the same `key` were told a moment ago."""
        held = self._limit.admit(key, burst)
        if held is None:
            return
        if held:
            fields["held_back"] = held
        self.tell(event, **fields)


class RaftTelemetry:
    """Roles and elections of all groups."""

    def __init__(self, metrics: Metrics, events: EventLog) -> None:
        self._metrics = metrics
        self._events = events
        self._leaders: dict[int, tuple[int, str]] = {}  # group -> (term, leader) seen last

    def role_changed(self, group: int, role: str, term: int, leader: str) -> None:
        """Also told when only the term or the known leader changed."""
        if leader and self._leaders.get(group) != (term, leader):
            self._leaders[group] = (term, leader)
            self._metrics.leader_changes.add(1, str(group))
        fields = {"group": group, "role": role, "term": term, "leader": leader}
        # A node without a quorum keeps trying; the others may be told to hand over, or of ever higher terms.
        burst = BURST if role in ("leader", "follower") else 1
        self._events.tell_seldom(f"role {group} {role}", "role_changed", burst=burst, **fields)

    def election_ended(self, group: int, kind: str, outcome: str) -> None:
        """This node stood in it."""
        self._metrics.elections.add(1, str(group), kind, outcome)
        self._events.tell_seldom(
            f"election {group} {kind} {outcome}", "election_ended", group=group, kind=kind, outcome=outcome
        )


class HostTelemetry:
    """The road of writes and reads, and what the host wants an operator to see."""

    def __init__(self, metrics: Metrics, events: EventLog) -> None:
        self._metrics = metrics
        self._events = events

    def proposal(self, group: int, outcome: str, count: int) -> None:
        """`count` proposals ended."""
        self._metrics.proposals.add(count, str(group), outcome)

    def committed(self, group: int, seconds: float, proposals: int) -> None:
        """An entry of ours was applied."""
        self._metrics.proposals.add(proposals, str(group), "committed")
        self._metrics.commit_duration.observe(seconds, str(group))

    def applied(self, group: int, seconds: float) -> None:
        """A slice of entries was applied."""
        self._metrics.apply_duration.observe(seconds, str(group))

    def read(self, group: int, kind: str, outcome: str, seconds: float) -> None:
        """A read round ended; one that was refused has no duration worth counting."""
        self._metrics.reads.add(1, str(group), kind, outcome)
        if kind == "read_index" and outcome == "served":
            self._metrics.read_index_duration.observe(seconds, str(group))

    def forwarded(self, outcome: str, count: int) -> None:
        """Proposals sent to a leader ended."""
        self._metrics.forwarded.add(count, outcome)

    def compared(self, group: int, outcome: str) -> None:
        """A checkpoint was taken, or a replica found to differ."""
        self._metrics.consistency_checks.add(1, str(group), outcome)

    def heartbeat_unsent(self, group: int, peer: str) -> None:
        """A leader's heartbeat did not leave."""
        self._metrics.heartbeat_send_failures.add(1, str(group), peer)

    def snapshot_transfer(
        self,
        group: int,
        direction: str,
        outcome: str,
        size: int,
        seconds: float,  # noqa: ARG002  in the log, where it stands beside the size
    ) -> None:
        """A snapshot was sent or received, or was not."""
        self._metrics.snapshot_transfers.add(1, str(group), direction, outcome)
        self._metrics.snapshot_transfer_bytes.add(size, str(group), direction)

    def event(self, name: str, **fields: object) -> None:
        """To the log; most come from orders of a client, or from what another node says."""
        cause = " ".join(str(fields.get(field, "")) for field in _CAUSES)
        self._events.tell_seldom(f"event {name} {cause}", name, burst=BURST, **fields)


class StorageTelemetry:
    """Commits, checkpoints and errors of the disk."""

    def __init__(self, metrics: Metrics, events: EventLog) -> None:
        self._metrics = metrics
        self._events = events

    def committed(self, seconds: float, entries: int, size: int) -> None:
        """One transaction; those without entries (votes, terms) are no batches."""
        metrics = self._metrics
        metrics.fsync_duration.observe(seconds)
        if entries:
            metrics.batch_entries.observe(entries)
            metrics.append_bytes.add(size)

    def wal_checkpointed(self, seconds: float) -> None:
        """The WAL was copied into the database."""
        self._metrics.checkpoint_duration.observe(seconds)

    def checkpoint_written(self, group: int, seconds: float, written: int, index: int, size: int) -> None:
        """A checkpoint of the keyspace."""
        self._metrics.snapshot_written(str(group), seconds, size)
        self._events.tell_seldom(  # as often as KRAFT SNAPSHOT is given
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
        """A checkpoint of the keyspace found no space."""
        self._metrics.snapshots.add(1, str(group), "failed")

    def checkpoint_loaded(self, group: int, seconds: float) -> None:
        """The keyspace was read from a state file."""
        self._metrics.restore_seconds[str(group)] = seconds

    def error(self, operation: str) -> None:
        """A full disk is told again with every attempt, so the log is limited."""
        self._metrics.storage_errors.add(1, operation)
        self._events.tell_seldom(f"storage {operation}", "storage_failed", operation=operation)


class TransportTelemetry:
    """Links to peers. Peer ids are members, so there are few; addresses of strangers are no labels."""

    def __init__(self, metrics: Metrics, events: EventLog) -> None:
        self._metrics = metrics
        self._events = events

    def connected(self, peer: str) -> None:
        """A link opened."""
        self._metrics.connected[peer] = True
        self._metrics.connects.add(1, peer)
        self._events.tell_seldom(f"connected {peer}", "peer_connected", peer=peer)

    def disconnected(self, peer: str, reason: str) -> None:
        """An open link is gone."""
        self._metrics.connected[peer] = False
        self._events.tell_seldom(f"disconnected {peer}", "peer_disconnected", peer=peer, reason=reason)

    def unreachable(self, peer: str, reason: str, attempts: int) -> None:
        """Told less and less often by the links themselves; one limit, as KRAFT ADD names new ones."""
        fields = {"peer": peer, "reason": reason, "attempts": attempts}
        self._events.tell_seldom("unreachable", "peer_unreachable", burst=BURST, **fields)

    def refused(self, address: str, reason: str) -> None:
        """Anybody who reaches the port can cause this, so one limit holds for all of them."""
        self._metrics.refused.add(1)
        self._events.tell_seldom("refused", "peer_refused", address=address, reason=reason)

    def sent(self, peer: str, size: int) -> None:
        """Bytes out."""
        self._metrics.sent_bytes.add(size, peer)

    def received(self, peer: str, size: int) -> None:
        """Bytes in."""
        self._metrics.received_bytes.add(size, peer)

    def dropped(self, peer: str, reason: str) -> None:
        """Messages that were not sent; consensus repeats what matters."""
        self._metrics.send_failures.add(1, peer, reason)

    def round_trip(self, peer: str, seconds: float) -> None:
        """One answered ping."""
        self._metrics.round_trip.observe(seconds, peer)


class ServerTelemetry:
    """The client port: connections, commands, bytes."""

    def __init__(self, metrics: Metrics, events: EventLog) -> None:
        self._metrics = metrics
        self._events = events
        self._names = frozenset(metrics.about.commands)

    def connection_opened(self, protocol: str) -> None:
        """A connection was accepted."""
        self._metrics.connections[protocol] += 1
        self._metrics.connections_opened.add(1, protocol)

    def connection_switched(self, before: str, after: str) -> None:
        """It speaks another protocol from now on."""
        self._metrics.connections[before] -= 1
        self.connection_opened(after)

    def connection_closed(self, protocol: str) -> None:
        """It is gone."""
        self._metrics.connections[protocol] -= 1

    def rejected(self, reason: str) -> None:
        """Refused or closed by a limit."""
        self._metrics.rejected.add(1, reason)
        self._events.tell_seldom(f"rejected {reason}", "client_rejected", reason=reason)

    def commands(self, name: str, count: int, errors: int) -> None:
        """`count` commands of one name were answered, `errors` of them with an error."""
        label = name if name in self._names else OTHER
        if count > errors:
            self._metrics.commands.add(count - errors, label, "ok")
        if errors:
            self._metrics.commands.add(errors, label, "error")

    def latency(self, kind: str, seconds: float, count: int) -> None:
        """`count` commands of one segment."""
        self._metrics.command_duration.observe(seconds, kind, count=count)

    def lookups(self, hits: int, misses: int) -> None:
        """Keys that were read, found and not found."""
        self._metrics.hits.add(hits)
        self._metrics.misses.add(misses)

    def error(self, code: str, count: int) -> None:
        """Error replies by their first word; a redirect is also counted as such."""
        self._metrics.command_errors.add(count, code if code in _CODES else OTHER)
        if code == "MOVED":
            self._metrics.redirects.add(count, "moved")

    def bytes_received(self, count: int) -> None:
        """Input of one turn."""
        self._metrics.client_received_bytes.add(count)

    def bytes_sent(self, count: int) -> None:
        """Output of one turn."""
        self._metrics.client_sent_bytes.add(count)

    def paused(self, connections: int) -> None:
        """How many connections are paused now."""
        self._metrics.paused_connections = connections
