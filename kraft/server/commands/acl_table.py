"""The specifications of the commands on users."""

from collections.abc import Callable

from kraft.acl.catalog import Catalog
from kraft.resp.values import Reply, Request
from kraft.server.commands import acl, introspection, login
from kraft.server.commands.spec import (
    CommandContext,
    CommandTable,
    LocalSpec,
    UserSpec,
    specs_by_name,
)

_ADMIN = ("admin", "noscript", "loading", "stale")
_ANYTIME = ("noscript", "loading", "stale")
HANDSHAKE = ("noscript", "loading", "stale", "fast", "no_auth", "allow_busy")


def _users(
    name: str,
    arity: int,
    run: Callable[[CommandContext, Request], object],
    summary: str,
    usage: str = "",
) -> UserSpec:
    return UserSpec(name=name, arity=arity, run=run, flags=_ADMIN, summary=summary, usage=usage)


def _local(
    name: str,
    arity: int,
    run: Callable[[CommandContext, Request], Reply],
    summary: str,
    usage: str = "",
    flags: tuple[str, ...] = _ANYTIME,
) -> LocalSpec:
    return LocalSpec(
        name=name, arity=arity, run=run, flags=flags, summary=summary, usage=usage, group="server"
    )


# fmt: off
_FAMILY = (
    _users("acl|setuser", -3, acl.setuser, "Creates or changes a user, on all nodes.",
        "username [rule [rule ...]]"),
    _users("acl|deluser", -3, acl.deluser, "Removes users, and closes their connections.",
        "username [username ...]"),
    _users("acl|getuser", 3, acl.getuser, "Returns the rights of a user.", "username"),
    _users("acl|list", 2, acl.list_, "Returns a line for each user, with the rules that make it."),
    _users("acl|users", 2, acl.users, "Returns the names of all users."),
    _users("acl|dryrun", -4, acl.dryrun, "Says whether a user may run a command, without running it.",
        "username command [arg [arg ...]]"),
    _users("acl|load", 2, acl.load, "Puts the users of this node's users.file in the place of all users."),
    _users("acl|save", 2, acl.save, "Writes all users into this node's users.file."),
    _local("acl|log", -2, acl.log, "Returns what this node has refused of late.", "[count|RESET]",
        flags=_ADMIN),
    _local("acl|cat", -2, acl.cat, "Returns the categories of commands, or the commands of one.",
        "[categoryname]"),
    _local("acl|genpass", -2, acl.genpass, "Returns a random password that nobody can guess.", "[bits]"),
    _local("acl|whoami", 2, acl.whoami, "Returns the user of this connection."),
    _local("acl|help", 2, introspection.family_help, "Lists the subcommands.", flags=("loading", "stale")),
)

ACL = LocalSpec(name="acl", arity=-2, run=introspection.unknown, group="server", flags=(),
    summary="Contains the commands about users and their rights.", subcommands=specs_by_name(*_FAMILY))

AUTH = UserSpec(name="auth", arity=-2, run=login.auth, group="connection", flags=HANDSHAKE,
    summary="Makes the client a user, by a password.", usage="[username] password")

HELLO_AUTH = UserSpec(name="hello", arity=-1, run=login.hello_auth, group="connection", flags=HANDSHAKE)
# fmt: on


def catalog_of(table: CommandTable) -> Catalog:
    """The commands that rules of users can name. As in Redis a family as such is slow, and nothing else."""
    commands: dict[str, tuple[str, ...]] = {}
    for spec in table.values():
        named_alone = isinstance(spec, LocalSpec) and spec.run is introspection.unknown
        commands[spec.name] = ("slow",) if named_alone else spec.categories
        commands.update({sub.name: sub.categories for sub in spec.subcommands.values()})
    return Catalog(commands)
