"""INFO, COMMAND, CONFIG GET, TIME and ROLE: what a client asks to find out whom it talks to."""

import os
import resource
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from kraft.node.status import GroupStatus
from kraft.resp.values import Reply, Request
from kraft.server import errors
from kraft.server.addresses import split_address
from kraft.server.commands.arguments import few, matches
from kraft.server.commands.connection import REDIS_VERSION
from kraft.server.commands.spec import ADMIN, READ, WRITE, CommandSpec
from kraft.server.errors import Rejected

if TYPE_CHECKING:
    from kraft.server.session import Session

Fields = dict[str, object]


def info(session: "Session", request: Request) -> Reply:
    """INFO [section ...]; without one, with `default`, `all` or `everything`: all of them."""
    wanted = {word.lower().decode("utf-8", "replace") for word in request[1:]}
    everything = not wanted or wanted & {"default", "all", "everything"}
    texts = []
    for name, fields in _SECTIONS.items():
        if everything or name in wanted:
            lines = "".join(f"{key}:{value}\r\n" for key, value in fields(session).items())
            texts.append(f"# {name.capitalize()}\r\n{lines}")
    return "\r\n".join(texts).encode()


def _server(session: "Session") -> Fields:
    clients = session.clients
    uptime = int(clients.clock.seconds() - clients.started)
    return {
        "redis_version": REDIS_VERSION,
        "redis_mode": "cluster" if clients.routing.redirect else "standalone",
        "kraft_version": clients.version,
        "node_id": clients.host.id,
        "os": f"{os.uname().sysname} {os.uname().release} {os.uname().machine}",
        "arch_bits": 64 if sys.maxsize > 1 << 32 else 32,
        "multiplexing_api": "twisted",
        "process_id": os.getpid(),
        "tcp_port": split_address(clients.config.client.advertise)[1],
        "server_time_usec": clients.clock.wall_ms() * 1000,
        "uptime_in_seconds": uptime,
        "uptime_in_days": uptime // 86_400,
    }


def _clients(session: "Session") -> Fields:
    clients = session.clients
    return {
        "connected_clients": len(clients.sessions),
        "maxclients": clients.limits.connections,
        "blocked_clients": 0,
    }


def _memory(session: "Session") -> Fields:
    clients = session.clients
    used = clients.host.dataset_bytes
    return {
        "used_memory": used,
        "used_memory_dataset": used,
        "used_memory_peak_rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "maxmemory": clients.dataset_bytes_max,
        "maxmemory_policy": "noeviction",
    }


def _persistence(_: "Session") -> Fields:
    return {"loading": 0, "async_loading": 0, "rdb_bgsave_in_progress": 0, "aof_enabled": 1}


def _stats(session: "Session") -> Fields:
    clients = session.clients
    return {
        "total_connections_received": clients.connections_received,
        "rejected_connections": clients.connections_rejected,
        "total_commands_processed": clients.commands_processed,
        "total_net_input_bytes": clients.bytes_received,
        "total_net_output_bytes": clients.bytes_sent,
        "total_error_replies": clients.errors_replied,
        "evicted_keys": 0,
    }


def _replication(session: "Session") -> Fields:
    host = session.clients.host
    leader = host.leader(0)
    group = _group_zero(session)
    offset = group.applied if group else 0
    if leader == host.id:
        others = [member for member in host.status().members if member.id != host.id]
        return {
            "role": "master",
            "connected_slaves": sum(member.connected for member in others),
            "master_repl_offset": offset,
        }
    address, port = split_address(host.client_address(leader) if leader else "")
    return {
        "role": "slave",
        "master_host": address,
        "master_port": port,
        "master_link_status": "up" if leader else "down",
        "slave_repl_offset": offset,
        "slave_read_only": 0,
        "connected_slaves": 0,
        "master_repl_offset": offset,
    }


def _cpu(_: "Session") -> Fields:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {"used_cpu_sys": f"{usage.ru_stime:.6f}", "used_cpu_user": f"{usage.ru_utime:.6f}"}


def _cluster(session: "Session") -> Fields:
    return {"cluster_enabled": int(session.clients.routing.redirect)}


def _keyspace(session: "Session") -> Fields:
    groups = session.clients.host.status().groups
    keys = sum(group.keys for group in groups)
    expires = sum(group.expiring_keys for group in groups)
    return {"db0": f"keys={keys},expires={expires},avg_ttl=0"}


def _group_zero(session: "Session") -> GroupStatus | None:
    return next((group for group in session.clients.host.status().groups if group.group == 0), None)


