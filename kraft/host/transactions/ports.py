"""What transactions need of their node: a way to the groups, wherever those are led."""

from collections.abc import Sequence
from typing import Protocol

from kraft.host.requests.proposal import WriteDone
from kraft.host.requests.round import ReadDone
from kraft.host.requests.transaction_waits import KeysOfRead
from kraft.kv.commands import Command


class GroupRequests(Protocol):
    """Requests to any group. No callback runs inside the call."""

    def write(
        self, group: int, commands: Sequence[Command], size: int, done: WriteDone, *, waits: bool = False
    ) -> None:
        """As `Host.write`. With `waits` the commands wait for locked keys, as those of clients do."""

    def read(self, group: int, keys: KeysOfRead, done: ReadDone, *, fresh: bool = False) -> None:
        """As `Host.read`, but not while a transaction may have changed one of `keys`."""

    def log_time(self) -> int:
        """Log time (Unix ms) as this node knows it: the latest of its clock and the stamps it has applied."""
