"""CLIENT: what the connections of this node are called, how they are, and their end."""

from collections.abc import Callable, Sequence

from kraft.resp.values import Reply, Request
from kraft.server import errors
from kraft.server.commands.arguments import integer
from kraft.server.commands.connection import client_name, printable_name
from kraft.server.commands.spec import CommandContext
from kraft.server.errors import Rejected
from kraft.server.listed_session import client_line
from kraft.server.port import OpenSession

TYPES = (b"normal", b"master", b"replica", b"slave", b"pubsub")


def id_(context: CommandContext, _: Request) -> Reply:
    """CLIENT ID."""
    return context.state.id


def getname(context: CommandContext, _: Request) -> Reply:
    """CLIENT GETNAME."""
    return context.state.name or None


def setname(context: CommandContext, request: Request) -> Reply:
    """CLIENT SETNAME name."""
    context.state.name = client_name(request[2])
    return "OK"


def setinfo(context: CommandContext, request: Request) -> Reply:
    """CLIENT SETINFO LIB-NAME | LIB-VER value."""
    option = request[2].lower()
    if option not in (b"lib-name", b"lib-ver"):
        raise Rejected(f"ERR Unrecognized option '{errors.printable(request[2])}'")
    word = option.decode()
    context.state.library[word] = printable_name(request[3], word)
    return "OK"


def info(context: CommandContext, _: Request) -> Reply:
    """CLIENT INFO."""
    session = context.port.sessions[context.state.id]
    return f"{client_line(session, context.port.clock.seconds())}\n".encode()


def list_(context: CommandContext, request: Request) -> Reply:
    """CLIENT LIST [TYPE type] [ID id ...]."""
    sessions: Sequence[OpenSession] = list(context.port.sessions.values())
    if len(request) > 2:
        option = request[2].upper()
        if option == b"TYPE" and len(request) == 4:
            sessions = sessions if _type(request[3]) == b"normal" else []
        elif option == b"ID" and len(request) > 3:
            wanted = {integer(word, "ERR Invalid client ID") for word in request[3:]}
            sessions = [session for session in sessions if session.state.id in wanted]
        else:
            raise Rejected(errors.SYNTAX)
    now = context.port.clock.seconds()
    return "".join(f"{client_line(session, now)}\n" for session in sessions).encode()


def _type(word: bytes) -> bytes:
    kind = word.lower()
    if kind not in TYPES:
        raise Rejected(f"ERR Unknown client type '{errors.printable(word)}'")
    return kind


Filter = Callable[[OpenSession, float], bool]
"""Whether CLIENT KILL means a session; the number is the present time."""


def kill(context: CommandContext, request: Request) -> Reply:
    """CLIENT KILL address | filter value ... [SKIPME yes | no]: a session must pass all filters."""
    if len(request) == 3:
        if not _kill(context, [_by_address(request[2])], skip_me=False):
            raise Rejected("ERR No such client")
        return "OK"
    if len(request) % 2:
        raise Rejected(errors.SYNTAX)
    filters: dict[bytes, Filter] = {}
    skip_me = b"yes"
    for place in range(2, len(request), 2):
        name, value = request[place].upper(), request[place + 1]
        if name == b"SKIPME" and value.lower() in (b"yes", b"no"):
            skip_me = value.lower()
        elif name in _FILTERS:
            filters[name] = _FILTERS[name](value)
        elif name == b"USER":
            filters[name] = _by_user(context, value)
        else:
            raise Rejected(errors.SYNTAX)
    return _kill(context, list(filters.values()), skip_me=skip_me == b"yes")


def _kill(context: CommandContext, filters: Sequence[Filter], *, skip_me: bool) -> int:
    count = 0
    now = context.port.clock.seconds()
    for session in list(context.port.sessions.values()):
        own = session.state is context.state
        if (own and skip_me) or not all(meant(session, now) for meant in filters):
            continue
        if own:
            context.state.closing = True  # after this reply
        else:
            session.abort("killed")
        count += 1
    return count


def _by_address(address: bytes) -> Filter:
    return lambda session, _: session.state.peer.encode() == address


def _by_local_address(address: bytes) -> Filter:
    return lambda session, _: session.state.local.encode() == address


def _by_id(word: bytes) -> Filter:
    wanted = _positive(word, "client-id")
    return lambda session, _: session.state.id == wanted


def _by_type(word: bytes) -> Filter:
    normal = _type(word) == b"normal"
    return lambda _, __: normal


def _by_user(context: CommandContext, user: bytes) -> Filter:
    if context.port.users.get(user) is None:
        raise Rejected(f"ERR No such user '{errors.printable(user)}'")
    return lambda session, _: session.state.user == user


def _by_age(word: bytes) -> Filter:
    least = _positive(word, "maxage")
    return lambda session, now: now - session.state.opened_at >= least


def _positive(word: bytes, what: str) -> int:
    error = f"ERR {what} should be greater than 0"
    number = integer(word, error)
    if number <= 0:
        raise Rejected(error)
    return number


_FILTERS: dict[bytes, Callable[[bytes], Filter]] = {
    b"ID": _by_id,
    b"TYPE": _by_type,
    b"ADDR": _by_address,
    b"LADDR": _by_local_address,
    b"MAXAGE": _by_age,
}


def switch(_: CommandContext, request: Request) -> Reply:
    """CLIENT NO-EVICT and NO-TOUCH on | off: accepted without effect, because nothing is ever evicted."""
    if request[2].lower() not in (b"on", b"off"):
        raise Rejected(errors.SYNTAX)
    return "OK"


def reply(context: CommandContext, request: Request) -> Reply:
    """CLIENT REPLY ON | OFF | SKIP. Only ON is replied to."""
    mode = request[2].upper()
    if mode not in (b"ON", b"OFF", b"SKIP"):
        raise Rejected(errors.SYNTAX)
    state = context.state
    if mode == b"SKIP":
        state.skipping = 2  # this reply and the next one
    else:
        state.silent, state.skipping = mode == b"OFF", 0
    return "OK"


def capa(_: CommandContext, __: Request) -> Reply:
    """CLIENT CAPA capability ...: accepted; no capability changes a reply."""
    return "OK"
