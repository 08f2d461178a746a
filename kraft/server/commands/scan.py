"""The commands on all keys: SCAN, KEYS and RANDOMKEY, which need an index of the keys.

A cursor is a share of the slots, and a position in the order of `kraft.kv.key_index`, which all nodes and
groups share. A share is what one group had when the cluster was formed: it stays the same whichever groups
have its slots now, and all of these are asked. So a scan may go on after a restart, on another node, or after
any time, and a key that exists throughout is returned, exactly once, also if its slot moves meanwhile. The
shares are scanned in the order of their numbers. The low bits of a position where one call ends are 0, as an
index is never so large: there a cursor has the number of the share, and fits in a double, as some clients
need it.

A query has three methods: `parts` gives what is to be asked in which of `groups`, perhaps of another node;
`answer` is asked there; and `merge` makes the reply of the answers by group. `wanted` are the first and the
last slot of which it looks at the keys: each must have been in exactly one of the groups
(`kraft.server.slot_cover`).
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import msgspec
from msgspec.structs import replace

from kraft.glob import Match, key_pattern
from kraft.host.slots import SlotMap
from kraft.kv.key_index import END, KeyIndex, position_of
from kraft.kv.keyspace import Keyspace
from kraft.kv.slots import SLOTS, slot_of
from kraft.resp.values import RenderedArray, Reply, Request
from kraft.server.commands.arguments import integer
from kraft.server.errors import SYNTAX, Rejected

SCAN_KEYS = 10  # looked at by one SCAN, without COUNT
SCAN_KEYS_MAX = 2000  # the same with any COUNT: about 2 ms
SCAN_BUCKETS_MAX = 1000  # the same for parts of the index that hold no keys
RANDOM_KEYS_MAX = 1000  # tried by RANDOMKEY where most keys of a group are hidden: 1 ms
WALK_KEYS = 256  # looked at in one step of KEYS: 0.3 ms
CURSOR_MAX = 1 << 64
PATTERN_BYTES_MAX = 1024
SHARE_BITS = 15  # of a cursor
ALL_SLOTS = (0, SLOTS - 1)


class Scan(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """SCAN: looks at `count` keys from `cursor` on, and returns those that match the `pattern`.

    In a cluster that was formed with one group, a cursor is a position; of the parts it always is. A part is
    about the `wanted` slots of a `share`.
    """

    needs: ClassVar[type[KeyIndex]] = KeyIndex
    cursor: int
    count: int
    pattern: bytes
    nothing: bool  # another type of value is asked for
    share: int = 0
    wanted: tuple[int, int] = ALL_SLOTS

    @property
    def match(self) -> Match | None:
        """Whether a key matches; None if every one does."""
        return key_pattern(self.pattern)

    def parts(self, groups: Sequence[int], slots: SlotMap) -> "dict[int, Scan]":
        """The groups that have slots of one share; where a scan has begun, also others than `groups`."""
        share = self.cursor & ((1 << SHARE_BITS) - 1) if slots.founded > 1 else 0
        position = self.cursor - share
        if not position:
            share = _next_share(share, groups, slots)
        part = replace(self, cursor=position, share=share, wanted=slots.share(share))
        if share >= slots.founded:
            return {groups[0]: replace(part, cursor=END)}
        owners = _owners(share, slots)
        return dict.fromkeys([group for group in owners if group in groups] or owners, part)

    def merge(self, groups: Sequence[int], slots: SlotMap, answers: Mapping[int, Any]) -> Reply:
        """The cursor for the next call, and the keys up to where the first of the groups has ended."""
        (share, end, found), *others = sorted(answers.values(), key=_end)
        if others:
            found = found + [key for *_, keys in others for key in keys if position_of(key) < end]
        if end < END:
            return [b"%d" % (end | share), found]
        following = _next_share(share + 1, groups, slots)
        return [b"%d" % (following if following < slots.founded else 0), found]

    def answer(self, keyspace: Keyspace) -> tuple[int, int, list[Reply]]:
        """The share, the next position, and some keys."""
        index, table, position = keyspace.index, keyspace.slots, self.cursor
        if index is None:
            raise LookupError("a scan needs an index")
        seen: list[bytes] = []
        buckets = min(SCAN_BUCKETS_MAX, 10 * self.count)
        while position < END and len(seen) < min(self.count, SCAN_KEYS_MAX) and buckets:
            keys, position = index.bucket(position)
            seen += keys
            buckets -= 1
        if table is not None:
            first, last = self.wanted
            seen = [key for key in seen if table.shows(key) and first <= slot_of(key) <= last]
        match = self.match
        found: list[Reply] = [] if self.nothing else list(filter(match, seen) if match else seen)
        return self.share, position, found


def _end(answer: tuple[int, int, list[Reply]]) -> int:
    return answer[1]


def _owners(share: int, slots: SlotMap) -> list[int]:
    """The groups that have slots of a share, in ascending order."""
    if slots.view is None:
        return [share]
    first, last = slots.share(share)
    return sorted({group for low, high, group in slots.view.ranges if low <= last and first <= high})


def _next_share(share: int, groups: Sequence[int], slots: SlotMap) -> int:
    """The first share from `share` on of which one of `groups` has slots; their number if there is none."""
    if slots.view is None:
        return min([group for group in groups if group >= share], default=slots.founded)
    for each in range(share, slots.founded):
        if not set(_owners(each, slots)).isdisjoint(groups):
            return each
    return slots.founded


class RandomKey(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """RANDOMKEY: each key with the same probability."""

    needs: ClassVar[type[KeyIndex]] = KeyIndex
    wanted: ClassVar[tuple[int, int]] = ALL_SLOTS

    def parts(self, groups: Sequence[int], _: SlotMap) -> "dict[int, RandomKey]":
        """All groups."""
        return dict.fromkeys(groups, self)

    def merge(self, _: Sequence[int], __: SlotMap, answers: Mapping[int, Any]) -> Reply:
        """A key, or None."""
        keys: list[bytes] = [key for _, key in answers.values() if key is not None]
        weights = [count for count, key in answers.values() if key is not None]
        return random.choices(keys, weights)[0] if keys else None  # noqa: S311  # no secret

    def answer(self, keyspace: Keyspace) -> tuple[int, bytes | None]:
        """The number of keys, and one of them."""
        index, slots, count = keyspace.index, keyspace.slots, len(keyspace)
        if index is None or not count:
            return 0, None
        if slots is None:
            return count, index.random(random.randrange)
        for _ in range(RANDOM_KEYS_MAX):
            key = index.random(random.randrange)
            if key is not None and slots.shows(key):
                return count, key
        return count, next(filter(slots.shows, keyspace.records), None)


class AllKeys(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """KEYS: the keys that match the `pattern`, of one moment of each group, and at most `limit` of them.

    With `counts` their number is the reply. With a `slot` they are those of one slot, which are in one group.
    """

    needs: ClassVar[type[KeyIndex]] = KeyIndex
    pattern: bytes
    slot: int | None = None
    limit: int | None = None
    counts: bool = False

    @property
    def match(self) -> Match | None:
        """Whether a key matches; None if every one does."""
        return key_pattern(self.pattern) if self.slot is None else partial(_is_in, self.slot)

    @property
    def wanted(self) -> tuple[int, int]:
        """The first and the last slot of the keys."""
        return ALL_SLOTS if self.slot is None else (self.slot, self.slot)

    def parts(self, groups: Sequence[int], _: SlotMap) -> "dict[int, AllKeys]":
        """All groups."""
        return dict.fromkeys(groups, self)

    def merge(self, _: Sequence[int], __: SlotMap, answers: Mapping[int, RenderedArray]) -> Reply:
        """All keys, or their number. `answers` are those keys, rendered."""
        count = sum(answer.count for answer in answers.values())
        if self.counts:
            return count
        return RenderedArray(count, [chunk for answer in answers.values() for chunk in answer.chunks])

    def pieces(self, keyspace: Keyspace) -> Iterator[list[bytes]]:
        """The keys that there are now. The walk begins at once, not with the first piece."""
        if keyspace.index is None:
            raise LookupError("a walk needs an index")
        walk = keyspace.index.walk()
        shown = None if keyspace.slots is None else keyspace.slots.shown()
        match = self.match

        def pieces() -> Iterator[list[bytes]]:
            left = self.limit
            try:
                while left != 0 and (piece := walk.piece(WALK_KEYS)) is not None:
                    piece = piece if shown is None else list(filter(shown, piece))
                    found = list(filter(match, piece)) if match else piece
                    yield found[:left]
                    if left is not None:
                        left -= len(found[:left])
            finally:
                walk.end()

        return pieces()


def scan(request: Request) -> Scan:
    """SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]."""
    cursor = _cursor(request[1])
    count, pattern, kind = SCAN_KEYS, b"*", b"string"
    words = iter(request[2:])
    for word in words:
        option, value = word.upper(), next(words, None)
        if value is None:
            raise Rejected(SYNTAX)
        if option == b"COUNT":
            count = integer(value)
            if count < 1:
                raise Rejected(SYNTAX)
        elif option == b"MATCH":
            pattern = _pattern(value)
        elif option == b"TYPE":
            kind = value.lower()
        else:
            raise Rejected(SYNTAX)
    return Scan(cursor, count, pattern, kind != b"string")


def keys(request: Request) -> AllKeys:
    """KEYS pattern."""
    return AllKeys(_pattern(request[1]))


def randomkey(_: Request) -> RandomKey:
    """RANDOMKEY."""
    return RandomKey()


def _pattern(pattern: bytes) -> bytes:
    if len(pattern) > PATTERN_BYTES_MAX:
        raise Rejected(f"ERR pattern exceeds limit of {PATTERN_BYTES_MAX} bytes")
    return pattern


def _is_in(slot: int, key: bytes) -> bool:
    return slot_of(key) == slot


def _cursor(text: bytes) -> int:
    """A cursor; a negative one counts from 2^64, as in C. One that no node has given is after the end."""
    digits = text.removeprefix(b"-").removeprefix(b"+")
    if not digits.isdigit() or len(digits) > len(text) or int(digits) >= CURSOR_MAX:
        raise Rejected("ERR invalid cursor")
    return int(digits) if text[:1] != b"-" else CURSOR_MAX - int(digits)
