"""Writes with commands of a machine version that is not in force: they wait for its raise, or are refused.

They wait where the version is about to be raised: in the first moments of a new cluster, after the last node
was upgraded, in a new group, and in a new replica that has not applied the raise yet.
"""

from collections.abc import Callable
from functools import partial

from kraft.host.applied_state import AppliedState
from kraft.host.context import GroupContext
from kraft.host.requests.early_requests import EarlyRequests
from kraft.host.requests.proposal import WriteDone
from kraft.node.errors import NoLeader, VersionTooLow


class RaiseWaits:
    """The writes of one replica that wait, each for `leader_wait` seconds at most."""

    def __init__(self, group: int, state: AppliedState, context: GroupContext, leader_wait: float) -> None:
        self._group = group
        self._state = state
        self._peers = context.peers
        self._observer = context.observer
        self._leader_wait = leader_wait
        self._early = EarlyRequests(context.clock)

    def wait(self, needed: int, again: Callable[[], None], done: WriteDone) -> None:
        """Make a write `again` when the version may be raised to `needed`, or refuse it. Not in this call."""
        seconds = self._leader_wait if self._peers.is_raised_soon(needed) else 0.0
        self._early.wait(self._group, seconds, again, partial(self._refuse, needed, done))

    def raised(self) -> None:
        """The version in force may be another one: make the writes again."""
        self._early.served(self._group)

    def abandon(self) -> None:
        """The group stops: refuse what waits."""
        self._early.abandon()

    def _refuse(self, needed: int, done: WriteDone) -> None:
        """A member might not be able to apply it, or the group did not follow the cluster in time."""
        self._observer.proposal(self._group, "rejected", 1)
        if needed <= self._peers.formation.version.in_force:
            done(NoLeader(self._group))
        else:
            done(VersionTooLow(self._peers.obstacle_text(needed, self._state.machine.version)))
