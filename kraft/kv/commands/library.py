"""Libraries of functions, which are part of the state: FUNCTION LOAD and its kin.

The leader runs the text of a library, which registers functions, and logs what it registered. So no other
replica runs it before it calls a function itself, as a leader.
"""

from typing import ClassVar

import msgspec

_SINCE = 3


class Function(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One function of a library. `flags` are those of Redis, such as `no-writes`."""

    name: bytes
    flags: tuple[str, ...] = ()
    description: bytes | None = None


class PutLibrary(msgspec.Struct, frozen=True, array_like=True, tag=74, gc=False):
    """FUNCTION LOAD: stores the library, in place of one with that name; replies `name`.

    `source` is the whole text. A function takes the place of one with the same name, in any case, of another
    library: the leader has seen to it that there is none.
    """

    since: ClassVar[int] = _SINCE
    name: bytes
    source: bytes
    functions: tuple[Function, ...]


class DeleteLibrary(msgspec.Struct, frozen=True, array_like=True, tag=75, gc=False):
    """FUNCTION DELETE: replies whether there was such a library (0 or 1)."""

    since: ClassVar[int] = _SINCE
    name: bytes


class FlushLibraries(msgspec.Struct, frozen=True, array_like=True, tag=76, gc=False):
    """FUNCTION FLUSH: replies "OK"."""

    since: ClassVar[int] = _SINCE


LibraryCommand = PutLibrary | DeleteLibrary | FlushLibraries
"""The commands on libraries."""
