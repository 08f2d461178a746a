"""What one connection has queued since MULTI: plain data, to which `MultiQueue` adds and which EXEC takes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

import msgspec

from kraft.config.values import LimitsConfig
from kraft.kv.commands import Command, Look
from kraft.resp.values import Error, Request
from kraft.server.errors import Rejected, over_limit

QUEUED_BYTES = 256  # of a queued command in memory, beside its words
WORD_BYTES = 41  # of each of its words, beside its bytes

_REQUEST = attrgetter("request")


class Queued(msgspec.Struct, frozen=True):
    """One queued command. `spec` is its specification, an `AnySpec`.

    `step` is what a read or a write does in the transaction; an error is the reply in its place, because the
    arguments are wrong, and a text the reply of KRAFT ONCE. None is a local command.
    """

    spec: Any  # `kraft.server.commands.spec` imports this module
    request: Request
    step: Command | Look | Error | str | None


@dataclass(slots=True)
class MultiState:
    """The commands since MULTI: `words` words of `size` bytes. `aborted` ones will not be executed.

    `keyed`: one of them has keys. `token` is that of KRAFT ONCE, if the transaction has one.
    """

    commands: list[Queued] = field(default_factory=list)
    words: int = 0
    size: int = 0
    aborted: bool = False
    keyed: bool = False
    token: bytes | None = None

    def add(self, queued: Sequence[Queued], size: int, limits: LimitsConfig, watched_bytes: int) -> None:
        """Append commands whose words have `size` bytes.

        Raises Rejected beyond the limits, and appends none of them: a transaction has the limits of one
        request, and one more.
        """
        words = self.words + sum(map(len, map(_REQUEST, queued)))
        if len(self.commands) + len(queued) > limits.multi_commands:
            raise Rejected("ERR too many commands in transaction")
        if words > limits.arguments:
            raise Rejected("ERR too many arguments in transaction")
        if self.size + size + watched_bytes > limits.request_bytes:
            raise Rejected(over_limit("transaction", limits.request_bytes))
        self.commands += queued
        self.words = words
        self.size += size

    @property
    def memory(self) -> int:
        """The bytes that all of this takes, approximately."""
        return self.size + QUEUED_BYTES * len(self.commands) + WORD_BYTES * self.words
