"""INFO, COMMAND, CONFIG GET, TIME, ROLE and HELP: clients ask them to learn about the server."""

import os
import resource
import sys
from collections.abc import Callable

from kraft.node.status import GroupStatus
from kraft.resp.values import Reply, Request
from kraft.server import errors
from kraft.server.addresses import split_address
from kraft.server.commands.arguments import limited, matches
from kraft.server.commands.connection import REDIS_VERSION
from kraft.server.commands.spec import AdminSpec, AnySpec, CommandContext, ReadSpec, WriteSpec
from kraft.server.errors import Rejected

Fields = dict[str, object]


def info(context: CommandContext, request: Request) -> Reply:
    """INFO [section ...]. All sections without an argument, and with `default`, `all` or `everything`."""
    wanted = {word.lower().decode("utf-8", "replace") for word in request[1:]}
    everything = not wanted or wanted & {"default", "all", "everything"}
    texts = []
    for name, fields in _SECTIONS.items():
        if everything or name in wanted:
            lines = "".join(f"{key}:{value}\r\n" for key, value in fields(context).items())
            texts.append(f"# {name.capitalize()}\r\n{lines}")
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
        "maxclients": port.limits.connections,
        "blocked_clients": 0,
    }


def _memory(context: CommandContext) -> Fields:
    port = context.port
    used = port.host.dataset_bytes
    return {
        "used_memory": used,
        "used_memory_dataset": used,
        "used_memory_peak_rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "maxmemory": port.dataset_bytes_max,
        "maxmemory_policy": "noeviction",
    }


def _persistence(_: CommandContext) -> Fields:
    return {"loading": 0, "async_loading": 0, "rdb_bgsave_in_progress": 0, "aof_enabled": 1}


def _stats(context: CommandContext) -> Fields:
    port = context.port
    return {
        "total_connections_received": port.connections_received,
        "rejected_connections": port.connections_rejected,
        "total_commands_processed": port.commands_processed,
        "total_net_input_bytes": port.bytes_received,
        "total_net_output_bytes": port.bytes_sent,
        "total_error_replies": port.errors_replied,
        "evicted_keys": 0,
    }


def _replication(context: CommandContext) -> Fields:
    port, host = context.port, context.port.host
    leader = host.leader(0)
    group = _group_zero(context)
    offset = group.applied if group else 0
    fields: Fields
    if port.is_master:
        replicas = _replicas(context, offset)
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
    return fields | {
        "master_repl_offset": offset,
        "kraft_role": group.role if group else "",
        "kraft_leader": leader,
    }


def _replicas(context: CommandContext, offset: int) -> list[tuple[str, int, int, int]]:
    """Address, port, offset and lag (in seconds) of every connected follower, if this node leads group 0."""
    if not context.port.leads:
        return []
    members = context.port.host.status().members
    others = [each for each in members if each.id != context.port.host.id and each.connected and each.client]
    return [
        (*split_address(each.client), offset - (each.lag_entries or 0), int(each.last_contact_seconds or 0))
        for each in others
    ]


def _cpu(_: CommandContext) -> Fields:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {"used_cpu_sys": f"{usage.ru_stime:.6f}", "used_cpu_user": f"{usage.ru_utime:.6f}"}


def _cluster(context: CommandContext) -> Fields:
    return {"cluster_enabled": int(context.port.routing.redirect)}


def _keyspace(context: CommandContext) -> Fields:
    groups = context.port.host.status().groups
    keys = sum(group.keys for group in groups)
    expires = sum(group.expiring_keys for group in groups)
    return {"db0": f"keys={keys},expires={expires},avg_ttl=0"}


def _group_zero(context: CommandContext) -> GroupStatus | None:
    return next((group for group in context.port.host.status().groups if group.group == 0), None)


_SECTIONS: dict[str, Callable[[CommandContext], Fields]] = {
    "server": _server,
    "clients": _clients,
    "memory": _memory,
    "persistence": _persistence,
    "stats": _stats,
    "replication": _replication,
    "cpu": _cpu,
    "cluster": _cluster,
    "keyspace": _keyspace,
}


def role(context: CommandContext, _: Request) -> Reply:
    """ROLE: this node's role as in INFO, and whom it replicates."""
    host = context.port.host
    leader = host.leader(0)
    group = _group_zero(context)
    offset = group.applied if group else 0
    if context.port.is_master:
        followers: list[Reply] = [
            [address.encode(), str(at).encode(), str(held).encode()]
            for address, at, held, _ in _replicas(context, offset)
        ]
        return [b"master", offset, followers]
    address, port = split_address(host.client_address(leader) if leader else "")
    return [b"slave", address.encode(), port, b"connected" if leader else b"connect", offset]


