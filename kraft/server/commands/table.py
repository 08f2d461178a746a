"""The table of commands: everything the client port understands is a row here, and COMMAND shows these rows.

Arity, flags and key positions are Redis', so that cluster clients find keys where they expect them.
"""

from collections.abc import Callable
from typing import Any

from kraft.resp.values import Reply
from kraft.server.commands import cluster, connection, introspection, keys, kraft_admin, kraft_status
from kraft.server.commands.spec import ADMIN, LOCAL, READ, WRITE, CommandSpec, rows_by_name

Keys = tuple[int, int, int]

_NONE = (0, 0, 0)
_ONE = (1, 1, 1)  # the first argument is the key
_ALL = (1, -1, 1)  # all arguments are keys
_PAIRS = (1, -1, 2)  # keys and values alternate


def _read(
    name: str, arity: int, function: Callable[..., Any], keys_: Keys, group: str, summary: str
) -> CommandSpec:
    return CommandSpec(name, arity, READ, function, ("readonly", "fast"), keys_, group, summary)


def _write(
    name: str,
    arity: int,
    function: Callable[..., Any],
    keys_: Keys,
    group: str,
    summary: str,
    shape: Callable[[Any], Reply] | None = None,
) -> CommandSpec:
    return CommandSpec(name, arity, WRITE, function, ("write", "fast"), keys_, group, summary, shape=shape)


def _grow(
    name: str,
    arity: int,
    function: Callable[..., Any],
    keys_: Keys,
    group: str,
    summary: str,
    shape: Callable[[Any], Reply] | None = None,
) -> CommandSpec:
    """A write that may need memory: refused when the dataset is at its limit."""
    return CommandSpec(
        name, arity, WRITE, function, ("write", "denyoom", "fast"), keys_, group, summary, shape=shape
    )


def _local(
    name: str,
    arity: int,
    function: Callable[..., Any],
    group: str,
    summary: str,
    *subcommands: CommandSpec,
    usage: str = "",
) -> CommandSpec:
    flags = ("noscript", "loading", "stale", "fast")
    nested = rows_by_name(*subcommands)
    return CommandSpec(
        name, arity, LOCAL, function, flags, _NONE, group, summary, usage=usage, subcommands=nested
    )


def _admin(
    name: str,
    arity: int,
    function: Callable[..., Any],
    usage: str,
    summary: str,
    shape: Callable[[Any], Reply] = kraft_admin.done,
) -> CommandSpec:
    flags = ("admin", "noscript")
    return CommandSpec(name, arity, ADMIN, function, flags, _NONE, "kraft", summary, shape=shape, usage=usage)


_STRINGS = (
    _read("get", 2, keys.get, _ONE, "string", "Returns the value of a key."),
    _grow("set", -3, keys.set_, _ONE, "string", "Sets a key, under a condition and with an expiry."),
    _grow("setnx", 3, keys.setnx, _ONE, "string", "Sets a key that is missing.", keys.was_set),
    _grow("setex", 4, keys.setex, _ONE, "string", "Sets a key with an expiry in seconds."),
    _grow("psetex", 4, keys.setex, _ONE, "string", "Sets a key with an expiry in milliseconds."),
    _write("getdel", 2, keys.getdel, _ONE, "string", "Returns the value and deletes the key."),
    _read("mget", -2, keys.mget, _ALL, "string", "Returns the values of several keys."),
    _grow("mset", -3, keys.mset, _PAIRS, "string", "Sets several keys at once."),
    _grow("append", 3, keys.append, _ONE, "string", "Appends to a value.", keys.failure_or_value),
    _read("strlen", 2, keys.strlen, _ONE, "string", "Returns the length of a value."),
    _grow("incr", 2, keys.incr, _ONE, "string", "Adds one.", keys.failure_or_value),
    _grow("decr", 2, keys.decr, _ONE, "string", "Subtracts one.", keys.failure_or_value),
    _grow("incrby", 3, keys.incrby, _ONE, "string", "Adds.", keys.failure_or_value),
    _grow("decrby", 3, keys.decrby, _ONE, "string", "Subtracts.", keys.failure_or_value),
    _grow("kvstore-set", 3, keys.set_, _ONE, "kraft", "SET of the Java shell; inline, the rest of the line."),
    _read("kvstore-get", 2, keys.get, _ONE, "kraft", "GET of the Java shell."),
)

