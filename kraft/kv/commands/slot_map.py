"""The map of slots in group 0: which group has which slots, and the moves that are planned.

The map says what is to be done, and gives numbers to moves. What is true of a slot, the groups themselves
know (`kraft.kv.slots`), so an old map does no harm. Before the first move there is no map, and the slots are
divided evenly among the groups, as when the cluster was formed.
"""

from typing import ClassVar

import msgspec

_SINCE = 5


class PlanMove(msgspec.Struct, frozen=True, array_like=True, tag=110, gc=False):
    """Plans a move of the slots from `first` to `last`, all of one group, to the group `receiver`.

    `groups` is how many groups the cluster was formed with; the receiver may have been created later. Replies
    PLANNED with the number of the move; OWNED with a group, if several have slots of the range, or the
    receiver has them; OVERLAPS with the number of a move that has some of them; FULL; UNKNOWN if there are no
    such slots, or no such group.
    """

    since: ClassVar[int] = _SINCE
    first: int
    last: int
    receiver: int
    groups: int


class PlanMoves(msgspec.Struct, frozen=True, array_like=True, tag=114, gc=False):
    """Plans several moves, all or none, each of them (first slot, last slot, receiver), as of `PlanMove`.

    They were computed from the map of this `version` with this `last` number. Replies PLANNED with the number
    of the first one, and those of the others follow it; CHANGED if the map is another one by now; else what
    `PlanMove` replies to the first that is refused.
    """

    since: ClassVar[int] = 6
    moves: tuple[tuple[int, int, int], ...]
    groups: int
    version: int
    last: int


class RenewMove(msgspec.Struct, frozen=True, array_like=True, tag=111, gc=False):
    """Gives a planned move another number: the receiver has cancelled it under `number`.

    Replies PLANNED with the new one; UNKNOWN if `number` is not that of a planned move.
    """

    since: ClassVar[int] = _SINCE
    number: int


class StopMove(msgspec.Struct, frozen=True, array_like=True, tag=112, gc=False):
    """An administrator wants the move with this `id` cancelled. Replies PLANNED, or UNKNOWN if it is over."""

    since: ClassVar[int] = _SINCE
    id: int


class EndMove(msgspec.Struct, frozen=True, array_like=True, tag=113, gc=False):
    """The move with this `number` is over: `moved` says whether its receiver has the slots.

    Replies ENDED; UNKNOWN if there is none.
    """

    since: ClassVar[int] = _SINCE
    number: int
    moved: bool


MapCommand = PlanMove | PlanMoves | RenewMove | StopMove | EndMove
"""The commands on the map, in group 0. Each is applied whatever stands before it in its entry."""
