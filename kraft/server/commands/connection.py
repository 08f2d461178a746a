"""The commands about the connection itself: HELLO, CLIENT, READONLY and the like."""

from kraft.resp.values import Reply, Request
from kraft.server import errors
from kraft.server.commands.arguments import integer
from kraft.server.commands.spec import CommandContext
from kraft.server.errors import Rejected
from kraft.server.session_state import SessionState

REDIS_VERSION = "7.4.0"  # clients decide by it which commands they may send
NAME_BYTES_MAX = 256  # CLIENT LIST shows three names of every connection
_USER = b"default"  # the only user; it has no password
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
    if user != _USER:
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
            name = _client_name(request[at + 1])
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


def client_id(context: CommandContext, _: Request) -> Reply:
    """CLIENT ID."""
    return context.state.id


def client_getname(context: CommandContext, _: Request) -> Reply:
    """CLIENT GETNAME."""
    return context.state.name or None


def client_setname(context: CommandContext, request: Request) -> Reply:
    """CLIENT SETNAME name."""
    context.state.name = _client_name(request[2])
    return "OK"


def _client_name(name: bytes) -> bytes:
    return _printable_name(name, "Client names")


def _printable_name(name: bytes, what: str) -> bytes:
    if len(name) > NAME_BYTES_MAX:
        raise Rejected(f"ERR {what} cannot be longer than {NAME_BYTES_MAX} bytes.")
    if any(not 0x21 <= byte <= 0x7E for byte in name):
        raise Rejected(f"ERR {what} cannot contain spaces, newlines or special characters.")
    return name


def client_setinfo(context: CommandContext, request: Request) -> Reply:
    """CLIENT SETINFO LIB-NAME | LIB-VER value."""
    option = request[2].lower()
    if option not in (b"lib-name", b"lib-ver"):
        raise Rejected(f"ERR Unrecognized option '{errors.printable(request[2])}'")
    word = option.decode()
    context.state.library[word] = _printable_name(request[3], word)
    return "OK"


def client_info(context: CommandContext, _: Request) -> Reply:
    """CLIENT INFO."""
    return f"{_line(context.state, context.port.clock.seconds())}\n".encode()


def client_list(context: CommandContext, request: Request) -> Reply:
    """CLIENT LIST [TYPE type] [ID id ...]."""
    states = [session.state for session in context.port.sessions.values()]
    if len(request) > 2:
        option = request[2].upper()
        if option == b"TYPE" and len(request) == 4:
            kind = request[3].lower()
            if kind not in (b"normal", b"master", b"replica", b"slave", b"pubsub"):
                raise Rejected(f"ERR Unknown client type '{errors.printable(request[3])}'")
            states = states if kind == b"normal" else []
        elif option == b"ID" and len(request) > 3:
            wanted = {integer(word, "ERR Invalid client ID") for word in request[3:]}
            states = [state for state in states if state.id in wanted]
        else:
            raise Rejected(errors.SYNTAX)
    now = context.port.clock.seconds()
    return "".join(f"{_line(state, now)}\n" for state in states).encode()


def _line(state: SessionState, now: float) -> str:
    fields = {
        "id": state.id,
        "addr": state.peer,
        "laddr": state.local,
        "name": state.name.decode(),
        "age": int(now - state.opened_at),
        "idle": int(now - state.last_input_at),
        "flags": "r" if state.readonly else "N",
        "db": 0,
        "sub": 0,
        "psub": 0,
        "multi": -1,
        "cmd": state.last_command or "NULL",
        "user": _USER.decode(),
        "resp": state.protocol,
        "lib-name": state.library.get("lib-name", b"").decode(),
        "lib-ver": state.library.get("lib-ver", b"").decode(),
    }
    return " ".join(f"{name}={value}" for name, value in fields.items())


def client_kill(context: CommandContext, request: Request) -> Reply:
    """CLIENT KILL address | ID id | ADDR address | LADDR address [SKIPME yes | no]."""
    if len(request) == 3:
        if not _kill(context, {b"ADDR": request[2]}, skip_me=False):
            raise Rejected("ERR No such client")
        return "OK"
    if len(request) % 2:
        raise Rejected(errors.SYNTAX)
    filters = {request[n].upper(): request[n + 1] for n in range(2, len(request), 2)}
    skip_me = filters.pop(b"SKIPME", b"yes").lower()
    if skip_me not in (b"yes", b"no") or not set(filters) <= {b"ID", b"ADDR", b"LADDR"}:
        raise Rejected(errors.SYNTAX)
    if b"ID" in filters:
        integer(filters[b"ID"], "ERR client-id should be greater than 0")
    return _kill(context, filters, skip_me=skip_me == b"yes")


def _kill(context: CommandContext, filters: dict[bytes, bytes], *, skip_me: bool) -> int:
    count = 0
    for session in list(context.port.sessions.values()):
        state = session.state
        facts = {b"ID": str(state.id), b"ADDR": state.peer, b"LADDR": state.local}
        if any(facts[name].encode() != value for name, value in filters.items()):
            continue
        if state is context.state:
            if skip_me:
                continue
            state.closing = True  # after this reply
        else:
            session.abort("killed")
        count += 1
    return count


def client_switch(_: CommandContext, request: Request) -> Reply:
    """CLIENT NO-EVICT and NO-TOUCH on | off: accepted without effect, because nothing is ever evicted."""
    if request[2].lower() not in (b"on", b"off"):
        raise Rejected(errors.SYNTAX)
    return "OK"


def client_reply(context: CommandContext, request: Request) -> Reply:
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


def client_capa(_: CommandContext, __: Request) -> Reply:
    """CLIENT CAPA capability ...: accepted; no capability changes a reply."""
    return "OK"
