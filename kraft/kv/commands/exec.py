"""EXEC: several commands and reads that take effect together, if no watched key has changed.

A transaction is one command of the log. Its steps run in order, when it is applied, and nothing comes between
them. A step that fails changes nothing, and the others take effect as in Redis. All its changes have the same
revision.
"""

from typing import ClassVar

import msgspec

from kraft.kv.commands.bits import BitCommand
from kraft.kv.commands.keys import KeyCommand
from kraft.kv.commands.lock import LockCommand
from kraft.kv.commands.script import ScriptCommand
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


Step = StringCommand | KeyCommand | BitCommand | LockCommand | ScriptCommand | Look


class Exec(msgspec.Struct, frozen=True, array_like=True, tag=40, gc=False):
    """EXEC: replies None without effect if a watched key has changed, else as in `kraft.kv.excerpt`."""

    since: ClassVar[int] = _SINCE
    watched: tuple[Watched, ...]
    steps: tuple[Step, ...]
