"""The commands about the connection itself, except CLIENT: HELLO, READONLY and the like."""

from kraft.resp.values import Reply, Request
from kraft.server import errors
from kraft.server.commands.arguments import integer
from kraft.server.commands.spec import CommandContext
from kraft.server.errors import Rejected

REDIS_VERSION = "7.4.0"  # clients decide by it which commands they may send
NAME_BYTES_MAX = 256  # CLIENT LIST shows three names of every connection
USER = b"default"  # the only user; it has no password
_WRONG_PASSWORD = "WRONGPASS invalid username-password pair or user is disabled."  # noqa: S105  # a reply


def ping(_: CommandContext, request: Request) -> Reply:
    """PING [message]."""
    if len(request) > 2:
        raise Rejected(errors.wrong_arity("ping"))
    return request[1] if len(request) == 2 else "PONG"


def echo(_: CommandContext, request: Request) -> Reply:
    """ECHO message."""
    return request[1]


def quit_(context: CommandContext, _: Request) -> Reply:
    """QUIT: reply OK, then close the connection."""
    context.state.closing = True
    return "OK"


def select(_: CommandContext, request: Request) -> Reply:
    """SELECT 0. There is one database."""
    if integer(request[1]) != 0:
        raise Rejected("ERR DB index is out of range")
    return "OK"


def auth(_: CommandContext, request: Request) -> Reply:
    """AUTH [user] password. The user `default` needs no password and accepts any."""
    if len(request) > 3:
        raise Rejected(errors.SYNTAX)
    if len(request) == 2:
        raise Rejected(
            "ERR AUTH <password> called without any password configured for the default user. "
            "Are you sure your configuration is correct?"
        )
    _check_user(request[1])
    return "OK"


def _check_user(user: bytes) -> None:
    if user != USER:
        raise Rejected(_WRONG_PASSWORD)


def hello(context: CommandContext, request: Request) -> Reply:
    """HELLO [2 | 3 [AUTH user password] [SETNAME name]]. An error in any part changes nothing."""
    state, port = context.state, context.port
    protocol, name = state.protocol, state.name
    if len(request) > 1:
        protocol = integer(request[1], "ERR Protocol version is not an integer or out of range")
        if protocol not in (2, 3):
            raise Rejected("NOPROTO unsupported protocol version")
    at = 2
    while at < len(request):
        option, left = request[at].upper(), len(request) - at - 1
        if option == b"AUTH" and left >= 2:
            _check_user(request[at + 1])
            at += 3
        elif option == b"SETNAME" and left >= 1:
            name = client_name(request[at + 1])
            at += 2
        else:
            raise Rejected(f"ERR Syntax error in HELLO option '{errors.printable(request[at])}'")
    state.protocol, state.name = protocol, name
    return {
        b"server": b"redis",
        b"version": REDIS_VERSION.encode(),
        b"proto": protocol,
        b"id": state.id,
        b"mode": b"cluster" if port.routing.redirect else b"standalone",
        b"role": b"master" if port.is_master else b"replica",
        b"modules": [],
    }


def reset(context: CommandContext, _: Request) -> Reply:
    """RESET: undo everything that this connection has chosen."""
    context.state.reset()
    return "RESET"


def readonly(context: CommandContext, _: Request) -> Reply:
    """READONLY: read from this replica; its last leader contact is at most reads.max_staleness ago."""
    context.state.readonly = True
    return "OK"


def readwrite(context: CommandContext, _: Request) -> Reply:
    """READWRITE: undo READONLY."""
    context.state.readonly = False
    return "OK"


def asking(_: CommandContext, __: Request) -> Reply:
    """ASKING: accepted without effect, because slots do not move."""
    return "OK"


def client_name(name: bytes) -> bytes:
    """The name, if a connection may have it."""
    return printable_name(name, "Client names")


def printable_name(name: bytes, what: str) -> bytes:
    """The name, if CLIENT LIST can show it; `what` it is, in the error."""
    if len(name) > NAME_BYTES_MAX:
        raise Rejected(f"ERR {what} cannot be longer than {NAME_BYTES_MAX} bytes.")
    if any(not 0x21 <= byte <= 0x7E for byte in name):
        raise Rejected(f"ERR {what} cannot contain spaces, newlines or special characters.")
    return name
