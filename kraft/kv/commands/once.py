"""KRAFT ONCE: a command that takes effect once, however often its client sends it. docs/once.md has the use.

A client that lost a reply sends its command again with the same token. The state remembers the token with the
first reply, so every replica, and every later leader, knows it as well as it knows the effect.
"""

from typing import ClassVar

import msgspec

from kraft.kv.commands.exec import Change, Evaluated, Exec
from kraft.kv.commands.keys import UNBOUNDED
from kraft.kv.commands.prefix import Prefix
from kraft.kv.commands.script import ScriptCall


class Once(Prefix, frozen=True, array_like=True, tag=60, gc=False):
    """Applies `command` and remembers its reply, whatever it is, for `ttl_ms` from the stamp on.

    While `token` is remembered, replies the same again without effect: or CommandFailure.TOKEN_REUSED, if it
    came with another `fingerprint` (a hash of what the client sent). Replies TOO_MANY_TOKENS without effect
    when `tokens_max` of them are remembered, or they take `bytes_max` bytes. The last reply may go beyond
    that. All limits are those of the node that took the command. A reply that says that what the leader
    evaluated does not fit, CommandFailure.SCRIPT_CONFLICT, is not remembered. A call of a script is here only
    on the way to the leader, which puts its `Evaluated` in its place.
    """

    since: ClassVar[int] = 3
    token: bytes
    fingerprint: bytes
    command: Change | Exec | Evaluated | ScriptCall
    ttl_ms: int = 0
    tokens_max: int = UNBOUNDED
    bytes_max: int = UNBOUNDED


class OnceToken(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The token in front of a transaction over several groups: its fields are those of `Once`.

    `key` is the first key of the transaction (`kraft.kv.footprint.first_key`), which is the same in each
    attempt, as the words are. The group that has its slot remembers the token, and no other one does.
    """

    token: bytes
    fingerprint: bytes
    key: bytes
    ttl_ms: int = 0
    tokens_max: int = UNBOUNDED
    bytes_max: int = UNBOUNDED
