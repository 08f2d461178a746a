"""Rules between options."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from kraft.config.kinds import format_duration
from kraft.config.values import Config
from kraft.listen_address import (
    ListenAddress,
    is_loopback,
    is_wildcard,
    join_address,
    split_address,
    split_endpoint,
)

HEARTBEATS_PER_TIMEOUT = 3  # two heartbeats may be lost or late before an election starts
HEARTBEATS_PER_STALENESS = 2  # the age of the data is measured by heartbeats, so it varies by one interval
SCRIPTS_PER_TIMEOUT = 2  # a script that runs to its limit, and what else the leader does, start no election
COMMAND_OVERHEAD_BYTES = 64  # framing and options of a SET, in addition to its key and its value

_Broken = Iterator[tuple[str, str]]  # (path, what would be right)


@dataclass(frozen=True, slots=True)
class Rule:
    """`broken` yields the violations of the rule; it is called only if the options in `reads` are valid."""

    reads: frozenset[str]
    broken: Callable[[Config], _Broken]


def advertised(listen: str) -> str:
    """The address that others dial for an endpoint string; '' if it cannot be derived."""
    if not listen:
        return ""
    listener = split_endpoint(listen)
    if listener.port is None or is_wildcard(listener.interface):
        return ""
    return join_address(listener.interface, listener.port)


def stays_on_this_machine(config: Config) -> bool:
    """Whether all peer traffic stays on this machine."""
    listener = split_endpoint(config.peer.listen)
    local = listener.kind == "unix" or is_loopback(listener.interface)
    addresses = (config.peer.advertise, *config.cluster.members.values())
    return local and all(is_loopback(address.rpartition(":")[0].strip("[]")) for address in addresses)


def _membership(config: Config) -> _Broken:
    members, own = config.cluster.members, config.node.id
    if not members:
        return
    if own not in members:
        yield "node.id", f"{own} is not in cluster.members; write one of {', '.join(members)}, or add it"
    elif members[own] != config.peer.advertise:
        yield "peer.advertise", f"is {members[own]} in cluster.members; write the same, or leave it out"
    seen: dict[str, str] = {}
    for member, address in members.items():
        if address in seen:
            yield f"cluster.members.{member}", f"{address} is the address of {seen[address]} already"
        seen.setdefault(address, member)


def _members_secret(config: Config) -> _Broken:
    if config.cluster.secret_file or config.peer.tls == "required" or stays_on_this_machine(config):
        return
    text = (
        "is required, because peers may be on other machines; write the path of a file with the same "
        "secret on every node, or set peer.tls to required, or keep peer.listen, peer.advertise and "
        "cluster.members on 127.0.0.1"
    )
    yield "cluster.secret_file", text


def _tls_files(config: Config) -> _Broken:
    """What TLS needs, and what needs TLS."""
    modes = {"peer": config.peer.tls, "client": config.client.tls, "http": config.http.tls}
    secured = [name for name, mode in modes.items() if mode != "off"]
    asking = {"client": config.client.certificates, "http": config.http.certificates}
    checking = [name for name, certificates in asking.items() if certificates != "none"]
    for name in checking:
        if name not in secured:
            text = f"has no effect without TLS; set {name}.tls to required, or leave this out"
            yield f"{name}.certificates", text
    if not secured:
        return
    files = config.tls
    for part in ("certificate", "key"):
        if getattr(files, part) is None:
            text = f"is required by {secured[0]}.tls; write the path of a PEM file (`kraft certs` makes them)"
            yield f"tls.{part}", text
    if files.ca is None and ("peer" in secured or checking):
        needed = "peer.tls" if "peer" in secured else f"{checking[0]}.certificates"
        yield "tls.ca", f"is required by {needed}; write the path of the CA that issued the certificates"
    if files.crl is not None and files.ca is None:
        yield "tls.crl", "has no effect without tls.ca; write that too, or leave this out"


def _certificate_user(config: Config) -> _Broken:
    if config.client.certificate_user != "off" and config.client.certificates == "none":
        text = "has no effect where clients show no certificate; set client.certificates to required"
        yield "client.certificate_user", text


def _http_token(config: Config) -> _Broken:
    if config.http.token_file is not None and config.http.certificates == "required":
        text = "has no effect where every connection needs a certificate; leave it out, or set"
        yield "http.token_file", f"{text} http.certificates to except_health, so that either will do"


def _standby(config: Config) -> _Broken:
    if config.cluster.standby and config.cluster.members:
        text = "a node that waits to be added does not form a cluster; leave out one of the two"
        yield "cluster.standby", f"cannot be combined with cluster.members: {text}"


def _heartbeats(config: Config) -> _Broken:
    timeout, interval = config.raft.election_timeout, config.raft.heartbeat_interval
    least = round(HEARTBEATS_PER_TIMEOUT * interval, 9)
    if timeout < least:
        text = f"must be at least {HEARTBEATS_PER_TIMEOUT} times raft.heartbeat_interval"
        hint = f"write {format_duration(least)} or more"
        yield "raft.election_timeout", f"{text} ({format_duration(interval)}); {hint}"


def _script_time(config: Config) -> _Broken:
    timeout = config.raft.election_timeout
    most = round(timeout / SCRIPTS_PER_TIMEOUT, 9)
    if config.scripts.time > most:
        text = f"must be at most half of raft.election_timeout ({format_duration(timeout)})"
        reason = "the leader sends no heartbeat while a script runs"
        yield "scripts.time", f"{text}, because {reason}; write {format_duration(most)} or less"


def _requests(config: Config) -> _Broken:
    limits = config.limits
    least = limits.key_bytes + limits.value_bytes + COMMAND_OVERHEAD_BYTES
    if limits.request_bytes < least:
        yield "limits.request_bytes", f"must have room for the largest key and value; write {least} or more"


def _log_room(config: Config) -> _Broken:
    largest = max(config.limits.request_bytes, config.raft.batch_bytes)
    entry = "the largest entry (limits.request_bytes, raft.batch_bytes)"
    text = f"must have room for {entry}; write {largest} or more"
    if config.raft.uncommitted_bytes < largest:
        yield "raft.uncommitted_bytes", text
    if config.limits.peer_queue_bytes < largest:
        yield "limits.peer_queue_bytes", text


def _inflight(config: Config) -> _Broken:
    if config.raft.inflight_bytes < config.raft.message_bytes:
        least = config.raft.message_bytes
        yield "raft.inflight_bytes", f"must have room for one raft.message_bytes; write {least} or more"


def _chunks(config: Config) -> _Broken:
    chunk, rate = config.snapshot.chunk_bytes, config.snapshot.bytes_per_second
    if config.limits.peer_queue_bytes < chunk:
        text = f"must have room for one snapshot.chunk_bytes; write {chunk} or more"
        yield "limits.peer_queue_bytes", text
    if 0 < rate < chunk:
        text = f"must let one snapshot.chunk_bytes pass each second; write {chunk} or more, or 0"
        yield "snapshot.bytes_per_second", text


def _staleness(config: Config) -> _Broken:
    least = round(HEARTBEATS_PER_STALENESS * config.raft.heartbeat_interval, 9)
    if config.reads.max_staleness < least:
        text = f"must be at least {HEARTBEATS_PER_STALENESS} times raft.heartbeat_interval"
        yield (
            "reads.max_staleness",
            f"{text}, which it is measured by; write {format_duration(least)} or more",
        )


def _restore(config: Config) -> _Broken:
    if config.restore.source is not None and config.cluster.standby:
        yield "restore.source", "a standby node gets its data from the cluster; leave out one of the two"
    elif config.restore.source is not None and len(config.cluster.members) > 1 and not config.restore.token:
        text = "is required where several members are restored; write the same random text on all of them"
        yield "restore.token", text


def _ports(config: Config) -> _Broken:
    seen: dict[str, ListenAddress] = {}
    for option, listen in config.endpoints.items():
        address = split_endpoint(listen)
        for other, taken in seen.items():
            if address.collides(taken):
                yield option, f"is taken by {other}; each needs an endpoint of its own"
        seen[option] = address
    if config.client.shared_listen and split_endpoint(config.client.shared_listen).port == 0:
        yield "client.shared_listen", "names no port; nodes that share one have to name it"


_PEER = ("peer.listen", "peer.advertise", "cluster.members")
_FILES = ("tls.certificate", "tls.key", "tls.ca", "tls.crl")
_SECURED = ("peer.tls", "client.tls", "http.tls", "client.certificates", "http.certificates")
_ENTRY = ("limits.request_bytes", "raft.batch_bytes")

RULES = (
    Rule(frozenset(("node.id", "peer.advertise", "cluster.members")), _membership),
    Rule(frozenset((*_PEER, "cluster.secret_file", "peer.tls")), _members_secret),
    Rule(frozenset((*_FILES, *_SECURED)), _tls_files),
    Rule(frozenset(("client.certificate_user", "client.certificates")), _certificate_user),
    Rule(frozenset(("http.token_file", "http.certificates")), _http_token),
    Rule(frozenset(("cluster.members", "cluster.standby")), _standby),
    Rule(frozenset(("raft.election_timeout", "raft.heartbeat_interval")), _heartbeats),
    Rule(frozenset(("scripts.time", "raft.election_timeout")), _script_time),
    Rule(frozenset(("limits.request_bytes", "limits.key_bytes", "limits.value_bytes")), _requests),
    Rule(frozenset((*_ENTRY, "raft.uncommitted_bytes", "limits.peer_queue_bytes")), _log_room),
    Rule(frozenset(("raft.inflight_bytes", "raft.message_bytes")), _inflight),
    Rule(
        frozenset(("snapshot.chunk_bytes", "snapshot.bytes_per_second", "limits.peer_queue_bytes")), _chunks
    ),
    Rule(frozenset(("reads.max_staleness", "raft.heartbeat_interval")), _staleness),
    Rule(frozenset(("restore.source", "restore.token", "cluster.members", "cluster.standby")), _restore),
    Rule(frozenset(("peer.listen", "client.listen", "client.shared_listen", "http.listen")), _ports),
)


def loopback_host(host: str, port: int) -> str:
    """`host` as an interface to listen on. Raises ValueError if it is not a loopback address."""
    text = join_address(host, port)
    split_address(text)
    if not is_loopback(host):
        raise ValueError(
            f"{host} is not loopback, and these options include no cluster secret; "
            "write a configuration with cluster.secret_file and use --config"
        )
    return "127.0.0.1" if host == "localhost" else host
