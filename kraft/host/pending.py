"""Callers that wait for one outcome until a deadline: what every table of waiting requests has in common.

A request is answered exactly once. It leaves its table when it is answered, when its deadline passes, or when
the node stops; an outcome that arrives later is dropped.
"""

from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

import msgspec

OutcomeT = TypeVar("OutcomeT")
PendingT = TypeVar("PendingT", bound="Pending[Any]")


class Pending(msgspec.Struct, Generic[OutcomeT], eq=False):
    """One caller that waits until `deadline` (monotonic seconds). `done` is None once it has its outcome."""

    deadline: float
    done: Callable[[OutcomeT], None] | None

    def settle(self, outcome: OutcomeT) -> None:
        """Give the caller its outcome. Only the first call has an effect."""
        done, self.done = self.done, None
        if done is not None:
            done(outcome)


def overdue(pending: Iterable[PendingT], now: float) -> tuple[list[PendingT], list[PendingT]]:
    """Split `pending` into those whose deadline has passed and those that go on, each in their order.

    Callers that already have their outcome are in neither list.
    """
    late: list[PendingT] = []
    left: list[PendingT] = []
    for each in pending:
        if each.done is not None:
            (late if each.deadline <= now else left).append(each)
    return late, left


def settle_all(pending: Iterable[Pending[OutcomeT]], outcome: OutcomeT) -> None:
    """Give every caller the same outcome."""
    for each in pending:
        each.settle(outcome)
