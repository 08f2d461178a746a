"""The commands on values: a write becomes a state machine command, a read looks at a view."""

from kraft.host.requests.read_rounds import View
from kraft.int64 import INT64_MIN
from kraft.kv import commands as kv
from kraft.kv.commands import Condition, Expiry
from kraft.resp.values import Reply, Request
from kraft.server.commands.arguments import integer, milliseconds
from kraft.server.errors import SYNTAX, Rejected, invalid_expiry, wrong_arity

# Option of SET: (how the expiry is meant, milliseconds in its unit)
_EXPIRIES = {
    b"EX": (Expiry.RELATIVE, 1000),
    b"PX": (Expiry.RELATIVE, 1),
    b"EXAT": (Expiry.ABSOLUTE, 1000),
    b"PXAT": (Expiry.ABSOLUTE, 1),
}
_CONDITIONS = {b"NX": Condition.IF_MISSING, b"XX": Condition.IF_PRESENT}


def set_(request: Request) -> kv.Command:
    """SET key value [NX | XX] [GET] [EX s | PX ms | EXAT t | PXAT ms | KEEPTTL]."""
    if len(request) == 3:
        return kv.Put(request[1], request[2])
    condition = expiry = None
    amount: bytes | None = None
    unit_ms, get = 1, False
    options = iter(request[3:])
    for option in options:
        word = option.upper()
        if word in _CONDITIONS and condition in (None, _CONDITIONS[word]):
            condition = _CONDITIONS[word]
        elif word == b"GET":
            get = True
        elif word == b"KEEPTTL" and expiry in (None, Expiry.KEEP):
            expiry = Expiry.KEEP
        elif word in _EXPIRIES and expiry is None:
            expiry, unit_ms = _EXPIRIES[word]
            given = next(options, None)
            if given is None:
                raise Rejected(SYNTAX)
            amount = given
        else:
            raise Rejected(SYNTAX)
    expiry = expiry or Expiry.NONE
    expiry_ms = _positive_ms(amount, unit_ms, expiry, "set") if amount is not None else 0
    return kv.Set(request[1], request[2], int(condition or Condition.ALWAYS), int(expiry), expiry_ms, get)


def _positive_ms(amount: bytes, unit_ms: int, expiry: Expiry, name: str) -> int:
    value = milliseconds(amount, unit_ms=unit_ms, absolute=expiry == Expiry.ABSOLUTE, name=name)
    if value <= 0:
        raise Rejected(invalid_expiry(name))
    return value


def setnx(request: Request) -> kv.Command:
    """SETNX key value."""
    return kv.Set(request[1], request[2], int(Condition.IF_MISSING))


def setex(request: Request) -> kv.Command:
    """SETEX key seconds value, PSETEX key milliseconds value."""
    unit_ms = 1 if request[0][:1] in b"pP" else 1000
    expiry_ms = _positive_ms(request[2], unit_ms, Expiry.RELATIVE, request[0].lower().decode())
    return kv.Set(request[1], request[3], int(Condition.ALWAYS), int(Expiry.RELATIVE), expiry_ms)


def mset(request: Request) -> kv.Command:
    """MSET key value [key value ...]."""
    if len(request) % 2 == 0:
        raise Rejected(wrong_arity("mset"))
    return kv.SetMany(tuple(request[1:]))


def getdel(request: Request) -> kv.Command:
    """GETDEL key."""
    return kv.GetDelete(request[1])


def append(request: Request) -> kv.Command:
    """APPEND key value."""
    return kv.AppendValue(request[1], request[2])


def setrange(request: Request) -> kv.Command:
    """SETRANGE key offset value."""
    offset = integer(request[2])
    if offset < 0:
        raise Rejected("ERR offset is out of range")
    return kv.SetRange(request[1], offset, request[3])


def incr(request: Request) -> kv.Command:
    """INCR key."""
    return kv.Increment(request[1], 1)


def decr(request: Request) -> kv.Command:
    """DECR key."""
    return kv.Increment(request[1], -1)


def incrby(request: Request) -> kv.Command:
    """INCRBY key amount."""
    return kv.Increment(request[1], integer(request[2]))


def decrby(request: Request) -> kv.Command:
    """DECRBY key amount."""
    amount = integer(request[2])
    if amount == INT64_MIN:
        raise Rejected("ERR decrement would overflow")
    return kv.Increment(request[1], -amount)


def was_set(reply: kv.Reply) -> Reply:
    """The shape of SETNX: 1 if the key was set, else 0."""
    return 0 if reply is None else 1


def get(view: View, request: Request) -> Reply:
    """GET key."""
    return view.keyspace.get(request[1])


def mget(view: View, request: Request) -> Reply:
    """MGET key [key ...]."""
    return list(map(view.keyspace.get, request[1:]))


def getrange(view: View, request: Request) -> Reply:
    """GETRANGE key start end, SUBSTR key start end: both ends included, counted from the end if negative.

    As in Redis, an end before the first byte means the first byte, unless it is also before the start.
    """
    start, end = integer(request[2]), integer(request[3])
    if start < 0 and end < 0 and start > end:
        return b""
    value = view.keyspace.get(request[1]) or b""
    if start < 0:
        start = max(0, start + len(value))
    if end < 0:
        end = max(0, end + len(value))
    return value[start : end + 1]


def strlen(view: View, request: Request) -> Reply:
    """STRLEN key."""
    return len(view.keyspace.get(request[1]) or b"")
