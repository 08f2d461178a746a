"""Sequences of commands on strings, bits and keys, for a comparison with Redis, and what may differ."""

import ast
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from kraft.server.commands.dump import payload_of, value_of

Words = list[bytes]


@st.composite
def _mostly(draw: st.DrawFn, usual: st.SearchStrategy, rare: st.SearchStrategy, weight: int = 6) -> Any:
    """Usual ones `weight` times as often: a sequence must get somewhere before something is wrong.

    Not `one_of`: it joins the branches of all levels to one list, and looks at each of them in each draw.
    """
    return draw(rare if draw(st.integers(0, weight)) == weight else usual)


KEYS = _mostly(st.sampled_from([b"a", b"b"]), st.sampled_from([b"c", b"{a}1", b"", b"\xff\x00k"]))
INTEGERS = _mostly(
    st.integers(-20, 20).map(lambda n: b"%d" % n),
    st.sampled_from([
        b"9223372036854775807", b"-9223372036854775808", b"9223372036854775808", b"-0", b"01", b"+1", b" 1",
        b"1.5", b"x", b"", b"100000000000", b"-200", b"255", b"128", b"-129", b"300",
    ]),
    2,
)  # fmt: skip
FLOATS = _mostly(
    st.one_of(
        st.integers(-30, 30).map(lambda power: b"1e%d" % power),
        st.floats(-(2.0**70), 2.0**70).map(lambda f: repr(f).encode()),
        st.decimals(-1000, 1000, places=4).map(lambda d: str(d).encode()),
        st.integers(2**64, 2**66).map(lambda n: b"%d" % n),
    ),
    st.sampled_from([
        b"0", b"-0", b"0.1", b"3.0e3", b"5.0e+4", b"1e-18", b"1e4931", b"1e4932", b"-1e4932", b"1e4933",
        b"1e-4950", b"1e-5000", b"inf", b"-Infinity", b"nan", b"0x1.8p3", b"0x", b".5", b"5.", b".", b"1e",
        b"1e5x", b" 1", b"1 ", b"+2.5", b"18446744073709551615", b"18446744073709551617", b"0e99999999999999",
        b"1e99999999999999", b"1e-99999999999999", b"", b"1\x00",
    ]),
    3,
)  # fmt: skip
VALUES = st.one_of(
    st.sampled_from([b"", b"0", b"10", b"-5", b"abc", b"hello world", b"ohmytext", b"mynewtext"]),
    st.text("abcd", max_size=40).map(str.encode),
    st.binary(max_size=12),
    INTEGERS,
    FLOATS,
    st.integers(1, 80).map(lambda n: b"\xff" * n),
    st.integers(1, 80).map(lambda n: b"\x00" * n),
)
SECONDS = _mostly(
    st.sampled_from([b"100", b"5000"]),
    st.sampled_from([b"0", b"-1", b"x", b"9223372036854775807", b"100000000000000"]),
    2,
)
# Never so short that a key may expire within a sequence: on one server it would be a moment earlier.
MILLISECONDS = SECONDS.map(lambda time: time + b"000" if time in (b"100", b"5000") else time)
TIMES = st.one_of(
    st.tuples(st.sampled_from([b"EX", b"ex"]), SECONDS),
    st.tuples(st.just(b"PX"), st.sampled_from([b"100000", b"5000000", b"0", b"-5", b"x"])),
    st.tuples(st.just(b"EXAT"), st.sampled_from([b"4000000000", b"1", b"0", b"9300000000000000"])),
    st.tuples(st.just(b"PXAT"), st.sampled_from([b"4000000000000", b"1", b"-1"])),
    st.sampled_from([(b"EX",), (b"PXAT",)]),
)
OFFSETS = _mostly(
    st.integers(0, 60).map(lambda n: b"%d" % n),
    st.sampled_from([b"-1", b"4294967296", b"99999999999999999999", b"x", b"", b"01", b"7", b"8"]),
)
FIELD_TYPES = _mostly(
    st.builds(lambda s, n: b"%s%d" % (s, n), st.sampled_from([b"i", b"u"]), st.integers(1, 63)),
    st.sampled_from([b"i64", b"u64", b"i65", b"u0", b"i0", b"x8", b"U8", b"", b"i", b"u08"]),
)
FIELD_OFFSETS = _mostly(
    st.one_of(st.integers(0, 40).map(lambda n: b"%d" % n), st.integers(0, 4).map(lambda n: b"#%d" % n)),
    st.sampled_from([b"-1", b"#-1", b"#", b"x", b"4294967296", b"##1"]),
)


def _words(*parts: st.SearchStrategy) -> st.SearchStrategy[Words]:
    """Words from strategies of one word or of several."""

    def flat(found: tuple) -> Words:
        words: Words = []
        for part in found:
            words += [part] if isinstance(part, bytes) else list(part)
        return words

    return st.tuples(*parts).map(flat)


