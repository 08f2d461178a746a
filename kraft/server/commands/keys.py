"""The commands on keys: a write becomes a state machine command, a read is answered from a view."""

from dataclasses import replace
from typing import Any

from kraft.host.requests.read_rounds import View
from kraft.int64 import INT64_MIN
from kraft.kv import commands as kv
from kraft.kv.commands import Condition, Expiry, Guard
from kraft.resp.values import Error, Reply, Request
from kraft.server.commands.arguments import integer, milliseconds
from kraft.server.commands.spec import CommandSpec
from kraft.server.errors import (
    FAILURES,
    SYNTAX,
    Rejected,
    invalid_expiry,
    over_limit,
    printable,
    wrong_arity,
)

# Option of SET: (how the expiry is meant, milliseconds in its unit)
_EXPIRIES = {
    b"EX": (Expiry.RELATIVE, 1000),
    b"PX": (Expiry.RELATIVE, 1),
    b"EXAT": (Expiry.ABSOLUTE, 1000),
    b"PXAT": (Expiry.ABSOLUTE, 1),
}
_CONDITIONS = {b"NX": Condition.IF_MISSING, b"XX": Condition.IF_PRESENT}
_GUARDS = {b"NX": Guard.IF_NONE, b"XX": Guard.IF_SOME, b"GT": Guard.IF_LATER, b"LT": Guard.IF_EARLIER}


def set_(request: Request) -> kv.Command:
    """SET key value [NX | XX] [GET] [EX s | PX ms | EXAT t | PXAT ms | KEEPTTL]."""
    if len(request) == 3:
        return kv.Put(request[1], request[2])
    condition = expiry = None
    amount, unit_ms, get = b"", 1, False
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
            amount = next(options, b"")
            if not amount:
                raise Rejected(SYNTAX)
        else:
            raise Rejected(SYNTAX)
    expiry = expiry or Expiry.NONE
    expiry_ms = _positive_ms(amount, unit_ms, expiry, "set") if amount else 0
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


def append_within(row: CommandSpec, limit_bytes: int) -> CommandSpec:
    """The row of APPEND where a value may have so many bytes.

    Every APPEND copies the whole value: without this bound a few that are small hold up every replica.
    """
    too_large = Error(over_limit("value", limit_bytes))

    def limited(request: Request) -> kv.Command:
        return kv.AppendValue(request[1], request[2], limit_bytes)

    def shape(reply: kv.Reply) -> Any:
        return too_large if reply is kv.CommandFailure.TOO_LARGE else reply

    return replace(row, function=limited, shape=shape)


def delete(request: Request) -> kv.Command:
    """DEL and UNLINK key [key ...]."""
    return kv.Delete(tuple(request[1:]))


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


def expire(request: Request) -> kv.Command:
    """[P]EXPIRE[AT] key time [NX | XX | GT | LT]; a time already past deletes the key."""
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
        return Guard.IF_LATER  # which demands an expiry anyway
    if len(guards) > 1:
        return Guard.IF_SOME_AND_EARLIER
    return guards.pop() if guards else Guard.ALWAYS


def persist(request: Request) -> kv.Command:
    """PERSIST key."""
    return kv.ClearExpiry(request[1])


def failure_or_value(reply: kv.Reply) -> Any:
    """Shape of commands that the state machine may refuse."""
    return FAILURES[reply] if type(reply) is kv.CommandFailure else reply


def was_set(reply: kv.Reply) -> Reply:
    """Shape of SETNX: 1 or 0."""
    return 0 if reply is None else 1


def get(view: View, request: Request) -> Reply:
    """GET key."""
    return view.keyspace.get(request[1])


def mget(view: View, request: Request) -> Reply:
    """MGET key [key ...]."""
    return list(map(view.keyspace.get, request[1:]))


def exists(view: View, request: Request) -> Reply:
    """EXISTS key [key ...]; a key given twice counts twice."""
    return sum(view.keyspace.get(key) is not None for key in request[1:])


def strlen(view: View, request: Request) -> Reply:
    """STRLEN key."""
    return len(view.keyspace.get(request[1]) or b"")


def type_(view: View, request: Request) -> Reply:
    """TYPE key."""
    return "none" if view.keyspace.get(request[1]) is None else "string"


def dbsize(view: View, _: Request) -> Reply:
    """DBSIZE."""
    return len(view.keyspace)


def ttl(view: View, request: Request) -> Reply:
    """TTL key: seconds, rounded; -1 without expiry, -2 without key."""
    return _in_seconds(pttl(view, request))


def pttl(view: View, request: Request) -> int:
    """PTTL key: milliseconds."""
    expires = pexpiretime(view, request)
    return expires if expires < 0 else max(0, expires - view.now_ms)


def expiretime(view: View, request: Request) -> Reply:
    """EXPIRETIME key: Unix seconds."""
    return _in_seconds(pexpiretime(view, request))


def pexpiretime(view: View, request: Request) -> int:
    """PEXPIRETIME key: Unix milliseconds."""
    if view.keyspace.get(request[1]) is None:
        return -2
    return view.keyspace.expires(request[1]) or -1


def _in_seconds(ms: int) -> int:
    return ms if ms < 0 else (ms + 500) // 1000
