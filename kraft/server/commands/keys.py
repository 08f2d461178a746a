"""The commands on keys: deletion, renaming, existence, expiry, and what is known of a key."""

from kraft.host.requests.round import View
from kraft.int64 import parse_int64
from kraft.kv import commands as kv
from kraft.kv.commands import Expiry, Guard
from kraft.resp.values import Reply, Request
from kraft.server.commands.arguments import integer, milliseconds
from kraft.server.errors import SYNTAX, Rejected, printable

EMBEDDED_BYTES = 44  # the longest string that Redis keeps in one piece with its header

_EXPIRIES = {  # the unit of the number, and what it means
    b"expire": (1000, int(Expiry.RELATIVE)),
    b"pexpire": (1, int(Expiry.RELATIVE)),
    b"expireat": (1000, int(Expiry.ABSOLUTE)),
    b"pexpireat": (1, int(Expiry.ABSOLUTE)),
}
_ALWAYS = int(Guard.ALWAYS)
_GUARDS = {b"NX": Guard.IF_NONE, b"XX": Guard.IF_SOME, b"GT": Guard.IF_LATER, b"LT": Guard.IF_EARLIER}


def delete(request: Request) -> kv.Command:
    """DEL and UNLINK key [key ...]."""
    return kv.Delete(tuple(request[1:]))


def flush(request: Request) -> kv.Command:
    """FLUSHALL and FLUSHDB [ASYNC | SYNC]. Either way the keys are gone at once, and their memory soon."""
    if len(request) > 2 or (len(request) == 2 and request[1].upper() not in (b"ASYNC", b"SYNC")):
        raise Rejected(SYNTAX)
    return kv.Flush()


def expire(request: Request) -> kv.Command:
    """[P]EXPIRE[AT] key time [NX | XX | GT | LT]. A time in the past deletes the key."""
    name = request[0].lower()
    unit_ms, expiry = _EXPIRIES[name]
    guard = int(_guard(request[3:])) if len(request) > 3 else _ALWAYS
    absolute = expiry == Expiry.ABSOLUTE
    expiry_ms = milliseconds(request[2], unit_ms=unit_ms, absolute=absolute, name=name.decode())
    return kv.Expire(request[1], expiry, expiry_ms, guard)


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
    return guards.pop()


def persist(request: Request) -> kv.Command:
    """PERSIST key."""
    return kv.ClearExpiry(request[1])


def rename(request: Request) -> kv.Command:
    """RENAME source destination."""
    return kv.Rename(request[1], request[2])


def renamenx(request: Request) -> kv.Command:
    """RENAMENX source destination."""
    return kv.Rename(request[1], request[2], replace=False)


def copy(request: Request) -> kv.Command:
    """COPY source destination [DB 0] [REPLACE]."""
    replace = False
    words = iter(request[3:])
    for given in words:
        word = given.upper()
        database = next(words, None) if word == b"DB" else None
        if word == b"REPLACE":
            replace = True
        elif database is None:
            raise Rejected(SYNTAX)
        elif integer(database) != 0:
            raise Rejected("ERR DB index is out of range")
    if request[1] == request[2]:
        raise Rejected("ERR source and destination objects are the same")
    return kv.Copy(request[1], request[2], replace)


def renamed(_: kv.Reply) -> Reply:
    """The shape of RENAME."""
    return "OK"


def encoding(view: View, request: Request) -> Reply:
    """OBJECT ENCODING key: what Redis would call a value that SET has stored."""
    value = view.keyspace.get(request[2])
    if value is None:
        return None
    if parse_int64(value) is not None:
        return b"int"
    return b"embstr" if len(value) <= EMBEDDED_BYTES else b"raw"


def refcount(view: View, request: Request) -> Reply:
    """OBJECT REFCOUNT key: keys share no values."""
    return None if view.keyspace.get(request[2]) is None else 1


def freq(view: View, request: Request) -> Reply:
    """OBJECT FREQ key: refused as by a Redis that does not evict by frequency."""
    if view.keyspace.get(request[2]) is None:
        return None
    raise Rejected(
        "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when"
        " switching between policies at runtime LRU and LFU data will take some time to adjust."
    )


def idletime(view: View, request: Request) -> Reply:
    """OBJECT IDLETIME key: refused, because reads leave no trace."""
    if view.keyspace.get(request[2]) is None:
        return None
    raise Rejected("ERR idle time is not tracked, because keys are never evicted")


def memory_usage(view: View, request: Request) -> Reply:
    """MEMORY USAGE key [SAMPLES count]: the bytes that count towards limits.dataset_bytes."""
    words = request[3:]
    if words:
        if words[0].upper() != b"SAMPLES" or len(words) != 2:
            raise Rejected(SYNTAX)
        if integer(words[1]) < 0:
            raise Rejected(SYNTAX)
    return view.keyspace.memory_of(request[2])


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