def _name(*names: bytes) -> st.SearchStrategy[bytes]:
    return st.sampled_from([*names, *(name.lower() for name in names)])


def _some(*words: bytes, times: bool = False) -> st.SearchStrategy:
    """Some options in any order, sometimes contradicting ones."""
    each: st.SearchStrategy = st.sampled_from([(word,) for word in words])
    if times:
        each = st.one_of(each, TIMES, TIMES)
    several = st.lists(each, max_size=3).map(lambda found: sum(found, ()))
    return st.one_of(st.just(()), each, several)


_FIELDS = st.lists(
    _mostly(
        st.one_of(
            _words(_name(b"GET"), FIELD_TYPES, FIELD_OFFSETS),
            _words(_name(b"SET", b"INCRBY"), FIELD_TYPES, FIELD_OFFSETS, INTEGERS),
            _words(
                st.just([b"OVERFLOW"]),
                st.sampled_from([b"WRAP", b"sat", b"FAIL"]),
                _name(b"SET", b"INCRBY"),
                st.builds(lambda s, n: b"%s%d" % (s, n), st.sampled_from([b"i", b"u"]), st.integers(1, 8)),
                st.sampled_from([b"0", b"#1", b"5"]),
                INTEGERS,
            ),
        ),
        st.sampled_from(
            [[b"GET", b"u8"], [b"NOSUCH"], [b"SET", b"u8", b"0"], [b"OVERFLOW"], [b"OVERFLOW", b"x"]]
        ),
        12,
    ),
    max_size=4,
).map(lambda found: [word for words in found for word in words])
_UNITS = st.sampled_from([(), (), (b"BYTE",), (b"bit",), (b"BIT",), (b"x",), (b"BIT", b"x")])
_NEAR = _mostly(st.integers(-9, 9).map(lambda n: b"%d" % n), INTEGERS)
_RANGE = _mostly(
    st.one_of(st.tuples(_NEAR, _NEAR, _UNITS).map(lambda found: (*found[:2], *found[2])), st.just(())),
    st.one_of(st.tuples(_NEAR), st.tuples(_NEAR, st.just(b"BIT"))),
)

