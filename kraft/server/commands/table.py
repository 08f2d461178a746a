"""The table of commands: the client port understands the commands that have a specification here.

COMMAND shows these specifications. Arity, flags and key positions are Redis', so that cluster clients find
the keys where they expect them.
"""

from collections.abc import Callable
from dataclasses import replace

from kraft.node.admin import AdminCommand, AdminResult
from kraft.resp.values import Reply, Request
from kraft.server.commands import (
    client,
    cluster,
    command,
    connection,
    greeting,
    info,
    introspection,
    kraft_admin,
    kraft_status,
    once,
    replica_wait,
    transaction,
)
from kraft.server.commands.acl_table import ACL, AUTH, HANDSHAKE, HELLO_AUTH
from kraft.server.commands.data_table import (
    BITS,
    KEYS,
    LOCKS,
    MEMORY,
    OBJECT,
    RANGES,
    REVISIONS,
    STRINGS,
    WRITES,
)
from kraft.server.commands.function_table import FCALL, FUNCTION_WRITES, FUNCTIONS
from kraft.server.commands.help import help_
from kraft.server.commands.script_table import CALLS, SCRIPT_WRITES, SCRIPTING
from kraft.server.commands.spec import (
    ALL_KEYS,
    AdminSpec,
    AnySpec,
    CommandContext,
    ExecSpec,
    IndexSpec,
    LocalSpec,
    ReplicaSpec,
    SwitchSpec,
    WatchSpec,
    specs_by_name,
)

_ANYTIME = ("loading", "stale")
_PLAIN = ("noscript", "loading", "stale")
_ADMIN = ("admin", "noscript", "loading", "stale")
_MULTI = (*_PLAIN, "fast", "allow_busy")


def _local(
    name: str,
    arity: int,
    run: Callable[[CommandContext, Request], Reply],
    group: str,
    summary: str,
    *subcommands: AnySpec,
    usage: str = "",
    flags: tuple[str, ...] = _PLAIN,
    acl: tuple[str, ...] = (),
) -> LocalSpec:
    return LocalSpec(
        name=name, arity=arity, run=run, group=group, summary=summary, usage=usage, flags=flags, acl=acl,
        subcommands=specs_by_name(*subcommands),
    )  # fmt: skip


def _switch(
    name: str,
    arity: int,
    run: Callable[[CommandContext, Request], Reply],
    group: str,
    summary: str,
    usage: str = "",
    *,
    flags: tuple[str, ...] = (*_PLAIN, "fast"),
    immediate: bool = False,
    no_multi: bool = False,
) -> SwitchSpec:
    return SwitchSpec(
        name=name, arity=arity, run=run, group=group, summary=summary, usage=usage, flags=flags,
        immediate=immediate, no_multi=no_multi,
    )  # fmt: skip


def _family(name: str, group: str, summary: str, *subcommands: AnySpec) -> LocalSpec:
    """A command that only has subcommands."""
    return _local(name, -2, introspection.unknown, group, summary, *subcommands, flags=())


def _help(family: str, group: str) -> LocalSpec:
    return _local(
        f"{family}|help", 2, introspection.family_help, group, "Lists the subcommands.", flags=_ANYTIME
    )


def _admin(
    name: str,
    arity: int,
    run: Callable[[Request], AdminCommand],
    usage: str,
    summary: str,
    shape: Callable[[AdminResult], Reply] = kraft_admin.done,
) -> AdminSpec:
    return AdminSpec(name=name, arity=arity, run=run, usage=usage, summary=summary, shape=shape)


