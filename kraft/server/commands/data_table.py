"""The specifications of the commands on data: reads, and writes that are logged."""

from collections.abc import Callable
from dataclasses import replace

from kraft.host.requests.round import View
from kraft.kv.commands import Command
from kraft.kv.replies import Reply as Outcome
from kraft.resp.values import Reply, Request
from kraft.server.commands import bits, dump, key_range, keys, lcs, locks, scan, strings
from kraft.server.commands.all_groups import FLUSH, TOTAL
from kraft.server.commands.function_table import FCALL
from kraft.server.commands.script_table import CALLS
from kraft.server.commands.spec import (
    ALL_KEYS,
    KEY_VALUE_PAIRS,
    NO_KEYS,
    ONE_KEY,
    IndexSpec,
    ReadSpec,
    WaitSpec,
    WriteSpec,
)

Keys = tuple[int, int, int]
_TWO_KEYS = (1, 2, 1)
_SUBCOMMAND_KEY = (2, 2, 1)
_GROW = ("write", "denyoom")  # Redis calls some writes slow: SET has no flag `fast`
_GROW_FAST = ("write", "denyoom", "fast")


def _flags(access: str) -> tuple[tuple[str, ...], ...]:
    """`CommandSpec.key_flags` of "RO access|OW update": two kinds of keys, each with its flags."""
    return tuple(tuple(flags.split()) for flags in access.split("|"))


def _read(
    name: str,
    arity: int,
    run: Callable[[View, Request], Reply],
    keys_: Keys,
    group: str,
    summary: str,
    usage: str,
    *,
    flags: tuple[str, ...] = ("readonly", "fast"),
    access: str = "RO access",
) -> ReadSpec:
    return ReadSpec(
        name=name, arity=arity, run=run, keys=keys_, group=group, summary=summary, usage=usage, flags=flags,
        key_flags=_flags(access),
    )  # fmt: skip


def _write(
    name: str,
    arity: int,
    run: Callable[[Request], Command],
    keys_: Keys,
    group: str,
    summary: str,
    usage: str,
    *,
    flags: tuple[str, ...] = ("write", "fast"),
    access: str = "RW update",
    shape: Callable[[Outcome], Reply] | None = None,
) -> WriteSpec:
    return WriteSpec(
        name=name, arity=arity, run=run, keys=keys_, group=group, summary=summary, usage=usage, flags=flags,
        key_flags=_flags(access), shape=shape,
    )  # fmt: skip