_SECTIONS: dict[str, Callable[["Session"], Fields]] = {
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


def role(session: "Session", _: Request) -> Reply:
    """ROLE: this node's part in group 0."""
    host = session.clients.host
    leader = host.leader(0)
    group = _group_zero(session)
    offset = group.applied if group else 0
    if leader != host.id:
        address, port = split_address(host.client_address(leader) if leader else "")
        return [b"slave", address.encode(), port, b"connected" if leader else b"connect", offset]
    followers: list[Reply] = []
    for member in host.status().members:
        if member.id != host.id and member.client:
            address, port = split_address(member.client)
            held = offset - (member.lag_entries or 0)
            followers.append([address.encode(), str(port).encode(), str(held).encode()])
    return [b"master", offset, followers]


def time(session: "Session", _: Request) -> Reply:
    """TIME: seconds and microseconds of this node's clock."""
    seconds, ms = divmod(session.clients.clock.wall_ms(), 1000)
    return [str(seconds).encode(), str(ms * 1000).encode()]


def config_get(session: "Session", request: Request) -> Reply:
    """CONFIG GET pattern ...: Redis' names for what has a counterpart here."""
    clients, patterns = session.clients, few(request[2:])
    settings: dict[str, object] = {
        "appendfsync": "always",
        "appendonly": "yes",
        "cluster-enabled": "yes" if clients.routing.redirect else "no",
        "databases": 1,
        "maxclients": clients.limits.connections,
        "maxmemory": clients.dataset_bytes_max,
        "maxmemory-policy": "noeviction",
        "port": split_address(clients.config.client.advertise)[1],
        "proto-max-bulk-len": clients.limits.value_bytes,
        "save": "",
        "timeout": int(clients.config.client.idle_timeout),
    }
    return {
        name.encode(): str(value).encode()
        for name, value in settings.items()
        if any(matches(pattern, name) for pattern in patterns)
    }


def command(session: "Session", request: Request) -> Reply:
    """COMMAND: the whole table."""
    if len(request) > 1:
        raise Rejected(errors.unknown_subcommand(request))
    return [_entry(row) for row in session.clients.table.values()]


def command_count(session: "Session", _: Request) -> Reply:
    """COMMAND COUNT."""
    return len(session.clients.table)


def command_list(session: "Session", request: Request) -> Reply:
    """COMMAND LIST [FILTERBY PATTERN pattern]."""
    names = [row.name for row in session.clients.table.values()]
    if len(request) > 2:
        if len(request) != 5 or [w.upper() for w in request[2:4]] != [b"FILTERBY", b"PATTERN"]:
            raise Rejected(errors.SYNTAX)
        names = [name for name in names if matches(request[4], name)]
    return [name.encode() for name in names]


def command_info(session: "Session", request: Request) -> Reply:
    """COMMAND INFO [name ...]: null for an unknown one."""
    rows = _named(session, request[2:]) if len(request) > 2 else list(session.clients.table.values())
    return [None if row is None else _entry(row) for row in rows]


def command_docs(session: "Session", request: Request) -> Reply:
    """COMMAND DOCS [name ...]: unknown ones are left out."""
    rows = _named(session, request[2:]) if len(request) > 2 else list(session.clients.table.values())
    return {row.name.encode(): _docs(row) for row in rows if row is not None}


def command_getkeys(session: "Session", request: Request) -> Reply:
    """COMMAND GETKEYS command [argument ...]."""
    inner = request[2:]
    row = session.clients.table.get(inner[0].upper())
    if row is None:
        raise Rejected("ERR Invalid command specified")
    if not row.low <= len(inner) <= row.high:
        raise Rejected("ERR Invalid number of arguments specified for command")
    keys = row.keys_of(inner)
    if not keys:
        raise Rejected("ERR The command has no key arguments")
    return list(keys)


def _named(session: "Session", names: Request) -> list[CommandSpec | None]:
    return [session.clients.table.get(name.upper()) for name in few(names)]


def _entry(row: CommandSpec) -> Reply:
    """The ten elements of COMMAND's answer."""
    kind = {READ: "@read", WRITE: "@write", ADMIN: "@admin"}.get(row.kind)
    categories: list[Reply] = [word for word in (f"@{row.group}", kind) if word]
    first, last, step = row.keys
    nested: list[Reply] = [_entry(sub) for sub in row.subcommands.values()]
    return [row.name.encode(), row.arity, list(row.flags), first, last, step, categories, [], [], nested]


def _docs(row: CommandSpec) -> Reply:
    docs: dict[Reply, Reply] = {
        b"summary": row.summary.encode(),
        b"since": row.since.encode(),
        b"group": row.group.encode(),
        b"arguments": [],
    }
    if row.subcommands:
        docs[b"subcommands"] = {sub.name.encode(): _docs(sub) for sub in row.subcommands.values()}
    return docs


def unknown(_: "Session", request: Request) -> Reply:
    """A family without its second word has a wrong arity; with an unknown one it says so."""
    raise Rejected(errors.unknown_subcommand(request))


def help_of(row: CommandSpec) -> list[Reply]:
    """The lines of `CLIENT HELP` and the like."""
    family = row.name.upper()
    lines: list[Reply] = [f"{family} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"]
    for sub in row.subcommands.values():
        word = sub.name.rpartition("|")[2].upper()
        lines += [f"{word} {sub.usage}".rstrip(), f"    {sub.summary}"]
    return lines


def family_help(session: "Session", request: Request) -> Reply:
    """`<family> HELP`."""
    return help_of(session.clients.table[request[0].upper()])
