"""INFO and ROLE: facts and counters of this node, under the names of Redis where kraft has the same thing."""

import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path

from kraft.node.status import GroupStatus
from kraft.resp.values import Reply, Request
from kraft.server.addresses import split_address
from kraft.server.commands.connection import REDIS_VERSION
from kraft.server.commands.spec import CommandContext
from kraft.server.statistics import PERCENTILES, CommandStatistics

Fields = dict[str, object]


def info(context: CommandContext, request: Request) -> Reply:
    """INFO [section ...]. Without an argument the sections of `default`; `everything` means all."""
    asked = {word.lower().decode("utf-8", "replace") for word in request[1:]} or {"default"}
    wanted = set(asked)
    if "default" in asked:
        wanted.update(_DEFAULT)
    if asked & {"all", "everything"}:
        wanted.update(_SECTIONS)
    texts = []
    for name, (title, fields) in _SECTIONS.items():
        if name in wanted:
            lines = "".join(f"{key}:{value}\r\n" for key, value in fields(context).items())
            texts.append(f"# {title}\r\n{lines}")
    return "\r\n".join(texts).encode()


def _server(context: CommandContext) -> Fields:
    port = context.port
    uptime = int(port.clock.seconds() - port.started)
    return {
        "redis_version": REDIS_VERSION,
        "redis_mode": "cluster" if port.routing.redirect else "standalone",
        "kraft_version": port.version,
        "node_id": port.host.id,
        "os": f"{os.uname().sysname} {os.uname().release} {os.uname().machine}",
        "arch_bits": 64 if sys.maxsize > 1 << 32 else 32,
        "multiplexing_api": "twisted",
        "process_id": os.getpid(),
        "tcp_port": split_address(port.config.client.advertise)[1],
        "server_time_usec": port.clock.wall_ms() * 1000,
        "uptime_in_seconds": uptime,
        "uptime_in_days": uptime // 86_400,
    }


def _clients(context: CommandContext) -> Fields:
    port = context.port
    return {
        "connected_clients": len(port.sessions),
        "maxclients": port.connections_max,
        "blocked_clients": 0,
        "tracking_clients": 0,
    }


def _memory(context: CommandContext) -> Fields:
    """`used_memory` is the data, which `maxmemory` limits; the process has more."""
    port = context.port
    used, limit = port.host.memory.bytes, port.dataset_bytes_max
    peak = max(used, port.dataset_bytes_peak)
    resident = _resident_bytes()
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "used_memory": used,
        "used_memory_human": _human(used),
        "used_memory_rss": resident,
        "used_memory_rss_human": _human(resident),
        "used_memory_peak": peak,
        "used_memory_peak_human": _human(peak),
        "used_memory_peak_perc": f"{100 * used / peak if peak else 100:.2f}%",
        "used_memory_peak_rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "used_memory_dataset": used,
        "used_memory_dataset_perc": "100.00%",
        "total_system_memory": machine,
        "total_system_memory_human": _human(machine),
        "maxmemory": limit,
        "maxmemory_human": _human(limit),
        "maxmemory_policy": "noeviction",
        "mem_fragmentation_ratio": f"{resident / used if used else 0:.2f}",
        "mem_allocator": "python",
    }


