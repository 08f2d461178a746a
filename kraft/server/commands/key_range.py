"""KRAFT RANGE: keys and values in the order of the keys' bytes.

A reply has a bound, so it is of one moment, and takes a few milliseconds at most. What is left is asked for
by the same command with AFTER and the cursor of the reply: up to this key everything was looked at. So the
next reply may come from another node, after a restart or any time. A key that exists throughout is returned
exactly once.

Several groups give their keys in order, each of one moment, and the reply merges them.
"""

import heapq
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec
from msgspec.structs import replace

from kraft.host.slots import SlotMap
from kraft.kv.key_order import KeyOrder, prefix_end
from kraft.kv.keyspace import Keyspace
from kraft.resp.values import Reply, Request
from kraft.server.commands.arguments import integer
from kraft.server.commands.scan import ALL_SLOTS
from kraft.server.errors import SYNTAX, Rejected

RANGE_KEYS_MAX = 500  # in one reply: about 1.5 ms
HIDDEN_KEYS_MAX = 2000  # passed over in one reply, while slots move: about 1 ms
SPARE_KEYS = 16  # asked for in each of several groups, beyond its share
RANGE_BYTES = 1 << 20  # of keys and values in one reply, and the pair that goes beyond

_NOT_POSITIVE = "ERR value is out of range, must be positive"


class KeyRange(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """The keys from `start` on and before `end`, None for no end: at most `count` of those after `after`.

    With `reverse` they come in descending order, and `after` is the key before which they begin.
    """

    needs: ClassVar[type[KeyOrder]] = KeyOrder
    wanted: ClassVar[tuple[int, int]] = ALL_SLOTS
    start: bytes
    end: bytes | None
    after: bytes | None = None
    count: int = RANGE_KEYS_MAX
    reverse: bool = False
    keys_only: bool = False

    def parts(self, groups: Sequence[int], _: SlotMap) -> "dict[int, KeyRange]":
        """All groups. Hashes spread the keys evenly, so a part of the keys is enough from each group."""
        count = min(self.count, RANGE_KEYS_MAX)
        share = count if len(groups) == 1 else min(count, 2 * count // len(groups) + SPARE_KEYS)
        return dict.fromkeys(groups, replace(self, count=share))

    def merge(self, _: Sequence[int], __: SlotMap, answers: Mapping[int, Any]) -> Reply:
        """The cursor, None when nothing is left, and keys and values in turn, or keys only.

        A group that has more keys says nothing of those after its cursor: there the reply ends.
        """
        if len(answers) == 1:
            [answer] = answers.values()
            return list(answer)
        width = 1 if self.keys_only else 2
        runs = [
            [found[at : at + width] for at in range(0, len(found), width)] for _, found in answers.values()
        ]
        ends = [last for last, _ in answers.values() if last is not None]
        end = None if not ends else max(ends) if self.reverse else min(ends)
        found: list[Reply] = []
        count, room, last = min(self.count, RANGE_KEYS_MAX), RANGE_BYTES, self.after
        for row in heapq.merge(*runs, key=lambda row: row[0], reverse=self.reverse):
            if end is not None and (row[0] < end if self.reverse else row[0] > end):
                break
            if not count or room <= 0:
                return [last, found]
            found += row
            room -= sum(map(len, row))
            count -= 1
            last = row[0]
        return [end, found]

    def answer(self, keyspace: Keyspace) -> Reply:
        """The cursor, None when nothing is left, and keys and values in turn, or keys only."""
        order, records, slots = keyspace.order, keyspace.records, keyspace.slots
        if order is None:
            raise LookupError("a range needs an index")
        found: list[Reply] = []
        count, room, last, hidden = min(self.count, RANGE_KEYS_MAX), RANGE_BYTES, self.after, 0
        for key in order.between(self.start, self.end, self.after, reverse=self.reverse):
            if slots is not None and not slots.shows(key):
                hidden += 1
                if hidden >= HIDDEN_KEYS_MAX:
                    return [key, found]
                continue
            if not count or room <= 0:
                return [last, found]
            found.append(key)
            room -= len(key)
            if not self.keys_only:
                value = records[key].value
                found.append(value)
                room -= len(value)
            count -= 1
            last = key
        return [None, found]


def covered(request: Request) -> tuple[bytes, bytes | None]:
    """The keys that KRAFT RANGE may read: from the first one on and before the second one."""
    wanted = key_range(request)
    return wanted.start, wanted.end


def key_range(request: Request) -> KeyRange:
    """KRAFT RANGE start end|PREFIX prefix [AFTER key] [LIMIT count] [REV] [KEYSONLY]."""
    start, end = request[2], request[3] or None
    if start.upper() == b"PREFIX":
        start, end = request[3], prefix_end(request[3])
    after, count = None, RANGE_KEYS_MAX
    flags: set[bytes] = set()
    words = iter(request[4:])
    for word in words:
        option = word.upper()
        if option in (b"REV", b"KEYSONLY"):
            flags.add(option)
            continue
        value = next(words, None)
        if value is None or option not in (b"AFTER", b"LIMIT"):
            raise Rejected(SYNTAX)
        if option == b"AFTER":
            after = value
        else:
            count = integer(value)
            if count < 1:
                raise Rejected(_NOT_POSITIVE)
    return KeyRange(start, end, after, count, b"REV" in flags, b"KEYSONLY" in flags)