WRITES = st.one_of(
    _words(_name(b"SET"), KEYS, VALUES, _some(b"NX", b"XX", b"GET", b"KEEPTTL", b"get", b"FOO", times=True)),
    _words(_name(b"SETNX", b"GETSET", b"APPEND"), KEYS, VALUES),
    _words(_name(b"SETEX"), KEYS, SECONDS, VALUES),
    _words(_name(b"PSETEX"), KEYS, MILLISECONDS, VALUES),
    _words(_name(b"GETEX"), KEYS, _some(b"PERSIST", b"KEEPTTL", times=True)),
    _words(_name(b"GETDEL", b"INCR", b"DECR", b"PERSIST"), KEYS),
    _words(_name(b"MSET", b"MSETNX"), st.lists(st.one_of(KEYS, VALUES), min_size=2, max_size=6)),
    _words(_name(b"INCRBY", b"DECRBY"), KEYS, INTEGERS),
    _words(_name(b"INCRBYFLOAT"), KEYS, FLOATS),
    _words(_name(b"SETRANGE"), KEYS, OFFSETS.filter(lambda o: len(o) < 4), VALUES),
    _words(
        _name(b"SETBIT"),
        KEYS,
        OFFSETS,
        _mostly(st.sampled_from([b"0", b"1"]), st.sampled_from([b"2", b"x", b"-1"])),
    ),
    _words(
        _name(b"BITOP"),
        st.sampled_from([b"AND", b"or", b"XOR", b"NOT", b"NOT", b"NAND"]),
        KEYS,
        st.lists(KEYS, min_size=1, max_size=4),
    ),
    _words(_name(b"BITFIELD"), KEYS, _FIELDS),
    _words(_name(b"DEL", b"UNLINK"), st.lists(KEYS, min_size=1, max_size=3)),
    # Without GT and LT: which of two expiries is later may depend on the millisecond of each server.
    _words(_name(b"EXPIRE"), KEYS, SECONDS, _some(b"NX", b"XX")),
    _words(_name(b"PEXPIRE"), KEYS, MILLISECONDS, _some(b"NX", b"XX")),
    _words(_name(b"RENAME", b"RENAMENX"), KEYS, KEYS),
    _words(_name(b"FLUSHALL", b"FLUSHDB"), _some(b"ASYNC", b"sync", b"x")),
    _words(_name(b"COPY"), KEYS, KEYS, _some(b"REPLACE", b"replace", b"DB", b"0")),
)
# What redis-server 7.0 gives for these values; and some that are not right.
PAYLOADS = st.one_of(
    VALUES.map(payload_of),
    st.sampled_from([b"", b"x", b"\x00" * 12, payload_of(b"abc")[:-1] + b"!", payload_of(b"abc", 11)[:9]]),
)
WRITES = st.one_of(
    WRITES,
    _words(
        _name(b"RESTORE"),
        KEYS,
        st.sampled_from([b"0", b"100000", b"5000000", b"-1", b"x", b"100000000000000"]),
        PAYLOADS,
        _some(b"REPLACE", b"replace", b"IDLETIME", b"FREQ", b"1", b"300", b"x"),
    ),
)
PATTERNS = _mostly(
    st.text("ab*?[]^-\\{}1c", max_size=6).map(str.encode),
    st.sampled_from([b"*", b"", b"\xff*", b"*\x00k", b"[a-c]", b"[^a]", b"{*}?"]),
    2,
)
_SCANS = st.lists(
    st.one_of(
        st.tuples(_name(b"MATCH"), PATTERNS),
        st.tuples(_name(b"COUNT"), st.sampled_from([b"10", b"1000", b"0", b"-1", b"x"])),
        st.tuples(_name(b"TYPE"), st.sampled_from([b"string", b"STRING", b"hash", b"x"])),
    ),
    max_size=3,
).map(lambda found: [word for words in found for word in words])
READS = st.one_of(
    _words(_name(b"GET", b"STRLEN", b"TTL", b"PTTL", b"TYPE", b"EXPIRETIME"), KEYS),
    _words(_name(b"MGET", b"EXISTS", b"TOUCH"), st.lists(KEYS, min_size=1, max_size=3)),
    _words(_name(b"GETRANGE", b"SUBSTR"), KEYS, INTEGERS, INTEGERS),
    _words(_name(b"GETBIT"), KEYS, OFFSETS),
    _words(_name(b"BITCOUNT"), KEYS, _RANGE),
    _words(
        _name(b"BITPOS"), KEYS, _mostly(st.sampled_from([b"0", b"1"]), st.sampled_from([b"2", b"x"])), _RANGE
    ),
    _words(_name(b"BITFIELD_RO"), KEYS, _FIELDS),
    _words(_name(b"KEYS"), PATTERNS),
    _words(_name(b"SCAN"), st.just(b"0"), _some(b"x", b"MATCH", b"COUNT"), _SCANS),
    _words(_name(b"DBSIZE")),
    _words(_name(b"DUMP"), KEYS),
    _words(
        _name(b"LCS"), KEYS, KEYS, _some(b"LEN", b"IDX", b"MINMATCHLEN", b"withmatchlen", b"2", b"0", b"x")
    ),
    _words(_name(b"OBJECT"), st.sampled_from([b"ENCODING", b"freq"]), KEYS),
)
_SHORT = st.tuples(
    st.sampled_from([
        b"SET", b"GETEX", b"GETSET", b"SUBSTR", b"INCRBYFLOAT", b"MSETNX", b"SETBIT", b"GETBIT", b"BITCOUNT",
        b"BITPOS", b"BITOP", b"BITFIELD", b"BITFIELD_RO", b"RENAME", b"RENAMENX", b"COPY", b"TOUCH",
    ]),
    st.lists(KEYS, max_size=7),
).map(lambda found: [found[0], *found[1]])  # fmt: skip
COMMANDS = _mostly(st.one_of(WRITES, WRITES, WRITES, READS, READS), _SHORT, 12)
# Hypothesis draws lists of about six, unless they have to be longer: too few to get into any state.
SEQUENCES = st.lists(COMMANDS, min_size=40, max_size=120)

Rule = Callable[[Words, bytes, bytes], bool]
_SLACK = 30  # seconds between the answers of the two servers, on a machine that has no time for one of them


def _times_in_the_same_moment(words: Words, redis: bytes, kraft: bytes) -> bool:
    """TTL and its kin count from now, and the two servers answer at different times."""
    if words[0].upper() not in (b"TTL", b"PTTL") or {redis[:1], kraft[:1]} != {b":"}:
        return False
    slack = _SLACK if words[0].upper() == b"TTL" else 1000 * _SLACK
    return min(int(redis[1:]), int(kraft[1:])) > 0 and abs(int(redis[1:]) - int(kraft[1:])) <= slack


def _expiry_from_now(words: Words, redis: bytes, kraft: bytes) -> bool:
    """EXPIRETIME of a relative expiry."""
    if words[0].upper() != b"EXPIRETIME" or {redis[:1], kraft[:1]} != {b":"}:
        return False
    return min(int(redis[1:]), int(kraft[1:])) > 0 and abs(int(redis[1:]) - int(kraft[1:])) <= _SLACK


