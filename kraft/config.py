"""Configuration: YAML text to frozen values, strictly and with all errors at once.

Every bound of kraft has its name, default and unit here. Durations carry their unit in the YAML value (`10s`,
`250ms`) and are seconds here; sizes are integers in keys that end in `_bytes`.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Node:
    """`id` names the node in the cluster; `data` is its directory."""

    id: str
    data: str


@dataclass(frozen=True, slots=True)
class Cluster:
    """`members` maps node ids to `host:port` of their peer ports; empty for a node that forms alone."""

    members: dict[str, str] = field(default_factory=dict)
    secret_file: str | None = None


@dataclass(frozen=True, slots=True)
class Peer:
    """`listen` is a Twisted endpoint string; `advertise` is the `host:port` that peers dial."""

    listen: str = "tcp:10001:interface=127.0.0.1"
    advertise: str = "127.0.0.1:10001"


@dataclass(frozen=True, slots=True)
class Client:
    """The client port. `routing` is forward or redirect."""

    listen: str = "tcp:10011:interface=127.0.0.1"
    advertise: str = "127.0.0.1:10011"
    routing: str = "forward"
    write_timeout: float = 5.0
    leader_wait: float = 2.0
    idle_timeout: float = 0.0  # 0: never, as in Redis
    handshake_timeout: float = 10.0  # to the end of the first request


@dataclass(frozen=True, slots=True)
class Http:
    """Metrics, health, status. Empty `listen`: none."""

    listen: str = "tcp:10021:interface=127.0.0.1"
    advertise: str = "127.0.0.1:10021"


@dataclass(frozen=True, slots=True)
class Raft:
    """Times of consensus; a follower waits election_timeout to twice that."""

    election_timeout: float = 0.5
    heartbeat_interval: float = 0.1
    message_bytes: int = 1 << 20
    inflight_messages: int = 64
    inflight_bytes: int = 16 << 20
    uncommitted_bytes: int = 64 << 20
    tail_bytes: int = 64 << 20
    batch_bytes: int = 1 << 20  # commands of one log entry; a single larger request is an entry of its own


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the client port, with the reply at each in docs/client-protocol.md."""

    key_bytes: int = 4096
    value_bytes: int = 1 << 20
    request_bytes: int = 8 << 20
    arguments: int = 65_536
    connections: int = 10_000
    dataset_bytes: int = 0  # 0: half of the machine's memory
    pending_proposals: int = 8192
    peer_queue_bytes: int = 64 << 20


@dataclass(frozen=True, slots=True)
class Log:
    """`format` is auto (readable at a terminal, else JSON), text or json."""

    level: str = "info"
    format: str = "auto"


@dataclass(frozen=True, slots=True)
class Config:
    """One node's whole configuration."""

    node: Node
    cluster: Cluster = field(default_factory=Cluster)
    peer: Peer = field(default_factory=Peer)
    client: Client = field(default_factory=Client)
    http: Http = field(default_factory=Http)
    raft: Raft = field(default_factory=Raft)
    limits: Limits = field(default_factory=Limits)
    log: Log = field(default_factory=Log)