def time(context: CommandContext, _: Request) -> Reply:
    """TIME: seconds and microseconds of this node's clock."""
    seconds, ms = divmod(context.port.clock.wall_ms(), 1000)
    return [str(seconds).encode(), str(ms * 1000).encode()]


def config_get(context: CommandContext, request: Request) -> Reply:
    """CONFIG GET pattern ...: the settings of Redis that have a counterpart here."""
    port, patterns = context.port, limited(request[2:])
    settings: dict[str, object] = {
        "appendfsync": "always",
        "appendonly": "yes",
        "cluster-enabled": "yes" if port.routing.redirect else "no",
        "databases": 1,
        "maxclients": port.limits.connections,
        "maxmemory": port.dataset_bytes_max,
        "maxmemory-policy": "noeviction",
        "port": split_address(port.config.client.advertise)[1],
        "proto-max-bulk-len": port.limits.value_bytes,
        "save": "",
        "tcp-keepalive": int(port.config.client.tcp_keepalive),
        "timeout": int(port.config.client.idle_timeout),
    }
    return {
        name.encode(): str(value).encode()
        for name, value in settings.items()
        if any(matches(pattern, name) for pattern in patterns)
    }


def command(context: CommandContext, request: Request) -> Reply:
    """COMMAND: the whole table."""
    if len(request) > 1:
        raise Rejected(errors.unknown_subcommand(request))
    return [_entry(spec) for spec in context.table.values()]


def command_count(context: CommandContext, _: Request) -> Reply:
    """COMMAND COUNT."""
    return len(context.table)


def command_list(context: CommandContext, request: Request) -> Reply:
    """COMMAND LIST [FILTERBY PATTERN pattern]."""
    names = [spec.name for spec in context.table.values()]
    if len(request) > 2:
        if len(request) != 5 or [w.upper() for w in request[2:4]] != [b"FILTERBY", b"PATTERN"]:
            raise Rejected(errors.SYNTAX)
        names = [name for name in names if matches(request[4], name)]
    return [name.encode() for name in names]


def command_info(context: CommandContext, request: Request) -> Reply:
    """COMMAND INFO [name ...]: null for an unknown name."""
    specs = _named(context, request[2:]) if len(request) > 2 else list(context.table.values())
    return [None if spec is None else _entry(spec) for spec in specs]


def command_docs(context: CommandContext, request: Request) -> Reply:
    """COMMAND DOCS [name ...]: unknown names are left out."""
    specs = _named(context, request[2:]) if len(request) > 2 else list(context.table.values())
    return {spec.name.encode(): _docs(spec) for spec in specs if spec is not None}


def command_getkeys(context: CommandContext, request: Request) -> Reply:
    """COMMAND GETKEYS command [argument ...]."""
    inner = request[2:]
    spec = context.table.get(inner[0].upper())
    if spec is None:
        raise Rejected("ERR Invalid command specified")
    if not spec.low <= len(inner) <= spec.high:
        raise Rejected("ERR Invalid number of arguments specified for command")
    keys = spec.keys_of(inner)
    if not keys:
        raise Rejected("ERR The command has no key arguments")
    return list(keys)


def _named(context: CommandContext, names: Request) -> list[AnySpec | None]:
    return [context.table.get(name.upper()) for name in limited(names)]


def _entry(spec: AnySpec) -> Reply:
    """The ten elements of one entry of COMMAND's reply."""
    categories: list[Reply] = [f"@{spec.group}"]
    if isinstance(spec, ReadSpec | WriteSpec | AdminSpec):
        categories.append(f"@{spec.kind}")
    first, last, step = spec.keys
    nested: list[Reply] = [_entry(sub) for sub in spec.subcommands.values()]
    return [spec.name.encode(), spec.arity, list(spec.flags), first, last, step, categories, [], [], nested]


def _docs(spec: AnySpec) -> Reply:
    docs: dict[Reply, Reply] = {
        b"summary": spec.summary.encode(),
        b"since": spec.since.encode(),
        b"group": spec.group.encode(),
        b"arguments": [],
    }
    if spec.subcommands:
        docs[b"subcommands"] = {sub.name.encode(): _docs(sub) for sub in spec.subcommands.values()}
    return docs


def unknown(_: CommandContext, request: Request) -> Reply:
    """A family that is given an unknown second word."""
    raise Rejected(errors.unknown_subcommand(request))


def family_help(context: CommandContext, request: Request) -> Reply:
    """HELP of a family: two lines for each of its subcommands."""
    family = context.table[request[0].upper()]
    lines: list[Reply] = [f"{family.name.upper()} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"]
    for spec in family.subcommands.values():
        word = spec.name.rpartition("|")[2].upper()
        lines += [f"{word} {spec.usage}".rstrip(), f"    {spec.summary}"]
    return lines
