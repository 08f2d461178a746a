"""The commands on values: a write becomes a state machine command, a read looks at a view."""

from kraft.host.requests.round import View
from kraft.int64 import INT64_MIN, parse_int64
from kraft.kv import commands as kv
from kraft.kv.commands import Comparison, Condition, Expiry
from kraft.kv.digest import digest_of
from kraft.kv.long_double import NotFinite, parse_long_double
from kraft.resp.values import Reply, Request
from kraft.server.commands.arguments import integer
from kraft.server.commands.options import (
    COMPARISONS,
    GETEX_WORDS,
    MSETEX_WORDS,
    SET_WORDS,
    compared_with,
    positive_ms,
    write_options,
)
from kraft.server.errors import NOT_A_FLOAT, SYNTAX, Rejected, wrong_arity


def set_(request: Request) -> kv.Command:
    """SET key value [NX | XX | IFEQ v | IFNE v | IFDEQ d | IFDNE d] [GET] [EX s | PX ms | ... | KEEPTTL]."""
    if len(request) == 3:
        return kv.Put(request[1], request[2])
    options = write_options(request[3:], SET_WORDS, "set")
    expiry = int(options.expiry or Expiry.NONE)
    if options.comparison is None:
        return kv.Set(request[1], request[2], options.condition, expiry, options.expiry_ms, options.get)
    return kv.SetIf(
        request[1], request[2], options.comparison, options.operand, expiry, options.expiry_ms, options.get
    )


def setnx(request: Request) -> kv.Command:
    """SETNX key value."""
    return kv.Set(request[1], request[2], int(Condition.IF_MISSING))


def setex(request: Request) -> kv.Command:
    """SETEX key seconds value, PSETEX key milliseconds value."""
    unit_ms = 1 if request[0][:1] in b"pP" else 1000
    expiry_ms = positive_ms(request[2], unit_ms, Expiry.RELATIVE, request[0].lower().decode())
    return kv.Set(request[1], request[3], int(Condition.ALWAYS), int(Expiry.RELATIVE), expiry_ms)


def mset(request: Request) -> kv.Command:
    """MSET key value [key value ...]."""
    if len(request) % 2 == 0:
        raise Rejected(wrong_arity("mset"))
    return kv.SetMany(tuple(request[1:]))


def msetnx(request: Request) -> kv.Command:
    """MSETNX key value [key value ...]."""
    if len(request) % 2 == 0:
        raise Rejected(wrong_arity("msetnx"))
    return kv.SetManyIf(tuple(request[1:]), int(Condition.IF_MISSING))


def msetex(request: Request) -> kv.Command:
    """MSETEX numkeys key value [key value ...] [NX | XX] [EX s | PX ms | EXAT t | PXAT ms | KEEPTTL]."""
    count = parse_int64(request[1])
    if count is None or not 1 <= count <= 0x7FFFFFFF:
        raise Rejected("ERR invalid numkeys value")
    end = 2 + 2 * count
    if end > len(request):
        raise Rejected("ERR wrong number of key-value pairs")
    options = write_options(request[end:], MSETEX_WORDS, "msetex")
    expiry = int(options.expiry or Expiry.NONE)
    return kv.SetManyIf(tuple(request[2:end]), options.condition, expiry, options.expiry_ms)


def getset(request: Request) -> kv.Command:
    """GETSET key value: SET with GET."""
    return kv.Set(request[1], request[2], get=True)


def getex(request: Request) -> kv.Command:
    """GETEX key [EX s | PX ms | EXAT t | PXAT ms | PERSIST]."""
    options = write_options(request[2:], GETEX_WORDS, "getex")
    expiry = Expiry.KEEP if options.expiry is None else options.expiry
    return kv.GetExpire(request[1], int(expiry), options.expiry_ms)


def delex(request: Request) -> kv.Command:
    """DELEX key [IFEQ value | IFNE value | IFDEQ digest | IFDNE digest]."""
    if len(request) == 2:
        return kv.Delete((request[1],))
    comparison = COMPARISONS.get(request[2].upper())
    if comparison is None or len(request) != 4:
        raise Rejected(SYNTAX)
    return kv.DeleteIf(request[1], int(comparison), compared_with(comparison, request[3]))


def delifeq(request: Request) -> kv.Command:
    """DELIFEQ key value."""
    return kv.DeleteIf(request[1], int(Comparison.EQUAL), request[2])


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


def incrbyfloat(request: Request) -> kv.Command:
    """INCRBYFLOAT key amount."""
    try:
        valid = parse_long_double(request[2]) is not None
    except NotFinite:
        valid = True  # a number, whose sum is refused when the command is applied
    if not valid:
        raise Rejected(NOT_A_FLOAT)
    return kv.IncrementFloat(request[1], request[2])


def cas(request: Request) -> kv.Command:
    """KRAFT CAS key revision value."""
    revision = integer(request[3])
    if revision < 0:
        raise Rejected("ERR a revision is not negative; 0 means that the key does not exist")
    return kv.CompareAndSet(request[2], revision, request[4])


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


def rev(view: View, request: Request) -> Reply:
    """KRAFT REV key: the revision of its last change, 0 if it does not exist."""
    return view.keyspace.revision(request[2])


def digest(view: View, request: Request) -> Reply:
    """DIGEST key."""
    value = view.keyspace.get(request[1])
    return None if value is None else digest_of(value)


def strlen(view: View, request: Request) -> Reply:
    """STRLEN key."""
    return len(view.keyspace.get(request[1]) or b"")
