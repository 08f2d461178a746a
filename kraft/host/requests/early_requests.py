"""Requests that come too early for their group, but not by much.

The node does not have the group yet, because it has not formed or joined a cluster; or a command needs a
machine version that all members support, and that the leader is about to raise. A request is made again as
soon as that is done. One that has waited for `client.leader_wait` is refused.
"""

from collections.abc import Callable
from functools import partial

from kraft.node.ports import Cancellable, Clock

Leave = Callable[[], None]
"""What a client calls that leaves before it has its answer."""


class EarlyRequest:
    """One request: `again` makes it again, `refuse` refuses it."""

    __slots__ = ("again", "leaves", "refuse", "timer")

    def __init__(self, again: Callable[[], Leave | None], refuse: Callable[[], object]) -> None:
        self.again = again
        self.refuse = refuse
        self.timer: Cancellable | None = None
        self.leaves: Leave | None = None  # of the request that was made again


class EarlyRequests:
    """The requests of one node that wait for their group, in the order of their arrival."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: dict[int, dict[EarlyRequest, None]] = {}  # by group

    def wait(
        self,
        group: int,
        seconds: float,
        again: Callable[[], Leave | None],
        refuse: Callable[[], object],
    ) -> Leave:
        """Let a request wait: after so many seconds it is refused, unless it was made again.

        `again` returns what a client calls if it leaves, or None. Neither is called inside this call. Returns
        what the client calls if it leaves.
        """
        request = EarlyRequest(again, refuse)
        self._waiting.setdefault(group, {})[request] = None
        request.timer = self._clock.call_later(seconds, partial(self._refuse, group, request))
        return partial(self._leave, group, request)

    def served(self, group: int) -> None:
        """What the requests to the group waited for is there: make them again."""
        for request in self._waiting.pop(group, {}):
            if request.timer is not None:
                request.timer.cancel()
            request.leaves = request.again()

    def abandon(self) -> None:
        """The node stops: refuse all requests."""
        for group, requests in list(self._waiting.items()):
            for request in list(requests):
                self._leave(group, request)

    def _leave(self, group: int, request: EarlyRequest) -> None:
        if request.leaves is not None:
            request.leaves()
        elif request in self._waiting.get(group, {}):
            if request.timer is not None:
                request.timer.cancel()
            self._refuse(group, request)

    def _refuse(self, group: int, request: EarlyRequest) -> None:
        del self._waiting[group][request]
        request.refuse()
