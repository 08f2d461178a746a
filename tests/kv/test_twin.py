"""The machine against a dumb twin: random programs, every reply and the whole state compared.

The twin keeps plain tuples, looks at every key to find what is due, and spells each rule out.
"""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from kraft.kv.commands import (
    AppendValue,
    ClearExpiry,
    Condition,
    Delete,
    Expire,
    Expiry,
    GetDelete,
    Guard,
    Increment,
    Put,
    Set,
    SetMany,
    SetRange,
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
            replies.append(getattr(self, type(command).__name__)(command))
            if self.touched:
                self.revision += 1
            for key in self.touched & set(self.data):
                value, _, expiry = self.data[key]
                self.data[key] = (value, self.revision, expiry)
            assert self.touched or self.data == before
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


keys = st.sampled_from([b"", b"a", b"b", b"c"])
values = st.sampled_from(
    [b"", b"0", b"7", b"-12", b"+1", b"x", b"9223372036854775807", b"-9223372036854775808"]
)
amounts = st.sampled_from([1, -1, 0, 40, 2**63 - 1, -(2**63)])
times = {"expiry": st.sampled_from([Expiry.RELATIVE, Expiry.ABSOLUTE]), "expiry_ms": st.integers(-5, 60)}
commands = st.one_of(
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
