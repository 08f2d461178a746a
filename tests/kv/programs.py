"""Random commands and programs of them, on few keys and with values that meet the rules' edges."""

from hypothesis import strategies as st

from kraft.kv.commands import (
    AppendValue,
    BitField,
    BitOperation,
    BitOperator,
    ClearExpiry,
    CompareAndSet,
    Comparison,
    Condition,
    Copy,
    Delete,
    DeleteIf,
    Expire,
    Expiry,
    Extend,
    FieldAction,
    FieldOperation,
    Flush,
    GetDelete,
    GetExpire,
    Guard,
    Guarded,
    Increment,
    IncrementFloat,
    Lock,
    Once,
    Overflow,
    Put,
    Rename,
    Set,
    SetBit,
    SetIf,
    SetMany,
    SetManyIf,
    SetRange,
    Unlock,
)
from kraft.kv.digest import digest_of

keys = st.sampled_from([b"", b"a", b"b", b"c"])
values = st.sampled_from(
    [b"", b"0", b"7", b"-12", b"+1", b"x", b"9223372036854775807", b"-9223372036854775808"]
)
amounts = st.sampled_from([1, -1, 0, 40, 2**63 - 1, -(2**63)])
times = {"expiry": st.sampled_from([Expiry.RELATIVE, Expiry.ABSOLUTE]), "expiry_ms": st.integers(-5, 60)}
expiries = {"expiry": st.sampled_from(Expiry), "expiry_ms": st.integers(-5, 60)}
pairs = st.lists(st.tuples(keys, values), max_size=3).map(lambda found: tuple(sum(found, ())))
limits = {"limit": st.integers(0, 40), "memory_limit": st.sampled_from([10**9, 400, 600, 900, 1200])}
fields = st.tuples(st.booleans(), st.integers(1, 64)).flatmap(
    lambda kind: st.builds(
        FieldOperation,
        st.sampled_from(FieldAction),
        st.just(kind[0]),
        st.just(kind[1] if kind[0] else min(kind[1], 63)),
        st.integers(0, 100),
        st.one_of(st.integers(-300, 300), amounts),
        st.sampled_from(Overflow),
    )
)
comparisons = st.one_of(
    st.tuples(st.sampled_from([Comparison.EQUAL, Comparison.DIFFERENT]), values),
    st.tuples(st.sampled_from([Comparison.DIGEST_EQUAL, Comparison.DIGEST_DIFFERENT]), values.map(digest_of)),
)
newer = st.one_of(
    comparisons.flatmap(
        lambda found: st.builds(SetIf, keys, values, *map(st.just, found), get=st.booleans(), **expiries)
    ),
    comparisons.flatmap(lambda found: st.builds(DeleteIf, keys, *map(st.just, found))),
    st.builds(GetExpire, keys, **expiries),
    st.builds(SetManyIf, pairs, st.sampled_from(Condition), **expiries),
    st.builds(IncrementFloat, keys, st.sampled_from([b"1", b"-1", b"40", b"9223372036854775807"])),
    st.builds(CompareAndSet, keys, st.integers(0, 9), values),
    st.builds(SetBit, keys, st.integers(0, 200), st.integers(0, 1), **limits),
    st.builds(
        BitOperation,
        st.sampled_from([BitOperator.AND, BitOperator.OR, BitOperator.XOR]),
        keys,
        st.lists(keys, min_size=1, max_size=3).map(tuple),
        limit=st.sampled_from([100, 1]),
        memory_limit=limits["memory_limit"],
    ),
    st.builds(BitOperation, st.just(BitOperator.NOT), keys, st.tuples(keys)),
    st.builds(BitField, keys, st.lists(fields, max_size=3).map(tuple), **limits),
    st.builds(Rename, keys, keys, st.booleans()),
    st.builds(Copy, keys, keys, st.booleans(), limits["memory_limit"]),
    st.just(Flush()),
)
tokens = st.integers(0, 9)
plain_locks = st.one_of(
    st.builds(Lock, keys, st.integers(1, 60), values),
    st.builds(Unlock, keys, tokens),
    st.builds(Extend, keys, tokens, st.integers(1, 60)),
)
locks = st.one_of(
    plain_locks,
    st.builds(Guarded, keys, tokens, st.one_of(newer, plain_locks, st.builds(Put, keys, values))),
)
commands = st.one_of(
    newer,
    locks,
    st.builds(Put, keys, values),
    st.builds(
        Set,
        keys,
        values,
        condition=st.sampled_from(Condition),
        expiry=st.sampled_from(Expiry),
        expiry_ms=st.integers(-5, 60),
        get=st.booleans(),
    ),
    st.builds(
        SetMany, st.lists(st.tuples(keys, values), max_size=3).map(lambda pairs: tuple(sum(pairs, ())))
    ),
    st.builds(GetDelete, keys),
    st.builds(AppendValue, keys, values),
    st.builds(SetRange, keys, st.integers(0, 30), values, limit=st.integers(0, 40)),
    st.builds(Delete, st.lists(keys, max_size=3).map(tuple)),
    st.builds(Increment, keys, amounts),
    st.builds(Expire, keys, guard=st.sampled_from(Guard), **times),
    st.builds(ClearExpiry, keys),
)
commands = st.one_of(
    commands,
    st.builds(
        Once,
        st.sampled_from([b"t", b"u", b"v"]),
        st.sampled_from([bytes(16), bytes(range(16))]),
        commands,
        st.integers(1, 20),
        st.sampled_from([9, 2]),
    ),
)
programs = st.lists(st.tuples(st.integers(0, 8), st.lists(commands, max_size=6)), max_size=12)
