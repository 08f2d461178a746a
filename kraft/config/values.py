"""The values of a configuration: every option of kraft, with its default, kind and limits.

The loader follows these classes. Durations are seconds here and have a unit in YAML (`10s`, `250ms`); sizes
are integers in keys that end in `_bytes`. docs/configuration.md explains each option (tested).
"""

from dataclasses import dataclass, field
from typing import Annotated

from kraft.config.kinds import (
    Address,
    Choice,
    Duration,
    Endpoint,
    FilePath,
    Integer,
    NodeId,
    RestoreMoment,
    RestoreToken,
    Switch,
    ZoneName,
)
from kraft.moment import Moment

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
GROUPS_MAX = 128  # each one is some work in every tick of a node

_Listen = Annotated[str, Endpoint()]
_Advertise = Annotated[str, Address()]
_Timeout = Annotated[float, Duration(0.01, 3600)]
_File = Annotated[str | None, FilePath()]
_Tls = Annotated[str, Choice(("off", "optional", "required"))]  # optional: also connections without it
_Certificates = Annotated[str, Choice(("none", "optional", "required"))]  # of those who connect


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """`id` is the name of the node in the cluster, `data` its directory.

    Nodes of one `zone` may fail together. Without a zone, it is the host of `peer.advertise`.
    """

    id: Annotated[str, NodeId()]
    data: Annotated[str, FilePath()]
    zone: Annotated[str, ZoneName()] = ""


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """`members` maps node ids to the `host:port` of their peer ports; empty for a node that forms a cluster
    alone.

    With `standby`, a node without a cluster does not form one, but waits until it is added.
    `groups` is the number of Raft groups of the cluster that the node forms; afterwards it has no effect.
    `machine_version_max` keeps the node from announcing a higher machine version than that.
    """

    members: dict[Annotated[str, NodeId()], Annotated[str, Address()]] = field(default_factory=dict)
    secret_file: _File = None
    standby: Annotated[bool, Switch()] = False
    groups: Annotated[int, Integer(1, GROUPS_MAX)] = 1
    machine_version_max: Annotated[int, Integer(1, 1000, "all that the program supports")] = 0


@dataclass(frozen=True, slots=True)
class PeerConfig:
    """`listen` is a Twisted endpoint string; `advertise` is the `host:port` that peers dial.

    With `tls` both ends of a link show certificates of nodes.
    """

    listen: _Listen = "tcp:10001:interface=127.0.0.1"
    advertise: _Advertise = "127.0.0.1:10001"
    tls: _Tls = "off"


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """The files (PEM) of this node for all its ports, and the lowest version of TLS."""

    certificate: _File = None
    key: _File = None
    ca: _File = None
    crl: _File = None
    minimum: Annotated[str, Choice(("1.2", "1.3"))] = "1.2"


@dataclass(frozen=True, slots=True)
class ClientConfig:
    """The client port. `routing` is forward or redirect; with redirect, `follower_role` has no effect.

    `certificate_user` says which name in its certificate makes a client a user. With `unrestricted` a node
    starts for the first time without users and TLS on an address that other machines reach.
    """

    listen: _Listen = "tcp:10011:interface=127.0.0.1"
    advertise: _Advertise = "127.0.0.1:10011"
    # one more endpoint, on which other nodes of this machine listen as well: each connection gets one of them
    shared_listen: Annotated[str, Endpoint(optional=True, kinds=("tcp", "tcp6"))] = ""
    routing: Annotated[str, Choice(("forward", "redirect"))] = "forward"
    # commands with keys in several groups: executed as one transaction, or refused with -CROSSSLOT
    cross_group: Annotated[str, Choice(("transact", "refuse"))] = "transact"
    follower_role: Annotated[str, Choice(("master", "replica"))] = "master"  # a follower forwards writes
    write_timeout: _Timeout = 5.0
    leader_wait: _Timeout = 2.0
    idle_timeout: Annotated[float, Duration(1, 604_800, zero="never")] = 0.0  # never, as in Redis
    handshake_timeout: Annotated[float, Duration(0.1, 3600)] = 10.0  # to the end of the first request
    tcp_keepalive: Annotated[float, Duration(1, 7200, zero="never")] = 300.0  # as in Redis
    tls: _Tls = "off"
    certificates: _Certificates = "none"
    certificate_user: Annotated[str, Choice(("off", "CN", "URI"))] = "off"  # tls-auth-clients-user of Redis
    unrestricted: Annotated[bool, Switch()] = False


