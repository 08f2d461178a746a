"""A command with keys in several groups: what it does in each of them, and the one reply to the client.

A read looks at keys, wherever they are. A write can be divided if what it does to each of its keys depends on
no other key. Others have to see keys of two groups at once: `kraft.server.commands.computation`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import UNSET, Struct, UnsetType

from kraft.kv import commands as kv
from kraft.kv.commands import Delete, Look, SetMany, Step
from kraft.kv.footprint import declared
from kraft.kv.replies import CommandFailure, Reply

GroupOf = Callable[[bytes], int]


class Partition(Struct, frozen=True):
    """What a step of a transaction is in each group: `steps`. One that was computed has its `reply`."""

    steps: Mapping[int, Step]
    reply: Reply | UnsetType = UNSET


def groups_of(step: Any, group_of: GroupOf) -> set[int]:
    """The groups of a step's keys."""
    found = declared(step)
    return {group_of(name) for name in (*found.written, *found.read) if isinstance(name, bytes)}


def divides(step: Any, group_of: GroupOf) -> bool:
    """Whether each group can do its part of the step by itself. No group runs a script for another one."""
    if type(step) is kv.ScriptCall:
        return False
    return type(step) in _DIVISIBLE or len(groups_of(step, group_of)) < 2


def divided(step: Any, group_of: GroupOf, default: int) -> Partition:
    """What a step that `divides` does in each group; one without keys belongs to `default`."""
    if type(step) is Look or type(step) is Delete:
        kind = type(step)
        found = {group: kind(tuple(keys)) for group, keys in _by_group(step.keys, group_of).items()}
        return Partition(found or {default: step})
    if type(step) is SetMany:
        pairs: dict[int, list[bytes]] = {}
        for key, value in zip(step.pairs[::2], step.pairs[1::2], strict=True):
            pairs.setdefault(group_of(key), []).extend((key, value))
        return Partition({group: SetMany(tuple(words)) for group, words in pairs.items()})
    return Partition(dict.fromkeys(groups_of(step, group_of) or {default}, step))


def parts_of(
    shares: Sequence[Partition],
    watched: Sequence[kv.Watched],
    group_of: GroupOf,
    read: Mapping[int, tuple[kv.Watched, ...]] | None = None,
) -> dict[int, kv.Exec]:
    """What each group has to do, by group. It rests on what was `read` there."""
    steps: dict[int, list[Any]] = {}
    watches: dict[int, list[kv.Watched]] = {}
    read = read or {}
    for share in shares:
        for group, step in share.steps.items():
            steps.setdefault(group, []).append(step)
    for watch in watched:
        watches.setdefault(group_of(watch.key), []).append(watch)
    return {
        group: kv.Exec(tuple(watches.get(group, ())), tuple(steps.get(group, ())), read.get(group, ()))
        for group in sorted(steps.keys() | watches.keys() | read.keys())
    }


def joined(steps: Sequence[Any], shares: Sequence[Partition], replies: Mapping[int, Any]) -> list[Reply]:
    """The reply that an `Exec` of `steps` has in one group, from the `replies` of several to their `shares`.

    Its stamp is a time at which no record is due.
    """
    records: list[Any] = []
    begins: dict[int, int] = {}  # where the records of a group begin
    for group, (_, found, _) in replies.items():
        begins[group] = len(records)
        records += found
    outcomes = {group: iter(each) for group, (_, _, each) in replies.items()}
    each: list[Reply] = []
    for step, share in zip(steps, shares, strict=True):
        parts = {group: next(outcomes[group]) for group in share.steps}
        if type(step) is Look:
            each.append(_joined_look(step, share, parts, begins))
        else:
            each.append(united(parts) if share.reply is UNSET else share.reply)
    stamps = [max(stamp for stamp, _, _ in replies.values())]
    stamps += [expires - 1 for _, _, expires in records if expires]
    return [min(stamps), records, each]


def _joined_look(step: Look, share: Partition, parts: Mapping[int, Any], begins: Mapping[int, int]) -> Reply:
    failure = next((reply for reply in parts.values() if type(reply) is CommandFailure), None)
    if failure is not None:
        return failure
    places: dict[bytes, int | None] = {}
    for group, (_, *found) in parts.items():
        look: Any = share.steps[group]
        for key, place in zip(look.keys, found, strict=True):
            places[key] = None if place is None else begins[group] + place
    return [sum(total for total, *_ in parts.values()), *(places[key] for key in step.keys)]


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


_DIVISIBLE = frozenset({Look, Delete, SetMany})
