"""CONFIG, TIME and HELP: what clients and people ask about the server."""

from kraft.resp.values import Reply, Request
from kraft.server import errors
from kraft.server.addresses import split_address
from kraft.server.commands.arguments import limited, matches
from kraft.server.commands.spec import CommandContext
from kraft.server.errors import Rejected
from kraft.server.suggestion import closest


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
        "maxclients": port.connections_max,
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


def config_resetstat(context: CommandContext, _: Request) -> Reply:
    """CONFIG RESETSTAT: the counters of INFO begin again; metrics go on."""
    context.port.reset_statistics()
    return "OK"


def unknown(context: CommandContext, request: Request) -> Reply:
    """A family that is given an unknown second word."""
    raise Rejected(unknown_subcommand(context, request))


def unknown_subcommand(context: CommandContext, request: Request) -> str:
    """The error for a family's unknown second word, with the one that may have been meant."""
    words = context.table[request[0].upper()].subcommands
    meant = closest(errors.printable(request[1]), (word.decode() for word in words))
    return errors.unknown_subcommand(request) + (f" Did you mean {meant}?" if meant else "")


def family_help(context: CommandContext, request: Request) -> Reply:
    """HELP of a family: two lines for each of its subcommands."""
    family = context.table[request[0].upper()]
    lines: list[Reply] = [f"{family.name.upper()} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"]
    for spec in family.subcommands.values():
        word = spec.name.rpartition("|")[2].upper()
        lines += [f"{word} {spec.usage}".rstrip(), f"    {spec.summary}"]
    return lines