@dataclass(frozen=True, slots=True)
class HttpConfig:
    """The port for metrics, health checks and the status page; none if `listen` is empty.

    `token_file` has the tokens one of which whoever reads a page shows, except for health. `except_health`: a
    certificate is needed for all other pages.
    """

    listen: Annotated[str, Endpoint(optional=True)] = "tcp:10021:interface=127.0.0.1"
    advertise: _Advertise = "127.0.0.1:10021"
    tls: _Tls = "off"
    certificates: Annotated[str, Choice(("none", "optional", "except_health", "required"))] = "none"
    token_file: _File = None


@dataclass(frozen=True, slots=True)
class RaftConfig:
    """Consensus. A follower waits for one to two times `election_timeout` before it starts an election."""

    election_timeout: Annotated[float, Duration(0.05, 60)] = 0.5
    heartbeat_interval: Annotated[float, Duration(0.01, 20)] = 0.1
    message_bytes: Annotated[int, Integer(KIB, 16 * MIB)] = MIB
    inflight_messages: Annotated[int, Integer(1, 4096)] = 64
    inflight_bytes: Annotated[int, Integer(64 * KIB, GIB)] = 16 * MIB
    uncommitted_bytes: Annotated[int, Integer(MIB, 4 * GIB)] = 64 * MIB
    tail_bytes: Annotated[int, Integer(64 * KIB, 4 * GIB)] = 32 * MIB
    # commands of one log entry; a larger request becomes an entry of its own
    batch_bytes: Annotated[int, Integer(KIB, 16 * MIB)] = MIB
    lease_reads: Annotated[bool, Switch()] = False
    # how far a clock may be off the median of the voters', and log time off that
    max_clock_offset: Annotated[float, Duration(0.1, 3600)] = 1.0


@dataclass(frozen=True, slots=True)
class ReadsConfig:
    """Reads of connections in READONLY mode."""

    max_staleness: Annotated[float, Duration(0.1, 3600)] = 10.0


@dataclass(frozen=True, slots=True)
class SnapshotConfig:
    """Checkpoints, log entries kept before them, and snapshots to followers.

    A checkpoint is due after `checkpoint_entries`, after `checkpoint_bytes` of entries, or after
    `checkpoint_interval` if anything was written.
    """

    checkpoint_entries: Annotated[int, Integer(10, 1_000_000_000)] = 100_000
    checkpoint_bytes: Annotated[int, Integer(4 * KIB, 1 << 40)] = 64 * MIB
    checkpoint_interval: Annotated[float, Duration(1, 604_800, zero="never")] = 600.0
    keep_entries: Annotated[int, Integer(0, 1_000_000_000)] = 10_000
    keep_bytes: Annotated[int, Integer(0, 1 << 40)] = 64 * MIB
    chunk_bytes: Annotated[int, Integer(KIB, 16 * MIB)] = 64 * KIB
    bytes_per_second: Annotated[int, Integer(64 * KIB, 1 << 40, zero="no limit")] = 32 * MIB
    hold: Annotated[float, Duration(1, 86_400)] = 600.0


@dataclass(frozen=True, slots=True)
class LimitsConfig:
    """Limits of the client port and of queues. docs/client-protocol.md has the reply at each limit."""

    key_bytes: Annotated[int, Integer(1, 64 * KIB)] = 4 * KIB
    value_bytes: Annotated[int, Integer(1, 8 * MIB)] = MIB
    request_bytes: Annotated[int, Integer(KIB, 16 * MIB)] = 8 * MIB
    arguments: Annotated[int, Integer(16, 1_048_576)] = 65_536
    multi_commands: Annotated[int, Integer(1, 65_536)] = 4096
    connections: Annotated[int, Integer(1, 1_000_000)] = 10_000
    dataset_bytes: Annotated[int, Integer(MIB, 1 << 50, zero="about half of the memory limit")] = 0
    pending_proposals: Annotated[int, Integer(1, 65_536)] = 8192
    peer_queue_bytes: Annotated[int, Integer(MIB, 4 * GIB)] = 64 * MIB


@dataclass(frozen=True, slots=True)
class OnceConfig:
    """The memory of KRAFT ONCE: how long a token is remembered, and how many, or how many bytes of them."""

    ttl: Annotated[float, Duration(1, 604_800)] = 3600.0
    tokens: Annotated[int, Integer(1, 10_000_000)] = 100_000
    bytes: Annotated[int, Integer(4 * KIB, 1 << 40)] = 64 * MIB


