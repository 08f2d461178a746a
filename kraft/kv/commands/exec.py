"""EXEC: several commands and reads that take effect together, if no watched key has changed.

A transaction is one command of the log. Its steps run in order, when it is applied, and nothing comes between
them. A step that fails changes nothing, and the others take effect as in Redis. All its changes have the same
revision. The call of a script is a step only on the way to the leader, which puts an `Evaluated` in its
place.
"""

from typing import ClassVar

import msgspec

from kraft.kv.commands.bits import BitCommand
from kraft.kv.commands.keys import KeyCommand
from kraft.kv.commands.library import LibraryCommand
from kraft.kv.commands.lock import LockCommand
from kraft.kv.commands.script import ScriptCall, ScriptCommand
from kraft.kv.commands.strings import StringCommand

_SINCE = 3


class Watched(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A key as WATCH found it: its `revision`, 0 if it was missing, when that of the group was `seen`."""

    key: bytes
    revision: int
    seen: int


class Look(msgspec.Struct, frozen=True, array_like=True, tag=41, gc=False):
    """A read, as a step of a transaction: replies the number of all keys, and where the record of each of
    `keys` is among those of the reply to the transaction (`kraft.kv.excerpt`).

    What the client asked is computed from these records on the node of the client. So the log needs no
    command per read command, and a slow one holds up no replica.
    """

    since: ClassVar[int] = _SINCE
    keys: tuple[bytes, ...]


Change = StringCommand | KeyCommand | BitCommand | LockCommand | ScriptCommand | LibraryCommand
"""What a script or a transaction can do to the state."""


class Evaluated(msgspec.Struct, frozen=True, array_like=True, tag=73, gc=False):
    """What a script did, in place of its call: `steps`, which have one revision together.

    `watched` is what it read. Replies CommandFailure.SCRIPT_CONFLICT without effect if one of these keys has
    changed: the leader has evaluated the script on another state. Else replies what `reply` encodes, None if
    it is empty. A reply is logged where the state remembers it, or others stand beside it.
    """

    since: ClassVar[int] = _SINCE
    steps: tuple[Change, ...]
    reply: bytes = b""
    watched: tuple[Watched, ...] = ()


Step = Change | Look | Evaluated | ScriptCall


class Exec(msgspec.Struct, frozen=True, array_like=True, tag=40, gc=False):
    """EXEC: replies None without effect if a watched key has changed, else as in `kraft.kv.excerpt`.

    `read` is what its scripts have read: if that has changed, replies CommandFailure.SCRIPT_CONFLICT.
    """

    since: ClassVar[int] = _SINCE
    watched: tuple[Watched, ...]
    steps: tuple[Step, ...]
    read: tuple[Watched, ...] = ()
