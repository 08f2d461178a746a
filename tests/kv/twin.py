"""The plainest second implementation of the state machine.

It keeps plain tuples, looks at every key to find what is due, and spells each rule out.
"""

from typing import Any

import xxhash

from kraft.kv.commands import (
    BITOP_VALUES,
    BitOperator,
    Comparison,
    Condition,
    Delete,
    Expiry,
    FieldAction,
    Guard,
    Overflow,
    Set,
)
from kraft.kv.record import EXPIRY_OVERHEAD_BYTES, RECORD_OVERHEAD_BYTES
from kraft.kv.replies import CommandFailure

EQUALITIES = (Comparison.EQUAL, Comparison.DIGEST_EQUAL)


class Twin:
    """One keyspace.

    It is longer than 300 lines, so that a reader who doubts a rule finds all of them in one place.
    """

    def __init__(self) -> None:
        self.data: dict[bytes, tuple[bytes, int, int]] = {}  # value, revision, expiry
        self.revision = 0
        self.expired = 0
        self.now = 0
        self.tokens: dict[bytes, tuple[int, bytes, Any]] = {}  # expiry, fingerprint, reply
        self.touched: set[bytes] = set()

    def apply(self, stamp, commands):
        self.now = stamp
        self.expire()
        return [self.execute(command) for command in commands]

    def expire(self):
        for key in sorted(self.data):
            if 0 < self.data[key][2] <= self.now and not self.locked(key):
                del self.data[key]
                self.expired += 1

    def locked(self, _):
        """Whether a transaction over several groups keeps the key from expiring."""
        return False

    def execute(self, command):
        before = dict(self.data)
        self.touched = set()
        self.prolonged = False
        reply = getattr(self, type(command).__name__)(command)
        self.stamp_touched()
        assert self.touched or self.prolonged or self.data == before
        return reply

    def stamp_touched(self):
        if self.touched:
            self.revision += 1
        for key in self.touched & set(self.data):
            value, _, expiry = self.data[key]
            self.data[key] = (value, self.revision, expiry)

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
        if (old is not None and self.meant(old, c)) != (c.comparison in EQUALITIES):
            return old if c.get else None
        reply = self.Set(Set(c.key, c.value, expiry=c.expiry, expiry_ms=c.expiry_ms))
        return old if c.get else reply

    def DeleteIf(self, c):
        if c.key not in self.data:
            return 0
        same = self.meant(self.data[c.key][0], c)
        return self.Delete(Delete((c.key,))) if same == (c.comparison in EQUALITIES) else 0

    def meant(self, value, c):
        """Whether the operand of a comparison is this value, or its digest."""
        if c.comparison in (Comparison.EQUAL, Comparison.DIFFERENT):
            return value == c.operand
        return xxhash.xxh3_64_intdigest(value) == int(c.operand or b"-1", 16)

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

    def Once(self, c):
        """Tokens that are due are dropped here and now; the machine takes its time, which nobody sees."""
        self.tokens = {token: row for token, row in self.tokens.items() if row[0] > self.now}
        if c.token in self.tokens:
            _, fingerprint, reply = self.tokens[c.token]
            return reply if fingerprint == c.fingerprint else CommandFailure.TOKEN_REUSED
        if len(self.tokens) >= c.tokens_max:
            return CommandFailure.TOO_MANY_TOKENS
        reply = getattr(self, type(c.command).__name__)(c.command)
        self.tokens[c.token] = (self.now + c.ttl_ms, c.fingerprint, reply)
        return reply

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


def check_state(machine, twin):
    """Fail unless a machine has the state of its twin, and counts it right."""
    space = machine.keyspace
    assert {k: (r.value, r.revision, r.expires) for k, r in space.records.items()} == twin.data
    assert (machine.revision, machine.expired, machine.stamp) == (twin.revision, twin.expired, twin.now)
    expiries = [expires for _, _, expires in twin.data.values() if expires]
    assert machine.keyspace.due.next() == min(expiries, default=None)
    assert space.due.live == len(expiries)
    contents = sum(len(key) + len(value) + RECORD_OVERHEAD_BYTES for key, (value, _, _) in twin.data.items())
    assert space.bytes == contents + EXPIRY_OVERHEAD_BYTES * len(expiries)