@dataclass(frozen=True, slots=True)
class TransactionsConfig:
    """Transactions over several groups. After `patience`, leaders finish those that still hold locks."""

    patience: Annotated[float, Duration(0.1, 60)] = 1.0


@dataclass(frozen=True, slots=True)
class ScriptsConfig:
    """Limits of one script, of its text, and of all texts in the cache. docs/lua.md has the reply at each.

    `time` is in seconds: so long a leader does nothing else.
    """

    time: Annotated[float, Duration(0.001, 1)] = 0.02
    instructions: Annotated[int, Integer(1000, 1_000_000_000)] = 20_000_000
    memory_bytes: Annotated[int, Integer(4 * MIB, GIB)] = 32 * MIB
    script_bytes: Annotated[int, Integer(KIB, 8 * MIB)] = 256 * KIB
    cache_bytes: Annotated[int, Integer(KIB, 64 * MIB)] = 4 * MIB


@dataclass(frozen=True, slots=True)
class UsersConfig:
    """Users and their rights. `file` is an ACL file: the first users of a cluster, and that of ACL LOAD.

    With `slow_hash` a password of fewer than 32 bytes is stored as scrypt, else all as SHA-256, as in Redis.
    A node that has heard of no leader for longer than `max_staleness` refuses its clients.
    """

    file: Annotated[str | None, FilePath()] = None
    slow_hash: Annotated[bool, Switch()] = True
    max_staleness: Annotated[float, Duration(1, 604_800)] = 300.0


@dataclass(frozen=True, slots=True)
class BackupConfig:
    """Images of all data in `directory` every `interval`, of which the newest `keep` stay; none without it.

    With `ship`, the log after them follows, so that every moment since the oldest image can be restored.
    """

    directory: Annotated[str | None, FilePath()] = None
    interval: Annotated[float, Duration(1, 2_592_000, zero="only with KRAFT BACKUP")] = 86_400.0
    keep: Annotated[int, Integer(1, 10_000, zero="all")] = 7
    ship: Annotated[bool, Switch()] = True
    key_file: Annotated[str | None, FilePath()] = None


@dataclass(frozen=True, slots=True)
class RestoreConfig:
    """A backup from which a node with an empty data directory is restored at its first start.

    With several members all of them have the same `token`.
    """

    source: Annotated[str | None, FilePath()] = None
    at: Annotated[Moment | None, RestoreMoment()] = None
    token: Annotated[str | None, RestoreToken()] = None
    key_file: Annotated[str | None, FilePath()] = None


@dataclass(frozen=True, slots=True)
class LogConfig:
    """`format` is text, json, or auto: what fits a terminal, the journal, or else JSON."""

    level: Annotated[str, Choice(("debug", "info", "warning", "error", "critical"))] = "info"
    format: Annotated[str, Choice(("auto", "text", "json"))] = "auto"


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration of one node."""

    node: NodeConfig
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    peer: PeerConfig = field(default_factory=PeerConfig)
    client: ClientConfig = field(default_factory=ClientConfig)
    http: HttpConfig = field(default_factory=HttpConfig)
    tls: TlsConfig = field(default_factory=TlsConfig)
    raft: RaftConfig = field(default_factory=RaftConfig)
    reads: ReadsConfig = field(default_factory=ReadsConfig)
    snapshot: SnapshotConfig = field(default_factory=SnapshotConfig)
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    once: OnceConfig = field(default_factory=OnceConfig)
    transactions: TransactionsConfig = field(default_factory=TransactionsConfig)
    scripts: ScriptsConfig = field(default_factory=ScriptsConfig)
    users: UsersConfig = field(default_factory=UsersConfig)
    backup: BackupConfig = field(default_factory=BackupConfig)
    restore: RestoreConfig = field(default_factory=RestoreConfig)
    log: LogConfig = field(default_factory=LogConfig)

    @property
    def endpoints(self) -> dict[str, str]:
        """The endpoint strings that the node listens on, by option."""
        client = self.client
        all_ = {
            "peer.listen": self.peer.listen, "client.listen": client.listen,
            "client.shared_listen": client.shared_listen, "http.listen": self.http.listen,
        }  # fmt: skip
        return {option: listen for option, listen in all_.items() if listen}
