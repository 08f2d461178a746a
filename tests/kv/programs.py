"""Random commands and programs of them, on few keys and with values that meet the rules' edges."""

from hypothesis import strategies as st

from kraft.kv import commands as kv
from kraft.kv.digest import digest_of

keys = st.sampled_from([b"", b"a", b"b", b"c"])
values = st.sampled_from(
    [b"", b"0", b"7", b"-12", b"+1", b"x", b"9223372036854775807", b"-9223372036854775808"]
)
amounts = st.sampled_from([1, -1, 0, 40, 2**63 - 1, -(2**63)])
times = {
    "expiry": st.sampled_from([kv.Expiry.RELATIVE, kv.Expiry.ABSOLUTE]),
    "expiry_ms": st.integers(-5, 60),
}
expiries = {"expiry": st.sampled_from(kv.Expiry), "expiry_ms": st.integers(-5, 60)}
pairs = st.lists(st.tuples(keys, values), max_size=3).map(lambda found: tuple(sum(found, ())))
limits = {"limit": st.integers(0, 40), "memory_limit": st.sampled_from([10**9, 400, 600, 900, 1200])}
fields = st.tuples(st.booleans(), st.integers(1, 64)).flatmap(
    lambda kind: st.builds(
        kv.FieldOperation,
        st.sampled_from(kv.FieldAction),
        st.just(kind[0]),
        st.just(kind[1] if kind[0] else min(kind[1], 63)),
        st.integers(0, 100),
        st.one_of(st.integers(-300, 300), amounts),
        st.sampled_from(kv.Overflow),
    )
)
comparisons = st.one_of(
    st.tuples(st.sampled_from([kv.Comparison.EQUAL, kv.Comparison.DIFFERENT]), values),
    st.tuples(
        st.sampled_from([kv.Comparison.DIGEST_EQUAL, kv.Comparison.DIGEST_DIFFERENT]), values.map(digest_of)
    ),
)
newer = st.one_of(
    comparisons.flatmap(
        lambda found: st.builds(kv.SetIf, keys, values, *map(st.just, found), get=st.booleans(), **expiries)
    ),
    comparisons.flatmap(lambda found: st.builds(kv.DeleteIf, keys, *map(st.just, found))),
    st.builds(kv.GetExpire, keys, **expiries),
    st.builds(kv.SetManyIf, pairs, st.sampled_from(kv.Condition), **expiries),
    st.builds(kv.IncrementFloat, keys, st.sampled_from([b"1", b"-1", b"40", b"9223372036854775807"])),
    st.builds(kv.CompareAndSet, keys, st.integers(0, 9), values),
    st.builds(kv.SetBit, keys, st.integers(0, 200), st.integers(0, 1), **limits),
    st.builds(
        kv.BitOperation,
        st.sampled_from([kv.BitOperator.AND, kv.BitOperator.OR, kv.BitOperator.XOR]),
        keys,
        st.lists(keys, min_size=1, max_size=3).map(tuple),
        limit=st.sampled_from([100, 1]),
        memory_limit=limits["memory_limit"],
    ),
    st.builds(kv.BitOperation, st.just(kv.BitOperator.NOT), keys, st.tuples(keys)),
    st.builds(kv.BitField, keys, st.lists(fields, max_size=3).map(tuple), **limits),
    st.builds(kv.Rename, keys, keys, st.booleans()),
    st.builds(kv.Copy, keys, keys, st.booleans(), limits["memory_limit"]),
    st.just(kv.Flush()),
)
tokens = st.integers(0, 9)
plain_locks = st.one_of(
    st.builds(kv.Lock, keys, st.integers(1, 60), values),
    st.builds(kv.Unlock, keys, tokens),
    st.builds(kv.Extend, keys, tokens, st.integers(1, 60)),
)
locks = st.one_of(
    plain_locks,
    st.builds(kv.Guarded, keys, tokens, st.one_of(newer, plain_locks, st.builds(kv.Put, keys, values))),
)
commands = st.one_of(
    newer,
    locks,
    st.builds(kv.Put, keys, values),
    st.builds(
        kv.Set,
        keys,
        values,
        condition=st.sampled_from(kv.Condition),
        expiry=st.sampled_from(kv.Expiry),
        expiry_ms=st.integers(-5, 60),
        get=st.booleans(),
    ),
    st.builds(
        kv.SetMany, st.lists(st.tuples(keys, values), max_size=3).map(lambda pairs: tuple(sum(pairs, ())))
    ),
    st.builds(kv.GetDelete, keys),
    st.builds(kv.AppendValue, keys, values),
    st.builds(kv.SetRange, keys, st.integers(0, 30), values, limit=st.integers(0, 40)),
    st.builds(kv.Delete, st.lists(keys, max_size=3).map(tuple)),
    st.builds(kv.Increment, keys, amounts),
    st.builds(kv.Expire, keys, guard=st.sampled_from(kv.Guard), **times),
    st.builds(kv.ClearExpiry, keys),
)
commands = st.one_of(
    commands,
    st.builds(
        kv.Once,
        st.sampled_from([b"t", b"u", b"v"]),
        st.sampled_from([bytes(16), bytes(range(16))]),
        commands,
        st.integers(1, 20),
        st.sampled_from([9, 2]),
    ),
)
programs = st.lists(st.tuples(st.integers(0, 8), st.lists(commands, max_size=6)), max_size=12)
