"""Moves of slots from one group, the source, to another one, the receiver.

The receiver gets an `Open`, and then the keys in `Import`s, while the source goes on to serve them. A
`Freeze` stops that, and `Activate` brings the receiver what has changed meanwhile: its entry decides that the
slots are the receiver's. The source then gets a `Release`, and `Sweep`s that remove what it still has.
`Cancel`, in the receiver, decides that they stay; only after that the source gets an `Unfreeze`. Every step
may arrive twice, late, or never; docs/design/slots.md has the reasons, `kraft.kv.move_reply` the replies.

A move has a `number`, which is never given to another move, and takes the slots from `first` to `last`.
`share` is the range of slots that the group had when the cluster was formed: (0, -1) if that is none.
"""

from typing import ClassVar

import msgspec

_SINCE = 5


class Row(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A key as the source has it, or a token of KRAFT ONCE. None as the value: the key is not there any more.

    `revision` is that of a key.
    """

    key: bytes
    value: bytes | None
    expires: int = 0
    revision: int = 0


class Open(msgspec.Struct, frozen=True, array_like=True, tag=100, gc=False):
    """Step 1, in the receiver: keys of the slots may come. Replies OPEN; REFUSED if it has or expects any."""

    since: ClassVar[int] = _SINCE
    number: int
    first: int
    last: int
    share: tuple[int, int]


class Import(msgspec.Struct, frozen=True, array_like=True, tag=101, gc=False):
    """Step 2, in the receiver: stores keys, hidden. `chunk` counts the imports of the move, from 0 on.

    Only the next one has an effect. Replies OPEN with the chunk that is next; REFUSED if a row is of another
    slot, or a key comes twice.
    """

    since: ClassVar[int] = _SINCE
    number: int
    chunk: int
    rows: tuple[Row, ...]
    tokens: tuple[Row, ...] = ()


class Freeze(msgspec.Struct, frozen=True, array_like=True, tag=102, gc=False):
    """Step 3, in the source: nobody may use the slots from here on, and no key of theirs changes.

    Replies FROZEN with the revision and the stamp of the group; LOCKED while a transaction over several
    groups has locked a key of theirs; REFUSED if the group does not have them, or they are frozen for another
    move.
    """

    since: ClassVar[int] = _SINCE
    number: int
    first: int
    last: int
    receiver: int
    share: tuple[int, int]


class Activate(msgspec.Struct, frozen=True, array_like=True, tag=103, gc=False):
    """Step 4, in the receiver, which decides: stores the last changes, and owns the slots.

    `chunk` is the number of imports before, `revision` and `stamp` are those of the source when the slots
    were frozen or after that. `keys` is how many keys there are, and `sum` adds up their `record_hash`.
    Replies ACTIVE with the number of keys; MISMATCH if the receiver has others; EARLY if its stamp is lower;
    LOCKED while a transaction has locked all keys of the group; CANCELLED.
    """

    since: ClassVar[int] = _SINCE
    number: int
    chunk: int
    rows: tuple[Row, ...]
    tokens: tuple[Row, ...]
    revision: int
    stamp: int
    keys: int
    sum: bytes


class Cancel(msgspec.Struct, frozen=True, array_like=True, tag=104, gc=False):
    """In the receiver, which decides: the move never becomes active, unless it is.

    Replies CANCELLED or ACTIVE.
    """

    since: ClassVar[int] = _SINCE
    number: int
    first: int
    last: int
    share: tuple[int, int]


class Unfreeze(msgspec.Struct, frozen=True, array_like=True, tag=105, gc=False):
    """In the source, after the receiver has replied CANCELLED: the slots are in use again. Replies OWN."""

    since: ClassVar[int] = _SINCE
    number: int
    first: int
    last: int


class Release(msgspec.Struct, frozen=True, array_like=True, tag=106, gc=False):
    """Step 5, in the source, after the receiver has replied ACTIVE with the number of `keys`.

    What it has of the slots is hidden. Replies RELEASED; REFUSED if they were never frozen for this move.
    """

    since: ClassVar[int] = _SINCE
    number: int
    first: int
    last: int
    keys: int


class Sweep(msgspec.Struct, frozen=True, array_like=True, tag=107, gc=False):
    """Step 6, in the source, and in the receiver of a cancelled move: removes hidden keys that are left.

    Replies SWEPT with the number of keys that are still there.
    """

    since: ClassVar[int] = _SINCE
    number: int
    keys: tuple[bytes, ...]


class Close(msgspec.Struct, frozen=True, array_like=True, tag=108, gc=False):
    """Step 7, in the receiver, after the source has replied RELEASED: nobody asks for the move any more.

    Replies CLOSED.
    """

    since: ClassVar[int] = _SINCE
    number: int


MoveCommand = Open | Import | Freeze | Activate | Cancel | Unfreeze | Release | Sweep | Close
"""The steps of a move. Each is applied whatever stands before it in its entry."""

URGENT: frozenset[type] = frozenset((Freeze, Activate, Cancel, Unfreeze, Release))
"""The steps during which clients wait for the slots."""
