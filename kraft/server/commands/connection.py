"""The commands about the connection itself."""

from typing import TYPE_CHECKING

from kraft.resp.values import Reply, Request
from kraft.server import errors
from kraft.server.commands.arguments import integer
from kraft.server.errors import Rejected

if TYPE_CHECKING:
    from kraft.server.session import Session

REDIS_VERSION = "7.4.0"  # what clients take us for when they decide what to send
NAME_BYTES_MAX = 256  # CLIENT LIST shows three names of every connection
_USER = b"default"  # the only one, without a password
_WRONG_PASSWORD = "WRONGPASS invalid username-password pair or user is disabled."  # noqa: S105  # a reply


def ping(_: "Session", request: Request) -> Reply:
    """PING [message]."""
    if len(request) > 2:
        raise Rejected(errors.wrong_arity("ping"))
    return request[1] if len(request) == 2 else "PONG"


def echo(_: "Session", request: Request) -> Reply:
    """ECHO message."""
    return request[1]


def quit_(session: "Session", _: Request) -> Reply:
    """QUIT: OK, then the connection closes."""
    session.quit()
    return "OK"


def select(_: "Session", request: Request) -> Reply:
    """SELECT 0."""
    if integer(request[1]) != 0:
        raise Rejected("ERR DB index is out of range")
    return "OK"


def auth(_: "Session", request: Request) -> Reply:
    """AUTH [user] password: the user `default` needs none and takes any."""
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


def hello(session: "Session", request: Request) -> Reply:
    """HELLO [2 | 3 [AUTH user password] [SETNAME name]]. Nothing changes unless all of it is right."""
    protocol, name = session.protocol, session.name
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
    session.protocol, session.name = protocol, name
    session.name_protocol()
    return {
        b"server": b"redis",
        b"version": REDIS_VERSION.encode(),
        b"proto": protocol,
        b"id": session.id,
        b"mode": b"cluster" if session.clients.routing.redirect else b"standalone",
        b"role": b"master" if session.clients.leads else b"replica",
        b"modules": [],
    }


def reset(session: "Session", _: Request) -> Reply:
    """RESET: the connection as it was when it opened."""
    session.protocol, session.plain, session.name = 2, False, b""
    session.readonly = session.fresh = False
    session.silent, session.skipping = False, 0
    session.name_protocol()
    return "RESET"


def readonly(session: "Session", _: Request) -> Reply:
    """READONLY: read from this node as it is, at most reads.max_staleness behind the leader."""
    session.readonly = True
    return "OK"


def readwrite(session: "Session", _: Request) -> Reply:
    """READWRITE undoes READONLY."""
    session.readonly = False
    return "OK"


def asking(_: "Session", __: Request) -> Reply:
    """ASKING: slots do not move here, so there is nothing to remember."""
    return "OK"


def client_id(session: "Session", _: Request) -> Reply:
    """CLIENT ID."""
    return session.id


def client_getname(session: "Session", _: Request) -> Reply:
    """CLIENT GETNAME."""
    return session.name or None


def client_setname(session: "Session", request: Request) -> Reply:
    """CLIENT SETNAME name."""
    session.name = _client_name(request[2])
    return "OK"


def _client_name(name: bytes) -> bytes:
    return _printable_name(name, "Client names")


def _printable_name(name: bytes, what: str) -> bytes:
    if len(name) > NAME_BYTES_MAX:
        raise Rejected(f"ERR {what} cannot be longer than {NAME_BYTES_MAX} bytes.")
    if any(not 0x21 <= byte <= 0x7E for byte in name):
        raise Rejected(f"ERR {what} cannot contain spaces, newlines or special characters.")
    return name


def client_setinfo(session: "Session", request: Request) -> Reply:
    """CLIENT SETINFO LIB-NAME | LIB-VER value."""
    option = request[2].lower()
    if option not in (b"lib-name", b"lib-ver"):
        raise Rejected(f"ERR Unrecognized option '{errors.printable(request[2])}'")
    word = option.decode()
    session.library[word] = _printable_name(request[3], word)
    return "OK"


def client_info(session: "Session", _: Request) -> Reply:
    """CLIENT INFO."""
    return f"{_line(session)}\n".encode()


def client_list(session: "Session", request: Request) -> Reply:
    """CLIENT LIST [TYPE type] [ID id ...]."""
    sessions = list(session.clients.sessions.values())
    if len(request) > 2:
        option = request[2].upper()
        if option == b"TYPE" and len(request) == 4:
            kind = request[3].lower()
            if kind not in (b"normal", b"master", b"replica", b"slave", b"pubsub"):
                raise Rejected(f"ERR Unknown client type '{errors.printable(request[3])}'")
            sessions = sessions if kind == b"normal" else []
        elif option == b"ID" and len(request) > 3:
            wanted = {integer(word, "ERR Invalid client ID") for word in request[3:]}
            sessions = [each for each in sessions if each.id in wanted]
        else:
            raise Rejected(errors.SYNTAX)
    return "".join(f"{_line(each)}\n" for each in sessions).encode()


def _line(session: "Session") -> str:
    now = session.clients.clock.seconds()
    fields = {
        "id": session.id,
        "addr": session.peer,
        "laddr": session.local,
        "name": session.name.decode(),
        "age": int(now - session.opened_at),
        "idle": int(now - session.last_input_at),
        "flags": "r" if session.readonly else "N",
        "db": 0,
        "sub": 0,
        "psub": 0,
        "multi": -1,
        "cmd": session.last_command or "NULL",
        "user": _USER.decode(),
        "resp": session.protocol,
        "lib-name": session.library.get("lib-name", b"").decode(),
        "lib-ver": session.library.get("lib-ver", b"").decode(),
    }
    return " ".join(f"{name}={value}" for name, value in fields.items())


def client_kill(session: "Session", request: Request) -> Reply:
    """CLIENT KILL address | ID id | ADDR address | LADDR address [SKIPME yes | no]."""
    if len(request) == 3:
        if not _kill(session, {b"ADDR": request[2]}, skip_me=False):
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
    return _kill(session, filters, skip_me=skip_me == b"yes")


def _kill(session: "Session", filters: dict[bytes, bytes], *, skip_me: bool) -> int:
    count = 0
    for each in list(session.clients.sessions.values()):
        facts = {b"ID": str(each.id), b"ADDR": each.peer, b"LADDR": each.local}
        if any(facts[name].encode() != value for name, value in filters.items()):
            continue
        if each is session:
            if skip_me:
                continue
            session.quit()
        else:
            each.abort("killed")
        count += 1
    return count


def client_switch(_: "Session", request: Request) -> Reply:
    """CLIENT NO-EVICT and NO-TOUCH on | off: nothing is ever evicted here, so both are true."""
    if request[2].lower() not in (b"on", b"off"):
        raise Rejected(errors.SYNTAX)
    return "OK"


def client_reply(session: "Session", request: Request) -> Reply:
    """CLIENT REPLY ON | OFF | SKIP; only ON is answered."""
    mode = request[2].upper()
    if mode not in (b"ON", b"OFF", b"SKIP"):
        raise Rejected(errors.SYNTAX)
    if mode == b"SKIP":
        session.skipping = 2  # this answer and the next one
    else:
        session.silent, session.skipping = mode == b"OFF", 0
    return "OK"


def client_capa(_: "Session", __: Request) -> Reply:
    """CLIENT CAPA capability ...: none that would change a reply."""
    return "OK"