# fmt: off
STRINGS = (
    _read("get", 2, strings.get, ONE_KEY, "string", "Returns the value of a key.", "key"),
    _write("set", -3, strings.set_, ONE_KEY, "string",
        "Sets the value of a key, optionally on a condition and with an expiry.",
        "key value [NX|XX|IFEQ value|IFNE value|IFDEQ digest|IFDNE digest] [GET] "
        "[EX seconds|PX milliseconds|EXAT unix-time-seconds|PXAT unix-time-milliseconds|KEEPTTL]",
        flags=_GROW, access="RW access update variable_flags"),
    _write("setnx", 3, strings.setnx, ONE_KEY, "string",
        "Sets the value of a key only if the key does not exist.",
        "key value", flags=_GROW_FAST, access="OW insert", shape=strings.was_set),
    _write("setex", 4, strings.setex, ONE_KEY, "string",
        "Sets the value of a key, and its expiry in seconds.",
        "key seconds value", flags=_GROW, access="OW update"),
    _write("psetex", 4, strings.setex, ONE_KEY, "string",
        "Sets the value of a key, and its expiry in milliseconds.", "key milliseconds value",
        flags=_GROW, access="OW update"),
    _write("getset", 3, strings.getset, ONE_KEY, "string", "Sets the value of a key; returns the old one.",
        "key value", flags=_GROW_FAST, access="RW access update"),
    _write("getex", -2, strings.getex, ONE_KEY, "string", "Returns the value of a key and sets its expiry.",
        "key [EX seconds|PX milliseconds|EXAT unix-time-seconds|PXAT unix-time-milliseconds|PERSIST]",
        access="RW access update"),
    _write("getdel", 2, strings.getdel, ONE_KEY, "string", "Returns the value of a key and deletes the key.",
        "key",
        access="RW access delete"),
    _read("mget", -2, strings.mget, ALL_KEYS, "string", "Returns the values of several keys.",
        "key [key ...]"),
    _write("mset", -3, strings.mset, KEY_VALUE_PAIRS, "string", "Sets the values of several keys atomically.",
        "key value [key value ...]", flags=_GROW, access="OW update"),
    _write("msetnx", -3, strings.msetnx, KEY_VALUE_PAIRS, "string",
        "Sets the values of several keys atomically, if none of the keys exists.",
        "key value [key value ...]", flags=_GROW, access="OW insert"),
    WriteSpec(name="msetex", arity=-4, run=strings.msetex, counted=(1, 2), group="string",
        summary="Sets the values of several keys atomically, on a condition and with one expiry.",
        usage="numkeys key value [key value ...] [NX|XX] [EX seconds|PX milliseconds|EXAT unix-time-seconds|"
        "PXAT unix-time-milliseconds|KEEPTTL]", flags=(*_GROW, "movablekeys"), key_flags=_flags("OW update")),
    _write("append", 3, strings.append, ONE_KEY, "string",
        "Appends to the value of a key; creates the key if it does not exist.", "key value",
        flags=_GROW_FAST, access="RW insert"),
    _write("setrange", 4, strings.setrange, ONE_KEY, "string",
        "Overwrites a part of a value; pads it with zero bytes if it is too short.", "key offset value",
        flags=_GROW),
    _read("getrange", 4, strings.getrange, ONE_KEY, "string", "Returns a part of the value of a key.",
        "key start end", flags=("readonly",)),
    _read("substr", 4, strings.getrange, ONE_KEY, "string",
        "Returns a part of the value of a key: the former name of GETRANGE.", "key start end",
        flags=("readonly",)),
    _read("lcs", -3, lcs.lcs, _TWO_KEYS, "string", "Finds the longest common subsequence of two values.",
        "key1 key2 [LEN] [IDX] [MINMATCHLEN len] [WITHMATCHLEN]", flags=("readonly",)),
    _read("digest", 2, strings.digest, ONE_KEY, "string", "Returns the XXH3 digest of the value of a key.",
        "key"),
    _read("strlen", 2, strings.strlen, ONE_KEY, "string", "Returns the length of the value of a key.", "key",
        access="RO"),
    _write("incr", 2, strings.incr, ONE_KEY, "string", "Increments the integer value of a key by one.", "key",
        flags=_GROW_FAST, access="RW access update"),
    _write("decr", 2, strings.decr, ONE_KEY, "string", "Decrements the integer value of a key by one.", "key",
        flags=_GROW_FAST, access="RW access update"),
    _write("incrby", 3, strings.incrby, ONE_KEY, "string",
        "Increments the integer value of a key by a number.",
        "key increment", flags=_GROW_FAST, access="RW access update"),
    _write("decrby", 3, strings.decrby, ONE_KEY, "string",
        "Decrements the integer value of a key by a number.",
        "key decrement", flags=_GROW_FAST, access="RW access update"),
    _write("incrbyfloat", 3, strings.incrbyfloat, ONE_KEY, "string",
        "Increments the value of a key by a number with a fraction.",
        "key increment", flags=_GROW_FAST, access="RW access update"),
    _write("delex", -2, strings.delex, ONE_KEY, "string", "Deletes a key, optionally on a condition.",
        "key [IFEQ value|IFNE value|IFDEQ digest|IFDNE digest]", access="RW delete variable_flags"),
    _write("delifeq", 3, strings.delifeq, ONE_KEY, "string", "Deletes a key if it has that value.",
        "key value", access="RW access delete"),
    _write("kvstore-set", 3, strings.set_, ONE_KEY, "kraft",
        "SET of the Java shell. Inline, the value is the rest of the line.", "key value",
        flags=_GROW, access="OW update"),
    _read("kvstore-get", 2, strings.get, ONE_KEY, "kraft", "GET of the Java shell.", "key"),
)

