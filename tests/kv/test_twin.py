"""The machine against a dumb twin: random programs, every reply and the whole state compared.

The twin keeps plain tuples, looks at every key to find what is due, and spells each rule out.
"""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from kraft.kv.commands import (
    BITOP_VALUES,
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
    decode,
    encode,
)
from kraft.kv.due_times import GARBAGE_MIN
from kraft.kv.keyspace import EXPIRY_OVERHEAD_BYTES, RECORD_OVERHEAD_BYTES
from kraft.kv.machine import Machine
from kraft.kv.replies import CommandFailure


class Twin:
    def __init__(self) -> None:
        self.data: dict[bytes, tuple[bytes, int, int]] = {}  # value, revision, expiry
        self.revision = 0
        self.expired = 0
        self.now = 0
        self.touched: set[bytes] = set()

    def apply(self, stamp, commands):
        self.now = stamp
        for key in sorted(self.data):
            if 0 < self.data[key][2] <= stamp:
                del self.data[key]
                self.expired += 1
        replies = []
        for command in commands:
            before = dict(self.data)
            self.touched = set()
            self.prolonged = False
            replies.append(getattr(self, type(command).__name__)(command))
            if self.touched:
                self.revision += 1
            for key in self.touched & set(self.data):
                value, _, expiry = self.data[key]
                self.data[key] = (value, self.revision, expiry)
            assert self.touched or self.prolonged or self.data == before
        return replies

    def store(self, key, value, expiry):
        self.touched.add(key)
        self.data[key] = (value, 0, expiry)

    def drop(self, key):
        if key in self.data:
            self.touched.add(key)
            del self.data[key]

    def absolute(self, command):
        return command.expiry_ms + (self.now if command.expiry == Expiry.RELATIVE else 0)

    def Put(self, c):
        self.store(c.key, c.value, 0)
        return "OK"

    def Set(self, c):
        old = self.data[c.key][0] if c.key in self.data else None
        if c.condition == Condition.IF_MISSING and c.key in self.data:
            return old if c.get else None
        if c.condition == Condition.IF_PRESENT and c.key not in self.data:
            return None
        if c.expiry in (Expiry.RELATIVE, Expiry.ABSOLUTE):
            if self.absolute(c) <= self.now:
                self.drop(c.key)
            else:
                self.store(c.key, c.value, self.absolute(c))
        elif c.expiry == Expiry.KEEP and c.key in self.data:
            self.store(c.key, c.value, self.data[c.key][2])
        else:
            self.store(c.key, c.value, 0)
        return old if c.get else "OK"

    def SetIf(self, c):
        old = self.data[c.key][0] if c.key in self.data else None
        same = old is not None and old == c.operand
        if same != (c.comparison == Comparison.EQUAL):
            return old if c.get else None
        reply = self.Set(Set(c.key, c.value, expiry=c.expiry, expiry_ms=c.expiry_ms))
        return old if c.get else reply

    def DeleteIf(self, c):
        if c.key not in self.data:
            return 0
        same = self.data[c.key][0] == c.operand
        return self.Delete(Delete((c.key,))) if same == (c.comparison == Comparison.EQUAL) else 0

    def SetManyIf(self, c):
        names = c.pairs[::2]
        if c.condition == Condition.IF_MISSING and any(name in self.data for name in names):
            return 0
        if c.condition == Condition.IF_PRESENT and any(name not in self.data for name in names):
            return 0
        old = {name: self.data[name][2] for name in names if name in self.data}
        for i in range(0, len(c.pairs), 2):
            key, value = c.pairs[i], c.pairs[i + 1]
            if c.expiry in (Expiry.RELATIVE, Expiry.ABSOLUTE):
                if self.absolute(c) <= self.now:
                    self.drop(key)
                else:
                    self.store(key, value, self.absolute(c))
            else:
                self.store(key, value, old.get(key, 0) if c.expiry == Expiry.KEEP else 0)
        return 1

    def GetExpire(self, c):
        if c.key not in self.data:
            return None
        value, _, expiry = self.data[c.key]
        if c.expiry == Expiry.NONE and expiry:
            self.store(c.key, value, 0)
        if c.expiry in (Expiry.RELATIVE, Expiry.ABSOLUTE):
            if self.absolute(c) <= self.now:
                self.drop(c.key)
            elif self.absolute(c) != expiry:
                self.store(c.key, value, self.absolute(c))
        return value

    def CompareAndSet(self, c):
        present = self.data[c.key][1] if c.key in self.data else 0
        if present != c.revision:
            return None
        self.store(c.key, c.value, 0)
        return self.revision + 1

    def Lock(self, c):
        value, revision, expiry = self.data.get(c.name, (None, 0, 0))
        if value is None:
            self.store(c.name, c.owner, self.now + c.ttl_ms)
            return [1, self.revision + 1, self.now + c.ttl_ms, self.now]
        if value != c.owner or not c.owner:
            return [0, revision, expiry, self.now]
        self.prolong(c)
        return [1, revision, self.now + c.ttl_ms, self.now]

    def prolong(self, c):
        self.prolonged = True
        self.data[c.name] = (*self.data[c.name][:2], self.now + c.ttl_ms)

    def held(self, c):
        return c.name in self.data and self.data[c.name][1] == c.token

    def Unlock(self, c):
        if not self.held(c):
            return 0
        self.drop(c.name)
        return 1

    def Extend(self, c):
        if not self.held(c):
            return 0
        self.prolong(c)
        return 1

    def Guarded(self, c):
        if not self.held(c):
            return CommandFailure.LOCK_LOST
        return getattr(self, type(c.command).__name__)(c.command)

    def IncrementFloat(self, c):
        """With whole numbers of few digits, which need no rounding."""
        value, _, expiry = self.data.get(c.key, (b"0", 0, 0))
        try:
            total = int(value) + int(c.amount)
        except ValueError:
            return CommandFailure.NOT_A_FLOAT
        if abs(total) < 2**63:
            text = b"%d" % total
        else:
            return self.store_rounded(c, total, expiry)
        self.store(c.key, text, expiry)
        return text

    def store_rounded(self, c, total, expiry):
        spare = abs(total).bit_length() - 64
        if spare > 0:
            kept, rest = divmod(abs(total), 2**spare)
            kept += rest * 2 > 2**spare or (rest * 2 == 2**spare and kept % 2)
            total = kept * 2**spare * (1 if total > 0 else -1)
        text = b"%d" % total
        self.store(c.key, text, expiry)
        return text

    def no_room(self, key, length, limit):
        """What the machine counts of the data, key by key."""
        total = 0
        for name in {*self.data, key}:
            value, _, expiry = self.data.get(name, (b"", 0, 0))
            size = max(len(value), length) if name == key else len(value)
            total += RECORD_OVERHEAD_BYTES + len(name) + size + (EXPIRY_OVERHEAD_BYTES if expiry else 0)
        longer = key not in self.data or length > len(self.data[key][0])
        return longer and total + total // 16 > limit

    def SetBit(self, c):
        value, _, expiry = self.data.get(c.key, (b"", 0, 0))
        length = c.offset // 8 + 1
        if length > c.limit:
            return CommandFailure.TOO_LARGE
        if self.no_room(c.key, length, c.memory_limit):
            return CommandFailure.OUT_OF_MEMORY
        bits = as_bits(value.ljust(length, b"\0"))
        old, bits[c.offset] = bits[c.offset], c.bit
        if as_bytes(bits) != value:
            self.store(c.key, as_bytes(bits), expiry)
        return old

    def BitOperation(self, c):
        found = [self.data[key][0] if key in self.data else b"" for key in c.sources]
        if len(b"".join(found)) > BITOP_VALUES * c.limit:
            return CommandFailure.TOO_MUCH
        length = max(map(len, found))
        if not length:
            self.drop(c.destination)
            return 0
        if self.no_room(c.destination, length, c.memory_limit):
            return CommandFailure.OUT_OF_MEMORY
        rows = zip(*(as_bits(value.ljust(length, b"\0")) for value in found), strict=True)
        rule = {
            BitOperator.AND: all,
            BitOperator.OR: any,
            BitOperator.XOR: lambda row: sum(row) % 2,
            BitOperator.NOT: lambda row: 1 - row[0],
        }[BitOperator(c.operator)]
        self.store(c.destination, as_bytes([int(rule(row)) for row in rows]), 0)
        return length

    def BitField(self, c):
        value, _, expiry = self.data.get(c.key, (b"", 0, 0))
        ends = [o.offset + o.width for o in c.operations if o.action != FieldAction.GET]
        length = -(-max(ends, default=0) // 8)
        if length > c.limit:
            return CommandFailure.TOO_LARGE
        if self.no_room(c.key, length, c.memory_limit):
            return CommandFailure.OUT_OF_MEMORY
        bits = as_bits(value.ljust(length, b"\0"))
        replies: list[int | None] = []
        wrote = length > len(value)
        for o in c.operations:
            padded = bits + [0] * (o.offset + o.width)
            text = "".join(map(str, padded[o.offset : o.offset + o.width]))
            old = int(text, 2) - (2**o.width if o.signed and text[0] == "1" else 0)
            low = -(2 ** (o.width - 1)) if o.signed else 0
            high = low + 2**o.width - 1
            if o.action == FieldAction.GET:
                replies.append(old)
                continue
            new = o.amount + (old if o.action == FieldAction.INCREMENT else 0)
            if not low <= new <= high:
                if o.overflow == Overflow.FAIL:
                    replies.append(None)
                    continue
                if o.overflow == Overflow.SATURATE:
                    as_huge = o.action == FieldAction.SET and (not o.signed or new < high - 2**63 + 1)
                    new = low if new < low and not as_huge else high
                while not low <= new <= high:
                    new += 2**o.width * ((low - new) // 2**o.width or (1 if new < low else -1))
            bits[o.offset : o.offset + o.width] = map(int, f"{new % 2**o.width:0{o.width}b}")
            replies.append(new if o.action == FieldAction.INCREMENT else old)
            wrote = True
        if wrote:
            self.store(c.key, as_bytes(bits), expiry)
        return replies

    def Rename(self, c):
        if c.source not in self.data:
            return CommandFailure.NO_SUCH_KEY
        if c.destination in self.data and not c.replace:
            return 0
        if c.source != c.destination:
            value, _, expiry = self.data[c.source]
            self.drop(c.source)
            self.store(c.destination, value, expiry)
        return 1

    def Copy(self, c):
        if c.source not in self.data or (c.destination in self.data and not c.replace):
            return 0
        value, _, expiry = self.data[c.source]
        if self.no_room(c.destination, len(value), c.memory_limit):
            return CommandFailure.OUT_OF_MEMORY
        self.store(c.destination, value, expiry)
        return 1

    def SetMany(self, c):
        for i in range(0, len(c.pairs), 2):
            self.store(c.pairs[i], c.pairs[i + 1], 0)
        return "OK"

    def GetDelete(self, c):
        value = self.data[c.key][0] if c.key in self.data else None
        self.drop(c.key)
        return value

    def AppendValue(self, c):
        value, _, expiry = self.data.get(c.key, (b"", 0, 0))
        self.store(c.key, value + c.value, expiry)
        return len(value + c.value)

    def SetRange(self, c):
        value, _, expiry = self.data.get(c.key, (b"", 0, 0))
        if not c.value:
            return len(value)
        if c.offset + len(c.value) > c.limit:
            return CommandFailure.TOO_LARGE
        cells = [*value] + [0] * (c.offset + len(c.value) - len(value))
        for place, byte in enumerate(c.value, c.offset):
            cells[place] = byte
        self.store(c.key, bytes(cells), expiry)
        return len(cells)

    def Delete(self, c):
        count = len({key for key in c.keys if key in self.data})
        for key in c.keys:
            self.drop(key)
        return count

    def Flush(self, c):
        for key in list(self.data):
            self.drop(key)
        return "OK"

    def Increment(self, c):
        value, _, expiry = self.data.get(c.key, (b"0", 0, 0))
        text = value.decode("latin-1")
        digits = text.removeprefix("-")
        if not digits or set(digits) - set("0123456789") or (digits[0] == "0" and text != "0"):
            return CommandFailure.NOT_AN_INTEGER
        if not -(2**63) <= int(text) < 2**63:
            return CommandFailure.NOT_AN_INTEGER
        number = int(text) + c.amount
        if not -(2**63) <= number < 2**63:
            return CommandFailure.OVERFLOW
        self.store(c.key, str(number).encode(), expiry)
        return number

    def Expire(self, c):
        if c.key not in self.data:
            return 0
        value, _, old = self.data[c.key]
        new = self.absolute(c)
        infinite = old or float("inf")
        refused = {
            Guard.ALWAYS: False,
            Guard.IF_NONE: old != 0,
            Guard.IF_SOME: old == 0,
            Guard.IF_LATER: new <= infinite,
            Guard.IF_EARLIER: new >= infinite,
            Guard.IF_SOME_AND_EARLIER: old == 0 or new >= old,
        }
        if refused[Guard(c.guard)]:
            return 0
        if new <= self.now:
            self.drop(c.key)
        else:
            self.store(c.key, value, new)
        return 1

    def ClearExpiry(self, c):
        if c.key not in self.data or not self.data[c.key][2]:
            return 0
        self.store(c.key, self.data[c.key][0], 0)
        return 1


def as_bits(value):
    return [byte >> shift & 1 for byte in value for shift in range(7, -1, -1)]


def as_bytes(bits):
    return bytes(int("".join(map(str, bits[n : n + 8])), 2) for n in range(0, len(bits), 8))


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
newer = st.one_of(
    st.builds(SetIf, keys, values, st.sampled_from(Comparison), values, get=st.booleans(), **expiries),
    st.builds(DeleteIf, keys, st.sampled_from(Comparison), values),
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
programs = st.lists(st.tuples(st.integers(0, 8), st.lists(commands, max_size=6)), max_size=12)


@example(  # XX LT with a time at or before the stamp deletes like any other
    [
        (
            0,
            [
                Put(b"", b""),
                Expire(b"", Expiry.RELATIVE, 1),
                Expire(b"", Expiry.RELATIVE, 0, Guard.IF_SOME_AND_EARLIER),
            ],
        )
    ]
)
@settings(deadline=None)
@given(programs)
def test_machine_and_twin_agree(program):
    machine, twin, now = Machine(), Twin(), 0
    for step, batch in program:
        now += step
        replies = machine.apply(now, batch)
        assert [(type(r), r) for r in replies] == [(type(r), r) for r in twin.apply(now, batch)]
        check_state(machine, twin)


def check_state(machine, twin):
    space = machine.keyspace
    assert {k: (r.value, r.revision, r.expires) for k, r in space.records.items()} == twin.data
    assert (machine.revision, machine.expired, machine.stamp) == (twin.revision, twin.expired, twin.now)
    expiries = [expires for _, _, expires in twin.data.values() if expires]
    assert machine.keyspace.next_expiry() == min(expiries, default=None)
    assert space.expiring == len(expiries)
    contents = sum(len(key) + len(value) + RECORD_OVERHEAD_BYTES for key, (value, _, _) in twin.data.items())
    assert space.bytes == contents + EXPIRY_OVERHEAD_BYTES * len(expiries)
    assert len(space._due) <= 2 * len(expiries) + GARBAGE_MIN


@settings(deadline=None)
@given(programs)
def test_a_replica_that_gets_the_bytes_ends_in_the_same_state(program):
    leader, follower, now = Machine(), Machine(), 0
    for step, batch in program:
        now += step
        assert leader.apply(now, batch) == follower.apply(now, decode(encode(batch)))
        assert leader.digest() == follower.digest()