_KEYS = (
    _write("del", -2, keys.delete, _ALL, "generic", "Deletes keys."),
    _write("unlink", -2, keys.delete, _ALL, "generic", "Deletes keys."),
    _read("exists", -2, keys.exists, _ALL, "generic", "Counts the keys that exist."),
    _read("type", 2, keys.type_, _ONE, "generic", "Returns string, or none."),
    _write("expire", -3, keys.expire, _ONE, "generic", "Sets the time to live in seconds."),
    _write("pexpire", -3, keys.expire, _ONE, "generic", "Sets the time to live in milliseconds."),
    _write("expireat", -3, keys.expire, _ONE, "generic", "Sets the expiry to a Unix time."),
    _write("pexpireat", -3, keys.expire, _ONE, "generic", "Sets the expiry to Unix milliseconds."),
    _write("persist", 2, keys.persist, _ONE, "generic", "Removes the expiry."),
    _read("ttl", 2, keys.ttl, _ONE, "generic", "Returns the time to live in seconds."),
    _read("pttl", 2, keys.pttl, _ONE, "generic", "Returns the time to live in milliseconds."),
    _read("expiretime", 2, keys.expiretime, _ONE, "generic", "Returns the expiry as a Unix time."),
    _read("pexpiretime", 2, keys.pexpiretime, _ONE, "generic", "Returns the expiry in Unix milliseconds."),
    _read("dbsize", 1, keys.dbsize, _NONE, "server", "Counts the keys."),
)

_CLIENT = (
    _local("client|id", 2, connection.client_id, "connection", "Returns the id of this connection."),
    _local("client|getname", 2, connection.client_getname, "connection", "Returns this connection's name."),
    _local("client|setname", 3, connection.client_setname, "connection", "Names this connection."),
    _local("client|setinfo", 4, connection.client_setinfo, "connection", "Tells the client library's name."),
    _local("client|info", 2, connection.client_info, "connection", "Describes this connection."),
    _local("client|list", -2, connection.client_list, "connection", "Describes all connections."),
    _local("client|kill", -3, connection.client_kill, "connection", "Closes connections."),
    _local("client|no-evict", 3, connection.client_switch, "connection", "Accepted; nothing is evicted."),
    _local("client|no-touch", 3, connection.client_switch, "connection", "Accepted; nothing is evicted."),
    _local("client|reply", 3, connection.client_reply, "connection", "Switches replies off and on."),
    _local("client|capa", -3, connection.client_capa, "connection", "Accepted; changes nothing."),
    _local("client|help", 2, introspection.family_help, "connection", "Lists the subcommands."),
)

_CONNECTION = (
    _local("ping", -1, connection.ping, "connection", "Answers PONG, or the message."),
    _local("echo", 2, connection.echo, "connection", "Returns the message."),
    _local("select", 2, connection.select, "connection", "Accepts database 0."),
    _local("auth", -2, connection.auth, "connection", "Accepts the user default."),
    _local("hello", -1, connection.hello, "connection", "Chooses RESP2 or RESP3."),
    _local("quit", -1, connection.quit_, "connection", "Closes the connection."),
    _local("exit", -1, connection.quit_, "connection", "QUIT of the Java shell."),
    _local("reset", 1, connection.reset, "connection", "Resets the connection's state."),
    _local("readonly", 1, connection.readonly, "cluster", "Reads this node as it is."),
    _local("readwrite", 1, connection.readwrite, "cluster", "Undoes READONLY."),
    _local("asking", 1, connection.asking, "cluster", "Accepted; slots do not move."),
    _local("client", -2, introspection.unknown, "connection", "About connections.", *_CLIENT),
)

_COMMAND = (
    _local("command|count", 2, introspection.command_count, "server", "Counts the commands."),
    _local("command|list", -2, introspection.command_list, "server", "Names the commands."),
    _local("command|info", -2, introspection.command_info, "server", "Describes commands to programs."),
    _local("command|docs", -2, introspection.command_docs, "server", "Describes commands to people."),
    _local("command|getkeys", -3, introspection.command_getkeys, "server", "Returns a command's keys."),
    _local("command|help", 2, introspection.family_help, "server", "Lists the subcommands."),
)

_CONFIG = (
    _local("config|get", -3, introspection.config_get, "server", "Returns settings by pattern."),
    _local("config|help", 2, introspection.family_help, "server", "Lists the subcommands."),
)

_CLUSTER = (
    _local("cluster|slots", 2, cluster.slots, "cluster", "Returns slot ranges and their nodes."),
    _local("cluster|shards", 2, cluster.shards, "cluster", "Returns slot ranges and their nodes as maps."),
    _local("cluster|nodes", 2, cluster.nodes, "cluster", "Returns one line per node."),
    _local("cluster|info", 2, cluster.info, "cluster", "Returns the state of the cluster."),
    _local("cluster|myid", 2, cluster.my_id, "cluster", "Returns this node's id."),
    _local("cluster|keyslot", 3, cluster.key_slot, "cluster", "Returns a key's slot."),
    _local("cluster|help", 2, introspection.family_help, "cluster", "Lists the subcommands."),
)