KEYS = (
    _write("del", -2, keys.delete, ALL_KEYS, "generic", "Deletes keys.", "key [key ...]",
        flags=("write",), access="RM delete"),
    _write("unlink", -2, keys.delete, ALL_KEYS, "generic", "Deletes keys.", "key [key ...]",
        access="RM delete"),
    _read("exists", -2, keys.exists, ALL_KEYS, "generic", "Counts the given keys that exist.",
        "key [key ...]",
        access="RO"),
    _read("type", 2, keys.type_, ONE_KEY, "generic",
        "Returns the type of a value: string, or none if the key does not exist.", "key", access="RO"),
    _read("touch", -2, keys.exists, ALL_KEYS, "generic", "Counts the given keys that exist.",
        "key [key ...]", access="RO"),
    _write("rename", 3, keys.rename, _TWO_KEYS, "generic", "Renames a key, and replaces a key of that name.",
        "key newkey", flags=("write",), access="RW access delete|OW update", shape=keys.renamed),
    _write("renamenx", 3, keys.renamenx, _TWO_KEYS, "generic", "Renames a key if no key has the new name.",
        "key newkey", access="RW access delete|OW insert"),
    _write("copy", -3, keys.copy, _TWO_KEYS, "generic", "Copies a value and its expiry to another key.",
        "source destination [DB destination-db] [REPLACE]", flags=_GROW, access="RO access|OW update"),
    _read("dump", 2, dump.dump, ONE_KEY, "generic", "Returns a value in the form that RESTORE takes.", "key",
        flags=("readonly",)),
    replace(_write("restore", -4, dump.restore, ONE_KEY, "generic",
        "Sets a value that DUMP, also of Redis, gave.",
        "key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]", flags=_GROW,
        access="OW update", shape=dump.restored), acl=("dangerous",)),
    _write("expire", -3, keys.expire, ONE_KEY, "generic", "Sets the expiry of a key in seconds from now.",
        "key seconds [NX|XX|GT|LT]"),
    _write("pexpire", -3, keys.expire, ONE_KEY, "generic",
        "Sets the expiry of a key in milliseconds from now.",
        "key milliseconds [NX|XX|GT|LT]"),
    _write("expireat", -3, keys.expire, ONE_KEY, "generic",
        "Sets the expiry of a key to a Unix time in seconds.",
        "key unix-time-seconds [NX|XX|GT|LT]"),
    _write("pexpireat", -3, keys.expire, ONE_KEY, "generic",
        "Sets the expiry of a key to a Unix time in milliseconds.",
        "key unix-time-milliseconds [NX|XX|GT|LT]"),
    _write("persist", 2, keys.persist, ONE_KEY, "generic", "Removes the expiry of a key.", "key"),
    _read("ttl", 2, keys.ttl, ONE_KEY, "generic", "Returns the time until a key expires, in seconds.", "key"),
    _read("pttl", 2, keys.pttl, ONE_KEY, "generic", "Returns the time until a key expires, in milliseconds.",
        "key"),
    _read("expiretime", 2, keys.expiretime, ONE_KEY, "generic",
        "Returns the expiry of a key as a Unix time in seconds.", "key"),
    _read("pexpiretime", 2, keys.pexpiretime, ONE_KEY, "generic",
        "Returns the expiry of a key as a Unix time in milliseconds.", "key"),
    ReadSpec(name="dbsize", arity=1, run=keys.dbsize, keys=NO_KEYS, group="server", acl=("keyspace",),
        all_groups=TOTAL, summary="Returns the number of keys."),
    IndexSpec(name="scan", arity=-2, run=scan.scan, group="generic",
        summary="Returns some keys, and the cursor for the next ones.",
        usage="cursor [MATCH pattern] [COUNT count] [TYPE type]"),
    IndexSpec(name="keys", arity=2, run=scan.keys, group="generic", acl=("keyspace", "dangerous"),
        summary="Returns all keys that match a pattern.", usage="pattern"),
    IndexSpec(name="randomkey", arity=1, run=scan.randomkey, group="generic", summary="Returns any key."),
    WriteSpec(name="flushall", arity=-1, run=keys.flush, keys=NO_KEYS, group="server", flags=("write",),
        acl=("keyspace", "dangerous"), all_groups=FLUSH, summary="Removes all keys.",
        usage="[ASYNC|SYNC]"),
    WriteSpec(name="flushdb", arity=-1, run=keys.flush, keys=NO_KEYS, group="server", flags=("write",),
        acl=("keyspace", "dangerous"), all_groups=FLUSH, summary="Removes all keys.",
        usage="[ASYNC|SYNC]"),
)


BITS = (
    _write("setbit", 4, bits.setbit, ONE_KEY, "bitmap", "Sets a bit of a value; returns the old one.",
        "key offset bit", flags=_GROW, access="RW access update"),
    _read("getbit", 3, bits.getbit, ONE_KEY, "bitmap", "Returns a bit of a value.", "key offset"),
    _read("bitcount", -2, bits.bitcount, ONE_KEY, "bitmap", "Counts the bits of a value that are set.",
        "key [start end [BYTE|BIT]]", flags=("readonly",)),
    _read("bitpos", -3, bits.bitpos, ONE_KEY, "bitmap", "Finds the first bit of a value that is 0, or 1.",
        "key bit [start [end [BYTE|BIT]]]", flags=("readonly",)),
    _write("bitop", -4, bits.bitop, (2, -1, 1), "bitmap",
        "Combines the bits of values by AND, OR, XOR or NOT, and stores the result.",
        "operation destkey key [key ...]", flags=_GROW, access="OW update|RO access"),
    _write("bitfield", -2, bits.bitfield, ONE_KEY, "bitmap", "Reads and writes integers of any width.",
        "key [GET encoding offset|[OVERFLOW <WRAP|SAT|FAIL>] "
        "<SET encoding offset value|INCRBY encoding offset increment> ...]",
        flags=_GROW, access="RW access update variable_flags"),
    _read("bitfield_ro", -2, bits.bitfield_ro, ONE_KEY, "bitmap", "Reads integers of any width.",
        "key [GET encoding offset ...]"),
)