def _resident_bytes() -> int:
    """The memory of this process that is in RAM; 0 where /proc does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _human(size: int) -> str:
    """A size as Redis writes it for people: 1015.38K."""
    power = min(max(int(size).bit_length() - 1, 0) // 10, 4)
    return f"{size / 1024**power:.2f}{'BKMGT'[power]}" if power else f"{size}B"


def _persistence(_: CommandContext) -> Fields:
    return {"loading": 0, "async_loading": 0, "rdb_bgsave_in_progress": 0, "aof_enabled": 1}


def _stats(context: CommandContext) -> Fields:
    port, counted = context.port, context.port.recent_statistics()
    rates = port.rates()
    return {
        "total_connections_received": counted.connections_received,
        "total_commands_processed": counted.commands_processed,
        "instantaneous_ops_per_sec": round(rates.commands),
        "total_net_input_bytes": counted.bytes_received,
        "total_net_output_bytes": counted.bytes_sent,
        "instantaneous_input_kbps": f"{rates.received / 1024:.2f}",
        "instantaneous_output_kbps": f"{rates.sent / 1024:.2f}",
        "rejected_connections": counted.connections_rejected,
        "expired_keys": sum(group.expired_keys for group in port.host.status().groups),
        "evicted_keys": 0,
        "keyspace_hits": counted.hits,
        "keyspace_misses": counted.misses,
        "pubsub_channels": 0,
        "pubsub_patterns": 0,
        "total_error_replies": sum(counted.errors.values()),
    }


def _replication(context: CommandContext) -> Fields:
    port, host = context.port, context.port.host
    leader = host.leader(0)
    group = _group_zero(context)
    offset = _offset(context)
    fields: Fields
    if port.is_master:
        replicas = _replicas(context)
        fields = {"role": "master", "connected_slaves": len(replicas)}
        for place, (address, at, held, lag) in enumerate(replicas):
            fields[f"slave{place}"] = f"ip={address},port={at},state=online,offset={held},lag={lag}"
    else:
        address, at = split_address(host.client_address(leader) if leader else "")
        fields = {
            "role": "slave",
            "master_host": address,
            "master_port": at,
            "master_link_status": "up" if leader else "down",
            "slave_repl_offset": offset,
            "slave_read_only": int(port.routing.redirect),
            "connected_slaves": 0,
        }
    if host.slots.groups > 1:
        led = [each for each in range(host.slots.groups) if port.routing.leads(each)]
        fields |= {"kraft_groups": host.slots.groups, "kraft_groups_led": ",".join(map(str, led))}
    return fields | {
        "master_repl_offset": offset,
        "kraft_role": group.role if group else "",
        "kraft_leader": leader,
    }


def _followed(context: CommandContext) -> list[GroupStatus]:
    """The groups that this node leads, or else those of the leader of group 0: it is called its replica."""
    host = context.port.host
    leader = host.id if context.port.leads else host.leader(0)
    return [group for group in host.status().groups if group.leader == leader]


def _offset(context: CommandContext) -> int:
    """The entries that are applied in these groups."""
    return sum(group.applied for group in _followed(context))


def _replicas(context: CommandContext) -> list[tuple[str, int, int, int]]:
    """Address, port, offset and lag (in seconds) of every connected follower, if this node leads a group.

    In redirect mode those that lead nothing themselves: a master is nobody's replica.
    """
    port = context.port
    if not port.leads:
        return []
    host, groups = port.host, _followed(context)
    leaders = {host.leader(group) for group in range(host.slots.groups)} if port.routing.redirect else ()
    found = []
    for member in host.status().members:
        if member.id == host.id or member.id in leaders or not member.connected or not member.client:
            continue
        states = [each for group in groups for each in group.replicas if each.id == member.id]
        lag = sum(each.lag or 0 for each in states)
        contact = max((each.last_contact_seconds for each in states), default=0.0)
        found.append((*split_address(member.client), _offset(context) - lag, int(contact)))
    return found


def _cpu(_: CommandContext) -> Fields:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {"used_cpu_sys": f"{usage.ru_stime:.6f}", "used_cpu_user": f"{usage.ru_utime:.6f}"}


def _modules(_: CommandContext) -> Fields:
    return {}


def _commandstats(context: CommandContext) -> Fields:
    """The time of a call is that from the start of its segment to its answer, as a client sees it."""
    return {
        f"cmdstat_{name}": f"calls={row.calls},usec={row.latencies.seconds * 1e6:.0f},"
        f"usec_per_call={row.latencies.seconds * 1e6 / row.calls if row.calls else 0:.2f},"
        f"rejected_calls={row.rejected},failed_calls={row.failed}"
        for name, row in _counted(context)
    }


def _latencystats(context: CommandContext) -> Fields:
    return {
        f"latency_percentiles_usec_{name}": ",".join(
            f"p{percent:g}={row.latencies.percentile(percent) * 1e6:.3f}" for percent in PERCENTILES
        )
        for name, row in _counted(context)
        if row.calls
    }


def _counted(context: CommandContext) -> list[tuple[str, CommandStatistics]]:
    """What is counted of every known command that was sent."""
    rows = context.port.recent_statistics().commands
    return [(name, row) for name, row in rows.items() if name != "unknown"]


def _errorstats(context: CommandContext) -> Fields:
    return {f"errorstat_{code}": f"count={n}" for code, n in context.port.recent_statistics().errors.items()}


def _cluster(context: CommandContext) -> Fields:
    return {"cluster_enabled": int(context.port.routing.redirect)}


def _keyspace(context: CommandContext) -> Fields:
    wanted = context.port.routing.groups()
    groups = [group for group in context.port.host.status().groups if group.group in wanted]
    keys = sum(group.keys for group in groups)
    expires = sum(group.expiring_keys for group in groups)
    return {"db0": f"keys={keys},expires={expires},avg_ttl=0"}


def _group_zero(context: CommandContext) -> GroupStatus | None:
    return next((group for group in context.port.host.status().groups if group.group == 0), None)


_SECTIONS: dict[str, tuple[str, Callable[[CommandContext], Fields]]] = {
    "server": ("Server", _server),
    "clients": ("Clients", _clients),
    "memory": ("Memory", _memory),
    "persistence": ("Persistence", _persistence),
    "stats": ("Stats", _stats),
    "replication": ("Replication", _replication),
    "cpu": ("CPU", _cpu),
    "modules": ("Modules", _modules),
    "commandstats": ("Commandstats", _commandstats),
    "errorstats": ("Errorstats", _errorstats),
    "latencystats": ("Latencystats", _latencystats),
    "cluster": ("Cluster", _cluster),
    "keyspace": ("Keyspace", _keyspace),
}
_DEFAULT = frozenset(_SECTIONS) - {"commandstats", "latencystats"}


def role(context: CommandContext, _: Request) -> Reply:
    """ROLE: this node's role as in INFO, and whom it replicates."""
    host = context.port.host
    leader = host.leader(0)
    offset = _offset(context)
    if context.port.is_master:
        followers: list[Reply] = [
            [address.encode(), str(at).encode(), str(held).encode()]
            for address, at, held, _ in _replicas(context)
        ]
        return [b"master", offset, followers]
    address, port = split_address(host.client_address(leader) if leader else "")
    return [b"slave", address.encode(), port, b"connected" if leader else b"connect", offset]
