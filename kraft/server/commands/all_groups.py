"""Commands that concern every group: DBSIZE, FLUSHALL, SCRIPT LOAD and the like.

With one group they are commands like any other. With several a read is done in all groups at once, and what
it finds is put together: the groups are not of one moment. A write is done in one group after the other, in
the order of their numbers, and ends at the first group that does not do it. So it is known which groups have
done it; sent again, it does the rest.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from kraft.resp.values import Error, Reply


@dataclass(frozen=True, slots=True)
class AllGroups:
    """How the replies of several groups become one: `merge`, which gets them in the order of the groups.

    `stops`: a write ends at the first error, also of the command itself. `led`: in redirect mode only the
    groups count that this node leads, because cluster clients ask every leader. `keys`: it is about all keys,
    so each slot has to be in exactly one of the groups when they are looked at, and none may go from one to
    another while a write goes through them.
    """

    merge: Callable[[Sequence[Reply]], Reply]
    stops: bool = True
    led: bool = True
    keys: bool = False


def _total(replies: Sequence[Any]) -> Reply:
    return _error(replies) or sum(replies)


def _everywhere(replies: Sequence[Any]) -> Reply:
    return _error(replies) or [min(found) for found in zip(*replies, strict=True)]


def _last(replies: Sequence[Reply]) -> Reply:
    return replies[-1]


def _any(replies: Sequence[Reply]) -> Reply:
    return next((reply for reply in replies if type(reply) is not Error), replies[0])


def _error(replies: Sequence[Reply]) -> Error | None:
    return next((reply for reply in replies if type(reply) is Error), None)


TOTAL = AllGroups(_total, keys=True)
"""The sum of numbers of keys."""
EVERYWHERE = AllGroups(_everywhere)
"""For each element of the replies, whether it is 1 in every group."""
ANY = AllGroups(_any, stops=False)
"""The first reply that is no error."""
IN_ORDER = AllGroups(_last)
"""What the last group replies: all have done it."""
FLUSH = AllGroups(_last, keys=True)
"""The same, of all keys."""
IN_EVERY_GROUP = AllGroups(_last, led=False)
"""The same, also in groups that other nodes lead: a repetition changes nothing."""


def partly_done(done: Sequence[int], failed: int, error: Error) -> Error:
    """The error of a write that the groups `done` have done, and the group `failed` has not."""
    groups = f"group {done[0]}" if len(done) == 1 else f"groups {', '.join(map(str, done))}"
    return Error(
        f"UNCERTAIN done in {groups}, but not for certain in group {failed}, and in none after it;"
        f" send it again: {error.text}"
    )
