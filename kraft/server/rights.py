"""The rights of a user, made for speed: whether it may run a command on the keys of a request.

A session without limits has none of this (`SessionState.rights` is None). For the others the decision on a
command whose keys need no look is remembered in `Rights.permits`, and for a command with one key one function
in C for all patterns that allow it: so neither costs a call of Python.
"""

from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from typing import Final, Protocol

import msgspec

from kraft.acl.catalog import Catalog
from kraft.acl.user import READ, READ_WRITE, Selector, User, encode_user
from kraft.glob import Match, any_pattern, key_pattern, key_prefix
from kraft.kv.key_order import prefix_end
from kraft.resp.values import Request

Range = tuple[bytes, bytes | None]
"""Keys from the first one on and before the second one, None for no end."""


class Reason(IntEnum):
    """What a user lacks: the higher one is the more telling, as in Redis."""

    COMMAND = 1
    KEY = 2


class Denial(msgspec.Struct, frozen=True):
    """Why a request is not allowed: its command, or the word at `place`; `subject` is what ACL LOG names."""

    reason: Reason
    place: int
    subject: bytes


class Controlled(Protocol):
    """A command as rights see it: a `CommandSpec`."""

    @property
    def kind(self) -> str:
        """That of its specification."""

    @property
    def subcommands(self) -> Mapping[bytes, object]:
        """Of a family."""

    @property
    def name(self) -> str:
        """In lower case, `client|list` for a subcommand."""

    @property
    def low(self) -> int:
        """The least number of words."""

    @property
    def flags(self) -> tuple[str, ...]:
        """Those of Redis."""

    @property
    def lock(self) -> int:
        """The place of the name of a lock that is looked at, or 0."""

    @property
    def inner(self) -> "Controlled | None":
        """The command after a prefix, which begins at `inner_at`."""

    @property
    def inner_at(self) -> int: ...

    @property
    def covers(self) -> Callable[[Request], Range] | None:
        """The keys that a command reads without naming them."""

    @property
    def keyless(self) -> bool:
        """Whether no request has keys."""

    @property
    def one_key(self) -> bool:
        """Whether the first argument is the only key, and there is nothing else to look at."""

    @property
    def varies(self) -> bool:
        """Whether options decide what becomes of the key."""

    def key_places(self, request: Request) -> range:
        """Where the keys are among the words of the request."""

    def access(self, request: Request) -> Sequence[int]:
        """What becomes of the keys: READ and WRITE, the last element for all that are left."""


def _any(_: bytes) -> object:
    return True


FREE: Final[Match] = _any
"""In the place of a match: a command may be run with any arguments, also with none."""


class Rights:
    """What a user may do. `permits` has what is known of a command: FREE if it may be run with any arguments.

    Where the first argument is the only key it is a match: if the key matches, the request is allowed, else
    `allows` decides. If options decide what becomes of the key, the match is for all of them.
    With `refusal` every command is refused with that text, apart from those with which a client logs in.
    """

    __slots__ = ("_plain", "_selectors", "encoded", "permits", "refusal", "user")

    def __init__(self, user: User, catalog: Catalog, refusal: str = "") -> None:
        self.user = user
        self.encoded = encode_user(user)
        self.permits: dict[object, Match] = {}
        self.refusal = refusal
        self._plain: dict[object, Match] = {}  # the same for requests without options, if these decide
        self._selectors = [SelectorRights(selector, catalog) for selector in user.selectors]

    def allows(self, command: Controlled, request: Request) -> bool:
        """Whether the user may make this request."""
        match = self._plain.get(command)
        if match is not None and len(request) == command.low and match(request[1]):
            return True
        return not self.refusal and self.denial(command, request) is None

    def denial(self, command: Controlled, request: Request) -> Denial | None:
        """Why the user may not make this request, None if it may."""
        worst: Denial | None = None
        for selector in self._selectors:
            found = selector.denial(command, request)
            if found is None:
                if command.inner is not None:
                    return self.denial(command.inner, request[command.inner_at :])
                if selector.regardless(command):
                    self.permits[command] = FREE
                else:
                    self._remember(command)
                return None
            if worst is None or (found.reason, found.place) > (worst.reason, worst.place):
                worst = found
        return worst

    def _remember(self, command: Controlled) -> None:
        """Remember the patterns of all selectors that have a command with one key."""
        if not command.one_key or command in self.permits:
            return
        plain = command.access([b""] * command.low)[0]
        self.permits[command] = self._match(command.name, READ_WRITE if command.varies else plain)
        if command.varies:
            self._plain[command] = self._match(command.name, plain)

    def _match(self, name: str, needed: int) -> Match:
        having = [selector for selector in self._selectors if name in selector.names]
        return any_pattern([pattern for each in having for pattern in each.patterns_for(needed)])


class SelectorRights:
    """One selector of a user."""

    __slots__ = ("_all_keys", "_arguments", "_keys", "_patterns", "_prefixes", "names")

    def __init__(self, selector: Selector, catalog: Catalog) -> None:
        self.names, self._arguments = catalog.allowed(selector)
        self._all_keys = selector.all_keys
        self._keys = selector.keys
        self._patterns: list[tuple[int, Match | None]] = [
            (each.access, key_pattern(each.pattern)) for each in selector.keys
        ]
        self._prefixes = [
            (each.access, prefix)
            for each in selector.keys
            if (prefix := key_prefix(each.pattern)) is not None
        ]

    def regardless(self, command: Controlled) -> bool:
        """Whether the command is allowed with any arguments, given that it is with some."""
        named = command.name in self.names or "no_auth" in command.flags
        return named and (self._all_keys or (command.keyless and command.covers is None and not command.lock))

    def denial(self, command: Controlled, request: Request) -> Denial | None:
        """Why the selector does not allow the request, None if it does."""
        if command.name not in self.names and "no_auth" not in command.flags:
            first = request[1].lower() if len(request) > 1 else None
            if first not in self._arguments.get(command.name, ()):
                return Denial(Reason.COMMAND, 0, command.name.encode())
        if self._all_keys:
            return None
        if command.lock and not self._permits(request[command.lock], READ):
            return Denial(Reason.KEY, command.lock, request[command.lock])
        if command.inner is not None:
            return None
        if command.covers is not None:
            start, end = command.covers(request)
            if not self._permits_range(start, end):
                return Denial(Reason.KEY, 2, request[2])
        places = command.key_places(request)
        if places:
            access = command.access(request)
            last = len(access) - 1
            for number, place in enumerate(places):
                if not self._permits(request[place], access[min(number, last)]):
                    return Denial(Reason.KEY, place, request[place])
        return None

    def patterns_for(self, needed: int) -> list[bytes]:
        """The patterns that give such an access."""
        return [each.pattern for each in self._keys if each.access & needed == needed]

    def _permits(self, key: bytes, needed: int) -> bool:
        for access, match in self._patterns:
            if access & needed == needed and (match is None or match(key)):
                return True
        return False

    def _permits_range(self, start: bytes, end: bytes | None) -> bool:
        """Whether every key of a range may be read: all begin like a pattern that ends with a star."""
        for access, prefix in self._prefixes:
            if access & READ and start >= prefix:
                limit = prefix_end(prefix)
                if limit is None or (end is not None and end <= limit):
                    return True
        return False
