"""ACL: users and their rights, with the replies of Redis 7.0."""

from collections.abc import Mapping
from secrets import token_hex

from kraft.acl import description
from kraft.acl.catalog import CATEGORIES, is_category
from kraft.acl.rules import changed, has_spaces
from kraft.acl.user import DEFAULT_NAME, Selector, User
from kraft.kv.commands import ChangeUsers
from kraft.resp.values import Error, Reply, Request, SetOf
from kraft.server.access_log import AccessLogEntry
from kraft.server.acl_file import AclFile, acl_file, passwords_by
from kraft.server.commands.arguments import integer
from kraft.server.commands.spec import CommandContext
from kraft.server.commands.user_change import Edit, UserChange, UserQuery
from kraft.server.errors import Rejected, printable, subcommand_syntax, wrong_arity
from kraft.server.rights import Reason, Rights

BITS_MAX = 4096
LOG_COUNT = 10
_NO_FILE = (
    "ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the ACL"
    " SETUSER command: all nodes keep them. For a file set users.file in the configuration"
)
_NOT_SAVED = (
    "ERR There was an error trying to save the ACLs. Please check the server logs for more information: {}"
)


def whoami(context: CommandContext, _: Request) -> Reply:
    """ACL WHOAMI."""
    return context.state.user


def cat(context: CommandContext, request: Request) -> Reply:
    """ACL CAT [category]."""
    if len(request) == 2:
        return [name.encode() for name in CATEGORIES]
    if len(request) > 3:
        raise Rejected(subcommand_syntax(request))
    if not is_category(request[2]):
        raise Rejected(f"ERR Unknown category '{printable(request[2])[:128]}'")
    names = context.port.users.catalog.in_category(request[2].lower().decode())
    return [name.encode() for name in names]