def _encoding_from_the_value(words: Words, redis: bytes, kraft: bytes) -> bool:
    """kraft derives the encoding from the value. In Redis it also depends on the commands before."""
    encodings = (b"$3\r\nint\r\n", b"$3\r\nraw\r\n", b"$6\r\nembstr\r\n")
    return words[0].upper() == b"OBJECT" and redis in encodings and kraft in encodings


def _arguments_before_the_key(words: Words, redis: bytes, kraft: bytes) -> bool:
    """kraft checks the arguments of a write before it looks at the key."""
    name = words[0].upper()
    if name == b"GETEX":
        return redis in (b"$-1\r\n", b"_\r\n") and kraft.startswith((b"-ERR invalid", b"-ERR value is not"))
    both_errors = redis.startswith(b"-ERR") and kraft.startswith(b"-ERR")
    if name == b"RESTORE":
        return (redis.startswith(b"-BUSYKEY") and kraft.startswith(b"-ERR")) or both_errors
    return both_errors and name in (b"COPY", b"INCRBYFLOAT")


def _compression(words: Words, redis: bytes, kraft: bytes) -> bool:
    """Redis compresses what it dumps. The values must be equal."""
    if words[0].upper() != b"DUMP" or {redis[:1], kraft[:1]} != {b"$"} or b"-1" in (redis[1:3], kraft[1:3]):
        return False
    (one,), (other,) = _bulks(redis), _bulks(kraft)
    return value_of(one) == value_of(other)


def _order_of_keys(words: Words, redis: bytes, kraft: bytes) -> bool:
    """Each server has its own order of keys."""
    both_arrays = redis[:1] == kraft[:1] == b"*"
    return words[0].upper() == b"KEYS" and both_arrays and sorted(_bulks(redis)) == sorted(_bulks(kraft))


def _empty_key(words: Words, redis: bytes, kraft: bytes) -> bool:
    """`**` matches every key but the empty one in Redis 7.0, every key in kraft."""
    if not any(word[:2] == b"**" for word in words):
        return False
    if words[0].upper() == b"KEYS":
        theirs, ours = _bulks(redis), _bulks(kraft)
    elif redis[:1] == kraft[:1] == b"[":  # `whole_reply` of SCAN
        theirs, ours = ast.literal_eval(redis.decode()), ast.literal_eval(kraft.decode())
    else:
        return False
    return sorted([b"", *theirs]) == sorted(ours)


def _keys_past_their_expiry(words: Words, redis: bytes, kraft: bytes) -> bool:
    """DBSIZE of Redis counts them until they are removed."""
    if words[0].upper() != b"DBSIZE" or {redis[:1], kraft[:1]} != {b":"}:
        return False
    return int(redis[1:]) > int(kraft[1:])


def _bulks(reply: bytes) -> list[bytes]:
    """The bulk strings of a reply of arrays and bulk strings."""
    found = []
    while reply:
        head, _, reply = reply.partition(b"\r\n")
        if head[:1] == b"$":
            size = int(head[1:])
            found.append(reply[:size])
            reply = reply[size + 2 :]
    return found


def is_scan(words: Words) -> bool:
    """Whether the reply to a command is only a part."""
    return words[0].upper() == b"SCAN"


def whole_reply(words: Words, ask: Callable[[Words], bytes]) -> bytes:
    """The reply to a command; to SCAN the keys that all calls up to cursor 0 return, sorted, each once.

    A cursor is opaque, and one call of SCAN may return any part of the keys, also none of them: only whole
    scans can be compared.
    """
    reply = ask(words)
    if not is_scan(words) or reply[:1] != b"*":
        return reply
    cursor, *keys = _bulks(reply)
    while cursor != b"0":
        reply = ask([words[0], cursor, *words[2:]])
        assert reply[:1] == b"*", f"{words} continued at {cursor!r}: {reply!r}"
        cursor, *more = _bulks(reply)
        keys += more
    return repr(sorted(set(keys))).encode()


def _long_values_of_lcs(words: Words, _: bytes, kraft: bytes) -> bool:
    """LCS of values that would take long."""
    return words[0].upper() == b"LCS" and kraft.startswith(b"-ERR LCS takes values of up to ")


DIFFERENCES: dict[str, Rule] = {
    "order of keys": _order_of_keys,
    "empty key": _empty_key,
    "expired keys": _keys_past_their_expiry,
    "time": _times_in_the_same_moment,
    "expiry": _expiry_from_now,
    "encoding": _encoding_from_the_value,
    "compression": _compression,
    "order of checks": _arguments_before_the_key,
    "long values": _long_values_of_lcs,
}
"""docs/redis-differences.md explains each of them."""
