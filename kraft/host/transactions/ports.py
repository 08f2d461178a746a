"""What transactions need of their node: a way to the groups, wherever those are led."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from kraft.host.requests.proposal import WriteDone
from kraft.host.requests.round import ReadDone, View
from kraft.host.requests.transaction_waits import KeysOfRead
from kraft.kv.commands import Command, Exec


class GroupRequests(Protocol):
    """Requests to any group. No callback runs inside the call."""

    def write(
        self, group: int, commands: Sequence[Command], size: int, done: WriteDone, *, waits: bool = False
    ) -> None:
        """As `Host.write`. With `waits` the commands wait for locked keys, as those of clients do."""

    def read(self, group: int, keys: KeysOfRead, done: ReadDone, *, fresh: bool = False) -> None:
        """As `Host.read`, but not while a transaction may have changed one of `keys`."""

    def applied(self, group: int, keys: Collection[bytes]) -> View | None:
        """What the replica here has applied, valid during this call of the caller only.

        None if there is none, or if the group does not own all `keys` as far as the replica knows.
        """

    def log_time(self) -> int:
        """Log time (Unix ms) as this node knows it: the latest of its clock and the stamps it has applied."""


class Computation(Protocol):
    """What a transaction does that has to see keys of several groups at once. `kraft.server` provides it."""

    @property
    def keys(self) -> Mapping[int, Collection[bytes]]:
        """The keys on which it depends, by group."""

    @property
    def rows(self) -> Collection[int]:
        """The kinds of rows of the ledger on which it depends, in the groups of the keys."""

    @property
    def size(self) -> int:
        """The approximate bytes of what was computed, after `parts`."""

    @property
    def final(self) -> bool:
        """Whether a token may remember the outcome, after `parts`: a script that was stopped has none."""

    def found(self, group: int, view: View) -> None:
        """Remember what the keys of one group hold; `view` is valid during this call only."""

    def parts(self) -> Mapping[int, Exec]:
        """What each group has to do, after `found` for all of them. Each part has `read` what was found.

        It differs from call to call in what is done to `keys` only.
        """