_KRAFT = (
    _local("kraft|status", 2, kraft_status.status, "kraft", "Shows this node's replica of every group."),
    _local("kraft|members", 2, kraft_status.members, "kraft", "Shows every node."),
    _local(
        "kraft|leader", -2, kraft_status.leader, "kraft",
        "Shows the leader of a key's group, or of group 0.", usage="[key]",
    ),
    _local("kraft|version", 2, kraft_status.version, "kraft", "Shows the version of kraft."),
    _local(
        "kraft|consistency", 3, kraft_status.consistency, "kraft",
        "Chooses what the reads of this connection rest on.", usage="LINEARIZABLE|LEASE|STALE",
    ),
    _local(
        "kraft|output", 3, kraft_status.output, "kraft",
        "PLAIN: readable replies on an inline connection.", usage="PLAIN|RESP",
    ),
    _admin(
        "kraft|add", -4, kraft_admin.add, "id host raft-port [LEARNER] [FORCE]",
        "Makes a standby node a member: a learner first, a voter once it has caught up.",
    ),
    _admin("kraft|remove", -3, kraft_admin.remove, "id [FORCE]", "Takes a member out, for good."),
    _admin("kraft|promote", -3, kraft_admin.promote, "id [FORCE]", "Lets a learner vote."),
    _admin("kraft|demote", -3, kraft_admin.demote, "id [FORCE]", "Makes a voter a learner."),
    _admin(
        "kraft|address", -4, kraft_admin.readdress, "id host raft-port [FORCE]",
        "Tells where a member's peer port is from now on.",
    ),
    _admin(
        "kraft|replace", -5, kraft_admin.replace, "old new host raft-port [FORCE]",
        "Puts a standby node in a member's place, in one step.",
    ),
    _admin("kraft|transfer", -2, kraft_admin.transfer, "[id]", "Hands leadership to a voter."),
    _admin("kraft|stepdown", 2, kraft_admin.step_down, "", "Hands leadership to the voter closest behind."),
    _admin("kraft|drain", 3, kraft_admin.drain, "ON|OFF", "ON: this node leads nothing until OFF."),
    _admin(
        "kraft|snapshot", 2, kraft_admin.snapshot, "",
        "Takes a checkpoint on every node; returns its index.", kraft_admin.told,
    ),
    _admin(
        "kraft|compact", -2, kraft_admin.compact, "[KEEP entries]",
        "Drops this node's log behind its checkpoint; returns how many entries went.", kraft_admin.told,
    ),
    _admin(
        "kraft|verify", 2, kraft_admin.verify, "",
        "Compares the replicas at one index; returns the sum of each.", kraft_admin.told,
    ),
    _admin("kraft|reseed", 3, kraft_admin.reseed, "id", "Replaces a replica that differs by a copy."),
    _local("kraft|help", 2, introspection.family_help, "kraft", "Lists the subcommands."),
)  # fmt: skip

_JAVA = (
    _admin("raft-add-node", -3, kraft_admin.java_add, "id host raft-port", "KRAFT ADD of the Java shell."),
    _admin("raft-remove-node", 2, kraft_admin.java_remove, "id", "KRAFT REMOVE of the Java shell."),
)

_SERVER = (
    _local("info", -1, introspection.info, "server", "Describes the server."),
    _local("time", 1, introspection.time, "server", "Returns the server's time."),
    _local("role", 1, introspection.role, "server", "Returns this node's role."),
    _local("command", -1, introspection.command, "server", "Describes the commands.", *_COMMAND),
    _local("config", -2, introspection.unknown, "server", "Returns settings.", *_CONFIG),
    _local("cluster", -2, introspection.unknown, "cluster", "About the cluster.", *_CLUSTER),
    _local("kraft", -2, introspection.unknown, "kraft", "About kraft.", *_KRAFT),
)

TABLE: dict[bytes, CommandSpec] = rows_by_name(*_STRINGS, *_KEYS, *_CONNECTION, *_SERVER, *_JAVA)
"""All rows by upper-case name; subcommands are inside their families."""

NAMES: tuple[str, ...] = (
    "unknown",
    *(row.name for row in TABLE.values()),
    *(sub.name for row in TABLE.values() for sub in row.subcommands.values()),
)
"""Every name an observer can be told."""
