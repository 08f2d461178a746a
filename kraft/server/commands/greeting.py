"""HELLO: the version of the protocol, the name of the connection, and what the server says of itself."""

from dataclasses import dataclass

from kraft.resp.values import Reply, Request
from kraft.server import errors
from kraft.server.commands.arguments import integer
from kraft.server.commands.connection import REDIS_VERSION, client_name
from kraft.server.commands.spec import CommandContext
from kraft.server.errors import Rejected


@dataclass(frozen=True, slots=True)
class Greeting:
    """What HELLO asks for: a version of the protocol, a name of the connection, a user with a password."""

    protocol: int
    name: bytes
    login: tuple[bytes, bytes] | None = None


def hello_options(context: CommandContext, request: Request) -> Greeting:
    """The options of HELLO [2 | 3 [AUTH user password] [SETNAME name]]. Raises Rejected."""
    protocol, name, login = context.state.protocol, context.state.name, None
    if len(request) > 1:
        protocol = integer(request[1], "ERR Protocol version is not an integer or out of range")
        if protocol not in (2, 3):
            raise Rejected("NOPROTO unsupported protocol version")
    at = 2
    while at < len(request):
        option, left = request[at].upper(), len(request) - at - 1
        if option == b"AUTH" and left >= 2:
            login = request[at + 1], request[at + 2]
            at += 3
        elif option == b"SETNAME" and left >= 1:
            name = client_name(request[at + 1])
            at += 2
        else:
            raise Rejected(f"ERR Syntax error in HELLO option '{errors.printable(request[at])}'")
    return Greeting(protocol, name, login)


def hello(context: CommandContext, request: Request) -> Reply:
    """HELLO [2 | 3 [SETNAME name]]. An error in any part changes nothing."""
    options = hello_options(context, request)
    if not context.state.authenticated:
        raise Rejected(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH"
            " <user> <pass> option can be used to authenticate the client and select the RESP protocol"
            " version at the same time"
        )
    return greeting(context, options)


def greeting(context: CommandContext, options: Greeting) -> Reply:
    """Take over the options, and describe the server."""
    state, port = context.state, context.port
    state.protocol, state.name = options.protocol, options.name
    return {
        b"server": b"redis",
        b"version": REDIS_VERSION.encode(),
        b"proto": state.protocol,
        b"id": state.id,
        b"mode": b"cluster" if port.routing.redirect else b"standalone",
        b"role": b"master" if port.is_master else b"replica",
        b"modules": [],
    }
