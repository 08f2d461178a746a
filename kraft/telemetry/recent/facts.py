"""The facts that telemetry adds to a node's status: plain values, the same for page, JSON and shell."""

from dataclasses import dataclass, field

from kraft.node.supervisor import Supervisor
from kraft.telemetry.recent.history import History, Traffic
from kraft.telemetry.recent.journal import JournalEntry

TRAFFIC_SECONDS = 10  # enough observations for a p99, recent enough to be called "now"


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts about one node at one moment. Each has a default, as another version of kraft may not send it.

    wall_seconds: this node's Unix time.
    dataset_bytes_max: upper limit of the data; 0 while it is unknown.
    connections: number of client connections, by protocol.
    users: how many users there are, `default` among them, 0 while it is unknown; `default_open`: whoever
        connects may be `default` without a password.
    memory_limit: the tightest limit of the process's memory in bytes, 0 while it is unknown; `memory_full`
        while the process is so near it that writes are refused.
    connections_max: upper limit of them in effect, 0 while it is unknown; the process may have too few files
        for `connections_configured`.
    paused_connections: those that the node reads nothing from, because writes wait to be logged.
    storage_bytes: size on disk, by kind of file.
    disk_free_bytes: free space for this node; None if unknown.
    backup_made: when the newest image in the backup directory was made, 0 if there is none, and until when
        its log reaches (`backup_reaches`); both in Unix seconds. `backup_problem`: why the last attempt
        failed. The logs of `backup_unshipped` groups cannot be had, of one for the reason
        `backup_unshipped_reason`.
    traffic: the last `TRAFFIC_SECONDS`, by class of command; `sync` stands for transactions of the log.
    supervisor: what started this node.
    tls_expiry: when the certificate of the node, its CA and the revocation list end (Unix time), by use:
        certificate, ca, crl; empty without TLS.
    events: recent events, the newest first.
    history: the last minutes, second by second; sent to other nodes only.
    longer: the last hour and the last day in wider columns; sent to nodes that ask for them.
    """

    wall_seconds: float = 0.0
    dataset_bytes_max: int = 0
    memory_limit: int = 0
    memory_full: bool = False
    connections_max: int = 0
    connections_configured: int = 0
    connections: dict[str, int] = field(default_factory=dict)
    users: int = 0
    default_open: bool = False
    paused_connections: int = 0
    storage_bytes: dict[str, int] = field(default_factory=dict)
    disk_free_bytes: int | None = None
    backup_made: float = 0.0
    backup_reaches: float = 0.0
    backup_problem: str = ""
    backup_unshipped: int = 0
    backup_unshipped_reason: str = ""
    traffic: dict[str, Traffic] = field(default_factory=dict)
    supervisor: Supervisor = field(default_factory=Supervisor)
    tls_expiry: dict[str, float] = field(default_factory=dict)
    events: tuple[JournalEntry, ...] = ()
    history: History | None = None
    longer: tuple[History, ...] = ()