def genpass(_: CommandContext, request: Request) -> Reply:
    """ACL GENPASS [bits]: a random password in hexadecimal digits."""
    if len(request) > 3:
        raise Rejected(subcommand_syntax(request))
    bits = integer(request[2]) if len(request) == 3 else 256
    if not 0 < bits <= BITS_MAX:
        raise Rejected(
            "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number"
            f" up to {BITS_MAX}"
        )
    digits = (bits + 3) // 4
    return token_hex((digits + 1) // 2)[:digits].encode()


def log(context: CommandContext, request: Request) -> Reply:
    """ACL LOG [count | RESET]: what this node has refused."""
    users = context.port.users
    if len(request) > 3:
        raise Rejected(subcommand_syntax(request))
    if len(request) == 3 and request[2].upper() == b"RESET":
        users.log.clear()
        return "OK"
    count = integer(request[2]) if len(request) == 3 else LOG_COUNT
    now = context.port.clock.seconds()
    return [_logged(entry, now) for entry in users.log.latest(count)]


def _logged(entry: AccessLogEntry, now: float) -> Reply:
    return {
        b"count": entry.count,
        b"reason": entry.reason.encode(),
        b"context": entry.context.encode(),
        b"object": entry.subject,
        b"username": entry.user,
        b"age-seconds": now - entry.at,
        b"client-info": entry.client.encode("utf-8", "surrogateescape"),
    }


# -- questions ----------------------------------------------------------------------------------------------


def list_(context: CommandContext, request: Request) -> UserQuery:
    """ACL LIST."""
    return UserQuery(context, request, _lines)


def users(context: CommandContext, request: Request) -> UserQuery:
    """ACL USERS."""
    return UserQuery(context, request, _names)


def getuser(context: CommandContext, request: Request) -> UserQuery:
    """ACL GETUSER user."""
    return UserQuery(context, request, _described)


def dryrun(context: CommandContext, request: Request) -> UserQuery:
    """ACL DRYRUN user command [argument ...]."""
    return UserQuery(context, request, _tried)


def _lines(context: CommandContext, _: Request) -> Reply:
    return [description.line_of(user) for user in context.port.users.all()]


def _names(context: CommandContext, _: Request) -> Reply:
    return [user.name for user in context.port.users.all()]


def _described(context: CommandContext, request: Request) -> Reply:
    account = context.port.users.get(request[2])
    if account is None:
        return None
    user = account.user
    root, *others = user.selectors
    return {
        b"flags": SetOf(tuple(description.flags(user))),
        b"passwords": list(user.passwords),
        **_selector(root),
        b"selectors": [_selector(each) for each in others],
    }


def _selector(selector: Selector) -> dict[Reply, Reply]:
    return {
        b"commands": description.commands(selector),
        b"keys": description.keys(selector),
        b"channels": description.channels(selector),
    }


def _tried(context: CommandContext, request: Request) -> Reply:
    known = context.port.users
    account = known.get(request[2])
    if account is None:
        return Error(f"ERR User '{printable(request[2])}' not found")
    words = request[3:]
    spec = context.table.get(words[0].upper())
    if spec is not None and spec.subcommands and len(words) > 1:
        spec = spec.subcommands.get(words[1].upper())
    if spec is None:
        return Error(f"ERR Command '{printable(words[0])}' not found")
    if not spec.low <= len(words) <= spec.high:
        return Error(wrong_arity(spec.name))
    spec = spec.variant(words) or spec
    try:
        denial = Rights(account.user, known.catalog).denial(spec, words)
    except Rejected as refusal:
        return Error(refusal.text)
    if denial is None:
        return "OK"
    if denial.reason == Reason.COMMAND:
        return b"This user has no permissions to run the '%b' command" % denial.subject
    return b"This user has no permissions to access the '%b' key" % denial.subject


# -- changes ------------------------------------------------------------------------------------------------


def setuser(context: CommandContext, request: Request) -> UserChange:
    """ACL SETUSER user [rule ...]."""
    name, rules = request[2], request[3:]
    if has_spaces(name):
        raise Rejected("ERR Usernames can't contain spaces or null characters")
    _check_version(context, "acl|setuser")
    catalog, passwords = context.port.users.catalog, passwords_by(context.port.config.users)

    def compute(known: Mapping[bytes, User]) -> Edit:
        return Edit("OK", [changed(known.get(name, User(name)), rules, catalog, passwords)])

    return UserChange(context, compute, slow=any(rule[:1] in (b">", b"<") for rule in rules))


def deluser(context: CommandContext, request: Request) -> UserChange:
    """ACL DELUSER user [user ...]."""
    names = request[2:]
    if DEFAULT_NAME in names:
        raise Rejected("ERR The 'default' user cannot be removed")
    _check_version(context, "acl|deluser")

    def compute(known: Mapping[bytes, User]) -> Edit:
        removed = [name for name in dict.fromkeys(names) if name in known]
        return Edit(len(removed), removed=removed)

    return UserChange(context, compute, slow=False)


def load(context: CommandContext, _: Request) -> UserChange:
    """ACL LOAD: the users of this node's file in place of all users."""
    file = _file(context)
    _check_version(context, "acl|load")

    def compute(known: Mapping[bytes, User]) -> Edit:
        found = file.read()
        lines = {name: description.line_of(user) for name, user in known.items()}
        put = [user for name, user in found.items() if lines.get(name) != description.line_of(user)]
        return Edit("OK", put, [name for name in known if name not in found])

    return UserChange(context, compute, slow=True)


def save(context: CommandContext, _: Request) -> UserChange:
    """ACL SAVE: all users into this node's file."""
    file = _file(context)

    def compute(known: Mapping[bytes, User]) -> Edit:
        try:
            file.write([user for _, user in sorted(known.items())])
        except OSError as error:
            return Edit(Error(_NOT_SAVED.format(error.strerror)))
        return Edit("OK")

    return UserChange(context, compute, slow=True)


def _file(context: CommandContext) -> AclFile:
    path = context.port.config.users.file
    if path is None:
        raise Rejected(_NO_FILE)
    return acl_file(path, context.port.users.catalog, context.port.config.users)


def _check_version(context: CommandContext, name: str) -> None:
    obstacle = context.port.host.version_obstacle(0, ChangeUsers.since)
    if obstacle:
        raise Rejected(f"ERR '{name}' {obstacle}")