# fmt: off
_CLIENT = (
    _local("client|id", 2, client.id_, "connection", "Returns the id of this connection."),
    _local("client|getname", 2, client.getname, "connection", "Returns this connection's name."),
    _local("client|setname", 3, client.setname, "connection", "Names this connection.",
        usage="connection-name"),
    _local("client|setinfo", 4, client.setinfo, "connection",
        "Sets the name or version of the client library.",
        usage="LIB-NAME libname|LIB-VER libver"),
    _local("client|info", 2, client.info, "connection", "Describes this connection."),
    _local("client|list", -2, client.list_, "connection", "Describes all connections.",
        usage="[TYPE <NORMAL|MASTER|REPLICA|PUBSUB>] [ID client-id [client-id ...]]", flags=_ADMIN),
    _switch("client|kill", -3, client.kill, "connection", "Closes connections.",
        "ip:port|<[ID client-id]|[TYPE <NORMAL|MASTER|SLAVE|REPLICA|PUBSUB>]|[USER username]|[ADDR ip:port]|"
        "[LADDR ip:port]|[SKIPME yes/no]|[MAXAGE maxage] ...>", flags=_ADMIN),
    _local("client|no-evict", 3, client.switch, "connection",
        "Accepted without effect: keys are never evicted.",
        usage="ON|OFF", flags=_ADMIN),
    _local("client|no-touch", 3, client.switch, "connection",
        "Accepted without effect: keys are never evicted.",
        usage="ON|OFF"),
    _switch("client|reply", 3, client.reply, "connection", "Switches replies off and on.", "ON|OFF|SKIP",
        flags=_PLAIN, no_multi=True),  # the array of EXEC's replies could not be finished
    _local("client|capa", -3, client.capa, "connection", "Accepted without effect.",
        usage="capability [capability ...]"),
    _help("client", "connection"),
)

_CONNECTION = (
    _local("ping", -1, connection.ping, "connection", "Returns PONG, or the message.", usage="[message]",
        flags=("fast",)),
    _local("echo", 2, connection.echo, "connection", "Returns the message.", usage="message",
        flags=(*_ANYTIME, "fast")),
    _local("select", 2, connection.select, "connection", "Selects database 0, the only one.", usage="index",
        flags=(*_ANYTIME, "fast")),
    AUTH,
    replace(_switch("hello", -1, greeting.hello, "connection",
        "Chooses RESP2 or RESP3 and describes the server.",
        "[protover [AUTH username password] [SETNAME clientname]]", flags=HANDSHAKE),
        variants={b"AUTH": HELLO_AUTH}, variant_places=(2, 4)),
    _switch("quit", -1, connection.quit_, "connection", "Closes the connection.", flags=HANDSHAKE,
        immediate=True),
    _switch("exit", -1, connection.quit_, "connection", "QUIT of the Java shell.", flags=HANDSHAKE,
        immediate=True),
    _switch("reset", 1, connection.reset, "connection", "Resets the state of this connection.",
        flags=HANDSHAKE, immediate=True),
    _local("readonly", 1, connection.readonly, "cluster",
        "Lets this connection read from this replica, which may lag.", flags=(*_ANYTIME, "fast"),
        acl=("connection",)),
    _local("readwrite", 1, connection.readwrite, "cluster", "Ends the effect of READONLY.",
        flags=(*_ANYTIME, "fast"), acl=("connection",)),
    _local("asking", 1, connection.asking, "cluster", "Accepted without effect: keys that move need none.",
        flags=("fast",), acl=("connection",)),
    _family("client", "connection", "Contains the commands about connections.", *_CLIENT),
)

_COMMAND = (
    _local("command|count", 2, command.count, "server", "Returns the number of commands.",
        flags=_ANYTIME, acl=("connection",)),
    _local("command|list", -2, command.list_, "server", "Returns the names of the commands.",
        usage="[FILTERBY <MODULE module-name|ACLCAT category|PATTERN pattern>]", flags=_ANYTIME,
        acl=("connection",)),
    _local("command|info", -2, command.info, "server", "Returns arity, flags and key positions of commands.",
        usage="[command-name ...]", flags=_ANYTIME, acl=("connection",)),
    _local("command|docs", -2, command.docs, "server", "Returns the documentation of commands.",
        usage="[command-name ...]", flags=_ANYTIME, acl=("connection",)),
    _local("command|getkeys", -3, command.getkeys, "server", "Returns the keys in a command.",
        usage="command [arg ...]", flags=_ANYTIME, acl=("connection",)),
    _local("command|getkeysandflags", -3, command.getkeysandflags, "server",
        "Returns the keys in a command, and what it does with each.", usage="command [arg ...]",
        flags=_ANYTIME, acl=("connection",)),
    _local("command|help", 2, introspection.family_help, "server", "Lists the subcommands.",
        flags=_ANYTIME, acl=("connection",)),
)

