"""A user: whether it may log in, its passwords, and its selectors, each of which allows commands on keys.

The first selector of a user is its root: rules outside of parentheses change it. The values are frozen, and
are their own encoding in the replicated state.
"""

from enum import IntEnum

import msgspec

READ, WRITE = 1, 2  # what a pattern allows with the keys that match it
READ_WRITE = READ | WRITE


class Sanitize(IntEnum):
    """Whether the payload of RESTORE is to be checked: kept because Redis shows it, kraft checks always."""

    UNSET = 0
    SKIP = 1
    CHECK = 2


class KeyPattern(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A glob, and what it allows: READ, WRITE or both."""

    pattern: bytes
    access: int = READ_WRITE


class Selector(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Commands together with the keys that they may touch.

    `all_commands`: the rules begin with all commands, also future ones, else with none. `rules` then add and
    take away, in order: `+get`, `-@admin`, `+config|get`, in lower case.
    """

    keys: tuple[KeyPattern, ...] = ()
    all_keys: bool = False
    channels: tuple[bytes, ...] = ()
    all_channels: bool = False
    all_commands: bool = False
    rules: tuple[bytes, ...] = ()


class User(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A user as it is created: it may not log in, and has no rights.

    `passwords` are as `kraft.acl.passwords` stores them. With `nopass` any password is right. `created` tells
    a user from one of the same name that was removed before: the revision of the change that made it, or 0 if
    it was made by a file at the first start, or by a program that did not note it.
    """

    name: bytes
    on: bool = False
    nopass: bool = False
    sanitize: int = Sanitize.UNSET
    passwords: tuple[bytes, ...] = ()
    selectors: tuple[Selector, ...] = (Selector(),)
    created: int = 0

    @property
    def unrestricted(self) -> bool:
        """Whether its first selector allows every command, present and future, on every key."""
        root = self.selectors[0]
        return root.all_keys and root.all_commands and not root.rules


DEFAULT_NAME = b"default"
DEFAULT = User(
    DEFAULT_NAME,
    on=True,
    nopass=True,
    selectors=(Selector(all_keys=True, all_channels=True, all_commands=True),),
)
"""The user of a connection that has not logged in, unless the cluster has changed it."""

encode_user = msgspec.msgpack.Encoder().encode
"""A user as bytes."""
decode_user = msgspec.msgpack.Decoder(User).decode
"""Inverse of `encode_user`."""
