"""The commands on keys: deletion, existence and expiry."""

from kraft.host.requests.read_rounds import View
from kraft.kv import commands as kv
from kraft.kv.commands import Expiry, Guard
from kraft.resp.values import Reply, Request
from kraft.server.commands.arguments import milliseconds
from kraft.server.errors import Rejected, printable

_GUARDS = {b"NX": Guard.IF_NONE, b"XX": Guard.IF_SOME, b"GT": Guard.IF_LATER, b"LT": Guard.IF_EARLIER}


def delete(request: Request) -> kv.Command:
    """DEL and UNLINK key [key ...]."""
    return kv.Delete(tuple(request[1:]))


def expire(request: Request) -> kv.Command:
    """[P]EXPIRE[AT] key time [NX | XX | GT | LT]. A time in the past deletes the key."""
    name = request[0].lower().decode()
    absolute = name.endswith("at")
    guard = _guard(request[3:])
    unit_ms = 1 if name[0] == "p" else 1000
    expiry_ms = milliseconds(request[2], unit_ms=unit_ms, absolute=absolute, name=name)
    return kv.Expire(request[1], int(Expiry.ABSOLUTE if absolute else Expiry.RELATIVE), expiry_ms, int(guard))


def _guard(options: Request) -> Guard:
    guards = set()
    for option in options:
        guard = _GUARDS.get(option.upper())
        if guard is None:
            raise Rejected(f"ERR Unsupported option {printable(option)}")
        guards.add(guard)
    if Guard.IF_NONE in guards and len(guards) > 1:
        raise Rejected("ERR NX and XX, GT or LT options at the same time are not compatible")
    if {Guard.IF_LATER, Guard.IF_EARLIER} <= guards:
        raise Rejected("ERR GT and LT options at the same time are not compatible")
    if guards == {Guard.IF_SOME, Guard.IF_LATER}:
        return Guard.IF_LATER  # it requires an expiry anyway
    if len(guards) > 1:
        return Guard.IF_SOME_AND_EARLIER
    return guards.pop() if guards else Guard.ALWAYS


def persist(request: Request) -> kv.Command:
    """PERSIST key."""
    return kv.ClearExpiry(request[1])


def exists(view: View, request: Request) -> Reply:
    """EXISTS key [key ...]. A key that is given twice counts twice."""
    return sum(view.keyspace.get(key) is not None for key in request[1:])


def type_(view: View, request: Request) -> Reply:
    """TYPE key."""
    return "none" if view.keyspace.get(request[1]) is None else "string"


def dbsize(view: View, _: Request) -> Reply:
    """DBSIZE."""
    return len(view.keyspace)


def ttl(view: View, request: Request) -> Reply:
    """TTL key: seconds, rounded; -1 if the key has no expiry, -2 if it does not exist."""
    return _in_seconds(pttl(view, request))


def pttl(view: View, request: Request) -> int:
    """PTTL key: milliseconds; -1 and -2 as TTL."""
    expires = pexpiretime(view, request)
    return expires if expires < 0 else max(0, expires - view.now_ms)


def expiretime(view: View, request: Request) -> Reply:
    """EXPIRETIME key: Unix time in seconds, rounded; -1 and -2 as TTL."""
    return _in_seconds(pexpiretime(view, request))


def pexpiretime(view: View, request: Request) -> int:
    """PEXPIRETIME key: Unix time in milliseconds; -1 and -2 as TTL."""
    if view.keyspace.get(request[1]) is None:
        return -2
    return view.keyspace.expires(request[1]) or -1


def _in_seconds(ms: int) -> int:
    return ms if ms < 0 else (ms + 500) // 1000
