"""Scripts: their cache, which is part of the state, and the call of one.

A call is never logged. The leader evaluates it, and logs what it did, `Evaluated`. So no other replica runs a
script, now or when it replays the log.
"""

from enum import IntEnum
from typing import ClassVar

import msgspec

_SINCE = 3


class ScriptMode(IntEnum):
    """What is to become of a `ScriptCall`."""

    CALL = 0
    READ = 1  # it may not write
    LOAD = 2  # only into the cache
    FUNCTION = 3  # call a function of a library
    FUNCTION_READ = 4  # it may not write
    LIBRARY = 5  # store a library; an argument says what to do with one that is there
    RESTORE = 6  # store the libraries of a dump; an argument says what to do with those that are there


class ScriptCall(msgspec.Struct, frozen=True, array_like=True, tag=70, gc=False):
    """EVAL, FCALL, FUNCTION LOAD and their kin, on the way to the leader.

    `sha` is the script's SHA-1 in 40 hexadecimal digits, or the name of a function. `source` is the text of a
    script, empty for EVALSHA, of a library, or a dump. `mode` is a ScriptMode. After KRAFT GUARD it runs only
    if `lock` is held with `token`. `user` is the encoded user with whose rights its commands run, empty for
    all rights. Replies as `kraft.server.commands.script_reply` says.
    """

    since: ClassVar[int] = _SINCE
    sha: bytes
    source: bytes
    keys: tuple[bytes, ...]
    arguments: tuple[bytes, ...]
    mode: int = ScriptMode.CALL
    lock: bytes = b""
    token: int = 0
    user: bytes = b""


class LoadScript(msgspec.Struct, frozen=True, array_like=True, tag=71, gc=False):
    """SCRIPT LOAD, and the first EVAL of a script: replies `sha`.

    The oldest scripts go while all texts together exceed `cache_limit` bytes, that of the node that took the
    command.
    """

    since: ClassVar[int] = _SINCE
    sha: bytes
    source: bytes
    cache_limit: int


class FlushScripts(msgspec.Struct, frozen=True, array_like=True, tag=72, gc=False):
    """SCRIPT FLUSH: replies "OK"."""

    since: ClassVar[int] = _SINCE


ScriptCommand = LoadScript | FlushScripts
"""The commands on scripts that are logged."""