_CONFIG = (
    _local("config|get", -3, introspection.config_get, "server", "Returns the settings whose names match.",
        usage="pattern [pattern ...]", flags=_ADMIN),
    _local("config|resetstat", 2, introspection.config_resetstat, "server",
        "Sets the counters of INFO to zero.",
        flags=_ADMIN),
    _help("config", "server"),
)

_CLUSTER = (
    _local("cluster|slots", 2, cluster.slots, "cluster", "Returns slot ranges and their nodes.",
        flags=("stale",)),
    _local("cluster|shards", 2, cluster.shards, "cluster", "Returns slot ranges and their nodes as maps.",
        flags=("stale",)),
    _local("cluster|nodes", 2, cluster.nodes, "cluster", "Returns one line per node.", flags=("stale",)),
    _local("cluster|info", 2, cluster.info, "cluster", "Returns the state of the cluster.", flags=("stale",)),
    _local("cluster|myid", 2, cluster.my_id, "cluster", "Returns the id of this node, 40 hex digits.",
        flags=("stale",)),
    _local("cluster|myshardid", 2, cluster.my_shard_id, "cluster",
        "Returns the id of this node's shard, 40 hex digits.", flags=("stale",)),
    IndexSpec(name="cluster|countkeysinslot", arity=3, run=cluster.count_keys_in_slot, group="cluster",
        flags=("stale",), acl=(), summary="Counts the keys in a slot.", usage="slot"),
    IndexSpec(name="cluster|getkeysinslot", arity=4, run=cluster.keys_in_slot, group="cluster",
        flags=("stale",), acl=(), summary="Returns some keys in a slot.", usage="slot count"),
    _local("cluster|keyslot", 3, cluster.key_slot, "cluster", "Returns the slot of a key.", usage="key",
        flags=("stale",)),
    _help("cluster", "cluster"),
)

_EXEC = ExecSpec(name="exec", arity=1, run=transaction.exec_, group="transactions",
    summary="Executes what is queued as one, unless a watched key has changed.")

_ONCE = LocalSpec(name=once.NAME, arity=-once.WORDS, run=once.alone, group="kraft",
    flags=("write", "movablekeys"),
    summary="Executes a command that writes, or EXEC, at most once for each token.",
    usage="token [command [arg ...]]", variant_places=(once.WORDS,),
    variants=once.variants((*WRITES, *CALLS, FCALL, *SCRIPT_WRITES, *FUNCTION_WRITES)) | {
        b"EXEC": ExecSpec(name=once.NAME, arity=once.WORDS + 1, run=transaction.exec_once, group="kraft",
            inner=_EXEC, inner_at=once.WORDS)})

