"""A command with keys in several groups: what it does in each of them, and the one reply to the client.

A read looks at keys, wherever they are. A write can be divided if what it does to each of its keys depends on
no other key. Others would have to see keys of two groups at once.
"""

from collections.abc import Callable, Mapping
from typing import Any

from kraft.kv.commands import Delete, Look, SetMany, Step
from kraft.kv.footprint import footprint
from kraft.kv.replies import CommandFailure, Reply
from kraft.server.errors import CrossSlot

GroupOf = Callable[[bytes], int]


def divided(step: Any, group_of: GroupOf) -> dict[int, Step]:
    """What `step` of a transaction does in each group. Raises CrossSlot if it cannot be divided.

    A step without keys belongs to no group: the dictionary is empty.
    """
    if type(step) is Look or type(step) is Delete:
        kind = type(step)
        return {group: kind(tuple(keys)) for group, keys in _by_group(step.keys, group_of).items()}
    if type(step) is SetMany:
        pairs: dict[int, list[bytes]] = {}
        for key, value in zip(step.pairs[::2], step.pairs[1::2], strict=True):
            pairs.setdefault(group_of(key), []).extend((key, value))
        return {group: SetMany(tuple(words)) for group, words in pairs.items()}
    found = footprint(step)
    groups = {group_of(name) for name in (*found.written, *found.read) if isinstance(name, bytes)}
    if len(groups) > 1:
        raise CrossSlot
    return dict.fromkeys(groups, step)


def _by_group(keys: tuple[bytes, ...], group_of: GroupOf) -> dict[int, list[bytes]]:
    found: dict[int, list[bytes]] = {}
    for key in keys:
        found.setdefault(group_of(key), []).append(key)
    return found


def united(replies: Mapping[int, Reply]) -> Reply:
    """The reply to a write from the `replies` to its parts, by group."""
    each = list(replies.values())
    failure = next((reply for reply in each if type(reply) is CommandFailure), None)
    if failure is not None or len(each) == 1:
        return failure if failure is not None else each[0]
    numbers = [reply for reply in each if isinstance(reply, int)]
    return sum(numbers) if len(numbers) == len(each) else each[0]
