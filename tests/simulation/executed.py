"""Which of the writes in the logs took effect, and in which order, for each home."""

from collections.abc import Sequence
from dataclasses import replace

from kraft.kv.entry import apply_entry
from kraft.kv.machine import Machine
from kraft.kv.replies import CommandFailure, Reply
from tests.simulation.committed_log import CommittedLog
from tests.simulation.homes import Homes
from tests.simulation.logged import Logged, marked_in
from tests.simulation.scripts import in_vain


class WatchedMachine(Machine):
    """A machine of a group that notes which homes are there when all keys are removed."""

    __slots__ = ("_homes", "flushed", "group")

    def __init__(self, homes: Homes, group: int) -> None:
        super().__init__()
        self._homes = homes
        self.group = group
        self.flushed: list[list[int]] = []  # the homes of each flush

    def clear(self) -> None:
        self.flushed.append(self._homes.shown(self.keyspace.slots, self.group))
        super().clear()


def executed(logs: Sequence[CommittedLog], homes: Homes, *, apply: bool = False) -> dict[int, list[Logged]]:
    """The marked writes that took effect, and what nodes asked, by home, and there in their order.

    With moves, or to `apply`, each log is applied once more: what is logged has no effect where its slot is
    frozen or gone, and a script did nothing if what it had read has changed. A flush concerns all homes that
    its group has then.
    """
    found: dict[int, list[Logged]] = {home: [] for home in range(homes.count)}
    for group, log in enumerate(logs):
        machine = WatchedMachine(homes, group)
        for entry in log.entries:
            replies = apply_entry(machine, entry, group) if homes.moving or apply else []
            for key, number, logged in marked_in(entry):
                for home in _homes(key, number, logged, replies, homes, machine):
                    epoch = homes.epoch(machine.keyspace.slots, home)
                    in_vain = _in_vain(replies, number)
                    found[home].append(replace(logged, place=(epoch, entry.index), in_vain=in_vain))
            machine.flushed.clear()
    return {home: sorted(logged, key=lambda each: each.place) for home, logged in found.items()}


def _homes(
    key: bytes,
    number: int,
    logged: Logged,
    replies: Sequence[Reply],
    homes: Homes,
    machine: WatchedMachine,
) -> list[int]:
    """The homes in which the write of a mark took effect; the mark is that command of its entry."""
    if logged.flush and homes.moving:
        return [] if isinstance(replies[number - 1], CommandFailure) else machine.flushed.pop(0)
    home = homes.home_of(key, machine.group)
    refused = replies and isinstance(replies[number], CommandFailure)
    return [] if home is None or refused else [home]


def _in_vain(replies: Sequence[Reply], mark: int) -> bool | None:
    """Whether the write before its mark was a script that did nothing; None if the replies are not known."""
    return in_vain(replies[mark - 1]) if mark and replies else None
