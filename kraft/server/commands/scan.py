"""The commands on all keys: SCAN, KEYS and RANDOMKEY, which need an index of the keys.

A cursor is a position in the order of `kraft.kv.key_index`, which all nodes share. So a scan may go on after
a restart, on another node, or after any time, and a key that exists throughout is returned, exactly once.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from kraft.kv.key_index import END, KeyIndex
from kraft.kv.keyspace import Keyspace
from kraft.resp.values import Reply, Request
from kraft.server.commands.arguments import integer
from kraft.server.commands.glob import Match, key_pattern
from kraft.server.errors import SYNTAX, Rejected

SCAN_KEYS = 10  # looked at by one SCAN, without COUNT
SCAN_KEYS_MAX = 2000  # the same with any COUNT: about 2 ms
SCAN_BUCKETS_MAX = 1000  # the same for parts of the index that hold no keys
WALK_KEYS = 256  # looked at in one step of KEYS: 0.3 ms
CURSOR_MAX = 1 << 64


@dataclass(frozen=True, slots=True)
class Scan:
    """SCAN: looks at `count` keys from the position `cursor` on, and returns those that `match`."""

    needs: ClassVar[type[KeyIndex]] = KeyIndex
    cursor: int
    count: int
    match: Match | None
    nothing: bool  # another type of value is asked for

    def answer(self, keyspace: Keyspace) -> Reply:
        """The next cursor and some keys."""
        index, position = keyspace.index, self.cursor
        if index is None:
            raise LookupError("a scan needs an index")
        seen: list[bytes] = []
        buckets = min(SCAN_BUCKETS_MAX, 10 * self.count)
        while position < END and len(seen) < min(self.count, SCAN_KEYS_MAX) and buckets:
            keys, position = index.bucket(position)
            seen += keys
            buckets -= 1
        found: list[Reply] = [] if self.nothing else list(filter(self.match, seen) if self.match else seen)
        return [b"0" if position >= END else b"%d" % position, found]


@dataclass(frozen=True, slots=True)
class RandomKey:
    """RANDOMKEY: each key with the same probability."""

    needs: ClassVar[type[KeyIndex]] = KeyIndex

    def answer(self, keyspace: Keyspace) -> Reply:
        """A key, or None."""
        return None if keyspace.index is None else keyspace.index.random(random.randrange)


@dataclass(frozen=True, slots=True)
class AllKeys:
    """KEYS: the keys of one moment that `match`."""

    needs: ClassVar[type[KeyIndex]] = KeyIndex
    match: Match | None

    def pieces(self, index: KeyIndex) -> Iterator[list[bytes]]:
        """The keys that there are now. The walk begins at once, not with the first piece."""
        walk = index.walk()

        def pieces() -> Iterator[list[bytes]]:
            try:
                while (piece := walk.piece(WALK_KEYS)) is not None:
                    yield list(filter(self.match, piece)) if self.match else piece
            finally:
                walk.end()

        return pieces()


def scan(request: Request) -> Scan:
    """SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]."""
    cursor = _cursor(request[1])
    count, match, kind = SCAN_KEYS, None, b"string"
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
            match = key_pattern(value)
        elif option == b"TYPE":
            kind = value.lower()
        else:
            raise Rejected(SYNTAX)
    return Scan(cursor, count, match, kind != b"string")


def keys(request: Request) -> AllKeys:
    """KEYS pattern."""
    return AllKeys(key_pattern(request[1]))


def randomkey(_: Request) -> RandomKey:
    """RANDOMKEY."""
    return RandomKey()


def _cursor(text: bytes) -> int:
    """A cursor; a negative one counts from 2^64, as in C. One that no node has given is after the end."""
    digits = text.removeprefix(b"-").removeprefix(b"+")
    if not digits.isdigit() or len(digits) > len(text) or int(digits) >= CURSOR_MAX:
        raise Rejected("ERR invalid cursor")
    return int(digits) if text[:1] != b"-" else CURSOR_MAX - int(digits)
