"""A write on all keys of several groups, while slots may move between these.

It is done in one group after the other. A slot that goes meanwhile from a group where it is still to be done
to one where it has been done would keep its keys. So the groups tell before and after it which slots they
have; if these are not the same, it is done again. Group 0 tells how many groups there are: if there are more
than those that were asked, all of it has to be planned again. In most cases that is once at most: a flush
cancels the moves whose keys have come to a group, and the next attempt of each waits for a second.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from kraft.host.requests.round import View
from kraft.kv.created_groups import created_count
from kraft.kv.keyspace import Keyspace
from kraft.kv.slots import SlotState
from kraft.resp.values import Error
from kraft.server.ports import NodeHost
from kraft.server.segments import Segment
from kraft.server.session_state import SessionState

TIMES_MAX = 5
STILL_MOVING = Error(
    "UNCERTAIN done in every group, but a slot may have moved meanwhile and kept its keys; send it again"
)

Write = Callable[[Callable[[Any], None]], None]
"""Does the write in all groups; the function that it is given gets the reply in a list, or an Exception."""


GROWN: list[Error] = []
"""In place of a reply: groups were created, and it is not done there."""


class FlushRounds:
    """Does `write` in the groups of `parts` until no slot has moved meanwhile; `done` gets the last reply.

    `total` is how many groups there were when it was planned. With more of them `done` gets `GROWN`.
    """

    def __init__(
        self,
        parts: dict[int, Segment],
        total: int,
        write: Write,
        host: NodeHost,
        state: SessionState,
        done: Callable[[Any], None],
    ) -> None:
        self._groups = sorted({0, *parts})
        self._total = total
        self._grown = False
        self._write = write
        self._host = host
        self._state = state
        self._done = done
        self._times = 0
        self._before: dict[int, object] = {}

    def look(self, then: Callable[[dict[int, object]], None]) -> None:
        """Ask each group for its slots. A group that does not answer is in no case what it was before."""
        seen: dict[int, object] = {}

        def viewed(group: int, outcome: View | Exception) -> None:
            if group == 0 and isinstance(outcome, View):
                total = self._host.slots.founded + created_count(outcome.keyspace.ledger)
                self._grown = self._grown or total > self._total
            seen[group] = _owned(outcome.keyspace) if isinstance(outcome, View) else outcome
            if len(seen) == len(self._groups):
                then(seen)

        for group in self._groups:
            self._host.read_keys(group, list, partial(viewed, group), self._state.fresh)

    def begin(self, seen: dict[int, object]) -> None:
        """Do the write in groups that have these slots."""
        if self._grown:
            self._done(GROWN)
            return
        self._before = seen
        self._times += 1
        self._write(self._written)

    def _written(self, outcome: Any) -> None:
        if isinstance(outcome, Exception) or type(outcome[0]) is Error:
            self._done(outcome if self._times == 1 else [STILL_MOVING])
        else:
            self.look(partial(self._looked, outcome))

    def _looked(self, outcome: Any, seen: dict[int, object]) -> None:
        if self._grown:
            self._done(GROWN)
        elif seen == self._before:
            self._done(outcome)
        elif self._times < TIMES_MAX:
            self.begin(seen)
        else:
            self._done([STILL_MOVING])


def _owned(keyspace: Keyspace) -> object:
    """What changes when a slot comes or goes."""
    table = keyspace.slots
    parts = () if table is None else table.ranges
    return table and [(part.first, part.last, part.epoch) for part in parts if part.state != SlotState.GONE]