OBJECT = (
    _read("object|encoding", 3, keys.encoding, _SUBCOMMAND_KEY, "generic",
        "Returns what Redis calls the encoding of a value.", "key", flags=("readonly",), access="RO"),
    _read("object|freq", 3, keys.freq, _SUBCOMMAND_KEY, "generic",
        "Refused: accesses are not counted.", "key", flags=("readonly",), access="RO"),
    _read("object|idletime", 3, keys.idletime, _SUBCOMMAND_KEY, "generic",
        "Refused: times of access are not kept.", "key", flags=("readonly",), access="RO"),
    _read("object|refcount", 3, keys.refcount, _SUBCOMMAND_KEY, "generic",
        "Returns 1: keys share no values.", "key", flags=("readonly",), access="RO"),
)

MEMORY = (
    _read("memory|usage", -3, keys.memory_usage, _SUBCOMMAND_KEY, "server",
        "Returns the memory that a key takes, in bytes.", "key [SAMPLES count]", flags=("readonly",),
        access="RO"),
)

REVISIONS = (
    _read("kraft|rev", 3, strings.rev, _SUBCOMMAND_KEY, "kraft",
        "Returns the revision of a key's last change, 0 if the key does not exist.", "key",
        access="RO access"),
    _write("kraft|cas", 5, strings.cas, _SUBCOMMAND_KEY, "kraft",
        "Sets a value if the key has that revision; returns the new one.", "key revision value",
        flags=_GROW_FAST, access="RW access update"),
)

RANGES = (
    IndexSpec(name="kraft|range", arity=-4, run=key_range.key_range, group="kraft",
        summary="Returns keys with their values in the order of bytes, and the cursor for the next ones.",
        usage="<start-key end-key|PREFIX prefix> [AFTER last-key] [LIMIT count] [REV] [KEYSONLY]",
        covers=key_range.covered),
)

_LOCK = _write("kraft|lock", -4, locks.lock, _SUBCOMMAND_KEY, "kraft",
    "Takes a lock for a time; returns its fencing token, or null if it is held.",
    "key milliseconds [OWNER owner] [WAIT milliseconds]", flags=_GROW_FAST, access="RW access insert",
    shape=locks.given)
_LOCK_WAIT = WaitSpec(name=_LOCK.name, arity=_LOCK.arity, keys=_SUBCOMMAND_KEY, key_flags=_LOCK.key_flags,
    group=_LOCK.group, run=locks.lock_and_wait, shape=locks.given)
_LOCKS = (
    replace(_LOCK, variants={b"WAIT": _LOCK_WAIT}, variant_places=locks.WAIT_PLACES),
    _write("kraft|unlock", 4, locks.unlock, _SUBCOMMAND_KEY, "kraft",
        "Frees a lock that is held with that token.", "key token", access="RW delete"),
    _write("kraft|extend", 5, locks.extend, _SUBCOMMAND_KEY, "kraft",
        "Sets the time until a lock that is held with that token expires, counted from now.",
        "key token milliseconds", access="RW update"),
)

_WRITES = [
    spec for spec in (*STRINGS, *BITS, *KEYS, *REVISIONS, *_LOCKS) if type(spec) is WriteSpec
]
_GUARD = _write("kraft|guard", -5, locks.unguarded, _SUBCOMMAND_KEY, "kraft",
    "Executes a command that writes if the lock is held with that token.", "key token command [arg ...]",
    flags=(*_GROW, "movablekeys"), access="RO access")
_VARIANTS = locks.guarded(_GUARD, (*_WRITES, *CALLS, FCALL))
_GUARD = replace(_GUARD, variants=_VARIANTS, variant_places=(locks.GUARDED_PLACE,))
LOCKS = (*_LOCKS, _GUARD)
WRITES = (*_WRITES, _GUARD)
# fmt: on