_KRAFT = (
    _local("kraft|status", 2, kraft_status.status, "kraft",
        "Shows the state of this node and of its replica of every group."),
    _local("kraft|members", 2, kraft_status.members, "kraft",
        "Shows every member: its kind, address, last contact and lag."),
    _local("kraft|groups", -2, kraft_status.groups, "kraft",
        "Shows every group: its slots, leader, members and keys.", usage="[group]"),
    _local("kraft|transactions", 2, kraft_status.transactions, "kraft",
        "Shows the transactions over several groups that have not ended."),
    _local("kraft|moves", 2, kraft_status.moves, "kraft", "Shows the moves of slots that have not ended."),
    _local("kraft|leader", -2, kraft_status.leader, "kraft",
        "Shows the leader of a key's group, or of group 0.", usage="[key]"),
    _local("kraft|version", 2, kraft_status.version, "kraft", "Shows the version of kraft."),
    _local("kraft|consistency", 3, kraft_status.consistency, "kraft",
        "Chooses the consistency of the reads of this connection.", usage="LINEARIZABLE|LEASE|STALE"),
    _switch("kraft|output", 3, kraft_status.output, "kraft",
        "PLAIN writes replies as readable lines, on an inline connection.", "PLAIN|RESP"),
    _admin("kraft|add", -4, kraft_admin.add, "id host raft-port [LEARNER] [FORCE]",
        "Makes a standby node a member: a learner first, then a voter once it has caught up."),
    _admin("kraft|remove", -3, kraft_admin.remove, "id [FORCE]", "Removes a member for good."),
    _admin("kraft|promote", -3, kraft_admin.promote, "id [FORCE]", "Makes a learner a voter."),
    _admin("kraft|demote", -3, kraft_admin.demote, "id [FORCE]", "Makes a voter a learner."),
    _admin("kraft|address", -4, kraft_admin.readdress, "id host raft-port [FORCE]",
        "Changes the address of a member's peer port."),
    _admin("kraft|replace", -4, kraft_admin.replace, "old new [host raft-port] [FORCE]",
        "Replaces a member by a standby node or by a learner in one step."),
    _admin("kraft|transfer", -2, kraft_admin.transfer, "[id] [GROUP group]",
        "Transfers leadership to the voter id, or to the most up-to-date voter."),
    _admin("kraft|stepdown", 2, kraft_admin.step_down, "",
        "Transfers leadership to the most up-to-date voter."),
    _admin("kraft|drain", 3, kraft_admin.drain, "ON|OFF",
        "ON: moves all leadership away from this node, until OFF."),
    _admin("kraft|move", -4, kraft_admin.move, "<SLOTS first last TO group>|<CANCEL id>",
        "Moves slots to another group, or cancels that; returns the id of the move.", kraft_admin.number),
    _admin("kraft|split", -3, kraft_admin.split, "group [INTO parts]",
        "Divides the slots of a group among it and groups without slots; returns the moves.",
        kraft_admin.plain),
    _admin("kraft|merge", 5, kraft_admin.merge, "group INTO other",
        "Moves all slots of a group to another one; returns the moves.", kraft_admin.plain),
    _admin("kraft|rebalance", -3, kraft_admin.rebalance, "SLOTS|REPLICAS [DRYRUN]",
        "Evens out the slots of the groups, or the votes of the nodes; returns the moves.",
        kraft_admin.plain),
    _admin("kraft|replication", -2, kraft_admin.replication, "[voters|ALL [FORCE]]",
        "Shows or sets how many nodes vote in each group.", kraft_admin.report),
    _admin("kraft|snapshot", 2, kraft_admin.snapshot, "",
        "Takes a checkpoint on every node; returns its log index.", kraft_admin.plain),
    _admin("kraft|compact", -2, kraft_admin.compact, "[KEEP entries]",
        "Trims this node's log, keeping that many entries before its checkpoint; returns the number dropped.",
        kraft_admin.plain),
    _admin("kraft|verify", 2, kraft_admin.verify, "",
        "Compares all replicas at one log index; returns the checksum of each.", kraft_admin.plain),
    _admin("kraft|backup", -2, kraft_admin.backup, "[name]",
        "Writes an image of all data to this node's backup.directory; returns its name.", kraft_admin.plain),
    _admin("kraft|image", -3, kraft_admin.image, "OPEN|READ|CLOSE [token] [group] [after]",
        "Reads an image of all data in pieces, for kraft backup.", kraft_admin.plain),
    _admin("kraft|reseed", 3, kraft_admin.reseed, "id",
        "Replaces a replica that differs by a copy of the leader's state."),
    *REVISIONS,
    *RANGES,
    *LOCKS,
    _ONCE,
    _help("kraft", "kraft"),
)

