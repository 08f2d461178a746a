"""Handing leadership over: for maintenance, for an orderly end, or by an administrator's word (RD 3.10).

The core does the transfer; here somebody waits for its outcome. It is done when another node is known to
lead, and it has failed when the core gave up and this node leads on.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kraft.host.membership.changes import best_successor
from kraft.node.errors import AdminRefused
from kraft.node.ports import Clock
from kraft.raft.errors import NotLeading, TransferRefused

if TYPE_CHECKING:
    from kraft.host.group.group import Group

Outcome = str | Exception  # the new leader's id


@dataclass(slots=True)
class _Waiting:
    group: "Group"
    to: str
    until: float
    done: Callable[[Outcome], None]


class LeadershipTransfers:
    """The transfers under way on this node. `patience` in seconds bounds each of them."""

    def __init__(self, clock: Clock, patience: float, wake: Callable[["Group"], None]) -> None:
        self._clock = clock
        self._patience = patience
        self._wake = wake
        self._waiting: list[_Waiting] = []

    def begin(self, group: "Group", to: str, done: Callable[[Outcome], None]) -> None:
        """Move the leadership of `group`, which this node leads, to the node `to`, or to the best one."""
        to = to or best_successor(group.raft)
        if not to:
            done(AdminRefused("no other voter is reachable and up to date: leadership stays here"))
            return
        try:
            group.transfer_leadership(to)
        except TransferRefused as error:
            done(AdminRefused(str(error)))
            return
        except NotLeading:
            done(AdminRefused("leadership is on its way already"))
            return
        self._waiting.append(_Waiting(group, to, self._clock.seconds() + self._patience, done))
        self._wake(group)

    def transfer_away(self, group: "Group") -> None:
        """Move the leadership of `group` away, whoever will take it; to be called until it is gone."""
        if all(waiting.group is not group for waiting in self._waiting):
            self.begin(group, "", lambda _: None)

    def transfer_all(self, groups: Iterable["Group"], done: Callable[[], None]) -> None:
        """Move all leaderships away; `done` when none is left here, or no more can be moved."""
        led = [g for g in groups if g.leads and g.raft.configuration.electors != (g.raft.id,)]
        open_ = len(led)

        def ended(_: Outcome) -> None:
            nonlocal open_
            open_ -= 1
            if not open_:
                done()

        if not led:
            self._clock.call_later(0, done)
        for group in led:
            self.begin(group, "", ended)

    def tick(self) -> None:
        """See how they stand."""
        if not self._waiting:
            return
        now = self._clock.seconds()
        settled = []
        for waiting in self._waiting:
            outcome = self._outcome(waiting, now)
            if outcome is not None:
                settled.append((waiting, outcome))
        self._waiting = [w for w in self._waiting if all(w is not s for s, _ in settled)]
        for waiting, outcome in settled:
            waiting.done(outcome)

    def _outcome(self, waiting: _Waiting, now: float) -> Outcome | None:
        node = waiting.group.raft
        if node.leader and node.leader != node.id:
            return node.leader
        if node.leader and not node.transferring:
            return AdminRefused(f"{waiting.to} did not take over in time; {node.id} leads on")
        if waiting.until <= now:
            return AdminRefused("no new leader is known yet")
        return None
