"""One write of a client on its way to the log, and the batch that shares an entry."""

from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from kraft.host.pending import Pending
from kraft.kv.commands import Command
from kraft.kv.replies import CommandFailure, Reply

WriteOutcome = list[Reply] | Exception
WriteDone = Callable[[WriteOutcome], None]


class Proposal(Pending[WriteOutcome], eq=False):
    """The commands of one client segment, or of one forwarded request; they share one entry.

    `size` is their approximate size in bytes; `created` and `deadline` are monotonic seconds. A `remote`
    proposal came from another node. A `scripted` one has a call of a script among its commands.
    """

    commands: Sequence[Command]
    size: int
    created: float
    remote: bool = False
    scripted: bool = False

    def leave_out(self, places: Sequence[int], failure: CommandFailure) -> None:
        """Do not log the commands at `places` (ascending): `failure` is their reply, in the same places."""
        if self.done is not None:
            self.done = partial(_put_back, self.done, places, failure)
        self.commands = [command for place, command in enumerate(self.commands) if place not in places]


class Batch(msgspec.Struct, eq=False):
    """The proposals of one entry, and when that entry was logged (monotonic seconds).

    `commands` are what was logged: in place of a script what it did. `evaluated` has its reply, by place,
    unless that was logged, too.
    """

    index: int
    term: int
    proposals: list[Proposal]
    commands: Sequence[Command]
    logged_at: float
    evaluated: dict[int, Reply] = {}


def _put_back(done: WriteDone, places: Sequence[int], failure: CommandFailure, outcome: WriteOutcome) -> None:
    """Call `done` with the outcome of a proposal that was made without the commands at `places`."""
    if isinstance(outcome, list):
        outcome = list(outcome)
        for place in places:
            outcome.insert(place, failure)
    done(outcome)