_JAVA = (
    _admin("raft-add-node", -3, kraft_admin.java_add, "id host raft-port", "KRAFT ADD of the Java shell."),
    _admin("raft-remove-node", 2, kraft_admin.java_remove, "id", "KRAFT REMOVE of the Java shell."),
)

_SERVER = (
    _local("info", -1, info.info, "server", "Returns facts and counters about the server.",
        usage="[section ...]", flags=_ANYTIME, acl=("dangerous",)),
    _local("time", 1, introspection.time, "server", "Returns the time of the server.", flags=(*_ANYTIME,
        "fast")),
    _local("role", 1, info.role, "server", "Returns the replication role of this node.",
        flags=(*_PLAIN, "fast"), acl=("admin", "dangerous")),
    _local("command", -1, command.command, "server", "Returns the specifications of all commands.", *_COMMAND,
        flags=_ANYTIME, acl=("connection",)),
    _local("help", -1, help_, "kraft", "Shows how to use this server, or the syntax of a command.",
        usage="[command [subcommand]]", flags=_ANYTIME),
    ACL,
    _family("config", "server", "Contains the commands about settings.", *_CONFIG),
    _family("cluster", "cluster", "Contains the commands about the cluster.", *_CLUSTER),
    _family("object", "generic", "Contains the commands about what holds a value.", *OBJECT,
        _help("object", "generic")),
    _family("memory", "server", "Contains the commands about memory.", *MEMORY, _help("memory", "server")),
    _family("kraft", "kraft", "Contains kraft's own commands.", *_KRAFT),
)

_PEOPLE = (
    _local("?", -1, help_, "server", "HELP.", usage="[command [subcommand]]", flags=_ANYTIME),
)

_REPLICATION = (
    ReplicaSpec(name="wait", arity=3, run=replica_wait.wait, group="generic", usage="numreplicas timeout",
        summary="Waits until so many followers have the writes before it; returns how many have."),
    ReplicaSpec(name="waitaof", arity=4, run=replica_wait.waitaof, group="generic",
        usage="numlocal numreplicas timeout",
        summary="Waits like WAIT; returns whether this node has the writes on disk, and how many others."),
)

_TRANSACTIONS = (
    _switch("multi", 1, transaction.multi, "transactions", "Begins a transaction: what follows is queued.",
        flags=_MULTI, immediate=True),
    _EXEC,
    _switch("discard", 1, transaction.discard, "transactions", "Forgets what is queued and watched.",
        flags=_MULTI, immediate=True),
    WatchSpec(name="watch", arity=-2, run=transaction.watch, keys=ALL_KEYS, key_flags=(("RO",),),
        group="transactions", usage="key [key ...]",
        summary="Watches keys: if one changes, the next EXEC executes nothing."),
    _local("unwatch", 1, transaction.unwatch, "transactions", "Forgets what is watched.",
        flags=_MULTI),
)
# fmt: on

TABLE: dict[bytes, AnySpec] = specs_by_name(
    *STRINGS,
    *BITS,
    *KEYS,
    *_REPLICATION,
    *_TRANSACTIONS,
    *SCRIPTING,
    *FUNCTIONS,
    *_CONNECTION,
    *_SERVER,
    *_JAVA,
)
"""All specifications by name in upper case; subcommands are inside their families."""

UNLISTED: dict[bytes, AnySpec] = specs_by_name(*_PEOPLE)
"""Specifications that COMMAND does not show: a client would offer the short name of HELP to people."""

NAMES: tuple[str, ...] = (
    "unknown",
    *(spec.name for spec in (*TABLE.values(), *UNLISTED.values())),
    *(sub.name for spec in TABLE.values() for sub in spec.subcommands.values()),
)
"""Every name that is reported to an observer."""
