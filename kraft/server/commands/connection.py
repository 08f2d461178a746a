"""The commands about the connection itself, except CLIENT: HELLO, READONLY and the like."""

from kraft.resp.values import Reply, Request
from kraft.server import errors
from kraft.server.commands.arguments import integer
from kraft.server.commands.spec import CommandContext
from kraft.server.errors import Rejected

REDIS_VERSION = "7.4.0"  # clients decide by it which commands they may send
NAME_BYTES_MAX = 256  # CLIENT LIST shows three names of every connection


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


def reset(context: CommandContext, _: Request) -> Reply:
    """RESET: undo everything that this connection has chosen."""
    context.state.reset()
    context.port.users.enter(context.state)
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
    """ASKING: accepted without effect, because no node replies ASK while slots move."""
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
